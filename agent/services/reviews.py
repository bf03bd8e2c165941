"""What is a person asked, who may answer, and what does the answer count for?

A question is sealed: its digest covers what the person is shown and what it is about. It is held against the run's state and the world
outside when it is answered, and again before anything moves; an answer that is not for exactly this moves nothing.
"""

import getpass
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from agent.deps import Deps
from agent.services import subject
from agent.services.keys import owners
from agent.state import Findings, Run
from tools import approval
from tools.contracts.access import AT_HOME, Caller
from tools.contracts.base import Contract
from tools.contracts.run import Offered, Review, Subject
from tools.errors import BadInput, Conflict, NotAllowed, NotFound
from tools.evidence import digest

Answer = Literal["approve", "canary", "reject"]


class Question(Contract):
    """A question in LangChain's payload, bound to what it is about."""

    offered: Offered
    payload: dict[str, Any]
    subject: Subject
    digest: str


def question(run: Run, findings: Findings) -> Question:
    """The question that the run's state poses. Pure: the same state gives the same digest."""
    offered = offered_by(findings)
    args = {
        "modelId": run.profile.id,
        "registeredModel": run.profile.registered_model,
        "candidate": findings.candidate.version if findings.candidate else findings.candidate_uri,
        "champion": None if run.champion is None else run.champion.version,
        "decision": findings.decision,
        "reasons": [] if findings.policy is None else [reason.sentence for reason in findings.policy.reasons],
        "rollout": None if findings.rollout is None else findings.rollout.statement,
        "attempt": findings.rollout_attempt,
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
    about = subject.of_state(run, findings)
    return Question(
        offered=offered, payload=payload, subject=about, digest=_sealed(run.run_id, offered, payload, about)
    )


def _sealed(run_id: str, offered: str, payload: Mapping[str, Any], about: Subject) -> str:
    return digest({"run": run_id, "offered": offered, "payload": dict(payload), "subject": about.to_state()})


def offered_by(findings: Findings) -> Offered:
    """What the question of a run's state offers."""
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
    now, spec = deps.clock(), run.profile.review
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
            approvers=spec.approvers,
            roles=spec.roles,
            four_eyes=run.profile.rollout.risk == "high",
            subject=asked.subject,
            created_at=now,
            escalate_at=now + (spec.escalate_after or spec.expires_after / 2),
            expires_at=now + spec.expires_after,
        )
    )


def answer(
    deps: Deps,
    review_id: int,
    verdict: Answer,
    reason: str,
    by: str | Caller | None = None,
    *,
    seen: str | None = None,
) -> Review:
    """Record a person's answer.

    Args:
        deps: Store, profiles, and the world that the question is held against.
        review_id: Which question.
        verdict: `canary` takes the offered deployment with a canary first.
        reason: Why; stands in the record.
        by: The OS user here; other doors hand in whom they authenticated.
        seen: The digest that he was shown; whatever is asked where None.

    Raises:
        NotFound: no such review. NotAllowed: no person, no approver, not his role, or his own request. Conflict: answered,
            expired, void, finished, or no longer about what is so: then it is void. BadInput: no reason, or a canary where none
            is offered. Unavailable: whether it is still about what is so cannot be told.
    """
    caller = by if isinstance(by, Caller) else None
    person = caller.name if caller is not None else os_user() if by is None else str(by)
    if caller is not None and caller.kind != "person":
        raise NotAllowed(
            f"{person!r} is an agent: its answer is no person's",
            thing="caller",
            value=person,
            remedy="a person answers, with a key or at a terminal of his own",
        )
    review = deps.store.get_review(review_id)
    if not reason.strip():
        raise BadInput("a review is answered with a reason", thing="reason", value=reason, remedy='--reason "…"')
    _require_open(review)
    if seen is not None and seen != review.digest:
        raise Conflict(
            f"review {review_id} is about something else than what was shown",
            thing="digest",
            value=seen,
            remedy=f"`retrain review show {review_id}` shows what it is about",
        )
    _require_allowed(deps, review, verdict, person, caller)
    if verdict == "canary" and "edit" not in _allowed(review):
        raise BadInput(
            f"review {review_id} offers no canary", thing="answer", value=verdict, remedy="approve or reject it"
        )
    if verdict != "reject" and review.expires_at > deps.clock():
        _void_if_changed(deps, review)
    return deps.store.answer_review(review_id, review.digest, review.nonce, verdict, person, reason, deps.clock())


def _require_open(review: Review) -> None:
    if review.status == "open":
        return
    when = "" if review.answered_at is None else f" by {review.answered_by} at {review.answered_at:%Y-%m-%d %H:%M} UTC"
    raise Conflict(
        f"review {review.id} is {review.status}{when}",
        thing="review",
        value=review.id,
        remedy=f"`retrain runs show {review.run_id}` tells what became of it",
    )


