"""One suite for every drift-detective, then what only the local one measures."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tools.adapters import evidently_report
from tools.adapters.drift_local import LocalDriftDetective
from tools.adapters.memory_peers import ScriptedDriftDetective, ScriptedModelEvaluator
from tools.contracts.peers import (
    DriftReply,
    DriftReport,
    DriftRequest,
    DriftThresholds,
    Envelope,
    EvaluationConfig,
    EvaluationReply,
    EvaluationRequest,
    FeatureDrift,
    MonitoringConfig,
    PerformanceClaim,
)
from tools.contracts.profile import DriftTrigger, TriggersSpec
from tools.errors import BadInput, Unavailable
from tools.ports import DriftDetective
from tools.staleness import DATA_SET, assess

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=5)
SAME = DriftReply(
    drift_report=DriftReport(
        overall_drift_score=0.0,
        feature_drift=(FeatureDrift(feature="x", drift_score=0.0, drift_type="data_drift", severity="none"),),
    ),
    alerts=(),
    recommendations=(),
)


def rows(n: int, seed: int, **columns: Any) -> pa.Table:
    rng = np.random.default_rng(seed)
    content: dict[str, Any] = {
        "x": rng.normal(50, 5, n),
        "y": rng.poisson(4, n),
        "city": rng.choice(["a", "b", "c"], n),
        "flag": rng.random(n) < 0.3,
    }
    content |= columns
    return pa.table({k: v for k, v in content.items() if v is not None})


def saved(folder: Path, name: str, table: pa.Table) -> str:
    path = folder / f"{name}.parquet"
    pq.write_table(table, path, row_group_size=500)
    return str(path)


def ask(reference: str | None, current: str | None, **fields: Any) -> Envelope[DriftRequest]:
    thresholds = fields.pop("thresholds", None)
    config = MonitoringConfig(reference_data=reference, current_data_window=current, **fields)
    return Envelope[DriftRequest](
        schema_version="1.0",
        run_id="run-1",
        model_id="prices",
        model_version="6",
        data_window_digest="abc",
        sent_at=NOW,
        sender="retraining-orchestrator",
        payload=DriftRequest(model_id="prices", monitoring_config=config, thresholds=thresholds),
    )


def local(**options: Any) -> LocalDriftDetective:
    return LocalDriftDetective(lambda: LATER, **({"html": False} | options))


def compare(folder: Path, reference: pa.Table, current: pa.Table, **fields: Any) -> DriftReply:
    request = ask(saved(folder, "reference", reference), saved(folder, "current", current), **fields)
    return local().detect(request, folder).payload


def column(reply: DriftReply, name: str) -> FeatureDrift:
    return next(f for f in reply.drift_report.feature_drift if f.feature == name)


DETECTIVES: dict[str, Callable[[], DriftDetective]] = {"local": local, "scripted": lambda: ScriptedDriftDetective(SAME)}


@pytest.fixture(params=DETECTIVES.values(), ids=list(DETECTIVES))
def detective(request: pytest.FixtureRequest) -> DriftDetective:
    return request.param()


def test_reply_is_about_the_run_that_was_asked_for(detective: DriftDetective, tmp_path: Path):
    request = ask(saved(tmp_path, "a", rows(500, 1)), saved(tmp_path, "b", rows(300, 2)))
    reply = detective.detect(request, tmp_path)
    about = (reply.run_id, reply.model_id, reply.model_version, reply.data_window_digest, reply.schema_version)
    assert about == ("run-1", "prices", "6", "abc", "1.0")
    assert reply.sender.startswith("drift-detective")
    assert reply.sent_at >= request.sent_at


def test_reply_survives_the_wire(detective: DriftDetective, tmp_path: Path):
    reply = detective.detect(ask(saved(tmp_path, "a", rows(500, 1)), saved(tmp_path, "b", rows(300, 2))), tmp_path)
    content = reply.to_json_dict()
    assert {"driftReport", "alerts", "recommendations"} <= content["payload"].keys()
    assert Envelope[DriftReply].model_validate(content) == reply


def test_reply_without_drift_leaves_the_drift_rule_ok(detective: DriftDetective, tmp_path: Path):
    reply = detective.detect(ask(saved(tmp_path, "a", rows(500, 1)), saved(tmp_path, "b", rows(300, 2))), tmp_path)
    report = assess(
        profile_triggers=TriggersSpec(drift=DriftTrigger(), performance=None),
        trained_until=None,
        newest_row=None,
        as_of=NOW,
        drift=reply.payload,
        drift_failure=None,
        performance=None,
        performance_failure=None,
        primary="accuracy",
        target="y",
    )
    assert (report.verdict, report.signals[0].subject, report.signals[0].outcome) == ("fresh", DATA_SET, "ok")
    assert {s.outcome for s in report.signals if s.rule == "drift"} == {"ok"}


# --- local -----------------------------------------------------------------------------------------------------


def test_undrifted_windows_of_unequal_size_show_no_drift(tmp_path: Path):
    reply = compare(tmp_path, rows(1_100, 1), rows(80, 2))
    assert reply.drift_report.overall_drift_score == 0.0
    assert [(f.feature, f.severity) for f in reply.drift_report.feature_drift] == [
        ("x", "none"),
        ("y", "none"),
        ("city", "none"),
        ("flag", "none"),
    ]
    assert [(a.type, a.triggered) for a in reply.alerts] == [("data_drift", False)]
    assert [r.action for r in reply.recommendations] == ["keep_watching"]


def test_moved_columns_are_named_with_score_p_value_and_rows(tmp_path: Path):
    moved = rows(400, 2, x=np.random.default_rng(3).normal(60, 5, 400), city=np.array(["c"] * 400))
    reply = compare(tmp_path, rows(1_000, 1), moved, thresholds=DriftThresholds(data_drift=0.5))
    assert reply.drift_report.overall_drift_score == 0.5
    found = column(reply, "x")
    assert (found.drift_type, found.severity, found.reference_rows, found.current_rows) == (
        "data_drift",
        "drifted",
        1_000,
        400,
    )
    assert found.drift_score is not None
    assert found.p_value is not None
    assert (found.drift_score > 0.4, found.p_value < 1e-6) == (True, True)
    assert reply.root_cause is not None
    assert "x" in reply.root_cause.hypothesis
    assert "city" in reply.root_cause.hypothesis
    assert [(a.type, a.severity, a.triggered) for a in reply.alerts] == [
        ("data_drift", "ticket", True),
        ("data_drift", "digest", True),
        ("vanished_category", "digest", True),
    ]
    assert [r.action for r in reply.recommendations] == ["wait_for_labels"]


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "gone": ({"x": None}, "vanished"),
    "all null": ({"x": pa.nulls(400, pa.float64())}, "null_share"),
    "all null and without a type": ({"x": pa.nulls(400)}, "null_share"),
    "a third null": ({"x": pa.array([None if i % 3 == 0 else 50 + (i % 10) - 5 for i in range(400)])}, "null_share"),
    "another unit": ({"x": np.random.default_rng(5).normal(50, 5, 400) * 1_000}, "unit"),
    "text for numbers": ({"x": [str(i) for i in range(400)]}, "type_change"),
    "numbers for text": ({"city": np.arange(400)}, "type_change"),
    "infinite": ({"x": np.where(np.arange(400) % 2 == 0, np.inf, 50.0)}, "infinite"),
}


@pytest.mark.parametrize(("change", "drift_type"), BROKEN.values(), ids=list(BROKEN))
def test_broken_column_is_named_and_asks_for_the_data_to_be_fixed(
    tmp_path: Path, change: dict[str, Any], drift_type: str
):
    reply = compare(tmp_path, rows(1_000, 1), rows(400, 2, **change))
    found = column(reply, next(iter(change)))
    assert (found.drift_type, found.severity) == (drift_type, "drifted")
    assert [r.action for r in reply.recommendations] == ["fix_data"]
    assert drift_type in [a.type for a in reply.alerts if a.triggered]


def test_too_few_rows_could_not_tell_and_give_no_score(tmp_path: Path):
    reply = compare(tmp_path, rows(1_000, 1), rows(20, 2))
    assert {f.severity for f in reply.drift_report.feature_drift} == {"could_not_tell"}
    assert reply.drift_report.overall_drift_score is None
    assert [(a.severity, a.triggered) for a in reply.alerts] == [("digest", True)]
    assert "could be measured" in reply.alerts[0].message


def test_window_with_no_rows_could_not_be_measured(tmp_path: Path):
    reply = compare(tmp_path, rows(1_000, 1), rows(0, 2))
    assert {f.severity for f in reply.drift_report.feature_drift} == {"could_not_measure"}
    assert reply.drift_report.overall_drift_score is None


def test_only_the_listed_features_are_compared_and_a_missing_one_has_vanished(tmp_path: Path):
    reply = compare(tmp_path, rows(1_000, 1), rows(400, 2), features=("y", "nowhere"))
    assert [(f.feature, f.drift_type, f.severity) for f in reply.drift_report.feature_drift] == [
        ("y", "data_drift", "none"),
        ("nowhere", "vanished", "drifted"),
    ]


def test_column_that_the_reference_lacks_could_not_be_measured(tmp_path: Path):
    reply = compare(tmp_path, rows(1_000, 1), rows(400, 2, new=np.arange(400)), features=("x", "new"))
    assert (column(reply, "new").severity, column(reply, "x").severity) == ("could_not_measure", "none")


def test_our_own_columns_are_not_features(tmp_path: Path):
    hashed = rows(100, 1).append_column("__row_hash", pa.array([f"h{i}" for i in range(100)]))
    assert "__row_hash" not in [f.feature for f in compare(tmp_path, hashed, hashed).drift_report.feature_drift]


def test_every_arrow_type_is_compared_or_named(tmp_path: Path):
    start = datetime(2026, 1, 1)  # noqa: DTZ001 - naive columns occur
    table = pa.table(
        {
            "decimal": pa.array([Decimal(i % 7) / 4 for i in range(200)]),
            "dictionary": pa.array([f"c{i % 3}" for i in range(200)]).dictionary_encode(),
            "large": pa.array([f"c{i % 3}" for i in range(200)], pa.large_string()),
            "half": pa.array(np.arange(200, dtype=np.float16)),
            "naive": pa.array([start + timedelta(hours=i) for i in range(200)]),
            "aware": pa.array([NOW + timedelta(hours=i) for i in range(200)]),
            "date": pa.array([(start + timedelta(days=i)).date() for i in range(200)]),
            "time": pa.array([(start + timedelta(minutes=i)).time() for i in range(200)]),
            "span": pa.array([timedelta(minutes=i) for i in range(200)]),
            "list": pa.array([[i] for i in range(200)]),
            "nothing": pa.nulls(200),
        }
    )
    reply = compare(tmp_path, table, table)
    unmeasured = {f.feature for f in reply.drift_report.feature_drift if f.severity == "could_not_measure"}
    assert unmeasured == {"list", "nothing"}
    assert {f.severity for f in reply.drift_report.feature_drift if f.feature not in unmeasured} == {"none"}


def test_large_windows_are_sampled_evenly_over_the_whole_file(tmp_path: Path):
    # The second half moved: the first rows alone would show nothing.
    steps = np.concatenate([np.zeros(5_000), np.ones(5_000)])
    reference, current = pa.table({"x": np.zeros(10_000)}), pa.table({"x": steps})
    request = ask(saved(tmp_path, "a", reference), saved(tmp_path, "b", current))
    reply = local(max_rows=1_000).detect(request, tmp_path).payload
    found = column(reply, "x")
    assert (found.reference_rows, found.current_rows, found.severity) == (1_000, 1_000, "drifted")
    half = local().detect(
        ask(request.payload.monitoring_config.reference_data, saved(tmp_path, "c", current)), tmp_path
    )
    assert column(half.payload, "x").drift_score == pytest.approx(found.drift_score, abs=0.01)


def test_least_effect_of_the_request_is_heard(tmp_path: Path):
    shifted = rows(5_000, 2, x=np.random.default_rng(3).normal(51.5, 5, 5_000))
    strict = compare(tmp_path, rows(5_000, 1), shifted, thresholds=DriftThresholds(min_effect=0.05))
    lenient = compare(tmp_path, rows(5_000, 1), shifted, thresholds=DriftThresholds(min_effect=0.5))
    assert (column(strict, "x").severity, column(lenient, "x").severity) == ("drifted", "none")


@pytest.mark.parametrize("side", ["reference", "current"])
@pytest.mark.parametrize("fault", ["unnamed", "missing", "garbage", "folder"])
def test_window_that_cannot_be_read_is_unavailable_and_named(tmp_path: Path, side: str, fault: str):
    good = saved(tmp_path, "good", rows(100, 1))
    (tmp_path / "garbage.parquet").write_text("not parquet")
    bad = {
        "unnamed": None,
        "missing": str(tmp_path / "missing.parquet"),
        "garbage": str(tmp_path / "garbage.parquet"),
        "folder": str(tmp_path),
    }[fault]
    request = ask(bad, good) if side == "reference" else ask(good, bad)
    with pytest.raises(Unavailable, match="referenceData" if side == "reference" else "currentDataWindow"):
        local().detect(request, tmp_path)


def test_html_report_is_written_for_columns_that_would_break_evidently(tmp_path: Path):
    nasty = rows(
        400,
        2,
        x=np.where(np.arange(400) % 50 == 0, np.inf, 50.0),
        y=[str(i) for i in range(400)],
        empty=pa.nulls(400, pa.float64()),
        gone=None,
    )
    reference = rows(1_000, 1, empty=np.ones(1_000), gone=np.ones(1_000))
    thresholds = DriftThresholds(data_drift=0.37)
    request = ask(saved(tmp_path, "a", reference), saved(tmp_path, "b", nasty), thresholds=thresholds)
    reply = local(html=True).detect(request, tmp_path / "reports").payload
    path = tmp_path / "reports" / "drift.html"
    assert reply.report_path == str(path)
    page = path.read_text(encoding="utf-8")
    assert "<html" in page[:5_000].lower()
    assert "detection threshold is 0.37" in page
    assert "report_missing" not in [a.type for a in reply.alerts]


def test_report_that_cannot_be_written_is_noted_and_the_numbers_stand(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    request = ask(saved(tmp_path, "a", rows(500, 1)), saved(tmp_path, "b", rows(300, 2)))
    reply = local(html=True).detect(request, tmp_path / "file").payload
    assert (reply.report_path, reply.drift_report.overall_drift_score) == (None, 0.0)
    notes = [a.message for a in reply.alerts if a.type == "report_missing"]
    assert len(notes) == 1
    assert "no HTML report" in notes[0]


def test_report_without_a_comparable_column_is_unavailable(tmp_path: Path):
    frame = pa.table({"x": pa.nulls(5, pa.float64())}).to_pandas()
    with pytest.raises(Unavailable, match="no column can be shown"):
        evidently_report.write_report(frame, frame, tmp_path / "r.html", ["x", "missing"])


# --- what moved, since when, and why -----------------------------------------------------------------------------


def dated(n: int, seed: int, **columns: Any) -> pa.Table:
    """Rows an hour apart, with a champion's outputs and mature labels."""
    g = np.random.default_rng(seed)
    up = g.random(n)
    hours = np.datetime64("2026-03-01") + np.arange(n) * np.timedelta64(1, "h")
    own = {
        "at": hours.astype("datetime64[us]"),
        "label": (g.random(n) < up).astype(int),
        "__prediction": (up > 0.5).astype(int),
        "__proba:0": 1 - up,
        "__proba:1": up,
        "__mature": np.arange(n) < n * 0.8,
    }
    return rows(n, seed, **(own | columns))


