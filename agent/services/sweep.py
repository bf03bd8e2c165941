"""How do all champions stand? Checked in threads, each on its own: what one cannot do is its own row, the others go on."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from queue import Empty, SimpleQueue
from typing import Final, Literal

from agent.deps import Deps, silent
from agent.services.check import Checked, check
from tools.adapters.scoring_children import end_scoring
from tools.contracts.request import RunOrder
from tools.drift_signals import DATA_SET
from tools.errors import BrokenInvariant, RetrainingError, outcome_of

Standing = Literal["page", "ticket", "digest", "failed", "could_not_measure", "fine"]
STANDINGS: Final[tuple[Standing, ...]] = ("page", "ticket", "digest", "failed", "could_not_measure", "fine")
"""Worst first; `failed` could not be looked at."""
PATIENCE_SECONDS = 20.0
"""After an interrupt, for checks under way to clean up behind themselves."""


@dataclass(frozen=True)
class Looked:
    """One model's row. Either `checked` or `error` is there."""

    model_id: str
    seconds: float
    checked: Checked | None = None
    error: RetrainingError | None = None

    @property
    def standing(self) -> Standing:
        """How badly somebody is needed."""
        if self.checked is None:
            return "failed"
        if self.checked.alert.level != "none":
            return self.checked.alert.level
        return "could_not_measure" if self.checked.staleness.verdict == "could_not_measure" else "fine"

    @property
    def sentence(self) -> str:
        """Why it stands so."""
        if self.checked is None:
            return "" if self.error is None else self.error.message
        alert, staleness = self.checked.alert, self.checked.staleness
        if alert.level == "none":
            return staleness.statement
        # A model that is old is listed for that; that its source is gone as well must not be lost behind it.
        unknown = [
            signal.statement
            for signal in staleness.signals
            if signal.outcome == "could_not_measure"
            and (signal.rule == "performance" or (signal.rule == "drift" and signal.subject == DATA_SET))
        ]
        return " ".join([alert.sentence, *unknown])


@dataclass(frozen=True)
class Swept:
    """All models, worst first."""

    looked: tuple[Looked, ...]
    seconds: float

    def count(self, standing: Standing) -> int:
        """Models that stand so."""
        return sum(row.standing == standing for row in self.looked)

    @property
    def queries(self) -> int:
        """Sent to the engines, where that is known."""
        efforts = [row.checked.staleness.effort for row in self.looked if row.checked is not None]
        return sum(effort.queries for effort in efforts if effort is not None)

    @property
    def exit_code(self) -> int:
        """0 where every model could be looked at, else the gravest error's code."""
        return max((outcome_of(row.error).exit_code for row in self.looked if row.error is not None), default=0)


def sweep(
    deps: Deps,
    models: Sequence[str],
    order_of: Callable[[str], RunOrder],
    *,
    parallel: int | None = None,
    look: Callable[[Deps, RunOrder], Checked] = check,
) -> Swept:
    """Check every model, `parallel` at a time (the machine's cores where None), each in a thread and with one scoring
    process at most. Progress is one line a model, as it ends.

    Args:
        deps: `progress` is told of each model's end; the checks themselves are silent.
        models: Profiles' ids.
        order_of: The order for one.
        parallel: At a time.
        look: What is done for each.

    Raises:
        KeyboardInterrupt: What had begun was ended and its files removed.
    """
    begun = time.monotonic()
    waiting: SimpleQueue[str] = SimpleQueue()
    done: SimpleQueue[Looked] = SimpleQueue()
    for model in models:
        waiting.put(model)
    # A check's own progress would say no model's name, from several threads at once.
    quiet, stop = replace(deps, progress=silent), threading.Event()

    def work() -> None:
        while not stop.is_set():
            try:
                model = waiting.get_nowait()
            except Empty:
                return
            done.put(_look(quiet, model, order_of, look))

    count = min(parallel or os.cpu_count() or 1, len(models))
    # Daemons: an interrupt must not wait for a query of minutes.
    threads = [threading.Thread(target=work, daemon=True, name=f"check-{number}") for number in range(count)]
    looked: list[Looked] = []
    try:
        for thread in threads:
            thread.start()
        for number in range(1, len(models) + 1):
            row = done.get()
            looked.append(row)
            deps.progress(
                f"{number} of {len(models)}  {row.model_id}: {row.standing.replace('_', ' ')}, {row.seconds:.1f} s"
            )
    except BaseException:
        stop.set()
        _end(threads)
        raise
    # An engine's connection is closed as its thread ends: a process that ends meanwhile is aborted by it.
    for thread in threads:
        thread.join()
    looked.sort(key=lambda row: (STANDINGS.index(row.standing), row.model_id))
    return Swept(tuple(looked), time.monotonic() - begun)


def _look(
    deps: Deps, model: str, order_of: Callable[[str], RunOrder], look: Callable[[Deps, RunOrder], Checked]
) -> Looked:
    begun = time.monotonic()
    try:
        checked = look(deps, order_of(model))
    except RetrainingError as error:
        return Looked(model, time.monotonic() - begun, error=error)
    except Exception as error:  # noqa: BLE001 - one model's crash is its own row, never the end of the sweep
        crash = BrokenInvariant(
            f"the check crashed: {type(error).__name__}: {error}",
            thing="modelId",
            value=model,
            remedy=f"please report it with what `retrain check {model}` prints",
        )
        return Looked(model, time.monotonic() - begun, error=crash)
    return Looked(model, time.monotonic() - begun, checked=checked)


def _end(threads: Sequence[threading.Thread]) -> None:
    """End scoring processes, so that their checks end, and give those the time to remove their files."""
    until = time.monotonic() + PATIENCE_SECONDS
    while any(thread.is_alive() for thread in threads) and time.monotonic() < until:
        end_scoring()
        for thread in threads:
            thread.join(timeout=0.2)
