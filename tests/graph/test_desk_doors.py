"""The desk behind all doors: what a run says reaches its followers, one key is one run, no stranger's file is opened."""

import threading
from datetime import timedelta
from pathlib import Path

import pytest

from agent.progress import MOST_LINES, MOST_RUNS, Board
from tests.graph.doors import ADA, asked, desk_of, gated
from tests.graph.world import ROWS, make_world
from tools.errors import Conflict, NotAllowed, NotFound, Unavailable


def test_lines_of_a_run_are_kept_under_its_id_and_numbered(tmp_path: Path) -> None:
    desk = desk_of(make_world(tmp_path))

    run_id = desk.start(ADA, asked())
    desk.wait_for(run_id)

    lines = desk.board.since(run_id, 0)
    assert [line.number for line in lines] == list(range(1, len(lines) + 1))
    assert "conclude done" in [line.text for line in lines]
    assert desk.board.since(run_id, 2) == lines[2:]
    assert desk.board.since("another", 0) == []
    assert desk.get_run(ADA, run_id).status == "finished"


def test_follower_is_woken_by_each_line_and_by_the_end_until_it_leaves(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))
    desk, woken = desk_of(world), threading.Event()

    run_id = desk.start(ADA, asked())
    assert gate.begun.wait(60)
    end = desk.board.follow(run_id, woken.set)
    going = desk.is_going(run_id)
    gate.open.set()
    desk.wait_for(run_id)

    assert going
    assert woken.wait(10)
    assert not desk.is_going(run_id)
    end()
    woken.clear()
    desk.board.stir(run_id)
    assert not woken.is_set()


def test_board_is_bounded_and_shows_no_password() -> None:
    board = Board()
    for number in range(MOST_LINES + 5):
        board.tell("r0", f"line {number}")
    board.tell("r0", "reading postgresql://me:secret@host/db")
    for number in range(1, MOST_RUNS + 50):
        board.tell(f"r{number}", "x" * 10_000)

    assert board.since("r0", 0) == []
    assert len(board.since(f"r{MOST_RUNS + 49}", 0)[0].text) == 500
    board.tell("r0", "reading postgresql://me:secret@host/db")
    assert "secret" not in board.since("r0", 0)[0].text


def test_board_keeps_the_latest_lines_of_a_run_that_says_much() -> None:
    board = Board()
    for number in range(1, MOST_LINES + 6):
        board.tell("r0", f"line {number}")

    kept = board.since("r0", 0)
    assert (len(kept), kept[0].number, kept[-1].text) == (MOST_LINES, 6, f"line {MOST_LINES + 5}")


def test_same_key_is_the_same_run_while_it_goes_on_and_afterwards(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))
    desk = desk_of(world)

    first = desk.start(ADA, asked(key="k"))
    assert gate.begun.wait(60)
    meanwhile = desk.start(ADA, asked(key="k"))
    gate.open.set()
    desk.wait_for(first)
    afterwards = desk.start(ADA, asked(key="k"))
    desk.wait_for(afterwards)

    assert meanwhile == afterwards == first
    assert [run.status for run in desk.list_runs(ADA)] == ["finished"]
    # A lease gives way to its own run in its own process: a second thread must not take it.
    assert len(world.trainer.orders) == len(world.moves) == 1


def test_another_request_under_the_same_key_is_a_conflict(tmp_path: Path) -> None:
    desk = desk_of(make_world(tmp_path))
    desk.wait_for(desk.start(ADA, asked(key="k")))

    with pytest.raises(Conflict, match="another request"):
        desk.start(ADA, asked(key="k", dataWindow="50d"))
    with pytest.raises(Conflict, match="another request"):
        desk.roll_back(ADA, asked(key="k"), "because")

    assert len(desk.list_runs(ADA)) == 1


@pytest.mark.parametrize("path", ["rows.parquet", "/etc/passwd", "../secret.csv", "https://elsewhere/rows.csv"])
def test_file_that_the_profile_does_not_name_is_refused_at_every_door_but_the_terminal(
    tmp_path: Path, path: str
) -> None:
    world = make_world(tmp_path)
    desk = desk_of(world)
    for door in ("http", "a2a", "mcp", "embedded"):
        caller = ADA.model_copy(update={"door": door})
        for ask in (
            lambda caller=caller: desk.start(caller, asked(validationStrategy=f"fixed:{path}")),
            lambda caller=caller: desk.judge(caller, asked(validationStrategy=f" fixed : {path}"), "1"),
            lambda caller=caller: desk.assess(caller, asked(validationStrategy=f"fixed:{path}")),
        ):
            with pytest.raises(NotAllowed, match="not the one that the profile"):
                ask()

    assert desk.list_runs(ADA) == []
    assert not world.touched


def test_file_that_the_profile_names_may_be_asked_for(tmp_path: Path) -> None:
    world = make_world(tmp_path, validation_strategy="fixed:kept")
    world.data.frames["kept"] = ROWS[ROWS["at"] >= ROWS["at"].max() - timedelta(days=20)]
    desk = desk_of(world)

    run_id = desk.start(ADA, asked(validationStrategy="fixed:kept"))
    desk.wait_for(run_id)

    assert desk.get_run(ADA, run_id).status == "finished"


def test_report_is_given_of_known_runs_only_and_names_no_folder(tmp_path: Path) -> None:
    world = make_world(tmp_path)
    desk = desk_of(world)
    run_id = desk.start(ADA, asked())
    desk.wait_for(run_id)
    page = desk.report(ADA, run_id)
    (world.deps.run_dir(run_id) / "decision" / "report.html").unlink()

    again = desk.report(ADA, run_id)

    assert page.startswith("<!doctype html>")
    assert again.startswith("<!doctype html>")
    before = sorted(world.deps.work_dir.rglob("*"))
    for stranger in ("r404", "../x", "../../etc"):
        with pytest.raises(NotFound):
            desk.report(ADA, stranger)
    assert sorted(world.deps.work_dir.rglob("*")) == before


def test_closed_desk_begins_nothing_and_what_was_begun_ends(tmp_path: Path) -> None:
    world, gate = gated(make_world(tmp_path))
    desk = desk_of(world)
    run_id = desk.start(ADA, asked())
    assert gate.begun.wait(60)

    closing = threading.Thread(target=desk.close)
    closing.start()
    gate.open.set()
    closing.join(60)

    assert not closing.is_alive()
    assert desk.get_run(ADA, run_id).status == "finished"
    with pytest.raises(Unavailable, match="stopping"):
        desk.start(ADA, asked())


def test_caller_without_the_scope_is_refused(tmp_path: Path) -> None:
    desk = desk_of(make_world(tmp_path))
    reader = ADA.model_copy(update={"scopes": frozenset({"read"})})

    with pytest.raises(NotAllowed, match="scope 'run' is missing"):
        desk.start(reader, asked())
    with pytest.raises(NotAllowed, match="'roll_back'"):
        desk.roll_back(reader, asked(), "because")
    assert desk.list_runs(reader) == []
