"""What `retrain watch` is made of: the loop over the workspace's profiles, with the desk behind it that starts runs."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from agent.bootstrap import App
from agent.services.evaluate import Evaluator
from agent.services.trigger_alerts import Sender
from agent.services.watcher import Hears, WatchLoop
from agent.watched_profiles import WatchedProfiles
from tools.adapters.processes import is_alive
from tools.contracts.access import Caller
from tools.contracts.request import RetrainingConfig, RetrainingRequest
from tools.contracts.run import RunRecord
from tools.contracts.triggers import Firing

if TYPE_CHECKING:
    from agent.desk import Desk

CALLER: Final = Caller(name="watch", kind="agent", scopes=frozenset({"read", "run"}), door="watch")
"""Who asks for the runs that nobody asked for."""


class DeskStarter:
    """Runs over the desk, as every door starts them. The desk is built with the first: a watch that starts nothing stays light."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._desk: Desk | None = None
        self._mine: set[str] = set()

    def start(self, firing: Firing) -> str:
        config = RetrainingConfig(trigger=firing.trigger, trigger_source=firing.source)
        request = RetrainingRequest(model_id=firing.model_id, retraining_config=config, idempotency_key=firing.key)
        if firing.version is not None:
            run_id = self._open().judge(CALLER, request, firing.version)
        else:
            run_id = self._open().start(CALLER, request)
        self._mine.add(run_id)
        return run_id

    def resume(self, run_id: str) -> None:
        self._open().resume(CALLER, run_id)
        self._mine.add(run_id)

    def going(self) -> int:
        if self._desk is None:
            return 0
        self._mine = {run_id for run_id in self._mine if self._desk.is_going(run_id)}
        return len(self._mine)

    def is_driven(self, record: RunRecord) -> bool:
        if self._desk is not None and self._desk.is_going(record.run_id):
            return True
        lease = self._app.deps.store.current_lease(record.model_name)
        if lease is None or lease.run_id != record.run_id or is_alive(lease.holder) is False:
            return False
        return lease.expires_at is None or lease.expires_at > datetime.now(UTC)

    def close(self) -> None:
        """Wait for the runs that are under way: each ends, or parks."""
        if self._desk is not None:
            self._desk.close()

    def _open(self) -> "Desk":
        if self._desk is None:
            from agent.desk import Desk

            self._desk = Desk(self._app)
        return self._desk


def watch_loop(
    app: App, starter: DeskStarter, hears: Hears, *, most_runs: int, looks: int, dry_run: bool = False
) -> WatchLoop:
    """Everything of this workspace that goes on by itself, but for rollouts: those have `App.watch`."""
    profiles, holder = WatchedProfiles(app.workspace), app.runs.holder
    deps = app.deps
    quick = deps if app.quick_detective is None else replace(deps, drift_detective=app.quick_detective)
    return WatchLoop(
        deps,
        holder=holder,
        stamps=profiles.stamps,
        evaluator=Evaluator(quick, profiles.load, holder),
        starter=starter,
        sender=Sender(deps, profiles.load, holder),
        hears=hears,
        most_runs=most_runs,
        looks=looks,
        dry_run=dry_run,
    )
