"""What a run store refuses, and what a record becomes: the pure rules that `SqlStore` and `MemoryStore` share."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from tools.contracts.access import ApiKey
from tools.contracts.run import ChampionEvent, EffectRecord, Hold, Lease, Review, RunRecord
from tools.errors import BrokenInvariant, Busy, Conflict, NotFound

IsAlive = Callable[[str], bool | None]
"""Whether the process of a holder runs; None where that cannot be seen."""
_FIXED: Final = {"run_id", "model_id", "idempotency_key", "created_at"}
"""What a run is found by; it never changes."""


# --- runs ----------------------------------------------------------------------------------------------------------


def same_request(earlier: RunRecord, run: RunRecord) -> RunRecord:
    """The earlier run under the same idempotency key, unless the key was meant for another model or something else."""
    if earlier.model_id != run.model_id:
        raise Conflict(
            f"idempotency key {run.idempotency_key!r} was used for {earlier.model_id!r} (run {earlier.run_id})",
            thing="idempotencyKey",
            value=run.idempotency_key,
            remedy="take a new key for another model",
        )
    if earlier.kind != run.kind or _asked(earlier) != _asked(run):
        raise Conflict(
            f"idempotency key {run.idempotency_key!r} was used for another request (run {earlier.run_id})",
            thing="idempotencyKey",
            value=run.idempotency_key,
            remedy="take a new key for another request",
        )
    return earlier


def _asked(run: RunRecord) -> dict[str, Any]:
    """What an order asks for, whoever asks and whenever. A rollback's reason may quote what changes meanwhile."""
    order = run.order or {}
    request = {name: value for name, value in order.get("request", {}).items() if name != "model_id"}
    return {"request": request} | {name: order.get(name) for name in ("candidate_version", "rollback_to")}


def run_exists(run: RunRecord) -> Conflict:
    """The error for a run that is recorded twice."""
    return Conflict(
        f"run {run.run_id!r} was recorded already",
        thing="run",
        value=run.run_id,
        remedy=f"`retrain runs show {run.run_id}`",
    )


def no_run(run_id: str) -> NotFound:
    """The error for an unknown run."""
    return NotFound(f"no run {run_id!r}", thing="run", value=run_id, remedy="`retrain runs list` shows what there is")


def require_changeable(run_id: str, changes: Mapping[str, Any]) -> None:
    """Refuses names that are no field of a run, and those it is found by."""
    wrong = sorted(changes.keys() - (RunRecord.model_fields.keys() - _FIXED))
    if wrong:
        raise BrokenInvariant(f"a run has no field {wrong} that can change", thing="run", value=run_id)


def changed_run(run: RunRecord, changes: Mapping[str, Any], now: datetime) -> RunRecord:
    """The run with the changes, validated."""
    return RunRecord.model_validate(run.model_dump() | {"updated_at": now} | dict(changes))


# --- leases --------------------------------------------------------------------------------------------------------


UNFINISHED = ("running", "parked", "failed")
"""Statuses of runs that may still go on."""


class Held(NamedTuple):
    """A lease that somebody has, since when."""

    lease: Lease
    since: datetime


def next_lease(model_name: str, run_id: str, holder: str, last_token: int, now: datetime, ttl_seconds: float) -> Lease:
    """The lease to be had now, under the next token."""
    expires_at = now + timedelta(seconds=ttl_seconds)
    return Lease(model_name=model_name, run_id=run_id, holder=holder, token=last_token + 1, expires_at=expires_at)


def refuse_if_held(held: Held | None, wanted: Lease, now: datetime, is_alive: IsAlive) -> None:
    """Raises `Conflict` unless the lease is free or gives way.

    A parked lease gives way to its own run only; a beating one to the same run in the same process, and to anybody once
    it has run out or its process is known to be gone.
    """
    if held is not None and not _gives_way(held.lease, wanted, now, is_alive):
        raise _busy(held)


def _gives_way(lease: Lease, wanted: Lease, now: datetime, is_alive: IsAlive) -> bool:
    own = lease.run_id == wanted.run_id
    if lease.expires_at is None:
        return own
    return (own and lease.holder == wanted.holder) or lease.expires_at < now or is_alive(lease.holder) is False


def _busy(held: Held) -> Conflict:
    name, run_id = held.lease.model_name, held.lease.run_id
    if held.lease.expires_at is None:
        state = "parked: it waits for a person or a rollout"
        remedy = f"`retrain runs show {run_id}`; answer its review, resume it, or roll back, which pre-empts it"
        kind = Conflict
    else:
        state = f"running in process {held.lease.holder}"
        remedy = f"wait until run {run_id} is done; `retrain runs show {run_id}`"
        kind = Busy
    return kind(
        f"{name!r} is held by run {run_id} since {held.since:%Y-%m-%d %H:%M:%S} UTC ({state})",
        thing="model",
        value=name,
        remedy=remedy,
    )


def is_newest(held: Held | None, lease: Lease) -> bool:
    """Whether nobody acquired or released since."""
    return held is not None and (held.lease.token, held.lease.run_id) == (lease.token, lease.run_id)


