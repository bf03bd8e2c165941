"""Who is told of a question when it is asked, when half its time is gone, and when it has run out?

Told once each, by whoever comes: the run that asks, and whoever watches, who sees to what a killed process left untold. Unanswered
means that the champion stays: nothing here moves anything.
"""

from typing import Any

from agent.deps import Deps
from agent.services import briefs, notices, report
from tools import brief
from tools.contracts.incident import Notice
from tools.contracts.profile import Profile
from tools.contracts.run import Review
from tools.errors import RetrainingError


def opened(deps: Deps, holder: str, review: Review) -> None:
    """A person is asked."""
    _tell(deps, holder, review, "review_opened", f"{review.model_id}: a person is asked ({_what(review)})")


def escalated(deps: Deps, holder: str, review: Review) -> None:
    """Nobody has answered, and half the time is gone."""
    title = f"{review.model_id}: nobody has answered ({_what(review)}), until {review.expires_at:%Y-%m-%d %H:%M} UTC"
    _tell(deps, holder, review, "review_escalated", title)


def expired(deps: Deps, holder: str, review: Review) -> None:
    """Nobody answered in time."""
    _tell(deps, holder, review, "review_expired", f"{review.model_id}: nobody answered, the champion stays")


class Reminders:
    """Told by a watcher, each time it looks. What was told is kept in memory only to spare the store."""

    def __init__(self, deps: Deps, holder: str) -> None:
        self._deps, self._holder = deps, holder
        self._done: set[tuple[int, str]] = set()

    def due(self) -> None:
        """Of every open question: that it was asked, and once it is time, that nobody has answered."""
        now = self._deps.clock()
        for review in self._deps.store.list_reviews():
            if review.expires_at <= now or self._deps.store.get_run(review.run_id).status == "running":
                continue
            self._once(review, "opened")
            if review.escalate_at is not None and review.escalate_at <= now:
                self._once(review, "escalated")

    def _once(self, review: Review, event: str) -> None:
        if (review.id, event) in self._done:
            return
        (opened if event == "opened" else escalated)(self._deps, self._holder, review)
        self._done.add((review.id, event))


def _tell(deps: Deps, holder: str, review: Review, event: Any, title: str) -> None:
    """Whatever cannot be told stops nothing."""
    try:
        profile = deps.load_profile(review.model_id)
        notice = Notice(
            key=f"{review.run_id}/{event}-{review.id}",
            event=event,
            title=title,
            body=_body(deps, profile, review, event),
        )
        notices.tell(deps, holder, review.run_id, profile, notice, review.id)
    except RetrainingError as failure:
        deps.progress(f"nobody could be told of review {review.id}: {failure.message}")


def _body(deps: Deps, profile: Profile, review: Review, event: str) -> str:
    """Brief, link and command; whole in itself, because it is read on a phone."""
    action = review.payload["action_requests"][0]
    args: dict[str, Any] = action["args"]
    page = report.path_of(deps, review.run_id)
    lines = [
        str(action.get("description", "")),
        *([f"Decision so far: {args['decision']}"] if args.get("decision") else []),
        *brief.lines(briefs.of_review(deps, review)),
        f"Asked by {review.requested_by}; may answer: {', '.join(review.approvers) or 'nobody'}",
        *([f"Report: {page}"] if page.exists() else []),
        f"Tracking: {deps.tracking.where()}, model {profile.registered_model}, run {review.run_id}",
    ]
    if event == "review_expired":
        lines.append(f"Nobody answered until {review.expires_at:%Y-%m-%d %H:%M} UTC. Nothing was deployed.")
        lines.append(f"Again: retrain runs show {review.run_id}; retrain run {review.model_id}")
    else:
        lines.append(f"Open until {review.expires_at:%Y-%m-%d %H:%M} UTC; unanswered, the champion stays.")
        lines.append(f'Answer: retrain review show {review.id}; retrain review approve|reject {review.id} --reason "…"')
    return "\n".join(line for line in lines if line)


def _what(review: Review) -> str:
    return f"{review.offered.replace('_', ' ')}, review {review.id}"
