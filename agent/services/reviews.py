"""What is a person asked, who may answer, and what does the answer count for?"""

import getpass
import secrets
from collections.abc import Sequence
from typing import Any, Literal

from agent.deps import Deps
from agent.state import Findings, Run
from tools.contracts.base import Contract
from tools.contracts.run import Review
from tools.errors import BadInput, Conflict, NotAllowed
from tools.evidence import digest

Offered = Literal["deploy", "canary", "train", "roll_back"]
Answer = Literal["approve", "canary", "reject"]


class Question(Contract):
    """A question in LangChain's payload, bound to what it is about."""

    offered: Offered
    payload: dict[str, Any]
    digest: str


def question(run: Run, findings: Findings) -> Question:
    """The question that the run's state poses. Pure: the same state gives the same digest."""
    offered = _offered(findings)
    args = {
        "modelId": run.profile.id,
        "registeredModel": run.profile.registered_model,
        "candidate": findings.candidate.version if findings.candidate else findings.candidate_uri,
        "champion": None if run.champion is None else run.champion.version,
        "decision": findings.decision,
        "reasons": [] if findings.policy is None else [reason.sentence for reason in findings.policy.reasons],
        "rollout": None if findings.rollout is None else findings.rollout.statement,
    }
    edits = offered == "deploy" and findings.can_split
    payload = {
        "action_requests": [{"name": offered, "args": args, "description": _description(run, findings, offered)}],
        "review_configs": [
            {
                "action_name": offered,
                "allowed_decisions": ["approve", "edit", "reject"] if edits else ["approve", "reject"],
            }
        ],
    }
    about = {
        "run": run.run_id,
        "offered": offered,
        "args": args,
        "policy": None if findings.policy is None else findings.policy.to_state(),
        "evidence": [item.to_state() for item in findings.evidence],
        "plan": None if findings.plan is None else findings.plan.digest,
        "attempt": findings.rollout_attempt,
    }
    return Question(offered=offered, payload=payload, digest=digest(about))


def _offered(findings: Findings) -> Offered:
    if findings.trigger is not None and findings.trigger.code == "roll_back_instead":
        return "roll_back"
    if findings.candidate_uri is None:
        return "train"
    return "canary" if findings.decision == "canary" else "deploy"


def _description(run: Run, findings: Findings, offered: Offered) -> str:
    champion = "no champion yet" if run.champion is None else f"version {run.champion.version} in production"
    what = {
        "deploy": "Deploy the candidate",
        "canary": "Start a canary with the candidate",
        "train": "Train although the data could not be checked (the candidate is still compared)",
        "roll_back": "Roll back to the last known good version instead of retraining",
    }[offered]
    return f"{what} of {run.profile.id} ({champion})?"


def open_review(deps: Deps, run: Run, asked: Question) -> Review:
    """Record the question once; a run that is interrupted again at the same state finds its open review."""
    now = deps.clock()
    return deps.store.open_review(
        Review(
            id=0,
            run_id=run.run_id,
            model_id=run.profile.id,
            status="open",
            offered=asked.offered,
            payload=asked.payload,
            digest=asked.digest,
            nonce=secrets.token_hex(16),
            requested_by=run.order.requested_by,
            approvers=run.profile.review.approvers,
            created_at=now,
            expires_at=now + run.profile.review.expires_after,
        )
    )


def answer(deps: Deps, review_id: int, verdict: Answer, reason: str, by: str | None = None) -> Review:
    """Record a person's answer. `by` is the OS user here; other doors hand in whom they authenticated.

    Raises:
        NotFound: no such review. NotAllowed: not an approver. Conflict: answered, expired, void or finished.
        BadInput: no reason, or a canary where none is offered.
    """
    person = os_user() if by is None else by
    review = deps.store.get_review(review_id)
    if not reason.strip():
        raise BadInput("a review is answered with a reason", thing="reason", value=reason, remedy='--reason "…"')
    if review.status != "open":
        when = (
            "" if review.answered_at is None else f" by {review.answered_by} at {review.answered_at:%Y-%m-%d %H:%M} UTC"
        )
        raise Conflict(
            f"review {review_id} is {review.status}{when}",
            thing="review",
            value=review_id,
            remedy=f"`retrain runs show {review.run_id}` tells what became of it",
        )
    # Whoever may approve must have been named when it was asked, and still be: a revocation counts at once.
    today = deps.load_profile(review.model_id).review.approvers
    approvers = [name for name in review.approvers if name in today]
    if person not in approvers:
        known = ", ".join(approvers) or "nobody"
        raise NotAllowed(
            f"{person!r} may not answer review {review_id} of {review.model_id!r}; approvers: {known}",
            thing="approver",
            value=person,
            remedy="ask one of them, or add the name to `review.approvers` in the profile and start a new run",
        )
    if verdict == "canary" and "edit" not in _allowed(review):
        raise BadInput(
            f"review {review_id} offers no canary", thing="answer", value=verdict, remedy="approve or reject it"
        )
    return deps.store.answer_review(review_id, review.digest, review.nonce, verdict, person, reason, deps.clock())


def from_langchain(decisions: Sequence[dict[str, Any]], review: Review) -> Answer | None:
    """LangChain's `decisions` for the one action asked; None voids. `respond` neither approves nor denies."""
    if len(decisions) != 1:
        return None
    decision = decisions[0]
    if decision.get("type") in ("approve", "reject"):
        return decision["type"]
    edited = decision.get("edited_action", decision)
    args = edited.get("args", edited)
    if decision.get("type") == "edit" and args == {"decision": "canary"} and "edit" in _allowed(review):
        return "canary"
    return None


def _allowed(review: Review) -> Sequence[str]:
    return review.payload["review_configs"][0]["allowed_decisions"]


def read_answer(deps: Deps, run: Run, asked: Question) -> dict[str, Any]:
    """The state changes that the recorded answer makes. Anything but a valid, timely answer moves nothing."""
    latest = latest_of(deps, run.run_id)
    if latest is None or latest.digest != asked.digest or latest.status != "answered" or latest.answer is None:
        note = "the review ended without a valid answer: nothing is deployed"
        return {
            "review": {
                "offered": asked.offered,
                "answer": None,
                "by": None,
                "id": None if latest is None else latest.id,
            },
            "decision": "reject",
            "decided_by": "expiry",
            "notes": [note],
        }
    decision = {"approve": {"canary": "canary"}.get(asked.offered, "deploy"), "canary": "canary", "reject": "reject"}
    changes: dict[str, Any] = {
        "review": {
            "id": latest.id,
            "offered": asked.offered,
            "answer": latest.answer,
            "by": latest.answered_by,
            "reason": latest.reason,
        },
        "decided_by": latest.answered_by,
    }
    if asked.offered in ("deploy", "canary") or latest.answer == "reject":
        changes["decision"] = decision[latest.answer]
    return changes


def latest_of(deps: Deps, run_id: str) -> Review | None:
    """The newest review of a run, whatever its status."""
    found = [review for review in deps.store.list_reviews(open_only=False) if review.run_id == run_id]
    return max(found, key=lambda review: review.id, default=None)


def os_user() -> str:
    """Who sits at this terminal. Never an option of the command line."""
    return getpass.getuser()