def told(folder: Path, current: pa.Table, **fields: Any) -> DriftReply:
    given = {"features": ("x", "y", "city", "flag"), "event_time": "at", "target": "label", "task": "classification"}
    baseline = saved(folder, "baseline", dated(1_500, 7))
    return compare(folder, dated(3_000, 1), current, **({"baseline_data": baseline} | given | fields))


def test_predictions_and_labels_that_hold_are_measured_good(tmp_path: Path):
    report = told(tmp_path, dated(1_000, 2)).drift_report
    assert report.prediction_drift is not None
    assert report.label_drift is not None
    assert (report.prediction_drift.severity, report.label_drift.severity) == ("none", "none")
    assert report.label_drift.current_rows == 800  # only the mature ones


def test_predictions_and_labels_that_moved_are_tickets(tmp_path: Path):
    up = np.random.default_rng(3).beta(6, 2, 1_000)
    moved = {"__proba:1": up, "__proba:0": 1 - up, "__prediction": (up > 0.5).astype(int), "label": np.ones(1_000, int)}
    reply = told(tmp_path, dated(1_000, 2, **moved))
    assert reply.drift_report.prediction_drift is not None
    assert reply.drift_report.prediction_drift.severity == "drifted"
    assert {a.type for a in reply.alerts if a.severity == "ticket"} == {"prediction_drift", "label_drift"}
    assert reply.root_cause is not None
    assert "predictions moved" in reply.root_cause.hypothesis


