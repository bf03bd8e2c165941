"""What is written down, and who is told, when a rollout ends well, badly, or in doubt."""

from typing import Literal

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.rollout import ProofOfVersion, SignalVerdict


class TimelineEntry(Contract):
    """One effect, as it was recorded."""

    at: UtcDatetime
    run_id: str
    effect: str
    done: bool
    """False: intended, and not known to be done."""
    told: str


class Incident(Contract):
    """Why a version was gone back from, on what evidence, and what was done about it."""

    run_id: str
    model_id: str
    model_name: str
    outcome: Literal["rolled_back", "not_proved", "refused"]
    """`not_proved`: moved, but that the old version serves is not shown. `refused`: nothing was moved."""
    reason: str
    by: str
    """Who asked: a person, an agent or key, or `policy` where a trigger of the plan fired."""
    detected_at: UtcDatetime
    from_version: str | None
    to_version: str | None
    overtaken_run: str | None = None
    plan_digest: str | None = None
    signals: tuple[SignalVerdict, ...] = ()
    """Of the latest look at the rollout that was gone back from."""
    proof: ProofOfVersion | None = None
    statement: str
    held: str | None = None
    """Scope of the hold that now stands."""
    timeline: tuple[TimelineEntry, ...] = ()


class Notice(Contract):
    """A message to people. `key` is the same each time it is sent: who hears it twice can tell."""

    key: str
    """`RUN_ID/EVENT`, of a question also its number; of what the watch finds, `watch/…`."""
    event: Literal[
        "rolled_back",
        "not_proved",
        "refused",
        "promoted",
        "inconclusive",
        "waits_for_a_person",
        "review_opened",
        "review_escalated",
        "review_expired",
        "trigger_page",
        "trigger_digest",
    ]
    title: str
    body: str
