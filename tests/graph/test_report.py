"""The report beside the decision: it is there after every run, and takes no part in what is decided."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.services import report
from agent.services.report import DUEL
from tests.graph.world import BETTER, TWIN, World, make_world, with_deps
from tools.adapters.memory_registry import MemoryTracking
from tools.contracts.output import RetrainingResponse
from tools.errors import BadInput, Conflict, NotFound, Unavailable

FILES = {"report.html", "intervals.svg", "slices.svg", "calibration.svg", "error_over_time.svg", "figures.json"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


class NoFiles(MemoryTracking):
    """A tracking server whose disk is full by the time the report comes."""

    def __init__(self, before: MemoryTracking) -> None:
        super().__init__()
        self.runs = before.runs

    def log_file(self, tracking_run_id: str, file: Path, folder: str) -> None:
        if folder == "decision":
            raise Unavailable("no space left on device", thing="artifacts")
        super().log_file(tracking_run_id, file, folder)


def page_of(output: dict[str, Any]) -> str:
    return Path(output["report"]).read_text(encoding="utf-8")


def test_run_leaves_page_and_pictures_in_its_folder_and_in_the_tracking_run(world: World) -> None:
    output = world.run()

    folder = world.deps.run_dir(output["runId"]) / "decision"
    (tracked,) = [run for run in world.tracking.runs.values() if run.run_id == output["runId"]]
    assert {file.name for file in folder.iterdir()} == FILES
    assert {f"decision/{name}" for name in FILES} <= set(tracked.artifacts)
    assert RetrainingResponse.model_validate(output).report == str(folder / "report.html")
    assert tracked.artifacts["decision/report.html"].decode() == page_of(output)
    for said in ("Deploy the candidate", "primary_improved", "version 2", "champion version 1", "Error over time"):
        assert said in page_of(output)


def test_page_holds_no_row_of_the_data(world: World) -> None:
    output = world.run()

    keys = {f"{at}" for at in world.data.frames["rows"]["at"].tail(200)}
    assert not [key for key in keys if key in page_of(output)]


def test_open_question_and_then_its_answer_stand_on_the_page(tmp_path: Path) -> None:
    from agent.services import reviews

    world = make_world(tmp_path, mode="recommend")
    asked = world.run()
    number = asked["deploymentDecision"]["reviewId"]
    assert f"retrain review approve {number}" in page_of(asked)

    reviews.answer(world.deps, number, "reject", "not before the holidays", by="ada")
    ended = world.runs.resume(asked["runId"])

    assert ended["deploymentDecision"]["decision"] == "reject"
    assert "Do not deploy" in page_of(ended)
    assert "ada answered reject: not before the holidays" in page_of(ended)
    assert "retrain review approve" not in page_of(ended)


def _refuse_to_draw(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("a plot of nothing")


@pytest.mark.parametrize(("trains", "decision"), [(BETTER, "deploy"), (TWIN, "reject")])
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(
            lambda world, patch: patch.setattr(report.report_figures, "figures", _refuse_to_draw), id="figures"
        ),
        pytest.param(lambda world, patch: patch.setattr(report.report_page, "page", _refuse_to_draw), id="page"),
        pytest.param(
            lambda world, patch: with_deps(world, tracking=NoFiles(world.tracking)), id="tracking takes no files"
        ),
    ],
)
def test_report_that_fails_is_a_note_and_changes_no_decision(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[World, pytest.MonkeyPatch], World | None],
    trains: str,
    decision: str,
) -> None:
    world = make_world(tmp_path, trains=trains)
    world = spoil(world, monkeypatch) or world

    output = world.run()

    said = [note for note in output["warnings"] if "decision report was not written" in note]
    assert output["deploymentDecision"]["decision"] == decision
    assert output["status"] == "finished"
    assert len(said) == 1
    assert f"retrain runs report {output['runId']}" in said[0]


def test_report_is_made_again_from_the_stored_state_without_the_rows(world: World, tmp_path: Path) -> None:
    output = world.run()
    first = page_of(output)
    folder = world.deps.run_dir(output["runId"])
    (folder / DUEL).unlink()
    for file in (folder / "decision").iterdir():
        file.unlink()

    again = world.runs.report(output["runId"], tmp_path / "out.html")

    assert again.read_text(encoding="utf-8") == first
    assert not (folder / "decision" / "report.html").exists()
    assert world.runs.report(output["runId"]) == Path(output["report"])
    assert page_of(output) == first


def test_report_is_refused_for_what_is_not_there(world: World, tmp_path: Path) -> None:
    output = world.run()
    rolled_back = world.run("rollback", reason="odd prices")

    with pytest.raises(NotFound, match="nobody"):
        world.runs.report("nobody")
    with pytest.raises(Conflict, match="has decided nothing"):
        world.runs.report(rolled_back["runId"])
    with pytest.raises(NotFound, match="no folder"):
        world.runs.report(output["runId"], tmp_path / "nowhere" / "out.html")
    with pytest.raises(BadInput, match="is a folder"):
        world.runs.report(output["runId"], tmp_path)


def test_rows_that_no_longer_fit_are_said_not_guessed(world: World) -> None:
    output = world.run()
    folder = world.deps.run_dir(output["runId"])
    (folder / DUEL).unlink()
    (folder / "decision" / "figures.json").unlink()
    (tracked,) = [run for run in world.tracking.runs.values() if run.run_id == output["runId"]]
    del tracked.artifacts["decision/figures.json"]

    world.runs.report(output["runId"])

    assert "the judged rows are no longer in the run" in page_of(output)
