"""The whole machine, every branch. Beside every "nothing was deployed" stands the twin that deploys."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from agent.services import adopt
from tests.graph.world import (
    BETTER,
    BROKEN,
    NAME,
    NO_DRIFT,
    PROFILE,
    ROWS,
    TWIN,
    WORSE,
    World,
    add_version,
    by,
    drift,
    make_world,
)
from tests.graph.world import with_deps as seen_with
from tests.streams import NOW
from tools.adapters.memory_peers import ScriptedDriftDetective, ScriptedModelEvaluator
from tools.adapters.memory_target import MemoryTarget
from tools.adapters.memory_training import ScriptedTrainer, trained
from tools.contracts.peers import EvaluationReply
from tools.contracts.training import ScoringResult, TrainingResult
from tools.errors import BadInput, Conflict, NotFound, RetrainingError, Unavailable

DRIFTED = drift(0.9, "drifted")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def ended(output: dict[str, Any]) -> tuple[str, str, str]:
    """(decision, what became of training, where the rollout stands)."""
    return (
        output["deploymentDecision"]["decision"],
        output["retrainingResult"]["status"],
        output["rollout"]["phase"],
    )


def codes(output: dict[str, Any]) -> list[str]:
    return [reason["code"] for reason in output["deploymentDecision"]["reasons"]]


# --- a candidate and what it is worth


def test_better_candidate_becomes_champion_with_one_version_and_one_move(world: World) -> None:
    output = world.run()

    assert ended(output) == ("deploy", "trained", "promoted")
    assert output["deploymentDecision"]["certainty"] == "clear"
    assert output["comparison"]["intervals"]["accuracy"][0] > 0.02
    assert [version.version for version in world.registry.registrations] == ["2"]
    assert world.moves == [("1", "2")]
    assert world.registry.by_alias(NAME, "last-known-good") == world.registry.get_version(NAME, "1")
    assert [(e.version, e.previous, e.how, e.by) for e in world.store.champions(NAME)] == [
        ("2", "1", "deployed", "policy"),
        ("1", None, "adopted", "test"),
    ]
    assert {effect.status for effect in world.store.effects(output["runId"])} == {"done"}


def test_candidates_judged_again_and_again_on_the_same_rows_ask_for_fresh_labels(tmp_path: Path) -> None:
    world = make_world(tmp_path, trains=TWIN, metrics=PROFILE["metrics"] | {"max_looks": 2})
    ends = [world.run()["deploymentDecision"] for _ in range(3)]

    assert [end["decision"] for end in ends] == ["reject", "reject", "manual_review"]
    assert [reason["code"] for reason in ends[-1]["reasons"]] == ["needs_fresh_labels"]
    assert "fresh labels" in ends[-1]["rationale"]
    alphas = [look.alpha for look in world.deps.store.looks(NAME)]
    assert alphas == [pytest.approx(0.025), pytest.approx(0.05 / 6), 0.0]


def test_better_candidate_still_goes_out_on_the_second_look(tmp_path: Path) -> None:
    twice = ScriptedTrainer(trained(TWIN), trained(BETTER))
    world = seen_with(make_world(tmp_path), trainers={"project": twice})
    world.run()
    output = world.run()

    assert output["deploymentDecision"]["decision"] == "deploy"
    assert "comparison/error_budget" in {item["key"] for item in output["evidence"]}


@pytest.mark.parametrize(("trains", "code"), [(WORSE, "primary_regressed"), (TWIN, "no_gain")])
def test_candidate_that_is_not_better_is_rejected_and_the_champion_stays(
    tmp_path: Path, trains: str, code: str
) -> None:
    world = make_world(tmp_path, trains=trains)

    output = world.run()

    assert ended(output) == ("reject", "trained", "not_started")
    assert codes(output)[0] == code
    assert (world.champion, world.moves) == ("1", [])
    assert world.registry.get_version(NAME, "2").tags["retraining.status"] == "rejected"


def test_reports_of_a_run_are_artifacts_of_one_tracking_run(world: World) -> None:
    output = world.run()

    (tracked,) = [run for run in world.tracking.runs.values() if run.run_id == output["runId"]]
    assert {"output.json", "comparison.json", "validation.json", "staleness.json", "rollout-plan.json"} <= set(
        tracked.artifacts
    )
    assert tracked.status == "FINISHED"


def test_first_model_goes_to_a_person_only_where_the_profile_allows_it(tmp_path: Path) -> None:
    metrics = {"primary": {"name": "accuracy"}, "allow_first_model": True}
    allowed = make_world(tmp_path / "a", champion=False, metrics=metrics)
    refused = make_world(tmp_path / "b", champion=False)

    assert codes(allowed.run()) == ["first_model"]
    assert codes(refused.run()) == ["no_champion"]
    assert (allowed.moves, refused.moves) == ([], [])


# --- triggers


@pytest.mark.parametrize(
    ("trigger", "says", "decision", "training", "code"),
    [
        ("drift", NO_DRIFT, "reject", "skipped", "fresh"),
        ("drift", DRIFTED, "deploy", "trained", "primary_improved"),
        ("drift", Unavailable("the drift-detective is down"), "reject", "skipped", "could_not_measure"),
        ("scheduled", Unavailable("the drift-detective is down"), "deploy", "trained", "primary_improved"),
        ("manual", NO_DRIFT, "deploy", "trained", "primary_improved"),
    ],
)
def test_only_who_insists_or_has_evidence_trains(
    tmp_path: Path, trigger: str, says: Any, decision: str, training: str, code: str
) -> None:
    world = make_world(tmp_path, triggers={"recent": "20d", "drift": {}, "performance": None})
    world = seen_with(world, drift_detective=ScriptedDriftDetective(says))

    output = world.run(request={"retrainingConfig": {"trigger": trigger}})

    assert (ended(output)[:2], codes(output)[0]) == ((decision, training), code)
    assert bool(world.trainer.started) == (training == "trained")


def test_drift_that_could_not_be_measured_leaves_an_alert(tmp_path: Path) -> None:
    world = make_world(tmp_path, triggers={"recent": "20d", "drift": {}, "performance": None})
    world = seen_with(world, drift_detective=ScriptedDriftDetective(Unavailable("the drift-detective is down")))

    output = world.run(request={"retrainingConfig": {"trigger": "drift"}})

    assert any(warning.startswith("alert: ") for warning in output["warnings"])


# --- data


def damaged(**changes: Any) -> pd.DataFrame:
    frame = ROWS.copy()
    recent = frame["at"] >= "2026-06-01"
    for column, change in changes.items():
        frame.loc[recent, column] = change(frame.loc[recent, column])
    return frame


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param(damaged(b=lambda b: b * 1000 + 4000), id="a unit changed"),
        pytest.param(damaged(b=lambda b: b.where(b.index % 3 > 0)), id="a third is null"),
        pytest.param(ROWS.drop(columns="b"), id="a column is gone"),
        pytest.param(ROWS.assign(b=ROWS["b"].map("{:.3f}".format)), id="a column has another type"),
    ],
)
def test_damaged_window_is_rejected_before_any_training(world: World, rows: pd.DataFrame) -> None:
    world.data.frames["rows"] = rows

    output = world.run()

    assert ended(output) == ("reject", "invalid_data", "not_started")
    assert world.trainer.started == []
    assert not world.touched


def test_window_without_rows_is_bad_input_and_the_run_is_on_record_as_failed(world: World) -> None:
    with pytest.raises(BadInput, match="no labelled rows") as caught:
        world.run(request={"retrainingConfig": {"dataWindow": "2020-01-01/2020-06-01"}})

    assert "--as-of" in str(caught.value)
    assert [run.status for run in world.store.list_runs()] == ["failed"]
    assert not world.touched
    assert world.run()["status"] == "finished"  # the lease was given back


def test_labels_that_are_not_mature_are_neither_trained_on_nor_judged_on(tmp_path: Path) -> None:
    world = make_world(tmp_path, data=PROFILE["data"] | {"label_maturity": "10d"})

    output = world.run(request={"retrainingConfig": {"validationStrategy": "latest:20d"}})

    folder = world.deps.run_dir(output["runId"])
    training, holdout = (pd.read_parquet(folder / f"{name}-1.parquet") for name in ("training", "holdout"))
    start = holdout["at"].min()
    assert holdout["at"].max() <= pd.Timestamp("2026-06-21")
    assert training["at"].max() <= start - pd.Timedelta(days=10)


@pytest.mark.parametrize(
    "request_",
    [
        {"retrainingConfig": {"dataWindow": "90 moons"}},
        {"retrainingConfig": {"validationStrategy": "newest"}},
        {"deploymentCriteria": {"guardrailMetrics": ["beauty"]}},
    ],
)
def test_request_that_could_only_fail_later_leaves_no_run_behind(world: World, request_: Any) -> None:
    with pytest.raises(BadInput):
        world.run(request=request_)

    assert world.store.list_runs() == []
    assert not world.touched


def test_rolling_origin_trains_a_model_a_fold_and_registers_only_the_last(world: World) -> None:
    output = world.run(request={"retrainingConfig": {"validationStrategy": "rolling:3x10d"}})

    run_id = output["runId"]
    assert [order.key for order in world.trainer.started] == [f"{run_id}.1", f"{run_id}.2", run_id]
    ends = [str(order.window_end) for order in world.trainer.started]
    assert ends == sorted(ends)
    assert output["comparison"]["holdoutRows"] == 3 * 10 * 12
    assert (ended(output)[0], len(world.registry.registrations)) == ("deploy", 1)


def test_fixed_holdout_is_judged_on_whole_and_nothing_of_its_time_is_trained_on(world: World) -> None:
    fixed = ROWS[ROWS["at"].between("2026-06-05", "2026-06-20")]
    world.data.frames["june"] = fixed

    output = world.run(request={"retrainingConfig": {"validationStrategy": "fixed:june"}})

    training = pd.read_parquet(world.deps.run_dir(output["runId"]) / "training-1.parquet")
    assert output["comparison"]["holdoutRows"] == len(fixed)
    assert training["at"].max() < fixed["at"].min()
    assert ended(output)[0] == "deploy"


# --- training and scoring that go wrong


@pytest.mark.parametrize(
    "result",
    [
        TrainingResult(status="failed", log_tail="boom", statement="The pipeline exited with 1: boom"),
        TrainingResult(status="timed_out", log_tail="…", statement="The pipeline ran into its limit of 60 s."),
        TrainingResult(status="no_model", log_tail="done", statement="The pipeline logged no model."),
    ],
    ids=lambda result: result.status,
)
def test_failed_training_is_a_reject_that_says_why(world: World, result: TrainingResult) -> None:
    output = seen_with(world, trainers={"project": ScriptedTrainer(result)}).run()

    assert ended(output) == ("reject", "failed", "not_started")
    assert codes(output) == ["training_failed"]
    told = output["retrainingResult"]
    assert (told["statement"], told["logTail"]) == (result.statement, result.log_tail)
    assert not world.touched


@pytest.mark.parametrize("side", ["champion", "candidate"])
def test_model_that_cannot_be_scored_is_a_question_never_a_deployment(tmp_path: Path, side: str) -> None:
    world = make_world(tmp_path, mode="recommend")
    failed = ScoringResult(status="failed", statement="it raised ValueError: shapes differ")
    world.scorer.models["models:/prices.eu.hourly/1" if side == "champion" else BETTER] = failed

    output = world.run()

    assert ended(output) == ("manual_review", "trained", "awaiting_approval")
    assert codes(output) == ["scoring_failed"]
    assert not world.touched


def test_candidate_that_cannot_score_is_not_registered_as_if_it_could(world: World) -> None:
    world.scorer.models[BROKEN] = ScoringResult(status="failed", statement="it killed its process")
    broken = seen_with(world, trainers={"project": ScriptedTrainer(trained(BROKEN))})

    with pytest.raises(RetrainingError, match="killed its process"):
        broken.run()

    assert (world.champion, world.moves) == ("1", [])
    assert [run.status for run in world.store.list_runs()] == ["failed"]


# --- modes


def test_observe_decides_with_a_registry_that_may_only_be_read(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="observe")
    world.registry.writable = False

    output = world.run()

    assert ended(output) == ("deploy", "trained", "observed")
    assert not world.touched


def test_act_with_a_read_only_registry_fails_clearly_and_moves_nothing(world: World) -> None:
    world.registry.writable = False

    with pytest.raises(RetrainingError, match="read-only"):
        world.run()

    assert not world.touched


def test_recommend_asks_before_anything_is_registered(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="recommend")

    output = world.run()

    assert ended(output) == ("deploy", "trained", "awaiting_approval")
    assert output["status"] == "parked"
    assert not world.touched


# --- judge


def test_judge_trains_nothing_and_asks_where_training_rows_are_unknown(world: World) -> None:
    version = add_version(world, by("b"))

    output = world.run("judge", candidate_version=version)

    assert ended(output) == ("manual_review", "given", "awaiting_approval")
    assert "contamination_unchecked" in codes(output)
    assert output["comparison"]["verdicts"]["accuracy"] == "improved"
    assert world.trainer.started == []
    assert not world.touched


def test_judge_of_a_version_that_saw_the_holdout_drops_those_rows_and_says_so(world: World) -> None:
    version = add_version(world, by("b"))
    profile, start = world.deps.load_profile("prices"), NOW - timedelta(days=60)
    until = NOW - timedelta(days=20)  # five days into the holdout
    rows = world.data.write_labelled(profile.data, start, until, until, world.deps.run_dir("hand") / "rows.parquet")
    made = world.registry.get_version(NAME, version)
    adopt.adopt(world.deps, profile, version=made, training=rows, as_of=NOW, by="test")

    output = world.run("judge", candidate_version=version)

    judged = pd.read_parquet(world.deps.run_dir(output["runId"]) / "holdout-1.parquet")
    seen = judged["at"].isin(pd.read_parquet(rows.path)["at"]).sum()
    assert seen > 40
    assert output["comparison"]["holdoutRows"] == len(judged) - seen
    overlap = [item for item in output["evidence"] if "contamination" in item["key"]]
    assert f"{seen}" in overlap[0]["statement"]


@pytest.mark.parametrize(("version", "kind"), [("1", BadInput), ("7", NotFound)])
def test_judge_of_the_champion_or_of_nothing_is_refused(world: World, version: str, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        world.run("judge", candidate_version=version)

    assert not world.touched


# --- what puts a case in doubt


def test_baseline_that_is_not_the_champion_goes_to_a_person(world: World) -> None:
    output = world.run(request={"baselineModel": {"version": "9", "metrics": {"accuracy": 0.9}}})

    assert ended(output)[0] == "manual_review"
    assert "baseline_version_mismatch" in codes(output)
    assert world.moves == []


@pytest.mark.parametrize(
    ("says", "code"),
    [
        (EvaluationReply(success=True, overall_metrics={"accuracy": 0.1, "log_loss": 0.5}), "peer_disagrees"),
        (Unavailable("the model-evaluator is down"), "peer_unmeasured"),
        (EvaluationReply(success=False), "peer_unmeasured"),
    ],
)
def test_evaluator_that_disagrees_or_is_silent_costs_a_review(world: World, says: Any, code: str) -> None:
    output = seen_with(world, model_evaluator=ScriptedModelEvaluator(says)).run()

    assert (ended(output)[0], codes(output)) == ("manual_review", [code])
    assert world.moves == []


@pytest.mark.parametrize("added", [0.0, 0.1], ids=["as recorded", "altered"])
def test_registry_that_contradicts_the_champions_own_rows_costs_a_review(world: World, added: float) -> None:
    world.run()
    champion = world.registry.get_version(NAME, "2")
    baseline = json.loads(champion.tags["retraining.baseline"])
    baseline["metrics"]["accuracy"] += added
    world.registry.set_tags(NAME, "2", {"retraining.baseline": json.dumps(baseline)})

    output = world.run(request={"baselineModel": {"version": "2", "metrics": {"accuracy": 0.3}}})

    expected = ["baseline_metrics_mismatch"] if added else ["no_gain"]
    assert codes(output) == expected
    assert world.champion == "2"
    (note,) = [note for note in output["warnings"] if "baselineModel.metrics.accuracy = 0.3 was given" in note]
    assert "; the registry recorded" in note


# --- one run per model, once per key


def test_second_run_of_a_busy_model_is_told_who_holds_it(world: World) -> None:
    world.store.acquire(NAME, "r-other", "host:4:5", 60)

    with pytest.raises(Conflict, match=r"r-other.*host:4:5"):
        world.run()

    assert not world.touched
    assert [run.status for run in world.store.list_runs()] == ["failed"]


def test_same_idempotency_key_gives_the_same_run(world: World) -> None:
    first = world.run(request={"idempotencyKey": "night-7"})
    second = world.run(request={"idempotencyKey": "night-7"})

    assert second == first
    assert len(world.registry.registrations) == 1


def test_champion_moved_by_somebody_meanwhile_is_left_alone(world: World) -> None:
    other = add_version(world, by("c"))

    def train_and_be_overtaken(_: Any) -> TrainingResult:
        world.registry.set_alias(NAME, "champion", other)
        return trained(BETTER)

    output = seen_with(world, trainers={"project": ScriptedTrainer(train_and_be_overtaken)}).run()

    assert ended(output)[2] == "refused"
    assert f"the champion is version {other} now" in output["rollout"]["statement"]
    assert world.champion == other


def test_checkpoint_of_an_unknown_state_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make_world(tmp_path, mode="recommend")
    output = world.run()
    monkeypatch.setattr("agent.services.runs.STATE_VERSION", 99)

    with pytest.raises(Conflict, match="state version 1; this program knows 99"):
        world.runs.resume(output["runId"])

    assert world.store.get_run(output["runId"]).status == "parked"
    assert not world.touched


def test_interrupted_run_says_so_gives_its_lease_back_and_can_be_resumed(world: World) -> None:
    def interrupted(_: Any) -> TrainingResult:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        seen_with(world, trainers={"project": ScriptedTrainer(interrupted)}).run()
    (run,) = world.store.list_runs()
    assert (run.status, run.error, world.store.current_lease(NAME)) == ("failed", "interrupted", None)

    assert ended(world.runs.resume(run.run_id)) == ("deploy", "trained", "promoted")
    assert world.moves == [("1", "2")]


# --- rollout


def test_canary_steps_up_while_healthy_and_ends_proved(tmp_path: Path) -> None:
    target = MemoryTarget(weights={"1": 100})
    world = make_world(tmp_path, target=target, rollout={"risk": "high"})

    output = world.run()
    assert (ended(output)[0], output["rollout"]["phase"]) == ("canary", "waiting")
    assert world.moves == []
    while output["status"] == "parked":
        world.now[0] = world.store.get_run(output["runId"]).wake_at  # type: ignore[assignment]
        output = world.runs.resume(output["runId"])

    assert (output["rollout"]["phase"], output["rollout"]["proof"]) == ("promoted", "proved")
    weights = [call.weight or 0 for call in target.calls if call.action == "apply"]
    assert weights == sorted(weights)
    assert weights[-1] == 100
    assert world.moves == [("1", "2")]


@pytest.mark.parametrize("harm", ["unhealthy", "lies", "fails"])
def test_canary_that_goes_wrong_is_rolled_back_and_the_champion_never_moved(tmp_path: Path, harm: str) -> None:
    target = MemoryTarget(weights={"1": 100})
    world = make_world(tmp_path, target=target, rollout={"risk": "high"})
    output = world.run()
    if harm == "unhealthy":
        target.healthy = False
    elif harm == "lies":
        target.serves = {"2": 90, "1": 10}
    else:
        target.failure = Unavailable("the endpoint's API answers 500")
    while output["rollout"]["phase"] == "waiting":
        world.now[0] = world.store.get_run(output["runId"]).wake_at  # type: ignore[assignment]
        output = world.runs.resume(output["runId"])
    if harm == "fails":
        # Looks that cannot be taken are no harm: a person is asked, and nobody answers.
        assert (output["rollout"]["phase"], output["rollout"]["weight"]) == ("inconclusive", 10)
        target.failure = None
        world.now[0] = world.store.get_run(output["runId"]).wake_at  # type: ignore[assignment]
        output = world.runs.resume(output["runId"])

    assert output["rollout"]["phase"] in ("rolled_back", "refused")
    assert world.champion == "1"
    assert world.moves == []
    assert target.weights == {"1": 100}


def test_canary_on_a_target_that_cannot_split_goes_to_a_person(tmp_path: Path) -> None:
    world = make_world(tmp_path, rollout={"risk": "high"})

    output = world.run()

    assert (ended(output)[0], codes(output)[0]) == ("manual_review", "target_cannot_split")
    assert world.moves == []
