"""The whole machine, where the comparison rests on more than two models' predictions. Each refusal beside its twin that deploys."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agent.services import adopt
from tests.graph.test_flow import codes, ended
from tests.graph.world import BETTER, NAME, PROFILE, ROWS, World, add_version, by, make_world
from tests.streams import NOW
from tools.contracts.measuring import MetricResult
from tools.contracts.training import ScoringResult

PROFIT = "metrics/value.py:profit"
METRICS: dict[str, Any] = PROFILE["metrics"]


def gain(rows: pd.DataFrame) -> Any:
    return np.where(rows["prediction"] == rows["y"], 2.0, -1.0)


def with_metrics(folder: Path, **metrics: Any) -> World:
    return make_world(folder, metrics=METRICS | metrics)


def item(output: dict[str, Any], key: str) -> dict[str, Any]:
    return next(one for one in output["evidence"] if one["key"] == key)


def champion_uri(world: World) -> str:
    return world.registry.get_version(NAME, "1").model_uri


# --- a user's own metric


def owned(folder: Path, function: Any, **primary: Any) -> World:
    given = {"name": PROFIT, "direction": "higher", "min_improvement": 0.05, **primary}
    world = with_metrics(folder, primary=given, guardrails=[])
    world.scorer.functions[PROFIT] = function
    return world


def test_own_metric_as_primary_decides_and_its_file_is_on_record(tmp_path: Path) -> None:
    world = owned(tmp_path, gain)
    output = world.run()
    assert ended(output) == ("deploy", "trained", "promoted")
    shown = output["comparison"]
    right = {side: (shown[f"{side}Metrics"][PROFIT] + 1) / 3 for side in ("baseline", "newModel")}
    assert right["newModel"] > 0.85 > 0.6 > right["baseline"]
    assert shown["verdicts"] == {PROFIT: "improved"}
    assert item(output, "comparison/metrics.value.py:profit")["outcome"] == "improved"
    run = world.deps.store.get_run(output["runId"])
    recorded = world.checkpoints.get({"configurable": {"thread_id": run.run_id}})
    assert recorded is not None
    assert recorded["channel_values"]["comparison"]["metrics"][0]["source_digest"] == PROFIT


def test_own_metric_that_says_worse_rejects_though_accuracy_is_better(tmp_path: Path) -> None:
    world = owned(tmp_path, lambda rows: -gain(rows))
    output = world.run()
    assert (ended(output)[0], codes(output)) == ("reject", ["primary_regressed"])
    assert not world.moves


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda rows: 1.0, "profit gave one value for all rows"),
        (lambda rows: np.where(rows["prediction"] == 1, np.nan, 1.0), "that are no finite number"),
        (MetricResult(status="timed_out", digest="d", statement="no answer within 0:10:00"), "no answer within"),
        (None, "there is no file metrics/value.py"),
    ],
)
def test_own_metric_that_cannot_be_measured_goes_to_a_person_with_the_reason(
    tmp_path: Path, function: Any, says: str
) -> None:
    world = owned(tmp_path, function)
    if function is None:
        del world.scorer.functions[PROFIT]
    output = world.run()
    assert (ended(output)[0], codes(output)) == ("manual_review", ["primary_no_data"])
    assert says in item(output, "comparison/metrics.value.py:profit")["statement"]
    assert not world.touched or not world.moves


def test_own_guardrail_that_is_harmed_rejects(tmp_path: Path) -> None:
    guardrail = {"name": PROFIT, "direction": "higher", "margin": 0.05}
    world = with_metrics(tmp_path, guardrails=[guardrail])
    world.scorer.functions[PROFIT] = lambda rows: -gain(rows)
    assert codes(world.run()) == ["guardrail_regressed"]
    world = with_metrics(tmp_path / "twin", guardrails=[guardrail])
    world.scorer.functions[PROFIT] = gain
    assert ended(world.run())[0] == "deploy"


def test_staleness_with_an_own_metric_says_that_it_is_called_in_a_comparison_only(tmp_path: Path) -> None:
    world = owned(tmp_path, gain)
    world.run()
    world.trainer._finished.clear()
    output = world.run(request={"retrainingConfig": {"trigger": "performance"}})
    assert "called in a comparison only" in " ".join(one["statement"] for one in output["evidence"])


# --- latency and size


def timed(folder: Path, champion: float, candidate: float, **more: Any) -> World:
    guardrails = [
        {"name": "latency_ms", "margin": 0.2, "unit": "relative"},
        {"name": "model_size_mb", "margin": 0.5, "unit": "relative"},
    ]
    world = with_metrics(folder, guardrails=guardrails, **more)
    uri = champion_uri(world)
    world.scorer.milliseconds = {uri: champion, BETTER: candidate}
    world.scorer.sizes = {uri: 1_000_000, BETTER: 1_200_000}
    return world


def test_fast_and_small_enough_deploys_and_shows_both(tmp_path: Path) -> None:
    output = timed(tmp_path, 1.0, 1.1).run()
    assert ended(output) == ("deploy", "trained", "promoted")
    assert output["comparison"]["newModelMetrics"]["latency_ms"] == pytest.approx(1.1 * 1.035)
    assert output["comparison"]["verdicts"]["model_size_mb"] == "non_inferior"


def test_slower_candidate_is_rejected(tmp_path: Path) -> None:
    world = timed(tmp_path, 1.0, 1.3)
    output = world.run()
    assert (ended(output)[0], codes(output)) == ("reject", ["guardrail_regressed"])
    assert "latency_ms: 1.035 (champion) against" in output["deploymentDecision"]["reasons"][0]["sentence"]
    assert not world.moves


def test_larger_candidate_is_rejected_by_its_exact_size(tmp_path: Path) -> None:
    world = timed(tmp_path, 1.0, 1.0)
    world.scorer.sizes[BETTER] = 1_500_001
    assert codes(world.run()) == ["guardrail_regressed"]
    world = timed(tmp_path / "twin", 1.0, 1.0)
    world.scorer.sizes[BETTER] = 1_500_000
    assert ended(world.run())[0] == "deploy"


def test_latency_that_could_not_be_timed_goes_to_a_person(tmp_path: Path) -> None:
    world = timed(tmp_path, 1.0, 1.0)
    del world.scorer.milliseconds[BETTER]
    output = world.run()
    assert (ended(output)[0], codes(output)) == ("manual_review", ["guardrail_no_data"])


# --- rows with nulls


def bears_nulls(column: str) -> Any:
    def predict(frame: pd.DataFrame) -> Any:
        return by(column)(frame.fillna(0.0))

    return predict


def refuses_nulls(column: str) -> Any:
    def predict(frame: pd.DataFrame) -> Any:
        told = dict(by(column)(frame.fillna(0.0)))
        told["prediction"] = np.where(frame.isna().any(axis=1), np.nan, told["prediction"])
        return told

    return predict


@pytest.mark.parametrize(
    ("champion", "candidate", "verdict", "decision"),
    [
        (bears_nulls("a"), bears_nulls("b"), "improved", "deploy"),
        (bears_nulls("a"), refuses_nulls("b"), "regressed", "reject"),
        (refuses_nulls("a"), bears_nulls("b"), "improved", "deploy"),
        (refuses_nulls("a"), refuses_nulls("b"), "non_inferior", "deploy"),
    ],
    ids=["both bear them", "only the champion", "only the candidate", "neither"],
)
def test_bearing_missing_values_is_a_guardrail(
    tmp_path: Path, champion: Any, candidate: Any, verdict: str, decision: str
) -> None:
    world = with_metrics(tmp_path, null_margin=0.05)
    world.scorer.models |= {champion_uri(world): champion, BETTER: candidate}
    output = world.run()
    assert output["comparison"]["verdicts"]["accuracy with nulls"] == verdict
    assert ended(output)[0] == decision


def test_time_limit_on_rows_with_nulls_is_no_evidence(tmp_path: Path) -> None:
    world = with_metrics(tmp_path, null_margin=0.05)
    model = by("b")

    def slow(frame: pd.DataFrame) -> Any:
        if frame.isna().any(axis=None):
            raise TimeoutError
        return model(frame)

    scorer, real = world.scorer, world.scorer.score

    def score(job: Any) -> ScoringResult:
        try:
            return real(job)
        except TimeoutError:
            return ScoringResult(status="timed_out", statement="gave no answer within 0:10:00.")

    scorer.models[BETTER] = slow
    scorer.score = score  # type: ignore[method-assign]
    output = world.run()
    assert output["comparison"]["verdicts"]["accuracy with nulls"] == "no_data"
    assert ended(output)[0] == "manual_review"


# --- a predictions table


def table(*versions: str, columns: tuple[str, ...] = ("a", "b")) -> pd.DataFrame:
    """What batch jobs left: version 1 goes by `a`, version 2 by `b`."""
    parts = []
    for version, column in zip(versions, columns, strict=False):
        told = pd.DataFrame(dict(by(column)(ROWS)))
        parts.append(told.assign(at=ROWS["at"].to_numpy(), served=int(version)))
    return pd.concat(parts, ignore_index=True).sample(frac=1.0, random_state=0)


def with_table(folder: Path, frame: pd.DataFrame, **metrics: Any) -> tuple[World, str]:
    """A candidate whose training rows are on record, and two models that nobody could load."""
    scoring = {"predictions": {"source": "told", "version": "served"}}
    world = make_world(folder, scoring=scoring, metrics=METRICS | metrics, mode="observe")
    version = add_version(world, by("b"))
    profile = world.deps.load_profile("prices")
    start, until = NOW - timedelta(days=60), NOW - timedelta(days=40)
    rows = world.data.write_labelled(profile.data, start, until, until, world.deps.run_dir("hand") / "rows.parquet")
    adopt.adopt(
        world.deps,
        profile,
        version=world.registry.get_version(NAME, version),
        training=rows,
        as_of=NOW,
        by="test",
    )
    world.data.frames["told"] = frame
    broken = ScoringResult(status="failed", statement="nobody can load it here.")
    world.scorer.models.update(dict.fromkeys(world.scorer.models, broken))
    return world, version


def test_judge_by_a_predictions_table_runs_no_model_and_would_deploy(tmp_path: Path) -> None:
    world, version = with_table(tmp_path, table("1", "2"))
    output = world.run("judge", candidate_version=version)
    assert codes(output)[0] == "primary_improved"
    assert output["deploymentDecision"]["decision"] == "deploy"
    assert (
        output["comparison"]["baselineMetrics"]["accuracy"]
        < 0.6
        < 0.85
        < output["comparison"]["newModelMetrics"]["accuracy"]
    )
    run_dir = world.deps.run_dir(output["runId"])
    assert not [job for job in world.scorer.jobs if str(run_dir / "candidate") in job.output]


def late(frame: pd.DataFrame) -> Any:
    """A time in the holdout."""
    return frame["at"].quantile(0.95, interpolation="nearest")


FAULTS: dict[str, tuple[Any, str]] = {
    "predictions_version_unknown": (lambda t: t[t["served"] != 2], "Version 2 has no prediction at all"),
    "predictions_missing": (lambda t: t[(t["served"] != 2) | (t["at"] != late(t))], "no prediction for 1 of"),
    "predictions_duplicated": (
        lambda t: pd.concat([t, t[(t["served"] == 1) & (t["at"] == late(t))]]),
        "more than one prediction for 1 of",
    ),
    "predictions_not_finite": (
        lambda t: t.assign(prediction=t["prediction"].where(t["at"] != late(t))),
        "that is missing or no finite number for 1 of",
    ),
    "predictions_unusable": (lambda t: t.drop(columns=["at"]), "has no column 'at'"),
}


@pytest.mark.parametrize("code", FAULTS)
def test_predictions_that_are_not_whole_are_never_compared_on_the_rest(tmp_path: Path, code: str) -> None:
    change, says = FAULTS[code]
    world, version = with_table(tmp_path, change(table("1", "2")))
    output = world.run("judge", candidate_version=version)
    assert output["deploymentDecision"]["decision"] == "manual_review"
    assert code in codes(output)
    reasons = {reason["code"]: reason["sentence"] for reason in output["deploymentDecision"]["reasons"]}
    assert says in reasons[code]
    assert set(output["comparison"]["verdicts"].values()) == {"no_data"}


def test_what_needs_a_model_is_not_measured_from_a_table(tmp_path: Path) -> None:
    guardrails = [{"name": "latency_ms", "margin": 0.1, "unit": "relative"}]
    world, version = with_table(tmp_path, table("1", "2"), guardrails=guardrails, null_margin=0.1)
    output = world.run("judge", candidate_version=version)
    told = output["comparison"]["verdicts"]
    assert (told["latency_ms"], told["accuracy with nulls"], told["accuracy"]) == ("no_data", "no_data", "improved")
    assert "no model is run" in item(output, "comparison/latency_ms")["statement"]


def test_candidate_without_a_version_cannot_be_in_the_table(tmp_path: Path) -> None:
    world, _ = with_table(tmp_path, table("1", "2"))
    output = world.run()
    assert output["deploymentDecision"]["decision"] == "manual_review"
    assert "predictions_version_unknown" in codes(output)
