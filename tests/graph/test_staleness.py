"""The whole check over the in-memory world: what it measures, what it records, and what it does when a part fails."""

import json
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agent.services import assess_staleness, recent
from agent.services.champion import find_champion
from agent.state import Run
from tests.graph.world import NAME, NO_DRIFT, PROFILE, ROWS, Broken, World, add_version, make_world
from tests.graph.world import with_deps as seen_with
from tests.streams import CHANGE, NOW
from tools.adapters.memory_peers import ScriptedDriftDetective
from tools.contracts.evidence import Signal, StalenessReport
from tools.contracts.peers import DriftRequest, Envelope
from tools.contracts.training import ScoringResult
from tools.errors import RetrainingError, Unavailable

RULES = {"recent": "20d", "drift": {}, "performance": {"max_loss": 0.2}}
"""Of some 230 rows: less of a loss could not be told from none."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path, triggers=RULES)


def check(world: World) -> StalenessReport:
    profile = world.deps.load_profile("prices")
    run = Run("c1", world.order(), profile, "", find_champion(world.deps, profile))
    return assess_staleness.measure(world.deps, run)[0]


def signal(report: StalenessReport, rule: str) -> Signal:
    return next(s for s in report.signals if s.rule == rule)


def outcomes(report: StalenessReport) -> dict[str, str]:
    return {s.rule: s.outcome for s in reversed(report.signals)}


def asked(world: World) -> Envelope[DriftRequest]:
    detective: Any = world.deps.drift_detective
    return detective.requests[-1]


def window_of(world: World) -> Any:
    """The rows that the detective was given last."""
    return pd.read_parquet(str(asked(world).payload.monitoring_config.current_data_window))


def artifacts(world: World, version: str) -> dict[str, bytes]:
    run = world.registry.get_version(NAME, version).tags["retraining.tracking_run"]
    return world.tracking.runs[run].artifacts


def baseline_of(world: World, version: str) -> Any:
    return pd.read_parquet(BytesIO(artifacts(world, version)["lineage/baseline.parquet"]))


# --- what a version keeps


def test_adoption_keeps_rows_with_the_versions_outputs_and_what_it_rests_on(world: World) -> None:
    rows = baseline_of(world, "1")

    assert {"at", "a", "b", "c", "y", "__row_hash", "__mature", "__prediction", "__proba:0", "__proba:1"} == set(rows)
    assert rows["__mature"].all()
    assert (rows["__prediction"] == (rows["a"] > 0).astype(int)).all()
    assert rows["at"].min() > pd.Timestamp(CHANGE.replace(tzinfo=None)) - pd.Timedelta("1D")
    assert json.loads(artifacts(world, "1")["lineage/importance.json"]) == {"a": 1.0, "b": 0.0, "c": 0.0}


def test_promotion_keeps_the_holdout_as_the_new_champion_scored_it(world: World) -> None:
    world.run()

    rows = baseline_of(world, "2")
    assert (rows["__prediction"] == (rows["b"] > 0).astype(int)).all()
    assert json.loads(artifacts(world, "2")["lineage/importance.json"])["b"] == 1.0


def test_importance_that_cannot_be_measured_stops_no_promotion(world: World) -> None:
    class Tired:
        """Scores everything but shuffled copies."""

        def digest(self, model_uri: str) -> str | None:
            return world.scorer.digest(model_uri)

        def score(self, job: Any) -> ScoringResult:
            if "shuffled" in job.rows:
                return ScoringResult(status="timed_out", statement="It ran into its limit.")
            return world.scorer.score(job)

    output = seen_with(world, scorer=Tired()).run()

    assert output["rollout"]["phase"] == "promoted"
    assert "lineage/baseline.parquet" in artifacts(world, "2")
    assert "lineage/importance.json" not in artifacts(world, "2")


def test_a_model_that_ignores_its_features_has_no_importance(world: World) -> None:
    add_version(world, lambda frame: {"prediction": [1] * len(frame)})
    world.registry.set_alias(NAME, "champion", "2")
    from agent.services import adopt

    profile = world.deps.load_profile("prices")
    rows = world.data.write_labelled(profile.data, None, CHANGE, CHANGE, world.deps.run_dir("x") / "rows.parquet")
    adopt.adopt(world.deps, profile, training=rows, as_of=NOW, by="test")

    assert "lineage/baseline.parquet" in artifacts(world, "2")
    assert "lineage/importance.json" not in artifacts(world, "2")


# --- what the check asks and measures


def test_detective_is_given_everything_that_the_contract_has_a_place_for(world: World) -> None:
    check(world)

    request = asked(world)
    config = request.payload.monitoring_config
    assert (config.event_time, config.target, config.task, config.checks_a_year) == ("at", "y", "classification", 365)
    assert config.importance == {"a": 1.0, "b": 0.0, "c": 0.0}
    assert config.performance is not None
    assert (config.performance.metric, config.performance.outcome) == ("accuracy", "ok")
    assert request.payload.thresholds is not None
    assert request.payload.thresholds.performance_drop == 0.2


def test_window_goes_to_the_detective_with_outputs_and_what_is_mature(world: World) -> None:
    written: list[pd.DataFrame] = []

    class Reading(ScriptedDriftDetective):
        def detect(self, request: Any, report_folder: Path) -> Any:
            written.append(pd.read_parquet(request.payload.monitoring_config.current_data_window))
            written.append(pd.read_parquet(request.payload.monitoring_config.baseline_data))
            return super().detect(request, report_folder)

    check(seen_with(world, drift_detective=Reading(NO_DRIFT)))

    current, baseline = written
    assert (current["__prediction"] == (current["a"] > 0).astype(int)).all()
    assert 0 < (~current["__mature"]).sum() < len(current)
    assert set(current.columns) >= set(baseline.columns)


def test_profile_that_wants_neither_weights_nor_predictions_is_heard(tmp_path: Path) -> None:
    rules = {"recent": "20d", "drift": {"predictions": False, "weigh": False}, "performance": {"max_loss": 0.03}}
    world = make_world(tmp_path, triggers=rules)
    report = check(world)

    config = asked(world).payload.monitoring_config
    assert (config.baseline_data, config.importance) == (None, None)
    assert "prediction_drift" not in outcomes(report)


def test_window_is_scored_once(world: World) -> None:
    world.scorer.jobs.clear()
    check(world)
    assert [Path(job.output).name for job in world.scorer.jobs] == ["current-scored.parquet"]


def test_sampled_window_with_few_labels_takes_more_of_them_into_the_same_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "WINDOW_ROWS", 100)
    world = make_world(tmp_path, data=PROFILE["data"] | {"label_maturity": "10d"})
    world.scorer.jobs.clear()
    report = check(world)

    (job,) = world.scorer.jobs
    assert Path(job.rows).name == "current-and-labelled.parquet"
    assert signal(report, "performance").n == 10 * 12 + 1  # all that are mature, not those of the sample alone
    assert len(window_of(world)) == 100


def test_whole_window_takes_no_second_sample(world: World) -> None:
    check(world)
    assert Path(world.scorer.jobs[-1].rows).name == "current.parquet"


def test_champion_that_fell_is_found_and_its_twin_that_holds_is_not(tmp_path: Path) -> None:
    """A champion that goes by `b` was right until somebody swapped the sign of the labels."""
    fallen, holding = make_world(tmp_path / "a", triggers=RULES), make_world(tmp_path / "b", triggers=RULES)
    for world in (fallen, holding):
        world.run()
    turned = ROWS.copy()
    late = turned["at"] >= "2026-06-15"
    turned.loc[late, "y"] = 1 - turned.loc[late, "y"]
    fallen.data.frames["rows"] = turned

    bad, good = check(fallen), check(holding)

    assert (outcomes(bad)["performance"], bad.verdict, bad.recommendation) == ("bad", "stale", "retrain")
    assert (outcomes(good)["performance"], good.verdict, good.recommendation) == ("ok", "fresh", "keep_watching")
    since = signal(bad, "performance").since
    assert since is not None
    assert abs((since - NOW).days + 16) <= 2


def test_rows_that_the_champion_was_trained_on_say_nothing_about_it(world: World) -> None:
    until = NOW - timedelta(days=1)
    world.registry.set_tags(NAME, "1", {"retraining.training_end": until.isoformat()})

    found = signal(check(world), "performance")

    assert found.outcome == "could_not_measure"
    assert "were trained on" in found.statement
    written = window_of(world)
    assert written["__prediction"].notna().sum() == 11  # those of the last day
    assert written["a"].notna().all()


def test_rows_without_a_mature_label_are_estimated(tmp_path: Path) -> None:
    world = make_world(tmp_path, data=PROFILE["data"] | {"label_maturity": "10d"})
    found = signal(check(world), "estimated_performance")

    # Half of the baseline rows are of before the change, when the champion was right nine times of ten.
    assert found.value == pytest.approx(0.2, abs=0.1)
    assert (found.n, found.method) == (119, "confidence-based estimation")


def test_report_says_what_it_cost(world: World) -> None:
    effort = check(world).effort
    assert effort is not None
    assert effort.queries > 0


def test_every_row_that_was_held_in_memory_is_in_the_cost_once(world: World) -> None:
    effort = check(world).effort
    config = asked(world).payload.monitoring_config
    held = [config.current_data_window, config.reference_data, config.baseline_data]
    rows = [len(pd.read_parquet(str(path))) for path in held]

    assert effort is not None
    assert min(rows) > 30
    assert sum(rows) <= effort.rows_in_memory < sum(rows) + 10  # a summary's few rows besides


def test_rows_that_nobody_read_cost_nothing(tmp_path: Path) -> None:
    effort = check(make_world(tmp_path, triggers=RULES | {"drift": None, "performance": None})).effort

    assert effort is not None
    assert effort.rows_in_memory < 10


def test_budget_that_is_spent_leaves_the_rest_unmeasured_and_says_so(tmp_path: Path) -> None:
    world = make_world(tmp_path, triggers=RULES, validation=PROFILE["validation"] | {"max_queries": 1})
    report = check(world)

    assert report.verdict == "could_not_measure"
    assert "budget of 1 queries is spent" in signal(report, "performance").statement
    assert outcomes(report)["label_delay"] == "ok"  # what was asked first


# --- labels


def test_labels_that_are_not_due_yet_are_waited_for(tmp_path: Path) -> None:
    world = make_world(tmp_path, data=PROFILE["data"] | {"label_maturity": "30d"})
    report = check(world)

    assert outcomes(report)["label_delay"] == "ok"
    assert (outcomes(report)["performance"], report.recommendation) == ("could_not_measure", "wait_for_labels")


def test_labels_that_stopped_ask_for_the_data_to_be_fixed_and_alert(world: World) -> None:
    silent = ROWS.copy()
    silent["y"] = silent["y"].astype("Int64").mask(silent["at"] >= "2026-06-20")
    world.data.frames["rows"] = silent

    report = check(world)
    output = world.run(request={"retrainingConfig": {"trigger": "drift"}})

    assert (outcomes(report)["label_delay"], report.recommendation) == ("bad", "fix_data")
    assert any(warning.startswith("alert: Labels stopped") for warning in output["warnings"])
    assert output["retrainingResult"]["status"] == "skipped"


# --- parts that fail


@pytest.mark.parametrize(
    ("method", "rules"),
    [
        ("write_window", {"drift", "performance", "prediction_drift", "label_drift", "estimated_performance"}),
        ("summary", {"label_delay"}),
    ],
)
def test_source_that_disappears_costs_what_rests_on_it(world: World, method: str, rules: set[str]) -> None:
    report = check(seen_with(world, data=Broken(world.data, method)))

    lost = {s.rule for s in report.signals if "in mid-read" in s.statement}
    assert lost == rules
    assert all(s.outcome == "could_not_measure" for s in report.signals if s.rule in rules)


def test_scorer_that_fails_costs_outputs_and_leaves_drift(world: World) -> None:
    world.scorer.models["models:/prices.eu.hourly/1"] = ScoringResult(status="failed", statement="it ran out of memory")
    report = check(world)

    found = outcomes(report)
    assert found["drift"] == "ok"
    for rule in ("performance", "prediction_drift", "estimated_performance"):
        assert found[rule] == "could_not_measure"
        assert "out of memory" in signal(report, rule).statement
    assert report.verdict == "could_not_measure"


def test_detective_that_fails_leaves_performance(world: World) -> None:
    report = check(seen_with(world, drift_detective=ScriptedDriftDetective(Unavailable("the drift-detective is down"))))

    assert (outcomes(report)["drift"], outcomes(report)["performance"]) == ("could_not_measure", "ok")
    assert "is down" in signal(report, "drift").statement


def test_answer_about_another_window_does_not_count(world: World) -> None:
    mine = Envelope[Any](
        schema_version="1",
        run_id="c1",
        model_id="prices",
        data_window_digest="x",
        sent_at=NOW,
        sender="d",
        payload=NO_DRIFT,
    )
    report = check(seen_with(world, drift_detective=ScriptedDriftDetective(mine)))
    assert "another run, model or window" in signal(report, "drift").statement


def test_version_without_baseline_rows_is_judged_by_its_recorded_metrics_and_says_what_records_them(
    world: World,
) -> None:
    del artifacts(world, "1")["lineage/baseline.parquet"]
    del artifacts(world, "1")["lineage/importance.json"]
    report = check(world)

    assert outcomes(report)["performance"] == "ok"
    assert "retrain init PROFILE --adopt" in signal(report, "prediction_drift").statement
    assert asked(world).payload.monitoring_config.importance is None


@pytest.mark.parametrize("name", ["baseline.parquet", "importance.json"])
def test_lineage_that_cannot_be_read_costs_what_rests_on_it(world: World, name: str) -> None:
    artifacts(world, "1")[f"lineage/{name}"] = b"PAR1 no such thing"
    report = check(world)

    assert (outcomes(report)["performance"], outcomes(report)["drift"]) == ("ok", "ok")
    config = asked(world).payload.monitoring_config
    if name == "baseline.parquet":
        assert "could not be read" in signal(report, "prediction_drift").statement
        assert config.baseline_data is None
    else:
        assert config.importance is None


def test_registry_that_answers_and_tracking_that_does_not_give_a_report(world: World) -> None:
    world.tracking.failure = Unavailable("the tracking server is down")
    report = check(world)

    assert report.verdict == "could_not_measure"
    assert "tracking server is down" in signal(report, "drift").statement


def test_table_that_is_gone_ends_no_check(world: World) -> None:
    world.data.frames.clear()
    report = check(world)

    assert report.verdict == "could_not_measure"
    assert all(s.outcome == "could_not_measure" for s in report.signals)
    assert report.recommendation == "fix_data"


def test_old_champion_of_a_source_without_recent_rows_is_no_reason_to_train(tmp_path: Path) -> None:
    triggers = {"max_age": "1d", "recent": "20d", "drift": {}, "performance": {"max_loss": 0.2}}
    world = make_world(tmp_path, triggers=triggers)
    frame = world.data.frames[next(iter(world.data.frames))]
    world.data.frames = dict.fromkeys(world.data.frames, frame.iloc[:0])
    report = check(world)

    assert (report.verdict, report.recommendation) == ("stale", "fix_data")
    assert "There are no rows since" in next(s.statement for s in report.signals if s.rule == "freshness")


def test_run_whose_check_fails_in_every_part_still_goes_on_when_somebody_insists(world: World) -> None:
    class Silent(ScriptedDriftDetective):
        def detect(self, request: Any, report_folder: Path) -> Any:
            raise RetrainingError("no answer")

    world.scorer.models["models:/prices.eu.hourly/1"] = ScoringResult(status="failed", statement="broken")
    output = seen_with(world, drift_detective=Silent(NO_DRIFT)).run()
    assert output["retrainingResult"]["status"] == "trained"
