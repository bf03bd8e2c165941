"""What the load eval counts is what it says: overlaps are found, and only the agent's own time is its own."""

from types import SimpleNamespace
from typing import Any

import pytest

from evals.reliability.load import overlaps, own_seconds, quantile, requests_for

RUNS = {run_id: SimpleNamespace(model_id=model) for run_id, model in (("r1", "a"), ("r2", "a"), ("r3", "b"))}


def lines(run_id: str, *times: float) -> list[dict[str, Any]]:
    return [{"kind": "line", "run": run_id, "at": at} for at in times]


@pytest.mark.parametrize(("begun", "found"), [(2.9, 1), (3.1, 0)])
def test_two_runs_of_one_model_at_once_are_an_overlap_and_of_two_models_none(begun: float, found: int) -> None:
    entries = [*lines("r1", 1, 2, 3), *lines("r2", begun, 5), *lines("r3", 1, 9)]
    assert overlaps(entries, RUNS) == found


def test_own_seconds_leave_out_training_and_scoring_once_and_repetitions_of_an_ended_run() -> None:
    def span(kind: str, run: str, begun: float, ended: float) -> dict[str, Any]:
        return {"kind": kind, "run": run, "begun": begun, "ended": ended}

    entries = [
        span("training", "r1", 1, 3),
        span("scoring", "r1", 4, 6),
        span("scoring", "r1", 5, 7),
        span("scoring", "r2", 0, 9),
        span("drive", "r1", 0, 10),
        *lines("r1", 1, 9),
        span("drive", "r1", 20, 21),
    ]
    assert own_seconds(entries) == [5]


def test_quantile_lies_in_its_interval() -> None:
    row = quantile("p95", [float(n) for n in range(100)], 0.95)
    assert row.low is not None
    assert row.high is not None
    assert row.low <= row.value <= row.high
    assert row.low > 85


def test_five_ask_for_each_model_three_of_them_the_same() -> None:
    made = requests_for(["a", "b"], ["k1", "k2", "k3", "k4", "k5"])
    assert [len({r.key for r in made if r.model == model}) for model in ("a", "b")] == [3, 3]
    assert (len(made), sum(not r.insists for r in made)) == (10, 2)