def test_rows_without_an_output_are_no_drift_of_predictions(tmp_path: Path):
    blank = pa.array([None if i < 500 else 1 - i % 2 for i in range(1_000)])
    found = told(tmp_path, dated(1_000, 2, __prediction=blank)).drift_report.prediction_drift
    assert found is not None
    assert found.severity == "none"


def test_without_baseline_rows_predictions_and_labels_could_not_be_measured(tmp_path: Path):
    report = told(tmp_path, dated(1_000, 2), baseline_data=None).drift_report
    assert report.prediction_drift is not None
    assert report.label_drift is not None
    assert (report.prediction_drift.severity, report.label_drift.severity) == ("could_not_measure", "could_not_measure")


def test_columns_that_moved_together_are_named_together_with_the_time(tmp_path: Path):
    n = 1_000
    late = np.arange(n) >= 600
    g = np.random.default_rng(4)
    moved = {"x": g.normal(50, 5, n) + 8 * late, "y": g.poisson(4, n) + 4 * late}
    reply = told(tmp_path, dated(n, 2, **moved))
    assert column(reply, "x").since == datetime(2026, 3, 26, tzinfo=UTC)
    assert (column(reply, "x").statement or "").endswith("; since 2026-03-26 00:00.")
    assert reply.root_cause is not None
    assert "x and y, both since 2026-03-26 00:00" in reply.root_cause.hypothesis.replace("y and x", "x and y")
    assert column(reply, "city").since is None


