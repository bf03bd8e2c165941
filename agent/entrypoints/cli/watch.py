"""`retrain watch`: evaluates all triggers, starts what fires, and goes on with rollouts and questions whose hour has come."""

import os
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN
from tools.errors import BadInput, RetrainingError

if TYPE_CHECKING:
    from agent.bootstrap import App
    from agent.entrypoints.watch_http import WatchMetrics
    from agent.services.watch import Look, Watch
    from agent.services.watcher import WatchLoop
    from agent.watching import DeskStarter

LEFT = 130


def watch(
    model: Annotated[str | None, typer.Argument(help="Only this profile's rollouts and questions.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Do what is due now, then end.")] = False,
    until_idle: Annotated[
        bool, typer.Option("--until-idle", help="Rollouts alone: end when none is under way and nothing waits.")
    ] = False,
    rollouts: Annotated[bool, typer.Option("--rollouts", help="Rollouts and questions alone: no triggers.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two questions to the store.")] = 1.0,
    runs: Annotated[int, typer.Option(min=1, max=32, help="Runs at a time; what fires waits for its turn.")] = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Evaluate and record, start nothing.")] = False,
    host: Annotated[str, typer.Option(help="With --port: any but loopback needs a key.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Serve /healthz, /readyz and /metrics there; 0 takes a free one."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Evaluate every profile's triggers, start what fires, go on with rollouts. Ctrl-C ends it once what is under way has."""
    alone = model is not None or until_idle or rollouts
    _require_sense(alone, dry_run=dry_run, port=port)
    opened = open_app(workspace, model)
    with _Stop(ends=not alone) as stop:
        if alone:
            _follow(opened.watch(), stop, model, once=once, until_idle=until_idle, every=every)
        else:
            _all(opened, stop, once=once, every=every, runs=runs, dry_run=dry_run, host=host, port=port)


def _require_sense(alone: bool, *, dry_run: bool, port: int | None) -> None:
    if alone and (dry_run or port is not None):
        name = "--dry-run" if dry_run else "--port"
        raise BadInput(
            f"{name} is about triggers, and only rollouts are watched",
            thing=name,
            value=port if port is not None else None,
            remedy="leave out MODEL, --until-idle and --rollouts",
        )


class _Stop:
    """Set by SIGINT and SIGTERM. A second one leaves at once where runs are driven: each step of theirs is on record."""

    def __init__(self, *, ends: bool) -> None:
        self._ends, self._event = ends, threading.Event()
        self._heard: list[Callable[[], None]] = []

    def __enter__(self) -> "_Stop":
        self._before = {each: signal.signal(each, self._signalled) for each in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    def listen(self, act: Callable[[], None]) -> None:
        self._heard.append(act)

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        return self._event.wait(seconds)

    def _signalled(self, _: int, __: FrameType | None) -> None:
        if self._event.is_set() and self._ends:
            SCREEN.progress("left at once: the next `retrain watch` goes on with what was under way")
            os._exit(LEFT)
        self._event.set()
        for act in self._heard:
            act()
        if self._ends:
            SCREEN.progress("stopping: what is under way ends first; once more leaves it (the next watch goes on)")


# --- rollouts alone --------------------------------------------------------------------------------------------------


def _follow(watching: "Watch", stop: _Stop, model: str | None, *, once: bool, until_idle: bool, every: float) -> None:
    if not once:
        SCREEN.progress("watching; Ctrl-C ends it, and whoever watches next goes on")

    def follow() -> None:
        for look in watching.looks(model, stop.is_set):
            _tell(look)

    while True:
        if once or until_idle:
            follow()
        else:
            _kept_up(follow, ends=(BrokenPipeError,))  # nobody reads any more
        if once or stop.is_set() or (until_idle and watching.next_look(model) is None and not watching.due(model)):
            return
        stop.wait(every)


def _kept_up(
    round_of: Callable[[], object],
    failed: Callable[[], None] = lambda: None,
    *,
    ends: tuple[type[Exception], ...] = (),
) -> None:
    """A round that fails, whatever of, ends no watch: what is due stays due, and the next round may get through."""
    try:
        round_of()
    except ends:
        raise
    except Exception as failure:  # noqa: BLE001 (one crash must not leave all rollouts without anybody who looks)
        failed()
        told = failure.message if isinstance(failure, RetrainingError) else f"{type(failure).__name__}: {failure}"
        with suppress(OSError):  # a full disk takes no log either
            SCREEN.progress(f"the round failed: {told}")


def _tell(look: "Look") -> str:
    """A line a look; under --json an object a line, so that a log can be read while it grows. Returns the phase."""
    record, now = look.record, time.strftime("%H:%M:%S", time.gmtime())
    rollout: dict[str, Any] = {} if look.output is None else look.output.get("rollout", {})
    phase = "failed" if look.error is not None else rollout.get("phase", "ended")
    told = look.error.message if look.error is not None else rollout.get("statement", "")
    content = {"at": now, "runId": record.run_id, "modelId": record.model_id, "phase": phase, "statement": told}
    if "weight" in rollout:
        content["weight"] = rollout["weight"]
    weight = f" {rollout['weight']:>3} %" if "weight" in rollout else ""
    SCREEN.result(content, [f"{now} {record.model_id}{weight} {phase}: {told}"])
    return str(phase)


# --- everything ------------------------------------------------------------------------------------------------------


def _all(
    opened: "App", stop: _Stop, *, once: bool, every: float, runs: int, dry_run: bool, host: str, port: int | None
) -> None:
    from agent.entrypoints.watch_http import WatchMetrics
    from agent.watching import DeskStarter, watch_loop

    taken = None if port is None else _listen(opened, host, port)
    metrics, starter = WatchMetrics(), DeskStarter(opened)
    watching = opened.watch()
    loop = watch_loop(opened, starter, metrics, most_runs=runs, looks=os.cpu_count() or 2, dry_run=dry_run)
    loop.begin()
    stop.listen(loop.stop)
    try:
        with _answering(opened, taken, loop, watching, metrics):
            if not once:
                what = "trying all triggers, starting nothing" if dry_run else "watching all triggers and rollouts"
                SCREEN.progress(f"{what}; Ctrl-C ends it, and whoever watches next goes on")
            _rounds(watching, loop, starter, metrics, stop, once=once, every=every)
    finally:
        loop.end()
        starter.close()
    if not once:
        SCREEN.progress("ended")


def _listen(opened: "App", host: str, port: int) -> Any:
    from agent.entrypoints.cli.tokens import require_loopback_or
    from agent.entrypoints.server.process import listen
    from agent.services.keys import Keys

    any_key = bool(Keys(opened.deps.store, opened.deps.clock).list())
    require_loopback_or(any_key, host, "`retrain keys create NAME --scope read` first")
    return listen(host, port)


@contextmanager
def _answering(
    opened: "App", taken: Any, loop: "WatchLoop", watching: "Watch", metrics: "WatchMetrics"
) -> Generator[None]:
    if taken is None:
        yield
        return
    import ipaddress

    from agent.entrypoints.server.process import url_of
    from agent.entrypoints.watch_http import serve
    from agent.services.keys import Keys

    store = opened.deps.store
    keys = Keys(store, opened.deps.clock)
    open_metrics = ipaddress.ip_address(taken.getsockname()[0]).is_loopback
    close = serve(taken, loop, watching, metrics, store, keys, open_metrics=open_metrics, tell=SCREEN.progress)
    SCREEN.progress(f"health and metrics on {url_of(taken)}/healthz, /readyz, /metrics")
    try:
        yield
    finally:
        close()


def _rounds(
    watching: "Watch",
    loop: "WatchLoop",
    starter: "DeskStarter",
    metrics: "WatchMetrics",
    stop: _Stop,
    *,
    once: bool,
    every: float,
) -> None:
    """Triggers in this thread; rollouts in another, for a look may take minutes and neither is to wait for the other."""

    def follow() -> None:
        for look in watching.looks(None, stop.is_set):
            metrics.looked(_tell(look))

    over = threading.Event()

    def following() -> None:
        while not stop.wait(every) and not over.is_set():
            _kept_up(follow, metrics.failed)

    if once:
        follow()
        count = loop.tick()
        while loop.waits() and not stop.wait(every):
            count += loop.tick()
        at = loop.next_at()
        then = "none is due later" if at is None else f"the next is due at {at:%Y-%m-%d %H:%M} UTC"
        SCREEN.progress(f"{count} {'model was' if count == 1 else 'models were'} due; {then}")
        return
    beside = threading.Thread(target=following, name="rollouts")
    beside.start()
    try:
        while not stop.is_set():
            _kept_up(loop.tick, metrics.failed)
            metrics.round(loop.ticked_at, starter.going())
            stop.wait(every)
    finally:
        over.set()
        beside.join()
