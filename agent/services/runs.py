# pyright: reportDeprecated=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""How does a run begin, park, wake and end? One drive of the graph under one lease."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import Command

from agent.deps import Deps, Progress
from agent.graph import build_graph
from agent.services import active, holds, outputs, report, review_notices, reviews
from agent.services.champion import find_champion
from agent.services.leases import LeaseKeeper
from agent.services.preflight import require_sound
from agent.services.spared import spared
from agent.services.turns import Turns
from agent.state import STATE_VERSION, RunState, findings_of, run_of
from tools.contracts.request import RunOrder
from tools.contracts.run import RunRecord
from tools.errors import BrokenInvariant, Conflict, NotFound, RetrainingError

_LOOK: Final = 0.02
_ASK_AGAIN = object()
"""Killed between its question and parking: nobody was asked yet, or not told that he was."""
_FROM_THE_START = object()
"""Killed before its first checkpoint: the recorded order is all there is, and all that is needed."""


class Runs:
    """Starts and resumes runs. Built once by `bootstrap`; every door calls only this."""

    def __init__(self, deps: Deps, checkpointer: BaseCheckpointSaver[Any], holder: str, *, lease_seconds: float = 60.0):
        self._deps, self._holder, self._lease_seconds = deps, holder, lease_seconds
        self._app = build_graph(checkpointer)
        self._listeners: list[Callable[[str, str], None]] = []
        self._turns = Turns()

    def listen(self, listener: Callable[[str, str], None]) -> None:
        """Have `listener` hear each line of progress with the id of the run that it is about."""
        self._listeners.append(listener)

    @property
    def holder(self) -> str:
        """This process, as leases name it."""
        return self._holder

    def start(
        self,
        order: RunOrder,
        *,
        recorded: Callable[[str], None] | None = None,
        repeated: Callable[[str], None] | None = None,
    ) -> dict[str, Any]:
        """One pass of the state machine. Returns the public JSON at its end or its first pause.

        Args:
            order: What is to be done.
            recorded: Hears the run's id once nothing can be refused any more, before anything moves.
            repeated: Hears it in place of `recorded` where the idempotency key is that of an earlier run.

        Raises:
            Conflict: the model has a run already; the message says which and who holds it. Or the idempotency key was used for
                another request, or for a run that goes on.
        """
        deps = self._deps
        profile = deps.load_profile(order.request.model_id)
        run_id, now = deps.new_id(), deps.clock()
        record = RunRecord(
            run_id=run_id,
            model_id=profile.id,
            model_name=profile.registered_model,
            kind=order.kind,
            status="running",
            requested_by=order.requested_by,
            idempotency_key=order.request.idempotency_key,
            order=order.to_state(),
            created_at=now,
            updated_at=now,
        )
        # A request that is repeated gets its run, whatever has become of the model meanwhile.
        earlier = deps.store.repeated(record)
        if earlier is not None:
            return self._repeated(earlier, repeated or recorded)
        require_sound(deps, profile, order)
        holds.require_free(deps, profile, order)
        self._end_overdue_review(profile.registered_model)
        # Ours before it is known: who repeats the request at this moment must not drive it in our place.
        with self._turns.alone(run_id):
            record = deps.store.create_run(record)
            if record.run_id == run_id:
                deps.progress(f"run {run_id} of {profile.id}")
                before = self._before(record)
                with self._holding(record, new=True, preempt=self._may_overtake(record)) as held:
                    self._require_still_meant(order, before)
                    if recorded is not None:
                        recorded(run_id)
                    return self._drive(held, record, self._first_state(held, record, before))
        return self._repeated(record, repeated or recorded)

    def _repeated(self, earlier: RunRecord, heard: Callable[[str], None] | None) -> dict[str, Any]:
        run_id, told = earlier.run_id, heard or _unheard
        if earlier.output is not None:
            told(run_id)
            return earlier.output
        if self._begins(earlier):
            told(run_id)
            return self.resume(run_id)
        # It came to nothing, perhaps because its model was busy: it is busy still, or it goes on now.
        try:
            with self._turns.alone(run_id):
                return self._resume(run_id, told)
        except Conflict:
            if self._begins(self._deps.store.get_run(run_id)):
                told(run_id)
            raise

    def _begins(self, run: RunRecord) -> bool:
        """Whether it has come so far that it holds its model, or has done so. Where another thread is about to try, that is awaited."""
        store, until = self._deps.store, time.monotonic() + self._lease_seconds
        while store.get_run(run.run_id).status == "running":
            if self._holds_its_model(run):
                return True
            if not self._turns.taken(run.run_id) or time.monotonic() > until:
                return False
            time.sleep(_LOOK)
        return store.get_run(run.run_id).status != "failed"

    def _before(self, record: RunRecord) -> str | None:
        """The run whose rollout is under way, else the one that holds the model: a rollback ends it."""
        lease = self._deps.store.current_lease(record.model_name)
        under_way = active.find(self._deps, self._deps.load_profile(record.model_id))
        return under_way.run.run_id if under_way is not None else None if lease is None else lease.run_id

    def _first_state(self, deps: Deps, record: RunRecord, overtaken: str | None = None) -> RunState:
        order = RunOrder.model_validate(record.order)
        profile = deps.load_profile(order.request.model_id)
        run_id, name = record.run_id, profile.registered_model
        tags = {"retraining.kind": order.kind, "retraining.store": deps.store.identity()}
        tracking_run = deps.tracking.open_run(run_id, name, tags)
        deps.store.update_run(run_id, tracking_run_id=tracking_run)
        champion = find_champion(deps, profile)
        state: RunState = {
            "state_version": STATE_VERSION,
            "run_id": run_id,
            "order": order.to_state(),
            "profile": profile.to_state(),
            "tracking_run_id": tracking_run,
            "champion": None if champion is None else champion.to_state(),
        }
        if order.kind == "judge" and order.candidate_version is not None:
            given = deps.registry.get_version(name, order.candidate_version)
            state |= {"candidate": given.to_state(), "candidate_uri": given.model_uri}
        if order.kind == "rollback" and overtaken is not None:
            state["overtaken"] = overtaken
        return state

    def resume(self, run_id: str, *, wait: bool = False) -> dict[str, Any]:
        """Go on where the run was killed, parked or failed.

        Args:
            run_id: Which.
            wait: Until another thread of this process has ended or parked it, rather than to be refused.

        Raises:
            NotFound: unknown run. Conflict: finished, running elsewhere or in another thread, waiting for its review, or made
            by an unknown version of the state.
        """
        with self._turns.alone(run_id, wait=wait):
            return self._resume(run_id)

    def _resume(self, run_id: str, heard: Callable[[str], None] | None = None) -> dict[str, Any]:
        """`heard` is called once the run holds its model."""
        deps = self._deps
        record = deps.store.get_run(run_id)
        if record.status in ("finished", "aborted"):
            raise Conflict(
                f"run {run_id} is {record.status}" + (f": {record.error}" if record.error else ""),
                thing="run",
                value=run_id,
                remedy=f"`retrain runs show {run_id}` shows how it ended; start a new run",
            )
        given, before = self._next_input(record), self._before(record)
        with self._holding(record, preempt=self._may_overtake(record)) as held:
            (heard or _unheard)(run_id)
            if given is _ASK_AGAIN:
                return self._ask_again(held, record)
            self._tell_expired(held, run_id)
            first = given is _FROM_THE_START
            return self._drive(held, record, self._first_state(held, record, before) if first else given)

    def _may_overtake(self, record: RunRecord) -> bool:
        """A rollback takes the model from whoever has it, but from another rollback only where a person names the version."""
        order = record.order or {}
        if record.kind != "rollback":
            return False
        lease = self._deps.store.current_lease(record.model_name)
        if lease is None or order.get("rollback_to") is not None:
            return True
        return self._deps.store.get_run(lease.run_id).kind != "rollback"

    def _require_still_meant(self, order: RunOrder, before: str | None) -> None:
        """An order to take back one rollout is not one to go back further, should that rollout just have ended."""
        if order.of_run is not None and order.of_run != before:
            raise Conflict(
                f"the rollout of run {order.of_run} is no longer under way",
                thing="rollout",
                value=order.of_run,
                remedy=f"`retrain runs show {order.of_run}` shows how it ended",
            )

    def show(self, run_id: str) -> dict[str, Any]:
        """The run's latest public JSON, from the store."""
        record = self._deps.store.get_run(run_id)
        if record.output is None:
            raise NotFound(
                f"run {run_id} is {record.status} and has no output yet"
                + (f": {record.error}" if record.error else ""),
                thing="run",
                value=run_id,
                remedy=f"`retrain run --resume {run_id}` goes on with it",
            )
        return record.output

    def report(self, run_id: str, out: Path | None = None) -> Path:
        """Make the decision report again, from the run's stored state; into `out` alone where that is given.

        Raises:
            NotFound: unknown run, or no folder to write to. Conflict: the run has decided nothing, or was left by another
            version of the state. BadInput: the file cannot be written.
        """
        record = self._deps.store.get_run(run_id)
        values = self._app.get_state(self._config(run_id)).values
        version = values.get("state_version")
        if values and version != STATE_VERSION:
            raise _unknown_state(run_id, version)
        if values.get("policy") is None:
            raise Conflict(
                f"run {run_id} ({record.kind}, {record.status}) has decided nothing: there is nothing to report",
                thing="run",
                value=run_id,
                remedy=f"`retrain runs show {run_id}` tells how far it came",
            )
        state: RunState = values  # type: ignore[assignment]
        run, findings = run_of(state), findings_of(state)
        if out is None:
            return report.publish(self._deps, run, findings)
        return report.export(self._deps, run, findings, out)

    @contextmanager
    def _holding(self, record: RunRecord, *, new: bool = False, preempt: bool = False) -> Iterator[Deps]:
        """The lease for one drive. A fault inside marks the run failed, unless somebody ended it meanwhile."""
        store, run_id = self._deps.store, record.run_id
        keeper = LeaseKeeper(
            store, record.model_name, run_id, self._holder, ttl_seconds=self._lease_seconds, preempt=preempt
        )
        try:
            with keeper:
                if store.get_run(run_id).updated_at != record.updated_at:
                    raise Conflict(f"another process went on with run {run_id} meanwhile", thing="run", value=run_id)
                store.update_run(run_id, status="running", parked_for=None, wake_at=None, error=None)
                deps = replace(self._deps, lease=keeper, progress=self._teller(run_id))
                # Whatever else is down, a rollback needs the registry alone.
                yield deps if record.kind != "rollback" else spared(deps)
        except (RetrainingError, KeyboardInterrupt) as error:
            # A resumed run that could not have its lease stays what it was, and an ended one stays ended.
            if (keeper.held or (new and not self._holds_its_model(record))) and store.get_run(
                run_id
            ).status == "running":
                why = error.message if isinstance(error, RetrainingError) else "interrupted"
                ended = store.update_run(run_id, status="failed", error=why)
                if ended.tracking_run_id is not None:
                    with suppress(RetrainingError):
                        self._deps.tracking.close_run(ended.tracking_run_id, failed=True)
            if isinstance(error, KeyboardInterrupt):
                self._deps.progress(f"interrupted; `retrain run --resume {run_id}` goes on with it")
            raise

    def _holds_its_model(self, run: RunRecord) -> bool:
        lease = self._deps.store.current_lease(run.model_name)
        return lease is not None and lease.run_id == run.run_id

    def _teller(self, run_id: str) -> Progress:
        def tell(line: str) -> None:
            self._deps.progress(line)
            for listener in self._listeners:
                listener(run_id, line)

        return tell

    def _end_overdue_review(self, model_name: str) -> None:
        """A question that nobody answered in time must not hold its model for ever."""
        lease = self._deps.store.current_lease(model_name)
        if lease is None or lease.expires_at is not None:
            return
        record = self._deps.store.get_run(lease.run_id)
        overdue = record.wake_at is not None and record.wake_at <= self._deps.clock()
        if record.status == "parked" and record.parked_for == "review" and overdue:
            self._deps.progress(f"run {record.run_id} waited for a review that has expired: ending it")
            self.resume(record.run_id)

    def _config(self, run_id: str) -> Any:
        return {"configurable": {"thread_id": run_id}, "recursion_limit": 200}

    def _next_input(self, record: RunRecord) -> Any:
        """None re-enters a killed node; a parked one is woken once its answer or its hour has come."""
        snapshot = self._app.get_state(self._config(record.run_id))
        version = snapshot.values.get("state_version")
        if not snapshot.values and record.order is not None:
            return _FROM_THE_START
        if version != STATE_VERSION:
            raise _unknown_state(record.run_id, version)
        if not snapshot.interrupts:
            return None
        asked = snapshot.interrupts[0].value
        if asked["kind"] == "wait":
            return Command(resume={"woken_at": self._deps.clock().isoformat()})
        return self._answered(record, asked["digest"])

    def _answered(self, record: RunRecord, asked: str) -> Any:
        """What the graph is woken with once its question is closed. What it says is read from the store, not from here."""
        review = reviews.latest_of(self._deps, record.run_id)
        if review is None or (review.digest != asked and record.status != "parked"):
            return _ASK_AGAIN
        if review.status == "open" and review.expires_at <= self._deps.clock():
            review = self._deps.store.close_review(review.id, "expired")
        if review.status == "open" and record.status != "parked":
            return _ASK_AGAIN
        if review.status == "open":
            raise Conflict(
                f"run {record.run_id} waits for review {review.id}, open until {review.expires_at:%Y-%m-%d %H:%M} UTC",
                thing="review",
                value=review.id,
                remedy=f"`retrain review show {review.id}`, then approve or reject it",
            )
        return Command(resume={"review_id": review.id})

    def _ask_again(self, deps: Deps, record: RunRecord) -> dict[str, Any]:
        state: RunState = self._app.get_state(self._config(record.run_id)).values  # type: ignore[assignment]
        return self._park(deps, record.run_id, run_of(state), findings_of(state), {"kind": "review"})

    def _tell_expired(self, deps: Deps, run_id: str) -> None:
        review = reviews.latest_of(deps, run_id)
        if review is not None and review.status == "expired":
            review_notices.expired(deps, self._holder, review)

    def _drive(self, deps: Deps, record: RunRecord, given: Any) -> dict[str, Any]:
        config, run_id = self._config(record.run_id), record.run_id
        for update in self._app.stream(given, config, context=deps, durability="sync", stream_mode="updates"):
            for node in update:
                if not node.startswith("__"):
                    deps.progress(f"{node} done")
        snapshot = self._app.get_state(config)
        state: RunState = snapshot.values  # type: ignore[assignment]
        run, findings = run_of(state), findings_of(state)
        if snapshot.interrupts:
            return self._park(deps, run_id, run, findings, snapshot.interrupts[0].value)
        if snapshot.next:
            raise BrokenInvariant(f"run {run_id} stopped before {snapshot.next}", thing="run", value=run_id)
        output = outputs.response(deps, run, findings, status="finished")
        deps.store.update_run(run_id, status="finished", decision=findings.decision, output=output, error=None)
        return output

    def _park(self, deps: Deps, run_id: str, run: Any, findings: Any, asked: dict[str, Any]) -> dict[str, Any]:
        if deps.lease is None:
            raise BrokenInvariant("a run parked without its lease", thing="lease", value=run_id)
        if asked["kind"] == "review":
            review = reviews.open_review(deps, run, reviews.question(run, findings))
            # The page now names the question and what can be typed.
            noted = report.noted(findings, report.note_of(deps, run, findings))
            findings = replace(findings, notes=tuple(noted.get("notes", findings.notes)))
            output = outputs.response(deps, run, findings, status="parked", review_id=review.id)
            wake, why = review.expires_at, "review"
        else:
            review = None
            output = outputs.response(deps, run, findings, status="parked")
            wake, why = findings.rollout.wake_at, "rollout"
        deps.lease.park()
        deps.store.update_run(
            run_id, status="parked", parked_for=why, wake_at=wake, decision=findings.decision, output=output, error=None
        )
        if review is not None:
            # Last: whoever is told may answer at once, and finds a run that is parked.
            review_notices.opened(deps, self._holder, review)
        return output


def _unheard(_: str) -> None:
    """Nobody wants to know."""


def _unknown_state(run_id: str, version: Any) -> Conflict:
    return Conflict(
        f"run {run_id} was left by state version {version}; this program knows {STATE_VERSION}",
        thing="state_version",
        value=version,
        remedy="finish it with the program that started it, or start a new run; the champion is where it was",
    )