@pytest.mark.parametrize(
    ("outcome", "drifts", "says", "action"),
    [
        ("bad", False, "The concept moved", "retrain"),
        ("bad", True, "Features and concept moved", "retrain"),
        ("ok", True, "The population moved, performance holds", "check_performance"),
        ("could_not_measure", True, "The distribution moved in", "wait_for_labels"),
        ("ok", False, "No column drifted", "keep_watching"),
    ],
)
def test_cause_follows_from_features_and_performance(
    tmp_path: Path, outcome: str, drifts: bool, says: str, action: str
):
    g = np.random.default_rng(5)
    moved = {"x": g.normal(60, 5, 800), "y": g.poisson(9, 800)} if drifts else {}
    claim = PerformanceClaim(metric="accuracy", outcome=outcome, statement="accuracy was looked at.")
    reply = told(tmp_path, dated(800, 2, **moved), performance=claim)
    assert reply.root_cause is not None
    assert says in reply.root_cause.hypothesis
    assert [r.action for r in reply.recommendations] == [action]
    assert ("performance" in [a.type for a in reply.alerts if a.severity == "page"]) == (outcome == "bad")
    assert (reply.drift_report.concept_drift is None) == (outcome == "could_not_measure")


def test_importance_decides_what_a_drifted_column_counts(tmp_path: Path):
    moved = dated(800, 2, x=np.random.default_rng(5).normal(60, 5, 800))
    most = told(tmp_path, moved, importance={"x": 0.7, "y": 0.1, "city": 0.1, "flag": 0.1})
    least = told(tmp_path, moved, importance={"x": 0.01, "y": 0.33, "city": 0.33, "flag": 0.33})
    assert most.drift_report.overall_drift_score == pytest.approx(0.7)
    assert least.drift_report.overall_drift_score == pytest.approx(0.01)
    assert column(most, "x").weight == pytest.approx(0.7)


