"""All models, in threads: each is its own row, worst first, and what one cannot do stops no other."""

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agent.deps import Deps
from agent.entrypoints.cli.check_lines import check_lines, sweep_json, sweep_lines
from agent.services.check import Checked
from agent.services.sweep import Looked, Swept, sweep
from tests.graph.world import make_world, with_deps
from tools.alerts import severity
from tools.contracts.evidence import Effort, Signal, StalenessReport, TriggerVerdict
from tools.contracts.request import RetrainingRequest, RunOrder
from tools.errors import BadInput, NotFound, RetrainingError, TimedOut

FRESH = Signal(rule="performance", subject="accuracy", outcome="ok", statement="It held.")
LOST = Signal(rule="performance", subject="accuracy", outcome="bad", statement="accuracy lost 0.1.")
MOVED = Signal(rule="drift", subject="data set", outcome="bad", statement="9 of 20 columns drifted.")
OLD = Signal(rule="age", outcome="bad", statement="It is 300 days old.")


def checked(*signals: Signal, verdict: Any = "fresh", effort: Effort | None = None) -> Checked:
    report = StalenessReport(
        verdict=verdict, signals=signals, recommendation="keep_watching", statement=f"It is {verdict}.", effort=effort
    )
    trigger = TriggerVerdict(proceed=False, insists=False, code=verdict, statement="Nothing insists.")
    return Checked(staleness=report, trigger=trigger, alert=severity(report))


def column(name: str, outcome: Any = "ok", **more: Any) -> Signal:
    return Signal(rule="drift", subject=name, outcome=outcome, statement=f"Column {name}: {outcome}.", **more)


def order_of(model: str) -> RunOrder:
    config = {"trigger": "drift"}
    request = RetrainingRequest.model_validate({"modelId": model, "retrainingConfig": config})
    return RunOrder(kind="retrain", request=request, requested_by="ada", as_of=datetime(2026, 7, 1, tzinfo=UTC))


class Looks:
    """What each model's check gives, or raises."""

    def __init__(self, **results: Checked | BaseException) -> None:
        self.results = results

    def __call__(self, deps: Deps, order: RunOrder) -> Checked:
        result = self.results[order.request.model_id]
        if isinstance(result, BaseException):
            raise result
        return result


@pytest.fixture
def deps(tmp_path: Path) -> Deps:
    return make_world(tmp_path, champion=False).deps


def test_rows_come_worst_first_and_one_models_failure_stops_no_other(deps: Deps) -> None:
    looks = Looks(
        fine=checked(FRESH),
        lost=checked(LOST, OLD, verdict="stale"),
        moved=checked(MOVED, verdict="stale"),
        old=checked(OLD, verdict="stale"),
        blind=checked(verdict="could_not_measure"),
        gone=NotFound("no profile 'gone'", remedy="write it"),
        also_fine=checked(FRESH),
    )

    swept = sweep(deps, tuple(looks.results), order_of, parallel=3, look=looks)

    assert [(row.model_id, row.standing) for row in swept.looked] == [
        ("lost", "page"),
        ("moved", "ticket"),
        ("old", "digest"),
        ("gone", "failed"),
        ("blind", "could_not_measure"),
        ("also_fine", "fine"),
        ("fine", "fine"),
    ]
    assert [row.sentence for row in swept.looked[:4]] == [
        LOST.statement,
        MOVED.statement,
        OLD.statement,
        "no profile 'gone'",
    ]


@pytest.mark.parametrize(
    ("errors", "code"),
    [
        pytest.param((), 0, id="all could be looked at"),
        pytest.param((BadInput("its profile is broken"),), 2, id="one could not"),
        pytest.param((BadInput("a"), TimedOut("b"), NotFound("c")), 7, id="the gravest counts"),
    ],
)
def test_exit_code_is_the_gravest_failure(deps: Deps, errors: tuple[RetrainingError, ...], code: int) -> None:
    looks = Looks(lost=checked(LOST), **{f"m{n}": error for n, error in enumerate(errors)})

    assert sweep(deps, tuple(looks.results), order_of, look=looks).exit_code == code


def test_crash_in_one_check_is_a_row_that_asks_for_a_report(deps: Deps) -> None:
    looks = Looks(odd=ZeroDivisionError("division by zero"), fine=checked(FRESH))

    swept = sweep(deps, ("odd", "fine"), order_of, look=looks)

    assert (swept.exit_code, [row.standing for row in swept.looked]) == (70, ["failed", "fine"])
    assert "ZeroDivisionError" in swept.looked[0].sentence


def test_as_many_checks_run_at_once_as_asked_and_no_more(deps: Deps) -> None:
    together, now, lock = threading.Barrier(3, timeout=10), [0, 0], threading.Lock()

    def look(deps: Deps, order: RunOrder) -> Checked:
        with lock:
            now[0] += 1
            now[1] = max(now)
        together.wait()  # breaks unless three are here at once
        with lock:
            now[0] -= 1
        return checked(FRESH)

    swept = sweep(deps, tuple("abcdef"), order_of, parallel=3, look=look)

    assert (swept.count("fine"), now[1]) == (6, 3)


