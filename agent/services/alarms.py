"""Which alert from outside takes a rollout back? Only one that an exported rule of the plan under way raised."""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from agent.deps import Deps
from agent.services import active
from agent.services.runs import Runs
from agent.services.turns import Turns
from tools.alert_rules import ACTION
from tools.contracts.alertmanager import Alert, AlertmanagerMessage
from tools.contracts.request import RetrainingConfig, RetrainingRequest, RunOrder
from tools.errors import NotFound, RetrainingError

MOST_AT_ONCE: Final = 1_000
"""Rollbacks: one a model, so never reached. None waits for another's end, and no thread is made before it is needed."""


@dataclass(frozen=True)
class Answered:
    """What became of a message: rollbacks under way by model, and why the other alerts moved nothing."""

    rollbacks: dict[str, str]
    """Profile id to run id."""
    ignored: tuple[str, ...]

    def to_json_dict(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"rollbacks": self.rollbacks, "ignored": list(self.ignored)}


class Alarms:
    """Starts rollbacks in threads of its own and knows which it has started."""

    def __init__(self, deps: Deps, runs: Runs) -> None:
        self._deps, self._runs = deps, runs
        self._turns = Turns()
        self._pool = ThreadPoolExecutor(MOST_AT_ONCE, thread_name_prefix="rollback")

    def take(self, message: AlertmanagerMessage, caller: str) -> Answered:
        """Start a rollback for each model whose rollout under way is complained about. Returns before it is done.

        Raises:
            RetrainingError: a rollback was refused before it began.
        """
        rollbacks: dict[str, str] = {}
        ignored: list[str] = []
        for alert in message.alerts:
            name = alert.labels.get("retraining_model", "")
            # Of two alerts about one model the second must find what the first began; other models wait for neither.
            with self._turns.alone(name, wait=True):
                why = self._why_not(alert)
                if why is not None:
                    ignored.append(f"{alert.labels.get('alertname', alert.fingerprint)}: {why}")
                elif name not in rollbacks:
                    rollbacks[name] = self._under_way(name) or self._start(alert, caller)
        return Answered(rollbacks, tuple(ignored))

    def close(self) -> None:
        """Wait for the rollbacks that were begun: none is left half done."""
        self._pool.shutdown(wait=True)

    def _why_not(self, alert: Alert) -> str | None:
        labels = alert.labels
        if alert.status != "firing":
            return "it is resolved"
        if labels.get("retraining_action") != ACTION:
            return f"it does not carry retraining_action={ACTION}"
        name = labels.get("retraining_model", "")
        try:
            profile = self._deps.load_profile(name)
        except NotFound:
            return f"there is no profile {name!r}"
        if self._under_way(name) is not None:
            return None
        found = active.find(self._deps, profile)
        if found is None or profile.id != name:
            return f"no rollout of {name!r} is under way"
        exported = (labels.get("retraining_run"), labels.get("retraining_plan"))
        if exported != (found.run.run_id, found.plan.digest):
            return f"its rule was exported for another plan than that of run {found.run.run_id}"
        return None

    def _under_way(self, name: str) -> str | None:
        """The rollback that another alert has begun."""
        runs = self._deps.store.unfinished(name)
        return next((run.run_id for run in runs if run.kind == "rollback" and run.status == "running"), None)

    def _start(self, alert: Alert, caller: str) -> str:
        told = alert.annotations.get("summary") or alert.annotations.get("description") or "no summary was given"
        name = alert.labels.get("alertname", "an alert")
        since = f"{alert.starts_at:%Y-%m-%d %H:%M:%S} UTC"
        request = RetrainingRequest(
            model_id=alert.labels["retraining_model"],
            retraining_config=RetrainingConfig(trigger="performance", trigger_source="alertmanager"),
            idempotency_key=f"alertmanager/{alert.fingerprint}/{alert.starts_at.isoformat()}",
        )
        order = RunOrder(
            kind="rollback",
            request=request,
            requested_by=caller,
            as_of=self._deps.clock(),
            of_run=alert.labels.get("retraining_run"),
            reason=f"{name} fires since {since}: {told}"[:500],
        )
        began: Future[str] = Future()

        def run() -> None:
            try:
                self._runs.start(order, recorded=began.set_result)
            except RetrainingError as error:
                if began.done():
                    self._deps.progress(f"rollback {began.result()}: {error.message}")
                else:
                    began.set_exception(error)
            except BaseException as error:
                if not began.done():
                    began.set_exception(error)
                raise

        self._pool.submit(run)
        return began.result()
