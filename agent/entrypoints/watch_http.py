"""`/healthz`, `/readyz` and `/metrics` of a process that watches: is it alive, does it work, and what has it done?"""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from agent.services.watch import Watch
from agent.services.watcher import WatchLoop
from tools.contracts.triggers import Evaluation, Firing
from tools.errors import RetrainingError
from tools.ports import Store

if TYPE_CHECKING:
    import socket

STUCK: Final = timedelta(minutes=30)
"""A round may hold a look of minutes; one that lasts longer is stuck."""


def health(last_round: datetime | None, last_look: datetime | None, now: datetime) -> tuple[dict[str, str], int]:
    """What `/healthz` answers, and its status: 503 once either thread has come to no end of a round for so long.

    Args:
        last_round: When the latest round of triggers ended; None before the first has.
        last_look: When the latest look at a rollout, or round of them, ended; None before the first has begun.
        now: Aware.
    """
    ended = {"lastRound": last_round, "lastLook": last_look}
    known = {name: at for name, at in ended.items() if at is not None}
    stuck = any(now - at > STUCK for at in known.values())
    content = {"status": "stuck" if stuck else "ok"} | {name: at.isoformat() for name, at in known.items()}
    return content, 503 if stuck else 200


class WatchMetrics:
    """What is counted. No model's name is a label: a thousand models are no thousand series."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

        disable_created_metrics()
        self.registry = CollectorRegistry()
        made = self.registry
        self._evaluations = Counter(
            "retrain_evaluations", "Evaluations of triggers.", ["trigger", "code"], registry=made
        )
        self._seconds = Histogram(
            "retrain_evaluation_seconds",
            "What one evaluation took.",
            buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300),
            registry=made,
        )
        self._firings = Counter("retrain_firings", "Runs that were asked for.", ["trigger", "source"], registry=made)
        self._resumed = Counter("retrain_resumed_runs", "Runs gone on with after a crash.", registry=made)
        self._looks = Counter("retrain_rollout_looks", "Looks at rollouts and questions.", ["phase"], registry=made)
        self._errors = Counter("retrain_watch_errors", "Rounds that failed.", registry=made)
        self._round = Gauge("retrain_watch_last_round_timestamp_seconds", "When the latest round ended.", registry=made)
        self._going = Gauge("retrain_runs_going", "Runs that this process drives.", registry=made)
        self._waiting = Gauge("retrain_firings_waiting", "Runs that wait to be started.", registry=made)
        self._profiles = Gauge("retrain_profiles", "Profiles that are watched.", registry=made)

    def evaluated(self, found: Evaluation, seconds: float) -> None:
        self._evaluations.labels(found.trigger, found.code).inc()
        self._seconds.observe(max(0.0, seconds))

    def fired(self, firing: Firing) -> None:
        self._firings.labels(firing.trigger, firing.source).inc()

    def resumed(self, run_id: str) -> None:
        self._resumed.inc()

    def looked(self, phase: str) -> None:
        """At a rollout."""
        self._looks.labels(phase).inc()

    def failed(self) -> None:
        """A whole round."""
        self._errors.inc()

    def round(self, at: datetime | None, going: int) -> None:
        """A round has ended."""
        if at is not None:
            self._round.set(at.timestamp())
        self._going.set(going)

    def page(self, store: Store) -> bytes:
        """The text that Prometheus reads; two figures are asked of the store then."""
        from prometheus_client import generate_latest

        self._waiting.set(store.waiting_firings())
        self._profiles.set(len(store.watched()))
        return generate_latest(self.registry)


def serve(
    taken: "socket.socket",
    loop: WatchLoop,
    watching: Watch,
    metrics: WatchMetrics,
    store: Store,
    keys: Any,
    *,
    open_metrics: bool,
    tell: Callable[[str], None],
) -> Callable[[], None]:
    """Answer in a thread until the callable that is returned is called.

    Args:
        taken: Where it listens.
        loop: What is watched: triggers.
        watching: And rollouts.
        metrics: What is counted.
        store: Asked whether it answers.
        keys: Who may read metrics where they are not open to all.
        open_metrics: Whether they are: on loopback.
        tell: Hears what cannot be answered.
    """
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Route

    from agent.entrypoints.server.app import Server
    from agent.entrypoints.server.guard import Guard
    from agent.entrypoints.server.limits import Limits
    from agent.entrypoints.server.process import uvicorn_server

    async def healthz(_: Request) -> Response:
        content, status = health(loop.ticked_at, watching.looked_at, datetime.now(UTC))
        return JSONResponse(content, status)

    async def readyz(_: Request) -> Response:
        if loop.ticked_at is None:
            return JSONResponse({"status": "the first round is under way"}, 503)
        try:
            await run_in_threadpool(store.identity)
        except RetrainingError as failure:
            return JSONResponse({"status": failure.message}, 503)
        return JSONResponse({"status": "ok"})

    async def page(_: Request) -> Response:
        try:
            text = await run_in_threadpool(metrics.page, store)
        except RetrainingError as failure:
            return JSONResponse({"status": failure.message}, 503)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    app = Starlette(routes=[Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", page)])
    paths = {"/healthz", "/readyz", *(("/metrics",) if open_metrics else ())}
    guard = Guard(
        app,
        keys=keys,
        clock=lambda: datetime.now(UTC),
        limits=Limits(),
        open_paths=paths,
        doors={},
        hosts=(),
        tell=lambda _: None,
    )
    server = uvicorn_server(Server(guard, lambda: None, ()), tell)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [taken]}, daemon=True, name="watch-http")
    thread.start()

    def close() -> None:
        server.should_exit = True
        thread.join(5)

    return close
