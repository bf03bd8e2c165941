# pyright: basic
"""Where are a model's files, and are they the ones recorded? Fetched into a folder of our own; never opened here."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

from tools.adapters.mlflow_client import client_for, location_of, translated
from tools.errors import NotFound, Unavailable

REGISTRY_NOTE = "registered_model_meta"
"""Written beside a registered model when it is downloaded; no part of the model."""


class ModelFiles:
    """Fetches by the servers named here, whatever MLflow's global settings say."""

    def __init__(self, tracking_uri: str, registry_uri: str) -> None:
        self._tracking_uri, self._registry_uri = tracking_uri, registry_uri
        self._made: Any = None

    def fetch(self, model_uri: str, folder: Path) -> Path:
        """Copy the model `models:/m-ID`, `models:/NAME/VERSION`, `models:/NAME@ALIAS` or `runs:/ID/PATH` into `folder`.

        Returns:
            The folder with the MLmodel file, inside `folder`, which is made with mode 0700.

        Raises:
            NotFound: There is no such model, or no MLmodel file where it should be.
            Unavailable: A server or the artifact store does not answer, or the files point outside of the model.
        """
        from mlflow.artifacts import download_artifacts

        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with translated("registry", self._registry_uri, f"no model at {model_uri}"):
            found = download_artifacts(
                artifact_uri=self._location(model_uri),
                dst_path=str(folder),
                tracking_uri=self._tracking_uri,
                registry_uri=self._registry_uri,
            )
        path = Path(found)
        # A local artifact store may hand back its own folder: what is opened later must be what was digested.
        if folder.resolve() not in (path.resolve(), *path.resolve().parents):
            path = Path(shutil.copytree(path, folder / "copy", symlinks=True))
        return _sound(path, model_uri)

    def _location(self, model_uri: str) -> str:
        if self._made is None:
            self._made = client_for(self._tracking_uri, self._registry_uri)
        return location_of(self._made, self._registry_uri, model_uri)


def digest_of(model: Path) -> str:
    """sha256 over the files' names and contents, in name order; the same for a logged and for a registered model."""
    total = hashlib.sha256()
    files = {path.relative_to(model).as_posix(): path for path in model.rglob("*") if path.is_file()}
    for name in sorted(files):
        if name == REGISTRY_NOTE:
            continue
        with files[name].open("rb") as file:
            total.update(name.encode() + b"\0" + hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def size_of(model: Path) -> int:
    """Bytes of the same files that `digest_of` reads."""
    return sum(path.stat().st_size for path in model.rglob("*") if path.is_file() and path.name != REGISTRY_NOTE)


def _sound(path: Path, model_uri: str) -> Path:
    if not (path / "MLmodel").is_file():
        raise NotFound(
            f"no MLmodel file at {model_uri}", thing="model", value=model_uri, remedy="log it with an MLflow flavor"
        )
    link = next((item for item in path.rglob("*") if item.is_symlink()), None)
    if link is not None:
        raise Unavailable(
            f"{model_uri} holds a link, {link.relative_to(path)}: its files cannot be vouched for",
            thing="model",
            value=model_uri,
            remedy="log the model with the file itself",
        )
    return path
