"""Twenty models in one workspace, each with a champion that knows an old rule; and `retrain serve` over it, as a process."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from agent.services.keys import Keys
from evals.reliability.load_server import make_cheap

AS_OF: Final = "2026-07-01"
CALLERS: Final = 5
"""Agents with a key of their own."""
SECONDS: Final = 300.0
_LISTENS: Final = re.compile(r"listening on (http://\S+)")


@dataclass(frozen=True)
class Served:
    """A server, as its clients see it."""

    url: str
    tokens: tuple[str, ...]
    log: Path
    pid: int


class World:
    """Evals run from a checkout: the workspace is the one that the tests use."""

    def __init__(self, folder: Path, models: int) -> None:
        from tests.integration.shop import TRAIN, Shop
        from tests.streams import CHANGE

        self._folder, self.models = folder, tuple(f"model-{number:02}" for number in range(1, models + 1))
        self.shop = Shop(folder / "first")
        weights = 'metadata={"weights": [float(w) for w in (*model.coef_[0], model.intercept_[0])]},'
        text = TRAIN.replace('serialization_format="cloudpickle",', f'serialization_format="cloudpickle", {weights}')
        assert weights in text
        (self.shop.folder / "train.py").write_text(text)
        make_cheap("")
        for number, model in enumerate(self.models, 1):
            self.shop.with_champion(model)
            print(f"  · {number} of {models} models have a champion", file=sys.stderr, flush=True)
        self.better = self.shop.logged(self.models[0], CHANGE)

    def over(self, name: str, store: str) -> Path:
        """A copy of the workspace with another run store, which knows the champions too."""
        from agent.bootstrap import build
        from agent.settings import Settings
        from agent.workspace import load_workspace

        folder = self._folder / name
        shutil.copytree(self.shop.folder, folder)
        settings = folder / "retraining.yaml"
        settings.write_text(f"{settings.read_text()}store: {store}\n")
        for database in (folder / ".retraining").glob("store.db*"):
            database.unlink()
        before, after = (build(load_workspace(f / "retraining.yaml"), Settings()) for f in (self.shop.folder, folder))
        for model in self.models:
            for event in reversed(before.deps.store.champions(model)):
                after.deps.store.record_champion(event)
        return folder

    @contextmanager
    def served(self, folder: Path) -> Generator[Served]:
        """The server over that copy, until the block ends; asked to end, it must."""
        from agent.bootstrap import build
        from agent.settings import Settings
        from agent.workspace import load_workspace

        deps = build(load_workspace(folder / "retraining.yaml"), Settings()).deps
        keys = Keys(deps.store, deps.clock, is_user=lambda _: False)
        tokens = [keys.create(f"bot-{n}", {"read", "run"}, by="root", kind="agent").token for n in range(CALLERS)]
        log, said = folder / "load.jsonl", folder / "serve.log"
        words = ["evals.reliability.load_server", str(folder), str(log), self.better]
        with said.open("w") as out:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", "-m", *words], env=_environment(), stdout=out, stderr=out
            )
        try:
            yield Served(_address(process, said), tuple(tokens), log, process.pid)
            process.terminate()
            process.wait(SECONDS)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise RuntimeError(f"the server ended with {process.returncode}: {said.read_text()[-2000:]}")

    def records(self, folder: Path) -> list[Any]:
        """All runs of the copy's store, once its server has ended."""
        from agent.bootstrap import build
        from agent.settings import Settings
        from agent.workspace import load_workspace

        return list(build(load_workspace(folder / "retraining.yaml"), Settings()).deps.store.list_runs(None, 10_000))


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": root, "MLFLOW_DISABLE_TELEMETRY": "true", "OMP_NUM_THREADS": "1"}


def _address(process: "subprocess.Popen[bytes]", said: Path) -> str:
    until = time.monotonic() + SECONDS
    while process.poll() is None and time.monotonic() < until:
        found = _LISTENS.search(said.read_text())
        if found is not None:
            return found[1]
        time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {said.read_text()[-2000:]}")
