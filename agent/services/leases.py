"""Who may move things for this model right now? A lease with a heartbeat, held for one drive of the graph."""

import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from tools.contracts.run import Lease
from tools.errors import Conflict, Unavailable
from tools.ports import Store


class LeaseKeeper:
    """Acquires on entry, beats in a thread, releases on exit unless parked.

    A process that is killed leaves the lease behind; it runs out, and on this machine any run may take it over at once
    because the recorded process is gone.
    """

    def __init__(
        self,
        store: Store,
        model_name: str,
        run_id: str,
        holder: str,
        *,
        ttl_seconds: float = 60.0,
        preempt: bool = False,
    ) -> None:
        self._store, self._ttl = store, ttl_seconds
        self._ask = (model_name, run_id, holder)
        self._preempt = preempt
        self._lease: Lease | None = None
        self._kept = True
        self._parked = False
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        model_name, run_id, holder = self._ask
        self._lease = self._store.acquire(model_name, run_id, holder, self._ttl, preempt=self._preempt)
        self._thread = threading.Thread(target=self._beat, name=f"lease-{run_id}", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)
        if self._lease is not None and not self._parked:
            # A lease that cannot be given back runs out; what went wrong before matters more.
            with suppress(Unavailable):
                self._store.release(self._lease)

    @property
    def current(self) -> Lease:
        """The lease, if it is still ours. Raises `Conflict` once somebody took it with a newer token."""
        if self._lease is None or not self._kept:
            raise Conflict(
                f"the lease on {self._ask[0]!r} was taken over while run {self._ask[1]} held it; this run stops",
                thing="lease",
                value=self._ask[1],
                remedy="see who took it with `retrain runs list`; resume this run later if it is still wanted",
            )
        return self._lease

    @property
    def held(self) -> bool:
        """Whether it was ever acquired."""
        return self._lease is not None

    def park(self) -> None:
        """Reserve the model without a heartbeat, until a person or a clock wakes the run."""
        self._stop.set()
        self._store.park(self.current)
        self._parked = True

    def _beat(self) -> None:
        while not self._stop.wait(self._ttl / 3):
            try:
                kept = self._lease is not None and self._store.heartbeat(self._lease, self._ttl)
            except Unavailable:
                continue  # the next beat may get through; should the lease run out, its token guards every effect
            if not kept:
                self._kept = False
                return