def test_progress_is_one_line_a_model_and_checks_are_silent(tmp_path: Path) -> None:
    told: list[str] = []
    deps = with_deps(make_world(tmp_path, champion=False), progress=told.append).deps

    def look(deps: Deps, order: RunOrder) -> Checked:
        deps.progress("scoring 50,000 rows")
        return checked(LOST)

    sweep(deps, ("a", "b"), order_of, parallel=1, look=look)

    assert [line.rpartition(",")[0] for line in told] == ["1 of 2  a: page", "2 of 2  b: page"]


def test_interrupt_ends_the_sweep_without_starting_another_check(deps: Deps) -> None:
    begun: list[str] = []

    def look(deps: Deps, order: RunOrder) -> Checked:
        begun.append(order.request.model_id)
        return checked(FRESH)

    def interrupted(_: str) -> None:
        raise KeyboardInterrupt

    world = Deps(**{**vars(deps), "progress": interrupted})
    with pytest.raises(KeyboardInterrupt):
        sweep(world, tuple(map(str, range(100_000))), order_of, parallel=1, look=look)

    assert len(begun) < 100_000
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("check-")]


# --- how it reads


def test_json_has_a_row_a_model_with_errors_as_the_screen_gives_them_and_totals() -> None:
    swept = Swept(
        (
            Looked("lost", 1.0, checked=checked(LOST, effort=Effort(queries=7, rows_in_memory=10))),
            Looked("gone", 0.5, error=NotFound("no 'gone'", thing="modelId", value="gone", remedy="write it")),
        ),
        2.0,
    )

    made = json.loads(json.dumps(sweep_json(swept)))

    lost, gone = made["models"]
    assert (lost["standing"], lost["alert"]["level"], lost["staleness"]["verdict"]) == ("page", "page", "fresh")
    assert gone["error"] == {
        "error": "NotFound",
        "message": "no 'gone'",
        "thing": "modelId",
        "value": "gone",
        "remedy": "write it",
        "exitCode": 3,
        "retry": False,
    }
    assert made["totals"] == {
        "models": 2,
        "pages": 1,
        "tickets": 0,
        "digest": 0,
        "failed": 1,
        "couldNotMeasure": 0,
        "fine": 0,
        "queries": 7,
        "seconds": 2.0,
    }


def test_table_has_a_row_a_model_and_totals_in_words() -> None:
    swept = Swept((Looked("lost", 1.0, checked=checked(LOST)), Looked("ok", 1.0, checked=checked(FRESH))), 2.0)

    lines = sweep_lines(swept)

    assert lines[2].split("  ")[0] == "lost"
    assert "accuracy lost 0.1." in lines[2]
    assert "2 models in 2.0 s: 1 page, 1 fine." in lines


def test_what_could_not_be_measured_is_not_lost_behind_a_model_that_is_only_old() -> None:
    gone = Signal(
        rule="performance", subject="accuracy", outcome="could_not_measure", statement="rows.parquet does not exist."
    )
    hidden = Looked("hidden", 1.0, checked=checked(OLD, gone, column("a", "could_not_measure"), verdict="stale"))
    told = Looked("told", 1.0, checked=checked(OLD, FRESH, verdict="stale"))

    assert (hidden.standing, hidden.sentence) == ("digest", "It is 300 days old. rows.parquet does not exist.")
    assert told.sentence == "It is 300 days old."


FIFTY = tuple(
    column(
        f"reading_{n:02}",
        "bad" if n < 11 else "could_not_tell" if n < 13 else "ok",
        value=0.31,
        p_value=1e-9,
        n=50_000,
        n_reference=50_000,
        weight=0.02,
        kind="shift",
        since=datetime(2026, 6, 1, tzinfo=UTC),
    )
    for n in range(50)
)


@pytest.mark.parametrize("width", [80, 110])
@pytest.mark.parametrize("columns", [False, True])
def test_fifty_columns_fit_the_screen(monkeypatch: pytest.MonkeyPatch, width: int, columns: bool) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    found = checked(MOVED, LOST, *FIFTY, verdict="stale", effort=Effort(queries=9, rows_in_memory=50_000))

    lines = check_lines("prices", "drift", found, seconds=8.1, columns=columns)

    assert max(map(len, lines)) <= width
    assert len(lines) < (75 if columns else 40)


def test_good_columns_are_one_line_and_what_is_not_shown_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    effort = Effort(queries=9, rows_in_memory=50_000, sampled_from=1_234_567)
    lines = check_lines("prices", "drift", checked(*FIFTY, effort=effort), seconds=8.1, columns=False)

    text = "\n".join(lines)
    assert "37 columns did not drift." in text
    assert "3 more columns drifted: reading_08, reading_09, reading_10." in text
    assert "2 more columns could not be told: reading_11, reading_12." in text
    assert "9 queries, 50,000 rows in memory of 1,234,567, 8.1 s" in text


def test_columns_asked_for_are_shown_with_their_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")

    lines = check_lines("prices", "drift", checked(*FIFTY), seconds=1.0, columns=True)

    row = next(line for line in lines if line.startswith("reading_03"))
    assert " ".join(row.split()) == "reading_03 yes shift 0.310 1e-09 50000 50000 0.02 2026-06-01"
    assert sum("  no  " in line for line in lines) == 37
