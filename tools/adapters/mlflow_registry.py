# pyright: basic
"""The model registry in MLflow. Names are opaque; nothing global is set; no model is ever loaded here."""

import warnings
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from tools.adapters.mlflow_client import client_for, translated, when
from tools.contracts.training import ColumnSpec, ModelSignature, ModelVersion
from tools.errors import BadInput, NotFound


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
        if not str(version).isdigit():
            raise BadInput(
                f"{version!r} is no version of {name!r}: versions are whole numbers",
                thing="version",
                value=version,
                remedy="e.g. 3",
            )
        with translated("registry", self._uri, f"no version {version} of model {name!r} in the registry"):
            return self._version(self._client.get_model_version(name, str(version)))

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
        with translated("registry", self._uri), warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            found = self._client.get_latest_versions(name, stages=[stage])
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
        quoted = name.replace("'", "''")
        with translated("registry", self._uri):
            found, page = [], None
            while True:
                versions = self._client.search_model_versions(f"name = '{quoted}'", max_results=100, page_token=page)
                found += list(versions)
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
            near = get_close_matches(name, known, n=3) or known[:5]
            remedy = f"did you mean {', '.join(near)}?" if near else "the registry has no models"
            raise NotFound(f"no registered model {name!r}", thing="model", value=name, remedy=remedy)

    def register(self, name: str, model_uri: str, source_run_id: str | None, tags: Mapping[str, str]) -> ModelVersion:
        from mlflow.exceptions import MlflowException

        with translated("registry", self._uri):
            try:
                self._client.create_registered_model(name)
            except MlflowException as error:
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise
            model_id, source = self._source(model_uri)
            made = self._client.create_model_version(
                name, source, run_id=source_run_id, tags=dict(tags), await_creation_for=60, model_id=model_id
            )
            return self._version(made)

    def _source(self, model_uri: str) -> tuple[str | None, str]:
        """(logged model id, artifact location) of a `models:/m-…` or `runs:/…` URI."""
        if model_uri.startswith("models:/m-"):
            model_id = model_uri.removeprefix("models:/")
            return model_id, self._client.get_logged_model(model_id).artifact_location
        if model_uri.startswith("runs:/"):
            run_id, _, path = model_uri.removeprefix("runs:/").partition("/")
            return None, f"{self._client.get_run(run_id).info.artifact_uri}/{path}"
        return None, model_uri

    def set_alias(self, name: str, alias: str, version: str) -> None:
        with translated("registry", self._uri, f"no version {version} of model {name!r} in the registry"):
            self._client.set_registered_model_alias(name, alias, version)

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        with translated("registry", self._uri, f"no version {version} of model {name!r} in the registry"):
            for key, value in tags.items():
                self._client.set_model_version_tag(name, version, key, value)

    def signature(self, model_uri: str) -> ModelSignature | None:
        import tempfile

        import yaml
        from mlflow.artifacts import download_artifacts

        with translated("registry", self._uri), tempfile.TemporaryDirectory() as folder:
            location = self._location(model_uri)
            path = download_artifacts(
                artifact_uri=f"{location.rstrip('/')}/MLmodel", dst_path=folder, tracking_uri=self._tracking_uri
            )
            described = yaml.safe_load(Path(path).read_text(encoding="utf-8")).get("signature")
        if not described:
            return None
        import json

        def columns(side: str) -> tuple[ColumnSpec, ...]:
            items = json.loads(described.get(side) or "[]")
            return tuple(
                ColumnSpec(name=item["name"], type=str(item.get("type")), required=item.get("required", True))
                for item in items
                if "name" in item
            )

        return ModelSignature(inputs=columns("inputs"), outputs=columns("outputs"))

    def _location(self, model_uri: str) -> str:
        if model_uri.startswith("models:/") and not model_uri.startswith("models:/m-"):
            name, _, version = model_uri.removeprefix("models:/").rpartition("/")
            return self._client.get_model_version_download_uri(name, version)
        return self._source(model_uri)[1]

    def can_write(self) -> bool | None:
        return None

    def _version(self, found: Any, aliases: tuple[str, ...] | None = None) -> ModelVersion:
        return ModelVersion(
            name=found.name,
            version=str(found.version),
            model_uri=f"models:/{found.name}/{found.version}",
            source_run_id=found.run_id or None,
            created_at=when(found.creation_timestamp),
            aliases=tuple(found.aliases or ()) if aliases is None else aliases,
            tags={key: value for key, value in (found.tags or {}).items() if value is not None},
        )