def test_times_are_compared_by_hour_and_distance_not_by_moving_on(tmp_path: Path):
    def booked(n: int, seed: int, night: bool = False) -> pa.Table:
        g = np.random.default_rng(seed)
        at = np.datetime64("2026-03-01") + (seed * n + np.arange(n)) * np.timedelta64(1, "h")
        hours = np.where(night, 3, g.integers(8, 18, n)) - np.arange(n) % 24
        return pa.table(
            {
                "at": at.astype("datetime64[us]"),
                "booked": (at + hours * np.timedelta64(1, "h")).astype("datetime64[us]"),
            }
        )

    same = compare(tmp_path, booked(1_200, 1), booked(1_200, 2), features=("booked",), event_time="at")
    moved = compare(tmp_path, booked(1_200, 1), booked(1_200, 2, night=True), features=("booked",), event_time="at")
    assert column(same, "booked").severity == "none"
    assert column(moved, "booked").severity == "drifted"
    assert "hour" in (column(moved, "booked").statement or "")


def test_free_text_is_compared_by_what_it_looks_like(tmp_path: Path):
    def notes(n: int, seed: int, words: int) -> pa.Table:
        g = np.random.default_rng(seed)
        some = np.array(["parcel", "came", "late", "and", "wet", "please", "send", "another", "one", "soon"])
        return pa.table({"note": [" ".join(g.choice(some, words + int(g.integers(0, 5)))) for _ in range(n)]})

    same = compare(tmp_path, notes(900, 1, 12), notes(400, 2, 12))
    longer = compare(tmp_path, notes(900, 1, 12), notes(400, 2, 25))
    assert (column(same, "note").severity, column(longer, "note").severity) == ("none", "drifted")
    assert "length" in (column(longer, "note").statement or "") or "words" in (column(longer, "note").statement or "")


