"""Recorded decisions, made again."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from tests.unit.test_policy import CASES, NEARLY, a_metric, a_slice, an_input, any_input
from tools.contracts.decision import BOLDNESS, Rationale
from tools.contracts.record import DecisionRecord, PolicyInput
from tools.evidence import collect, digest
from tools.policy import apply_model_vote, decide
from tools.rationale import TEMPLATE_VERSION, paragraphs, template_rationale
from tools.replay import PolicyChange, Replayed, replay

NO_LOSS: dict[str, Any] = {"metrics": {"promote_on": "non_inferior", "primary": {"margin": 0.02}}}


def recorded(inputs: PolicyInput, *, routed: bool = False) -> DecisionRecord:
    policy = decide(inputs)
    evidence = tuple(collect(validation=inputs.validation, comparison=inputs.comparison))
    decision, by = apply_model_vote(policy, routed)
    rationale = Rationale(
        text=paragraphs(template_rationale(policy, evidence, "prices")),
        written_by="template",
        prompt_name="t",
        prompt_version=TEMPLATE_VERSION,
        prompt_hash="h",
        routed_to_review=routed,
    )
    return DecisionRecord(
        run_id="r1",
        model_id="prices",
        decided_at=datetime(2026, 1, 1, tzinfo=UTC),
        decision=decision,
        decided_by=by,
        policy=policy,
        policy_input=inputs,
        policy_input_digest=digest(inputs.to_state()),
        evidence=evidence,
        rationale=rationale,
    )


def under(inputs: PolicyInput, content: dict[str, Any]) -> Replayed:
    return replay(recorded(inputs), PolicyChange.model_validate(content))


@pytest.mark.parametrize("inputs", [case[1] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("routed", [True, False])
def test_record_that_went_through_json_replays_byte_for_byte(inputs: PolicyInput, routed: bool):
    record = DecisionRecord.model_validate_json(recorded(inputs, routed=routed).model_dump_json())
    found = replay(record)
    assert (found.same, found.why_not, found.would_be) == (True, "", record.decision)


def test_record_that_was_tampered_with_is_told():
    record = recorded(an_input())
    assert replay(record.model_copy(update={"decision": "reject"})).why_not == "the decision"
    text = record.rationale.model_copy(update={"text": "All is well."})
    assert "template's text" in replay(record.model_copy(update={"rationale": text})).why_not
    older = text.model_copy(update={"prompt_version": "2"})  # worded otherwise then, by a template that is gone
    assert replay(record.model_copy(update={"rationale": older})).same
    moved = record.policy.model_copy(update={"certainty": "borderline"})
    assert "the policy's result" in replay(record.model_copy(update={"policy": moved})).why_not


def test_smaller_demand_flips_what_its_interval_supports():
    found = under(an_input(NEARLY), {"metrics": {"primary": {"min_improvement": 0.001}}})
    assert (found.was, found.would_be, found.same) == ("canary", "deploy", False)
    assert found.codes_after == ("primary_improved",)


@pytest.mark.parametrize(
    ("inputs", "content", "would_be"),
    [
        (an_input(a_metric(low=-0.005, high=0.005)), NO_LOSS, "deploy"),
        (an_input(a_metric(low=-0.03, high=0.005)), NO_LOSS, "manual_review"),
        (an_input(a_metric()), {"rollout": {"risk": "high"}}, "canary"),
        (an_input(a_metric(low=-0.02, high=0.05)), {"metrics": {"on_inconclusive": "keep"}}, "reject"),
        (
            an_input(a_metric(), a_metric("f1", "guardrail", -0.02, 0.01)),
            {"metrics": {"guardrails": [{"name": "f1_score", "margin": 0.05}]}},
            "deploy",
        ),
        (an_input(a_metric(), a_slice(-0.3, -0.1)), {"metrics": {"slice_margin": 0.5}}, "deploy"),
        (an_input(has_champion=False), {"metrics": {"allow_first_model": True}}, "manual_review"),
        (an_input(training_status="failed"), NO_LOSS, "reject"),
    ],
)
def test_changed_demands(inputs: PolicyInput, content: dict[str, Any], would_be: str):
    assert under(inputs, content).would_be == would_be


def test_models_vote_is_used_again_only_where_the_decision_is_still_borderline():
    routed = recorded(an_input(NEARLY), routed=True)
    easier = PolicyChange.model_validate({"metrics": {"primary": {"min_improvement": 0.001}}})
    assert replay(routed).would_be == "manual_review"
    assert replay(routed, easier).would_be == "deploy"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ({"guardrails": [{"name": "recall", "margin": 0.1}]}, "guardrail recall was not measured"),
        ({"guardrails": [{"name": "f1", "margin": 0.1, "unit": "relative"}]}, "measured in absolute terms"),
        ({"promote_on": "non_inferior"}, "needs primary.margin"),
    ],
)
def test_what_needs_the_rows_is_said(content: dict[str, Any], says: str):
    found = under(an_input(a_metric(), a_metric("f1", "guardrail", -0.005, 0.01)), {"metrics": content})
    assert found.would_be is None
    assert says in found.why_not


@given(inputs=any_input())
def test_stricter_demands_never_make_a_recorded_decision_bolder(inputs: PolicyInput):
    strict = {"metrics": {"primary": {"min_improvement": 1.0}, "promote_on": "improved"}, "rollout": {"risk": "high"}}
    found = under(inputs, strict)
    assert found.would_be is not None
    assert BOLDNESS[found.would_be] <= BOLDNESS[found.was]
