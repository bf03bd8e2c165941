"""What of the tracking server does a rollback need? Nothing: what it cannot take or give is said, and missed."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from agent.deps import Deps, Progress
from tools.errors import RetrainingError
from tools.ports import Tracking

Value = TypeVar("Value")


def spared(deps: Deps) -> Deps:
    """The same, with a tracking server that may be away."""
    return replace(deps, tracking=SparedTracking(deps.tracking, deps.progress))


class SparedTracking:
    """Port `Tracking` over another one whose failures are told and passed over. A run that could not be opened is `""`."""

    def __init__(self, inner: Tracking, progress: Progress) -> None:
        self._inner, self._progress = inner, progress

    def _try(self, what: str, act: Callable[[], Value], otherwise: Value) -> Value:
        try:
            return act()
        except RetrainingError as failure:
            self._progress(f"tracking: {what} was left out: {failure.message}")
            return otherwise

    def open_run(self, run_id: str, model_name: str, tags: Mapping[str, str]) -> str:
        return self._try("the run", lambda: self._inner.open_run(run_id, model_name, tags), "")

    def log_json(self, tracking_run_id: str, path: str, content: Mapping[str, Any]) -> None:
        if tracking_run_id:
            self._try(path, lambda: self._inner.log_json(tracking_run_id, path, content), None)

    def log_file(self, tracking_run_id: str, file: Path, folder: str) -> None:
        if tracking_run_id:
            self._try(file.name, lambda: self._inner.log_file(tracking_run_id, file, folder), None)

    def log_metrics(self, tracking_run_id: str, metrics: Mapping[str, float]) -> None:
        if tracking_run_id:
            self._try("metrics", lambda: self._inner.log_metrics(tracking_run_id, metrics), None)

    def set_tags(self, tracking_run_id: str, tags: Mapping[str, str]) -> None:
        if tracking_run_id:
            self._try("tags", lambda: self._inner.set_tags(tracking_run_id, tags), None)

    def get_tags(self, tracking_run_id: str) -> Mapping[str, str]:
        return self._try("tags", lambda: self._inner.get_tags(tracking_run_id), {}) if tracking_run_id else {}

    def fetch(self, tracking_run_id: str, path: str, folder: Path) -> Path | None:
        return self._try(path, lambda: self._inner.fetch(tracking_run_id, path, folder), None)

    def close_run(self, tracking_run_id: str, *, failed: bool = False) -> None:
        if tracking_run_id:
            self._try("the run's end", lambda: self._inner.close_run(tracking_run_id, failed=failed), None)

    def where(self) -> str:
        return self._inner.where()