def beaten(held: Held, now: datetime, ttl_seconds: float) -> Held:
    """The lease after a heartbeat. One that comes late, when its run has parked, leaves it parked."""
    until = None if held.lease.expires_at is None else now + timedelta(seconds=ttl_seconds)
    return Held(held.lease.model_copy(update={"expires_at": until}), held.since)


def parked(held: Held) -> Held:
    """The lease as a reservation that needs no heartbeat."""
    return Held(held.lease.model_copy(update={"expires_at": None}), held.since)


def lost(lease: Lease, undone: str) -> Conflict:
    """The error for who acts under a lease that is no longer the newest."""
    return Conflict(
        f"the lease on {lease.model_name!r} was taken over; {undone}",
        thing="lease",
        value=lease.run_id,
        remedy="`retrain runs list` shows who took it",
    )


# --- effects -------------------------------------------------------------------------------------------------------


def intended(lease: Lease, key: str, name: str, intent: Mapping[str, Any], now: datetime) -> EffectRecord:
    """A new effect under the lease's token."""
    return EffectRecord(
        key=key,
        run_id=lease.run_id,
        name=name,
        status="intended",
        token=lease.token,
        intent=dict(intent),
        intended_at=now,
    )


def confirmed(effect: EffectRecord | None, key: str, result: Mapping[str, Any], now: datetime) -> EffectRecord:
    """The effect, done."""
    if effect is None:
        raise BrokenInvariant(f"effect {key!r} was confirmed before it was intended", thing="effect", value=key)
    return effect.model_copy(update={"status": "done", "result": dict(result), "done_at": now})


# --- holds ---------------------------------------------------------------------------------------------------------


def let_go(hold: Hold | None, scope: str, by: str, why: str, at: datetime) -> Hold:
    """The hold, released."""
    if hold is None:
        raise NotFound(
            f"nothing is held under {scope!r}", thing="hold", value=scope, remedy="`retrain holds` lists them"
        )
    return Hold.model_validate(hold.model_dump() | {"released_at": at, "released_by": by, "released_why": why})


# --- reviews -------------------------------------------------------------------------------------------------------


def no_review(review_id: int) -> NotFound:
    """The error for an unknown review."""
    return NotFound(f"no review {review_id}", thing="review", value=review_id, remedy="`retrain review list --all`")


def answered(review: Review, digest: str, nonce: str, answer: str, by: str, reason: str, at: datetime) -> Review:
    """The review with its answer, if it is still open, in time, and about the very same thing."""
    why = None
    if review.status != "open":
        why = f"is {review.status}"
    elif review.expires_at <= at:
        why = f"expired at {review.expires_at:%Y-%m-%d %H:%M} UTC"
    elif (review.digest, review.nonce) != (digest, nonce):
        why = "is about something else than this answer"
    if why is not None:
        raise Conflict(
            f"review {review.id} {why}",
            thing="review",
            value=review.id,
            remedy=f"`retrain run --resume {review.run_id}` goes on with the run; nothing is deployed by this answer",
        )
    changes = {"status": "answered", "answer": answer, "answered_by": by, "answered_at": at, "reason": reason}
    return Review.model_validate(review.model_dump() | changes)


def closed(review: Review, status: str) -> Review:
    """The review closed; one that is no longer open stays what it is."""
    return review if review.status != "open" else Review.model_validate(review.model_dump() | {"status": status})


# --- keys ----------------------------------------------------------------------------------------------------------


def folded(name: str) -> str:
    """A name as it is compared: `Ada` and `ada` would be taken for each other."""
    return name.casefold()


def require_new_name(earlier: Sequence[ApiKey], key: ApiKey) -> None:
    """Refuses a name that a good key has, or that meant something of another kind in the records.

    Args:
        earlier: All keys that ever had the name, without regard to case.
        key: The one to be made.
    """
    for known in earlier:
        if known.revoked_at is None:
            raise name_taken(key.name)
        if known.kind != key.kind:
            raise Conflict(
                f"{known.name!r} was the name of a key of kind {known.kind}, and stands in records as that",
                thing="key",
                value=key.name,
                remedy="take another name",
            )


def name_taken(name: str) -> Conflict:
    """The error for a name that a good key has."""
    return Conflict(
        f"there is a key {name!r} already",
        thing="key",
        value=name,
        remedy=f"`retrain keys revoke {name}` ends that one",
    )


def revoked(key: ApiKey | None, name: str, by: str, at: datetime) -> ApiKey:
    """The key, good for nothing any more."""
    if key is None:
        raise NotFound(f"no key {name!r} to revoke", thing="key", value=name, remedy="`retrain keys list` shows them")
    return ApiKey.model_validate(key.model_dump() | {"revoked_at": at, "revoked_by": by})


def used(key: ApiKey, at: datetime) -> ApiKey:
    """The key, used."""
    return (
        key if key.last_used_at is not None and key.last_used_at >= at else key.model_copy(update={"last_used_at": at})
    )


# --- history -------------------------------------------------------------------------------------------------------


def is_news(newest: ChampionEvent | None, event: ChampionEvent) -> bool:
    """Whether the champion changed."""
    return newest is None or newest.version != event.version
