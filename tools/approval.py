"""Who may answer a question, and is it still the same question?

A person's word counts for what he was shown, if he was named when it was asked and still is. Approving is for those whose role it is;
where four eyes are asked for, it is for nobody who stands behind the request. Refusing moves nothing: any approver may.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from tools.contracts.profile import ReviewSpec
from tools.contracts.run import Review, Subject

LABELS: Final[dict[str, str]] = {
    "candidate_uri": "the candidate",
    "candidate_version": "the candidate's version",
    "candidate_digest": "the candidate's files",
    "baseline_version": "the champion",
    "baseline_digest": "the champion's files",
    "evidence": "the evidence",
    "policy": "what the policy was asked or said",
    "plan": "the rollout's plan",
    "profile": "the profile",
}
"""Parts of a subject, as people call them."""


class Refusal(NamedTuple):
    """Why somebody may not answer, and what he can do."""

    why: str
    remedy: str


def approvers_of(review: Review, today: ReviewSpec, answer: str) -> tuple[str, ...]:
    """Who may give this answer: named when it was asked, and still named.

    Args:
        review: The question.
        today: The profile's word at present: a revocation counts at once, an appointment from the next question on.
        answer: `approve`, `canary` or `reject`.
    """
    named = [name for name in review.approvers if name in today.approvers]
    if answer == "reject":
        return tuple(named)
    what = "canary" if answer == "canary" else review.offered
    for roles in (review.roles, today.roles):
        allowed = roles.get(what)
        named = named if allowed is None else [name for name in named if name in allowed]
    return tuple(named)


def refusal(
    review: Review,
    today: ReviewSpec,
    answer: str,
    person: str,
    *,
    behind_person: Collection[str],
    behind_request: Collection[str],
) -> Refusal | None:
    """Why this person may not give this answer; None where he may.

    Args:
        review: The question.
        today: As of `approvers_of`.
        answer: As of `approvers_of`.
        person: Who answers, as his door made sure of.
        behind_person: Everybody who answers for him: himself, and who made his keys; without regard to case.
        behind_request: The same of who asked for the run.
    """
    named = approvers_of(review, today, answer)
    if person not in named:
        known = ", ".join(named) or "nobody"
        what = "answer" if person not in approvers_of(review, today, "reject") else f"answer {answer} to"
        remedy = "ask one of them, or add the name to `review.approvers` in the profile and start a new run"
        if what != "answer":
            remedy = "ask one of them: `review.roles` in the profile says who may approve what"
        return Refusal(
            f"{person!r} may not {what} review {review.id} of {review.model_id!r}; approvers: {known}", remedy
        )
    if answer != "reject" and review.four_eyes and set(behind_person) & set(behind_request):
        return Refusal(
            f"{person!r} may not approve review {review.id}: it was asked for by {review.requested_by!r}, and the risk tier of "
            f"{review.model_id!r} is high: nobody approves what he asked for",
            "another approver answers it; who asked may still reject it",
        )
    return None


def changed(then: Subject, now: Subject) -> tuple[str, ...]:
    """What is no longer as it was, in words."""
    before, after = then.to_state(), now.to_state()
    return tuple(label for name, label in LABELS.items() if before[name] != after[name])
