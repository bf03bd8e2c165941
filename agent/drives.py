"""Which runs does this process drive just now? Each in a thread of its own, no more than there are places, and awaited by whoever
wants to know its end."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import Lock
from typing import Any, Final

from agent.deps import Progress
from agent.progress import Board
from agent.services.runs import Runs
from tools.contracts.request import RunOrder
from tools.errors import RetrainingError, Unavailable

MOST_RUNS: Final = 64
"""Runs that one process drives at a time; who comes later is told to come again."""
MOST_ROLLBACKS: Final = 16
"""They have threads of their own: no training keeps one waiting."""
KEPT: Final = 200
"""Ended runs whose failure can still be asked for."""


class Drives:
    """Thread-safe. `close` waits for what was begun."""

    def __init__(self, runs: Runs, board: Board, progress: Progress, most_runs: int = MOST_RUNS) -> None:
        self._services, self._board, self._progress, self._most = runs, board, progress, most_runs
        self._lock, self._taken = Lock(), 0
        self._runs = ThreadPoolExecutor(most_runs, thread_name_prefix="run")
        self._rollbacks = ThreadPoolExecutor(MOST_ROLLBACKS, thread_name_prefix="rollback")
        self._going: dict[str, list[Future[Any]]] = {}

    def close(self) -> None:
        """No run is left half done by an orderly end."""
        self._rollbacks.shutdown(wait=True)
        self._runs.shutdown(wait=True)

    def begin(self, order: RunOrder) -> str:
        """The run's id, once nothing can be refused any more.

        Raises:
            Unavailable: all places are taken, or the process stops. And what `Runs.start` raises before it begins.
        """
        begun, ended = Future[str](), Future[Any]()

        def recorded(run_id: str) -> None:
            self._keep(run_id, ended)
            begun.set_result(run_id)

        def repeated(run_id: str) -> None:
            # Asked for twice: whoever waits for the run waits for the thread that drives it.
            if not self.is_going(run_id):
                self._keep(run_id, ended)
            begun.set_result(run_id)

        def drive() -> None:
            try:
                output = self._services.start(order, recorded=recorded, repeated=repeated)
            except BaseException as error:  # noqa: BLE001 (whoever waits is told)
                (ended if begun.done() else begun).set_exception(error)
            else:
                ended.set_result(output)

        if order.kind == "rollback":
            _submit(self._rollbacks, drive)
        else:
            self._in_a_place(drive)
        return begun.result()

    def go_on(self, run_id: str) -> None:
        """Resume it. Nobody who has answered is told to come again: where no place is left, it is gone on with when one is."""
        self._keep(run_id, self._in_a_place(lambda: self._services.resume(run_id, wait=True), refuse=False))

    def is_going(self, run_id: str) -> bool:
        """Whether this process drives the run just now."""
        return any(not each.done() for each in self._going.get(run_id, ()))

    def wait_for(self, run_id: str, seconds: float | None = None) -> None:
        """Until the run that this process drives has ended or parked; at once for any other.

        Raises:
            RetrainingError: what ended it.
        """
        going = self._going.get(run_id)
        if not going:
            return
        wait(going, seconds)
        errors = [each.exception() if each.done() else None for each in going]
        # A repeated request finds its run under way: that is no fault of the run.
        if errors[0] is not None and None not in errors:
            raise errors[0]

    def _in_a_place(self, act: Callable[[], Any], *, refuse: bool = True) -> Future[Any]:
        """Counted before it is handed over: of many who come at once, none waits unseen for a thread."""
        with self._lock:
            if refuse and self._taken >= self._most:
                raise Unavailable(
                    f"{self._taken} runs go on in this process already",
                    thing="runs",
                    value=self._taken,
                    remedy="ask again in a minute",
                )
            self._taken += 1
        try:
            going = _submit(self._runs, act)
        except Unavailable:
            self._leave(None)
            raise
        going.add_done_callback(self._leave)
        return going

    def _leave(self, _: Any) -> None:
        with self._lock:
            self._taken -= 1

    def _keep(self, run_id: str, going: Future[Any]) -> None:
        with self._lock:
            over = [name for name, each in self._going.items() if all(future.done() for future in each)]
            for name in over[:-KEPT]:
                del self._going[name]
            others = [each for each in self._going.get(run_id, ()) if not each.done()]
            self._going[run_id] = [*others, going]
        going.add_done_callback(lambda done: self._told(run_id, done.exception()))

    def _told(self, run_id: str, error: BaseException | None) -> None:
        if error is not None and not self.is_going(run_id):
            message = error.message if isinstance(error, RetrainingError) else type(error).__name__
            self._progress(f"run {run_id}: {message}")
            self._board.tell(run_id, message)
        self._board.stir(run_id)


def _submit(pool: ThreadPoolExecutor, act: Callable[[], Any]) -> Future[Any]:
    try:
        return pool.submit(act)
    except RuntimeError as error:  # the pool is shut
        raise Unavailable("this process is stopping", thing="runs", remedy="ask again in a minute") from error