# --- scripted --------------------------------------------------------------------------------------------------


def test_scripted_detective_gives_its_answers_in_order_and_repeats_the_last(tmp_path: Path):
    changed = SAME.model_copy(update={"drift_report": DriftReport(overall_drift_score=0.9)})
    foreign = Envelope[DriftReply](
        schema_version="1.0", run_id="other", model_id="m", sent_at=NOW, sender="x", payload=SAME
    )
    detective = ScriptedDriftDetective(SAME, changed, foreign)
    request = ask(None, None)
    replies = [detective.detect(request, tmp_path) for _ in range(4)]
    assert [r.payload for r in replies] == [SAME, changed, SAME, SAME]
    assert [r.run_id for r in replies] == ["run-1", "run-1", "other", "other"]
    assert detective.requests == [request] * 4


def test_scripted_detective_raises_the_error_it_was_given(tmp_path: Path):
    with pytest.raises(Unavailable, match="asleep"):
        ScriptedDriftDetective(Unavailable("asleep")).detect(ask(None, None), tmp_path)


def test_scripted_peer_without_an_answer_is_refused():
    with pytest.raises(BadInput, match="at least one answer"):
        ScriptedDriftDetective()


def test_scripted_evaluator_answers_about_the_run_that_was_asked_for():
    reply = EvaluationReply(success=True, overall_metrics={"accuracy": 0.9})
    evaluator = ScriptedModelEvaluator(reply)
    request = Envelope[EvaluationRequest](
        schema_version="1.0",
        run_id="run-1",
        model_id="prices",
        sent_at=NOW,
        sender="retraining-orchestrator",
        payload=EvaluationRequest(
            model_path="models:/prices/7",
            test_data_path="rows.parquet",
            target_column="y",
            prediction_column="prediction",
            task_type="classification",
            evaluation_config=EvaluationConfig(metrics=("accuracy",)),
        ),
    )
    answer = evaluator.evaluate(request)
    assert (answer.run_id, answer.payload, evaluator.requests) == ("run-1", reply, [request])
