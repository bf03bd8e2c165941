# pyright: basic
"""Real MLServers behind a real Envoy, on loopback, ended by the tests that started them.

Where the servers' environment cannot be had the tests are skipped with the reason; with `SERVING_REQUIRED` set, as
`make serving` does, that fails.
"""

import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.adapters.serving import processes
from tools.adapters.serving.environment import Servers, shared
from tools.adapters.serving.layout import Layout
from tools.adapters.serving.target import ServingTargetAdapter
from tools.contracts.peers import DeploymentRequest, ModelArtifact, TrafficConfig
from tools.contracts.profile import Profile
from tools.errors import RetrainingError

ENVIRONMENTS = Path(sys.prefix) / "serving-environments"

CODE = """
import os, time
import mlflow.pyfunc
from mlflow.models import set_model

class Model(mlflow.pyfunc.PythonModel):
    asked = 0
    kept = []

    def load_context(self, context):
        {load}

    def predict(self, context, model_input, params=None):
        x = model_input["x"]
        if float(x.iloc[0]) == 0.5:  # the example that warms it up
            return (x > 0).astype(int)
        self.asked += 1
        {predict}
        return (x > {cut}).astype(int)

set_model(Model())
"""
BEHAVIOURS: dict[str, dict[str, str]] = {
    "good": {},
    "also good": {"cut": "0.0"},
    "nonsense": {"predict": "return x.map(lambda _: float('nan'))"},
    "raises": {"predict": "raise RuntimeError('no such column')"},
    "raises on some": {"predict": "assert float(x.iloc[0]) > -5, 'too cold'"},
    "hangs": {"predict": "time.sleep(60)"},
    "leaks": {"predict": "self.kept.append(bytearray(40_000_000))"},
    "dies": {"predict": "os._exit(1) if self.asked > 3 else None"},
    "does not load": {"load": "raise RuntimeError('weights are missing')"},
    "loads for ever": {"load": "time.sleep(600)"},
}


class FolderOfModels:
    """Plays the registry: version to the folder of a logged model."""

    def __init__(self, root: Path) -> None:
        self.root, self._kinds = root, dict[str, str]()

    def add(self, version: str, behaviour: str = "good") -> None:
        import pandas as pd

        code = self.root / f"{version}.py"
        # Warnings of MLflow about models that are as its documentation shows them.
        code.write_text(CODE.format(**({"load": "pass", "predict": "pass", "cut": "0.0"} | BEHAVIOURS[behaviour])))
        example = pd.DataFrame({"x": [0.5, 0.5]})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import mlflow.pyfunc
            from mlflow.models import infer_signature

            mlflow.pyfunc.save_model(
                str(self.root / version),
                python_model=str(code),
                signature=infer_signature(example, pd.Series([1, 1])),
                pip_requirements=["mlflow", "pandas"],
            )

    def fetch(self, model_uri: str, folder: Path) -> Path:
        return Path(shutil.copytree(self.root / model_uri.rpartition("/")[2], folder))


class World:
    """A target with its models; everything it starts is ended with it."""

    def __init__(self, folder: Path, **spec: Any) -> None:
        (folder / "registry").mkdir(parents=True)
        self.models = FolderOfModels(folder / "registry")
        self.layout = Layout(folder / "serving" / "prices")
        self.said: list[str] = []
        self.profile = Profile.model_validate(
            {
                "id": "prices",
                "registered_model": "prices",
                "task": "classification",
                "data": {"source": "x.parquet", "event_time": "at", "target": "y", "features": ["x"]},
                "metrics": {"primary": {"name": "accuracy", "min_improvement": 0.01}},
                "target": {"kind": "serving", **spec},
            }
        )
        self.target = self.again()

    def again(self) -> ServingTargetAdapter:
        """As another process would open it."""
        return ServingTargetAdapter(self.profile, self.layout, self.models, ENVIRONMENTS, self.said.append)

    def processes(self) -> list[int]:
        """Servers and Envoy that run for it."""
        return [child.pid for child in processes.strays(self.layout.folder)]


def request(
    version: str, weight: int = 100, previous: str | None = None, mirror: int | None = None
) -> DeploymentRequest:
    return DeploymentRequest(
        model_artifact=ModelArtifact(path=f"models:/prices/{version}", version=version),
        deployment_strategy="canary",
        traffic_config=TrafficConfig(canary_percent=weight, mirror_percent=mirror),
        previous_version=previous,
    )


@pytest.fixture(scope="session")
def servers() -> Servers:
    try:
        return shared(ENVIRONMENTS, print)
    except RetrainingError as failure:
        if os.environ.get("SERVING_REQUIRED"):
            pytest.fail(failure.message)
        pytest.skip(failure.message)


@pytest.fixture(scope="module")
def made(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., World]]:
    """Makes worlds."""
    worlds: list[World] = []

    def make(**spec: Any) -> World:
        worlds.append(World(tmp_path_factory.mktemp("serving"), **spec))
        return worlds[-1]

    yield make
    for world in worlds:
        world.target.control.down()
        assert world.processes() == []
