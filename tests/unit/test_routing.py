"""Every branch of the flow, as claims about the state."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from agent import routing


def _state(**changes: Any) -> Any:
    return {"order": {"kind": "retrain"}, "profile": {"mode": "act"}} | changes


@dataclass(frozen=True)
class Case:
    id: str
    rule: Any
    goes_to: str
    state: dict[str, Any] = field(default_factory=dict)


CASES = [
    Case("retraining_starts_with_staleness", routing.entry, "check_staleness"),
    Case(
        "a_handed_in_version_is_not_asked_for_staleness", routing.entry, "validate_data", {"order": {"kind": "judge"}}
    ),
    Case("a_rollback_waits_for_nothing", routing.entry, "roll_back", {"order": {"kind": "rollback"}}),
    Case("stale_goes_on", routing.after_staleness, "validate_data", {"trigger": {"proceed": True}}),
    Case("fresh_trains_nothing", routing.after_staleness, "decide_deployment", {"trigger": {"proceed": False}}),
    Case("good_data_train", routing.after_validation, "train_candidate", {"validation": {"verdict": "pass"}}),
    Case(
        "good_data_judge",
        routing.after_validation,
        "compare_candidate",
        {"validation": {"verdict": "pass"}, "order": {"kind": "judge"}},
    ),
    Case("bad_data_train_nothing", routing.after_validation, "decide_deployment", {"validation": {"verdict": "fail"}}),
    Case(
        "unchecked_data_train_nothing",
        routing.after_validation,
        "decide_deployment",
        {"validation": {"verdict": "could_not_check"}},
    ),
    Case("trained_is_compared", routing.after_training, "compare_candidate", {"training_status": "trained"}),
    Case("failed_training_is_not", routing.after_training, "decide_deployment", {"training_status": "failed"}),
    Case("deploy_acts_in_act", routing.after_decision, "start_rollout", {"decision": "deploy"}),
    Case("canary_acts_in_act", routing.after_decision, "start_rollout", {"decision": "canary"}),
    Case("reject_ends", routing.after_decision, "conclude", {"decision": "reject"}),
    Case("review_asks", routing.after_decision, "ask_reviewer", {"decision": "manual_review"}),
    Case(
        "recommend_asks_before_it_deploys",
        routing.after_decision,
        "ask_reviewer",
        {"decision": "deploy", "profile": {"mode": "recommend"}},
    ),
    Case(
        "observe_never_moves",
        routing.after_decision,
        "conclude",
        {"decision": "deploy", "profile": {"mode": "observe"}},
    ),
    Case(
        "observe_never_asks",
        routing.after_decision,
        "conclude",
        {"decision": "manual_review", "profile": {"mode": "observe"}},
    ),
    Case(
        "approved_deploys",
        routing.after_review,
        "start_rollout",
        {"review": {"answer": "approve", "offered": "deploy"}},
    ),
    Case(
        "edited_to_canary", routing.after_review, "start_rollout", {"review": {"answer": "canary", "offered": "deploy"}}
    ),
    Case(
        "approved_training",
        routing.after_review,
        "train_candidate",
        {"review": {"answer": "approve", "offered": "train"}},
    ),
    Case(
        "approved_rollback",
        routing.after_review,
        "roll_back",
        {"review": {"answer": "approve", "offered": "roll_back"}},
    ),
    Case("refused_ends", routing.after_review, "conclude", {"review": {"answer": "reject", "offered": "deploy"}}),
    Case("expired_ends", routing.after_review, "conclude", {"review": {"answer": None, "offered": "deploy"}}),
    Case("void_ends", routing.after_review, "conclude", {"review": {"answer": "deploy please", "offered": "deploy"}}),
    Case(
        "refused_in_mid_rollout_goes_back",
        routing.after_review,
        "roll_back",
        {"review": {"answer": "reject", "offered": "deploy"}, "rollout": {"phase": "inconclusive"}},
    ),
    Case("started_is_watched", routing.after_start, "watch_rollout", {"rollout": {"phase": "progressing"}}),
    Case("refused_start_ends", routing.after_start, "conclude", {"rollout": {"phase": "refused"}}),
    Case("promoted_ends", routing.after_look, "conclude", {"rollout": {"phase": "promoted"}}),
    Case("waiting_is_looked_at_again", routing.after_look, "watch_rollout", {"rollout": {"phase": "waiting"}}),
    Case("inconclusive_asks", routing.after_look, "ask_reviewer", {"rollout": {"phase": "inconclusive"}}),
    Case("unhealthy_goes_back", routing.after_look, "roll_back", {"rollout": {"phase": "unhealthy"}}),
    Case("an_unknown_phase_goes_back", routing.after_look, "roll_back", {"rollout": {"phase": "aborted"}}),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_route(case: Case) -> None:
    assert case.rule(_state(**case.state)) == case.goes_to
