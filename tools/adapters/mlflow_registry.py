# pyright: basic
"""The model registry in MLflow. Names are opaque; nothing global is set; no model is ever loaded here."""

import json
import re
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tools.adapters.mlflow_client import client_for, location_of, translated, when
from tools.contracts.training import ModelSignature, ModelVersion
from tools.errors import BadInput, NotFound


def version_number(name: str, version: str) -> str:
    """The version as the registry writes it.

    Raises:
        BadInput: It is no whole number.
    """
    if not re.fullmatch(r"[0-9]{1,9}", str(version)):
        raise BadInput(
            f"{version!r} is no version of {name!r}: versions are whole numbers",
            thing="version",
            value=version,
            remedy="e.g. 3",
        )
    return str(int(version))


def no_model(name: str, known: Sequence[str]) -> NotFound:
    """What to say of a model that is not among the `known`."""
    near = get_close_matches(name, known, n=3) or list(known[:5])
    remedy = f"did you mean {', '.join(near)}?" if near else "the registry has no models"
    return NotFound(f"no registered model {name!r}", thing="model", value=name, remedy=remedy)


class MlflowRegistry:
    """See `tools.ports.Registry`. The client is made at first use: MLflow takes seconds to import."""

    def __init__(self, registry_uri: str, tracking_uri: str) -> None:
        self._uri, self._tracking_uri = registry_uri, tracking_uri
        self._made: Any = None

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = client_for(self._tracking_uri, self._uri)
        return self._made

    def get_version(self, name: str, version: str) -> ModelVersion:
        number = version_number(name, version)
        with translated("registry", self._uri, f"no version {version} of model {name!r} in the registry"):
            return self._version(self._client.get_model_version(name, number))

    def by_alias(self, name: str, alias: str) -> ModelVersion | None:
        from mlflow.exceptions import MlflowException

        with translated("registry", self._uri):
            try:
                return self._version(self._client.get_model_version_by_alias(name, alias))
            except MlflowException as error:
                # A missing alias answers INVALID_PARAMETER_VALUE, a missing model RESOURCE_DOES_NOT_EXIST.
                if error.error_code in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"):
                    return None
                raise

    def find_by_tag(self, name: str, key: str, value: str) -> Sequence[ModelVersion]:
        try:
            return [version for version in self.list_versions(name) if version.tags.get(key) == value]
        except NotFound:
            return []

    def by_stage(self, name: str, stage: str) -> ModelVersion | None:
        try:
            with translated("registry", self._uri), warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                found = self._client.get_latest_versions(name, stages=[stage])
        except NotFound:
            return None
        return self._version(found[0]) if found else None

    def list_models(self) -> Sequence[str]:
        with translated("registry", self._uri):
            found, page = [], None
            while True:
                models = self._client.search_registered_models(max_results=100, page_token=page)
                found += [model.name for model in models]
                page = models.token
                if not page:
                    return sorted(found)

    def list_versions(self, name: str) -> Sequence[ModelVersion]:
        # MLflow's filters know no way to write a quote: such a name is looked for among all.
        wanted = None if "'" in name else f"name = '{name}'"
        with translated("registry", self._uri):
            found, page = [], None
            while True:
                versions = self._client.search_model_versions(wanted, max_results=100, page_token=page)
                found += [version for version in versions if version.name == name]
                page = versions.token
                if not page:
                    break
            if not found:
                self._require_model(name)
            # A search leaves aliases out on some servers; the model knows them.
            aliases: dict[str, list[str]] = {}
            if found:
                for alias, version in (self._client.get_registered_model(name).aliases or {}).items():
                    aliases.setdefault(str(version), []).append(alias)
        made = [self._version(version, tuple(sorted(aliases.get(str(version.version), [])))) for version in found]
        return sorted(made, key=lambda version: int(version.version), reverse=True)

    def _require_model(self, name: str) -> None:
        known = self.list_models()
        if name not in known:
            raise no_model(name, known)

    def register(self, name: str, model_uri: str, source_run_id: str | None, tags: Mapping[str, str]) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        with translated("registry", self._uri):
            model_id, source, its_run = self._source(model_uri)  # first: what cannot be found leaves no empty model
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            made = self._client.create_model_version(
                name, source, run_id=source_run_id or its_run, tags=dict(tags), await_creation_for=60, model_id=model_id
            )
            return self._version(made)

    def _source(self, model_uri: str) -> tuple[str | None, str, str | None]:
        """(logged model id, artifact location, run) of a `models:/m-…` or `runs:/…` URI."""
        model_id = model_uri.removeprefix("models:/")
        if model_uri.startswith("models:/m-") and "/" not in model_id:
            logged = self._client.get_logged_model(model_id)
            # Without a run the registry would look for one on MLflow's global tracking URI, which is not ours to set.
            return model_id if logged.source_run_id else None, logged.artifact_location, logged.source_run_id or None
        if model_uri.startswith("runs:/"):
            run_id, _, path = model_uri.removeprefix("runs:/").partition("/")
            return None, f"{self._client.get_run(run_id).info.artifact_uri}/{path}", run_id
        return None, model_uri, None

    def set_alias(self, name: str, alias: str, version: str) -> None:
        number = version_number(name, version)
        with translated("registry", self._uri, f"no version {version} of model {name!r} in the registry"):
            self._client.set_registered_model_alias(name, alias, number)

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        number = version_number(name, version)
        with translated("registry", self._uri, f"no version {version} of model {name!r} in the registry"):
            for key, value in tags.items():
                self._client.set_model_version_tag(name, number, key, value)

    def signature(self, model_uri: str) -> ModelSignature | None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with (
            translated("registry", self._uri, f"no model at {model_uri}"),
            tempfile.TemporaryDirectory() as folder,
        ):
            location = location_of(self._client, self._uri, model_uri)
            files = get_artifact_repository(location, tracking_uri=self._tracking_uri, registry_uri=self._uri)
            # Asked first: each kind of store says in its own way that a file is missing.
            if "MLmodel" not in {item.path for item in files.list_artifacts()}:
                raise NotFound(
                    f"no MLmodel file at {model_uri}",
                    thing="model",
                    value=model_uri,
                    remedy="log it with an MLflow flavor",
                )
            text = Path(files.download_artifacts("MLmodel", folder)).read_text(encoding="utf-8")
        return _signature_in(text, model_uri)

    def can_write(self) -> bool | None:
        return None

    def _version(self, found: Any, aliases: tuple[str, ...] | None = None) -> ModelVersion:
        return ModelVersion(
            name=found.name,
            version=str(found.version),
            model_uri=f"models:/{found.name}/{found.version}",
            source_run_id=found.run_id or None,
            created_at=when(found.creation_timestamp),
            aliases=tuple(sorted(found.aliases or ())) if aliases is None else aliases,
            tags={key: value for key, value in (found.tags or {}).items() if value is not None},
        )


def _signature_in(text: str, model_uri: str) -> ModelSignature | None:
    """The signature in an MLmodel file: columns with names; tensors have none."""
    import yaml

    try:
        described = yaml.safe_load(text).get("signature")
        if not described:
            return None
        sides = {side: json.loads(described.get(side) or "[]") for side in ("inputs", "outputs")}
        return ModelSignature.model_validate(
            {
                side: [
                    {"name": item["name"], "type": str(item.get("type")), "required": item.get("required", True)}
                    for item in items
                    if "name" in item
                ]
                for side, items in sides.items()
            }
        )
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise BadInput(
            f"the MLmodel file at {model_uri} cannot be read",
            thing="model",
            value=model_uri,
            remedy="log the model again",
        ) from error
