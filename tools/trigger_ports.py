"""The part of the run store that knows triggers, as a Protocol: what is due, what was found, which runs are still to be started."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from tools.contracts.triggers import Claim, Evaluation, Firing, TriggerAlert, Watcher, WatchState


class TriggerStore(Protocol):
    """Two queues, of models that are due and of firings that wait. What a process claims is its own for as long as it beats.

    Every method is one transaction. Raises `Unavailable` when the database does not answer.
    """

    # models that are watched
    def watched(self) -> Mapping[str, str]:
        """Profile id to the stamp of its files."""
        ...

    def watch_state(self, model_id: str) -> WatchState | None: ...

    def claims(self, model_id: str) -> Sequence[Claim]:
        """What was said from outside and not looked into yet."""
        ...

    def put_watch(self, state: WatchState, evaluation: Evaluation | None = None) -> None:
        """Write a state as it is; an evaluation of the former one that goes on is refused when it settles."""
        ...

    def note_claim(self, model_id: str, claim: Claim) -> None:
        """Add what was said, and make the model due. Bounded: of a source and kind one is kept, with a count."""
        ...

    def wake_watch(self, model_id: str | None, at: datetime) -> None:
        """Make a model due; all that are ever due where None."""
        ...

    def drop_watch(self, model_id: str, evaluation: Evaluation) -> None:
        """Forget a model; its firings that wait are refused. Evaluations stay."""
        ...

    def claim_watch(
        self, holder: str, now: datetime, limit: int
    ) -> Sequence[tuple[WatchState, tuple[Claim, ...], int]]:
        """Models that are due and nobody's: highest priority first. With the version that `settle_watch` wants."""
        ...

    def settle_watch(
        self,
        state: WatchState,
        version: int,
        evaluations: Sequence[Evaluation],
        *,
        known: Sequence[Claim] = (),
        taken: Sequence[Claim] = (),
        firing: Firing | None = None,
    ) -> Firing | None:
        """The new state, what was found and what is to be started, all or nothing.

        Args:
            state: As it is from now on.
            version: As claimed.
            evaluations: Oldest first; of what repeats itself one is kept with a count, of all the newest 500 of a model.
            known: Claims that the evaluation knew: any other makes the model due at once.
            taken: Claims that are dealt with.
            firing: To be started.

        Returns:
            The firing; None where its key was known: that hour has fired.

        Raises:
            Conflict: somebody else has the model by now. Nothing is recorded.
        """
        ...

    def release_watch(self, model_id: str, version: int) -> None:
        """Give a model back as it was."""
        ...

    # evaluations
    def add_evaluation(self, found: Evaluation) -> None: ...

    def evaluations(self, model_id: str, limit: int = 100) -> Sequence[Evaluation]:
        """Newest first."""
        ...

    # firings
    def claim_firings(self, holder: str, now: datetime, limit: int) -> Sequence[Firing]:
        """Those that wait, may be started and are nobody's: highest priority first."""
        ...

    def settle_firing(self, firing: Firing) -> None:
        """As it is from now on, and nobody's. Raises `NotFound`."""
        ...

    def firings(
        self, model_id: str | None = None, since: datetime | None = None, limit: int = 1000
    ) -> Sequence[Firing]:
        """Newest first."""
        ...

    def waiting_firings(self) -> int:
        """How many wait."""
        ...

    # processes that watch
    @property
    def watched_by_one(self) -> bool:
        """Whether one process alone may watch."""
        ...

    def begin_watching(self, watcher: Watcher) -> None:
        """Raises `Conflict` where one process alone may, and another does."""
        ...

    def beat_watching(self, holder: str, now: datetime, *, ended: bool = False) -> None: ...

    def watchers(self) -> Sequence[Watcher]:
        """Latest beat first; the newest hundred."""
        ...

    # webhooks and alerts
    def take_nonce(self, nonce: str, now: datetime, until: datetime) -> bool:
        """False where it was taken and is not over yet. What is over is forgotten."""
        ...

    def raise_alert(self, alert: TriggerAlert) -> bool:
        """False where it was raised before."""
        ...

    def unsent_alerts(self) -> Sequence[TriggerAlert]:
        """Oldest first, at most 1,000."""
        ...

    def put_alerts(self, alerts: Sequence[TriggerAlert]) -> None:
        """As they are now. Those that were sent more than 90 days ago are forgotten."""
        ...