def _require_allowed(deps: Deps, review: Review, verdict: Answer, person: str, caller: Caller | None) -> None:
    today = deps.load_profile(review.model_id).review
    refused = approval.refusal(
        review,
        today,
        verdict,
        person,
        behind_person=owners(deps.store, person),
        behind_request=owners(deps.store, review.requested_by),
    )
    if refused is not None:
        raise NotAllowed(refused.why, thing="approver", value=person, remedy=refused.remedy)
    vouchers = _vouchers(deps, caller)
    if vouchers and not vouchers & {person, *today.approvers}:
        raise NotAllowed(
            f"{person!r} answers with a key that {', '.join(sorted(vouchers))} made, who may not answer himself",
            thing="key",
            value=person,
            remedy="a key counts where its bearer or another approver made it",
        )


def _vouchers(deps: Deps, caller: Caller | None) -> set[str]:
    """Who made the key that somebody came in with; nobody where he stands at a terminal of this machine."""
    if caller is None or caller.door in AT_HOME:
        return set()
    return {key.created_by for key in deps.store.list_keys() if key.name == caller.name and key.revoked_at is None}


def _void_if_changed(deps: Deps, review: Review) -> None:
    """A question whose subject is gone is nobody's to approve."""
    whats = _altered(review) or subject.changes_outside(deps, review)
    if not whats:
        return
    deps.store.close_review(review.id, "void")
    raise Conflict(
        f"review {review.id} is void: since it was asked, {', '.join(whats)} changed",
        thing="review",
        value=review.id,
        remedy=f"`retrain run --resume {review.run_id}` ends its run; start a new one for what is so now",
    )


def _altered(review: Review) -> tuple[str, ...]:
    """What a person was shown must be what was asked."""
    if review.subject is None:
        return ("what it was about",)
    same = _sealed(review.run_id, review.offered, review.payload, review.subject) == review.digest
    return () if same else ("the question itself",)


def refuse_for_harm(deps: Deps, review: Review, harm: str) -> bool:
    """No, by `policy`, to a question about a rollout in which harm was seen meanwhile; False where somebody was first.

    Not a person's answer, and none that moves anything forward: like silence it leads back, only sooner and with its reason.
    """
    try:
        deps.store.answer_review(review.id, review.digest, review.nonce, "reject", "policy", harm, deps.clock())
    except Conflict:
        return False
    return True


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
    why = _why_not_this(deps, latest, asked)
    if latest is None or latest.answer is None or why is not None:
        given = {"offered": asked.offered, "answer": None, "by": None, "id": None if latest is None else latest.id}
        ended = latest is not None and latest.status == "expired"
        return {
            "review": given,
            "decision": "reject",
            "decided_by": "expiry" if ended or latest is None else "void",
            "notes": [f"the review ended without a valid answer ({why}): nothing is deployed"],
        }
    decision = {"approve": {"canary": "canary"}.get(asked.offered, "deploy"), "canary": "canary", "reject": "reject"}
    changes: dict[str, Any] = {
        "review": {
            "id": latest.id,
            "digest": latest.digest,
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


def _why_not_this(deps: Deps, latest: Review | None, asked: Question) -> str | None:
    """Why the newest review of a run is no answer to what it asks now; None where it is."""
    if latest is None:
        return "it was never asked"
    if latest.digest != asked.digest or latest.offered != asked.offered:
        return "it is about something else"
    if latest.status != "answered" or latest.answer is None:
        return f"it is {latest.status}"
    if _altered(latest):
        return "the question was altered"
    if latest.answer != "reject" and latest.expires_at <= deps.clock():
        return "it was approved in time and not gone on with until it ran out"
    return None


def why_void(deps: Deps, findings: Findings, *offered: Offered) -> str | None:
    """Why the approval that a run goes by counts no more, looked at right before its effect; None where it counts.

    Args:
        deps: Store, and the world that the question is held against.
        findings: With the answer that was read.
        offered: What is about to be done. None where the run does not go by an answer to that.
    """
    given = findings.review or {}
    if given.get("answer") not in ("approve", "canary") or given.get("offered") not in offered:
        return None
    try:
        review = deps.store.get_review(int(given["id"]))
    except NotFound:
        return "the review is gone"
    kept = (review.status, review.answer, review.answered_by, review.offered, review.digest)
    if kept != ("answered", given["answer"], given.get("by"), given["offered"], given.get("digest")) or _altered(
        review
    ):
        return f"review {review.id} does not say what this run goes by"
    if review.expires_at <= deps.clock():
        return f"review {review.id} ran out before it was gone on with"
    promoted = None if findings.candidate is None else findings.candidate.version
    whats = subject.changes_outside(deps, review, promoted=promoted)
    return f"since review {review.id} was asked, {', '.join(whats)} changed" if whats else None


def latest_of(deps: Deps, run_id: str) -> Review | None:
    """The newest review of a run, whatever its status."""
    found = [review for review in deps.store.list_reviews(open_only=False) if review.run_id == run_id]
    return max(found, key=lambda review: review.id, default=None)


def os_user() -> str:
    """Who sits at this terminal, by the process's own user id. Never an option, and never what a variable of the environment says."""
    try:
        import pwd
    except ImportError:  # pragma: no cover - Windows
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user without an entry
        return str(os.getuid())
