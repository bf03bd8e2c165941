"""Where does the run go next? Pure functions of the state, testable without a graph."""

from typing import Literal

from agent.state import RunState

AfterDecision = Literal["ask_reviewer", "start_rollout", "conclude"]
AfterReview = Literal["train_candidate", "start_rollout", "roll_back", "conclude"]


def entry(state: RunState) -> Literal["check_staleness", "validate_data", "roll_back"]:
    """`judge` has its candidate, a rollback has its verdict: neither asks whether the champion is stale."""
    kind = state["order"]["kind"]  # type: ignore[typeddict-item]
    if kind == "rollback":
        return "roll_back"
    return "validate_data" if kind == "judge" else "check_staleness"


def after_staleness(state: RunState) -> Literal["validate_data", "decide_deployment"]:
    """Fresh, unmeasured or `roll back instead`: no training; the policy words the outcome."""
    return "validate_data" if state["trigger"]["proceed"] else "decide_deployment"  # type: ignore[typeddict-item]


def after_validation(state: RunState) -> Literal["train_candidate", "compare_candidate", "decide_deployment"]:
    """Only data that passed may train or judge."""
    if state["validation"]["verdict"] != "pass":  # type: ignore[typeddict-item]
        return "decide_deployment"
    judged = state["order"]["kind"] == "judge"  # type: ignore[typeddict-item]
    return "compare_candidate" if judged else "train_candidate"


def after_training(state: RunState) -> Literal["compare_candidate", "decide_deployment"]:
    """A pipeline that failed leaves nothing to compare."""
    return "compare_candidate" if state.get("training_status") == "trained" else "decide_deployment"


def after_decision(state: RunState) -> AfterDecision:
    """Mode decides who acts: `observe` nobody, `recommend` a person first, `act` the orchestrator."""
    mode = state["profile"]["mode"]  # type: ignore[typeddict-item]
    decision = state.get("decision")
    if mode == "observe" or decision == "reject":
        return "conclude"
    if decision == "manual_review" or mode == "recommend":
        return "ask_reviewer"
    return "start_rollout"


def after_review(state: RunState) -> AfterReview:
    """Refused, expired or void: nothing moves, or what already moved goes back."""
    review = state.get("review") or {}
    answer, offered = review.get("answer"), review.get("offered")
    if answer not in ("approve", "canary"):
        return "roll_back" if (state.get("rollout") or {}).get("phase") == "inconclusive" else "conclude"
    if answer == "canary" or offered in ("deploy", "canary"):
        return "start_rollout"
    return "train_candidate" if offered == "train" else "roll_back"


def after_start(state: RunState) -> Literal["watch_rollout", "roll_back", "conclude"]:
    """A rollout whose way back could not be proved was refused. One that had begun before, and was in doubt, goes back."""
    if (state.get("rollout") or {}).get("phase") != "refused":
        return "watch_rollout"
    return "roll_back" if state.get("rollout_attempt", 1) > 1 else "conclude"


def after_look(state: RunState) -> Literal["watch_rollout", "ask_reviewer", "roll_back", "conclude"]:
    """One look at a time; what cannot be told goes to a person, harm goes back."""
    phase = (state.get("rollout") or {}).get("phase")
    if phase in ("progressing", "waiting"):
        return "watch_rollout"
    if phase == "inconclusive":
        return "ask_reviewer"
    return "conclude" if phase == "promoted" else "roll_back"
