"""The decision table, and the properties it must keep whatever the evidence."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.contracts.comparison import ComparisonResult, Contamination, Criterion, MetricComparison
from tools.contracts.decision import BOLDNESS, PolicyResult
from tools.contracts.evidence import Check, TriggerVerdict, ValidationReport
from tools.evidence import collect
from tools.policy import POLICY_VERSION, PolicyInput, apply_model_vote, decide
from tools.verdicts import verdict_of

CLEAN = Contamination(candidate="clean", champion="clean")
PASSED = ValidationReport(
    verdict="pass", checks=(Check(name="schema", result="pass", statement="All columns are there."),), statement="Fine."
)


def a_metric(
    name: str = "accuracy", role: Any = "primary", low: float | None = 0.02, high: float | None = 0.04, **changes: Any
) -> MetricComparison:
    wanted = {"min_improvement": 0.01} if role == "primary" else {"margin": 0.01}
    criterion = Criterion(metric=name, role=role, direction="higher", **{**wanted, **changes})
    if low is None or high is None:
        return MetricComparison(criterion=criterion, verdict="no_data", statement=f"{name}: not measured.")
    return MetricComparison(
        criterion=criterion,
        verdict=verdict_of(criterion, low, high),
        baseline=0.8,
        candidate=0.8 + (low + high) / 2,
        change=(low + high) / 2,
        low=low,
        high=high,
        n=1000,
        statement=f"{name}: {low} to {high}.",
    )


def a_comparison(*metrics: MetricComparison, **changes: Any) -> ComparisonResult:
    defaults: dict[str, Any] = {"holdout_rows": 1000, "holdout_digest": "d", "contamination": CLEAN}
    return ComparisonResult(metrics=metrics or (a_metric(),), **{**defaults, **changes})


def an_input(*metrics: MetricComparison, **changes: Any) -> PolicyInput:
    defaults: dict[str, Any] = {
        "training_status": "trained",
        "validation": PASSED,
        "comparison": a_comparison(*metrics),
        "has_champion": True,
        "can_split": True,
    }
    return PolicyInput(**{**defaults, **changes})


def told(inputs: PolicyInput) -> tuple[str, str, tuple[str, ...]]:
    result = decide(inputs)
    return result.decision, result.certainty, tuple(reason.code for reason in result.reasons)


def report(verdict: Any, result: Any, severity: Any = "block") -> ValidationReport:
    check = Check(name="nulls", subject="price", result=result, severity=severity, statement="A third is null.")
    return ValidationReport(verdict=verdict, checks=(*PASSED.checks, check), statement="Not fine.")


HOLDS = a_metric("f1", "guardrail", -0.005, 0.01)
WAVERS = a_metric("f1", "guardrail", -0.02, 0.01)
BREAKS = a_metric("f1", "guardrail", -0.05, -0.02)
NEARLY = a_metric(low=0.002, high=0.03)
NOT_LOSE: dict[str, Any] = {"must": "not_lose", "min_improvement": 0.0, "margin": 0.01}


def a_slice(low: float | None, high: float | None) -> MetricComparison:
    return a_metric("accuracy", "slice", low, high, slice_column="region", slice_value="north")


CASES = [
    ("clear win", an_input(a_metric(), HOLDS), ("deploy", "clear", ("primary_improved", "guardrail_holds"))),
    (
        "clear win at high risk",
        an_input(a_metric(), HOLDS, risk="high"),
        ("canary", "clear", ("primary_improved", "guardrail_holds", "high_risk")),
    ),
    (
        "clear win at high risk, target cannot split",
        an_input(a_metric(), risk="high", can_split=False),
        ("manual_review", "clear", ("target_cannot_split", "primary_improved", "high_risk")),
    ),
    (
        "clear win, target cannot split",
        an_input(a_metric(), can_split=False),
        ("deploy", "clear", ("primary_improved",)),
    ),
    (
        "probable win",
        an_input(NEARLY, HOLDS),
        ("canary", "borderline", ("primary_probably_improved", "guardrail_holds")),
    ),
    (
        "probable win, target cannot split",
        an_input(NEARLY, can_split=False),
        ("manual_review", "borderline", ("target_cannot_split", "primary_probably_improved")),
    ),
    (
        "better, but by less than asked at the point estimate",
        an_input(a_metric(low=0.002, high=0.012)),
        ("manual_review", "ambiguous", ("primary_inconclusive",)),
    ),
    (
        "cannot tell",
        an_input(a_metric(low=-0.02, high=0.05)),
        ("manual_review", "ambiguous", ("primary_inconclusive",)),
    ),
    (
        "no gain, and none is asked",
        an_input(a_metric(low=-0.005, high=0.005, **NOT_LOSE), HOLDS),
        ("deploy", "clear", ("primary_non_inferior", "guardrail_holds")),
    ),
    (
        "no gain, and none is asked, at high risk",
        an_input(a_metric(low=-0.005, high=0.005, **NOT_LOSE), risk="high"),
        ("canary", "clear", ("primary_non_inferior", "high_risk")),
    ),
    (
        "a gain where none is asked",
        an_input(a_metric(low=0.002, high=0.03, **NOT_LOSE)),
        ("deploy", "clear", ("primary_improved",)),
    ),
    (
        "perhaps a loss beyond what is accepted",
        an_input(a_metric(low=-0.02, high=0.03, **NOT_LOSE)),
        ("manual_review", "ambiguous", ("primary_inconclusive",)),
    ),
    (
        "surely a loss beyond what is accepted",
        an_input(a_metric(low=-0.05, high=-0.02, **NOT_LOSE)),
        ("reject", "clear", ("primary_regressed",)),
    ),
    (
        "cannot tell, and the profile keeps the champion then",
        an_input(a_metric(low=-0.02, high=0.05), WAVERS, on_inconclusive="keep"),
        ("reject", "clear", ("champion_kept", "primary_inconclusive", "guardrail_inconclusive")),
    ),
    (
        "not measured is no inconclusive, whatever the profile keeps",
        an_input(a_metric(low=None, high=None), on_inconclusive="keep"),
        ("manual_review", "ambiguous", ("primary_no_data",)),
    ),
    (
        "probable win is a canary, whatever the profile keeps",
        an_input(NEARLY, on_inconclusive="keep"),
        ("canary", "borderline", ("primary_probably_improved",)),
    ),
    ("no gain to be had", an_input(a_metric(low=-0.005, high=0.005)), ("reject", "clear", ("no_gain",))),
    ("primary regressed", an_input(a_metric(low=-0.05, high=-0.01)), ("reject", "clear", ("primary_regressed",))),
    ("guardrail regressed", an_input(a_metric(), BREAKS), ("reject", "clear", ("guardrail_regressed",))),
    ("guardrail wavers", an_input(a_metric(), WAVERS), ("manual_review", "ambiguous", ("guardrail_inconclusive",))),
    (
        "primary and guardrail waver",
        an_input(NEARLY, WAVERS),
        ("manual_review", "ambiguous", ("primary_inconclusive", "guardrail_inconclusive")),
    ),
    ("slice regressed", an_input(a_metric(), a_slice(-0.3, -0.1)), ("reject", "clear", ("slice_regressed",))),
    ("slice wavers", an_input(a_metric(), a_slice(-0.3, 0.1)), ("deploy", "clear", ("primary_improved",))),
    (
        "slice not measured",
        an_input(a_metric(), a_slice(None, None)),
        ("manual_review", "ambiguous", ("slice_no_data",)),
    ),
    (
        "primary not measured",
        an_input(a_metric(low=None, high=None)),
        ("manual_review", "ambiguous", ("primary_no_data",)),
    ),
    (
        "guardrail not measured",
        an_input(a_metric(), a_metric("f1", "guardrail", None, None)),
        ("manual_review", "ambiguous", ("guardrail_no_data",)),
    ),
    (
        "one regressed, one not measured",
        an_input(a_metric(low=None, high=None), BREAKS),
        ("reject", "clear", ("guardrail_regressed",)),
    ),
    (
        "doubt over a clear win",
        an_input(comparison=a_comparison(a_metric(), doubts=("peer_disagrees",), doubt_statements=("It says no.",))),
        ("manual_review", "ambiguous", ("peer_disagrees",)),
    ),
    (
        "doubt over a regression",
        an_input(comparison=a_comparison(BREAKS.model_copy(update={"criterion": a_metric().criterion}), doubts=("x",))),
        ("manual_review", "ambiguous", ("x",)),
    ),
    (
        "contamination unchecked, and nobody called it a doubt",
        an_input(comparison=a_comparison(contamination=Contamination(candidate="clean", champion="could_not_check"))),
        ("manual_review", "ambiguous", ("contamination_unchecked",)),
    ),
    (
        "overlapping rows were dropped",
        an_input(
            comparison=a_comparison(
                contamination=Contamination(candidate="overlaps", champion="clean", candidate_rows=3)
            )
        ),
        ("deploy", "clear", ("primary_improved",)),
    ),
    ("not compared", an_input(comparison=None), ("manual_review", "ambiguous", ("comparison_missing",))),
    ("data failed", an_input(validation=report("fail", "fail")), ("reject", "clear", ("validation_failed",))),
    (
        "data could not be checked",
        an_input(validation=report("could_not_check", "could_not_check")),
        ("manual_review", "ambiguous", ("validation_could_not_check",)),
    ),
    ("data warned", an_input(validation=report("pass", "fail", "warn")), ("deploy", "clear", ("primary_improved",))),
    ("data not validated", an_input(validation=None), ("manual_review", "ambiguous", ("validation_missing",))),
    (
        "version handed in, nothing to validate",
        an_input(validation=None, training_status="given"),
        ("deploy", "clear", ("primary_improved",)),
    ),
    ("training failed", an_input(training_status="failed"), ("reject", "clear", ("training_failed",))),
    ("nothing trained", an_input(training_status="skipped"), ("reject", "clear", ("not_retrained",))),
    ("data refused", an_input(training_status="invalid_data"), ("reject", "clear", ("validation_failed",))),
    ("not trained yet", an_input(training_status="pending"), ("manual_review", "ambiguous", ("training_pending",))),
    ("no champion", an_input(has_champion=False), ("reject", "clear", ("no_champion",))),
    (
        "first model allowed",
        an_input(has_champion=False, allow_first_model=True),
        ("manual_review", "clear", ("first_model",)),
    ),
]


@pytest.mark.parametrize(("inputs", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_decision_table(inputs: PolicyInput, expected: tuple[str, str, tuple[str, ...]]):
    assert told(inputs) == expected


def test_result_names_the_policys_version():
    assert decide(an_input()).policy_version == POLICY_VERSION


def test_failed_checks_are_named_with_their_evidence():
    (reason,) = decide(an_input(validation=report("fail", "fail"))).reasons
    assert (reason.sentence, reason.evidence) == ("A third is null.", ("validation/nulls/price",))


@pytest.mark.parametrize("inputs", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_every_reason_rests_on_evidence_that_exists(inputs: PolicyInput):
    keys = {item.key for item in collect(validation=inputs.validation, comparison=inputs.comparison)}
    cited = {key for reason in decide(inputs).reasons for key in reason.evidence}
    assert cited - {"comparison/doubt/contamination_unchecked"} <= keys


# --- the model's vote


@pytest.mark.parametrize(("inputs", "routed"), list(itertools.product([case[1] for case in CASES], [True, False])))
def test_model_moves_only_a_borderline_decision_and_only_to_review(inputs: PolicyInput, routed: bool):
    policy = decide(inputs)
    moved = routed and policy.certainty == "borderline" and policy.decision != "manual_review"
    expected = ("manual_review", "model") if moved else (policy.decision, "policy")
    assert apply_model_vote(policy, routed) == expected


def test_model_sends_a_probable_win_to_a_person_and_leaves_a_clear_one():
    assert apply_model_vote(decide(an_input(NEARLY)), True) == ("manual_review", "model")
    assert apply_model_vote(decide(an_input()), True) == ("deploy", "policy")


# --- properties

steps = st.integers(-60, 60).map(lambda k: k / 1000)
widths = st.integers(0, 60).map(lambda k: k / 1000)


@st.composite
def metric_of(draw: st.DrawFn, name: str, role: str, wanted: dict[str, Any] | None = None) -> MetricComparison:
    where: dict[str, Any] = {
        **(wanted or {}),
        **({"slice_column": "region", "slice_value": name} if role == "slice" else {}),
    }
    if draw(st.integers(0, 9)) == 0:
        return a_metric(name, role, None, None, **where)
    low = draw(steps)
    return a_metric(name, role, low, low + draw(widths), **where)


@st.composite
def any_input(draw: st.DrawFn) -> PolicyInput:
    metrics = [draw(metric_of("accuracy", "primary", draw(st.sampled_from([{}, {}, NOT_LOSE]))))]
    metrics += [draw(metric_of(name, "guardrail")) for name in draw(st.sampled_from([(), ("f1",), ("f1", "recall")]))]
    metrics += [draw(metric_of(name, "slice")) for name in draw(st.sampled_from([(), ("a",), ("a", "b")]))]
    checked: Any = st.sampled_from(["clean", "clean", "overlaps", "could_not_check"])
    doubts = draw(st.sampled_from([(), (), ("peer_disagrees",)]))
    comparison = a_comparison(
        *metrics, doubts=doubts, contamination=Contamination(candidate=draw(checked), champion=draw(checked))
    )
    validation = draw(
        st.sampled_from([PASSED, PASSED, None, report("fail", "fail"), report("could_not_check", "could_not_check")])
    )
    return an_input(
        comparison=draw(st.sampled_from([comparison, comparison, comparison, None])),
        validation=validation,
        training_status=draw(st.sampled_from(["trained", "trained", "given", "failed", "pending"])),
        has_champion=draw(st.sampled_from([True, True, True, False])),
        allow_first_model=draw(st.booleans()),
        can_split=draw(st.booleans()),
        risk=draw(st.sampled_from(["low", "high"])),
        on_inconclusive=draw(st.sampled_from(["keep", "review"])),
    )


def boldness(inputs: PolicyInput) -> int:
    return BOLDNESS[decide(inputs).decision]


def with_metric(inputs: PolicyInput, index: int, item: MetricComparison) -> PolicyInput:
    assert inputs.comparison is not None
    metrics = tuple(item if i == index else old for i, old in enumerate(inputs.comparison.metrics))
    changed = inputs.comparison.model_copy(update={"metrics": metrics})
    return inputs.model_copy(update={"comparison": changed})


@given(inputs=any_input())
def test_ambiguous_is_always_manual_review(inputs: PolicyInput):
    result = decide(inputs)
    assert result.certainty != "ambiguous" or result.decision == "manual_review"
    assert result.reasons


@given(inputs=any_input())
def test_whatever_moves_is_measured_improved_and_undoubted(inputs: PolicyInput):
    if boldness(inputs) == 0:
        return
    assert inputs.comparison is not None
    primary = inputs.comparison.primary
    assert primary.low is not None
    assert primary.low > 0 if primary.criterion.must_gain else primary.low >= -primary.criterion.margin
    assert not inputs.comparison.doubts
    assert all(item.verdict != "regressed" for item in inputs.comparison.metrics)
    guardrails = [item for item in inputs.comparison.metrics if item.criterion.role == "guardrail"]
    assert {item.verdict for item in guardrails} <= {"improved", "non_inferior"}


@given(inputs=any_input(), which=st.integers(0, 10), harm=widths)
def test_more_harm_never_makes_it_bolder(inputs: PolicyInput, which: int, harm: float):
    if inputs.comparison is None:
        return
    index = which % len(inputs.comparison.metrics)
    item = inputs.comparison.metrics[index]
    if item.low is None or item.high is None:
        return
    wanted = item.criterion.model_dump(exclude={"metric", "role", "direction"})
    worse = a_metric(item.criterion.metric, item.criterion.role, item.low - harm, item.high - harm, **wanted)
    assert boldness(with_metric(inputs, index, worse)) <= boldness(inputs)


@given(inputs=any_input(), which=st.integers(0, 10))
def test_a_metric_no_longer_measured_never_makes_it_bolder(inputs: PolicyInput, which: int):
    if inputs.comparison is None:
        return
    index = which % len(inputs.comparison.metrics)
    item = inputs.comparison.metrics[index]
    gone = MetricComparison(criterion=item.criterion, verdict="no_data", statement="gone")
    assert boldness(with_metric(inputs, index, gone)) <= boldness(inputs)


@given(
    inputs=any_input(),
    change=st.sampled_from(
        [
            {"comparison": None},
            {"validation": report("could_not_check", "could_not_check")},
            {"validation": report("fail", "fail")},
            {"has_champion": False},
            {"training_status": "failed"},
            {"can_split": False},
            {"risk": "high"},
        ]
    ),
)
def test_less_evidence_or_more_risk_never_makes_it_bolder(inputs: PolicyInput, change: dict[str, Any]):
    assert boldness(inputs.model_copy(update=change)) <= boldness(inputs)


@given(inputs=any_input(), seed=st.randoms(use_true_random=False))
def test_order_of_metrics_does_not_matter(inputs: PolicyInput, seed: Any):
    if inputs.comparison is None:
        return
    first, *others = inputs.comparison.metrics
    seed.shuffle(others)
    shuffled = inputs.comparison.model_copy(update={"metrics": (first, *others)})

    def said(result: PolicyResult) -> tuple[str, str, set[str]]:
        return result.decision, result.certainty, {reason.sentence for reason in result.reasons}

    assert said(decide(inputs.model_copy(update={"comparison": shuffled}))) == said(decide(inputs))


@given(inputs=any_input())
def test_a_stored_input_replays_to_the_same_result(inputs: PolicyInput):
    assert decide(PolicyInput.model_validate(inputs.to_state())) == decide(inputs)


# --- the trigger -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["fresh", "cool_down", "could_not_measure", "not_configured"])
def test_trigger_that_does_not_proceed_is_a_clear_reject_with_its_own_code(code: str) -> None:
    trigger = TriggerVerdict(proceed=False, insists=False, code=code, statement="Nothing calls for it.")

    assert told(an_input(trigger=trigger)) == ("reject", "clear", (code,))


def test_rollback_that_seems_better_than_retraining_is_a_persons_to_decide() -> None:
    trigger = TriggerVerdict(proceed=False, insists=False, code="roll_back_instead", statement="It got worse at once.")

    assert told(an_input(trigger=trigger)) == ("manual_review", "ambiguous", ("roll_back_instead",))


def test_trigger_that_proceeds_changes_nothing() -> None:
    trigger = TriggerVerdict(proceed=True, insists=True, code="insists", statement="A person asked for it.")

    assert decide(an_input(trigger=trigger)) == decide(an_input())


# --- keep, and the next look


def undecided(by: datetime | None) -> MetricComparison:
    return a_metric(low=-0.02, high=0.05).model_copy(update={"tells_by": by})


def test_kept_champion_says_when_the_next_look_pays():
    soon, late = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 5, 1, tzinfo=UTC)
    both = an_input(undecided(soon), WAVERS.model_copy(update={"tells_by": late}), on_inconclusive="keep")
    assert "The next look pays from 2026-05-01." in decide(both).reasons[0].sentence
    one = an_input(undecided(soon), WAVERS, on_inconclusive="keep")
    assert "next look" not in decide(one).reasons[0].sentence


@given(inputs=any_input())
def test_keeping_the_champion_is_never_bolder_than_asking(inputs: PolicyInput):
    kept, asked = (inputs.model_copy(update={"on_inconclusive": how}) for how in ("keep", "review"))
    assert boldness(kept) == boldness(asked)


@given(inputs=any_input())
def test_asking_for_no_gain_never_makes_a_decision_on_the_same_verdicts_less_sure_of_harm(inputs: PolicyInput):
    result = decide(inputs)
    if inputs.comparison is not None and any(m.verdict == "regressed" for m in inputs.comparison.metrics):
        assert result.decision in ("reject", "manual_review")
