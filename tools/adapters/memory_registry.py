# pyright: basic
"""A registry and a tracking server in memory: for tests and rehearsals. No MLflow, no file, no server.

They refuse what MLflow refuses, so that a test against them says something about the real ones.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tools.adapters.mlflow_registry import no_model, version_number
from tools.adapters.mlflow_tracking import RUN_TAG, existing, finite, json_text, plain_path, unquoted
from tools.contracts.training import ModelSignature, ModelVersion
from tools.errors import BadInput, NotAllowed, NotFound, RetrainingError, Unavailable
from tools.ports import Clock

STAGES = ("None", "Staging", "Production", "Archived")
_KEY = re.compile(r"[\w./: -]+")
_ALIAS = re.compile(r"[\w-]+")
_RESERVED_ALIAS = re.compile(r"latest|v\d+", re.IGNORECASE)


def unreachable(what: str) -> Unavailable:
    """What a server that is down looks like; a value for `failure`."""
    return Unavailable(f"the {what} in memory did not answer", thing=what, remedy="set its failure to None")


class AliasMove(NamedTuple):
    """One call of `set_alias`. `was` is None where the alias was new."""

    name: str
    alias: str
    was: str | None
    to: str


@dataclass
class _Entry:
    version: ModelVersion
    source: str
    stage: str = "None"


@dataclass
class _Model:
    entries: dict[str, _Entry] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)


class MemoryRegistry:
    """Port `Registry`. What a test sets up with `add` counts neither as a registration nor as a move of an alias.

    Set `writable` (False: writes raise `NotAllowed`) or `failure` (raised by every call) at any time;
    `registrations` and `alias_moves` tell what happened since.

    Args:
        clock: Gives new versions their time.
        writable: Whether the credentials may write.
    """

    def __init__(self, clock: Clock = lambda: datetime.now(UTC), writable: bool = True) -> None:
        self.writable = writable
        self.failure: RetrainingError | None = None
        self.registrations: list[ModelVersion] = []
        """As registered; tags set later are not in them."""
        self.alias_moves: list[AliasMove] = []
        self.signatures: dict[str, ModelSignature | None] = {}
        """By URI of a logged model; None where it was logged without one."""
        self._clock = clock
        self._models: dict[str, _Model] = {}

    def add(
        self,
        name: str,
        version: str | None = None,
        *,
        tags: Mapping[str, str] | None = None,
        aliases: Sequence[str] = (),
        stage: str = "None",
        signature: ModelSignature | None = None,
        source_run_id: str | None = None,
        created_at: datetime | None = None,
    ) -> ModelVersion:
        """Seeds a version, the next one where no number is given, whatever `writable` and `failure` say."""
        number = self._next(name) if version is None else version_number(name, version)
        uri = f"models:/{name}/{number}"
        self._store(name, number, uri, source_run_id, tags or {}, created_at)
        self.signatures[uri] = signature
        self._model(name).entries[number].stage = _stage(stage)
        for alias in aliases:
            self._model(name).aliases[_alias(alias)] = number
        return self._seen(name, number)

    def add_model(self, name: str) -> None:
        """Seeds a model without versions."""
        self._models.setdefault(_name(name), _Model())

    def get_version(self, name: str, version: str) -> ModelVersion:
        """As asked."""
        self._answer()
        return self._seen(name, self._known(name, version))

    def by_alias(self, name: str, alias: str) -> ModelVersion | None:
        """As asked. `latest` is the newest version, as MLflow has it."""
        self._answer()
        model = self._models.get(name, _Model())
        newest = max(model.entries, key=int, default=None)
        number = newest if alias.lower() == "latest" else model.aliases.get(alias)
        return None if number is None else self._seen(name, number)

    def find_by_tag(self, name: str, key: str, value: str) -> Sequence[ModelVersion]:
        """As asked."""
        self._answer()
        return [version for version in self._versions(name) if version.tags.get(key) == value]

    def by_stage(self, name: str, stage: str) -> ModelVersion | None:
        """As asked."""
        self._answer()
        wanted = _stage(stage)
        found = [v for v in self._versions(name) if self._models[name].entries[v.version].stage == wanted]
        return found[0] if found else None

    def list_models(self) -> Sequence[str]:
        """Sorted."""
        self._answer()
        return sorted(self._models)

    def list_versions(self, name: str) -> Sequence[ModelVersion]:
        """Newest first."""
        self._answer()
        self._model(name)
        return self._versions(name)

    def register(self, name: str, model_uri: str, source_run_id: str | None, tags: Mapping[str, str]) -> ModelVersion:
        """The next version; its signature is that of `model_uri`."""
        self._write()
        number = self._next(_name(name))
        self._store(name, number, model_uri, source_run_id, tags, None)
        self.registrations.append(self._seen(name, number))
        return self.registrations[-1]

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Makes or moves it."""
        self._write()
        number = self._known(name, version)
        aliases = self._models[name].aliases
        self.alias_moves.append(AliasMove(name, alias, aliases.get(_alias(alias)), number))
        aliases[alias] = number

    def set_tags(self, name: str, version: str, tags: Mapping[str, str]) -> None:
        """Adds and overwrites."""
        self._write()
        number = self._known(name, version)
        entry = self._models[name].entries[number]
        entry.version = entry.version.model_copy(update={"tags": entry.version.tags | _tags(tags)})

    def signature(self, model_uri: str) -> ModelSignature | None:
        """As seeded by `add` or in `signatures`; a registered version has that of the model it was made from."""
        self._answer()
        path = model_uri.removeprefix("models:/")
        name, _, version = path.rpartition("/")
        if path != model_uri and not name and "@" in path:
            name, _, alias = path.rpartition("@")
            version = self._models.get(name, _Model()).aliases.get(alias, "")
        if path != model_uri and name in self._models and version in self._models[name].entries:
            return self.signatures.get(self._models[name].entries[version].source)
        if model_uri not in self.signatures:
            raise NotFound(f"no model at {model_uri}", thing="model", value=model_uri, remedy="check the name")
        return self.signatures[model_uri]

    def can_write(self) -> bool:
        """As set."""
        self._answer()
        return self.writable

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _write(self) -> None:
        self._answer()
        if not self.writable:
            raise NotAllowed(
                "the registry refused: these credentials are read-only",
                thing="registry",
                value="memory",
                remedy="check the credentials' permissions",
            )

    def _model(self, name: str) -> _Model:
        if name not in self._models:
            raise no_model(name, sorted(self._models))
        return self._models[name]

    def _known(self, name: str, version: str) -> str:
        number = version_number(name, version)
        if number not in self._models.get(name, _Model()).entries:
            raise NotFound(
                f"no version {version} of model {name!r} in the registry",
                thing="registry",
                value="memory",
                remedy="check the name",
            )
        return number

    def _next(self, name: str) -> str:
        return str(1 + max(map(int, self._models.get(name, _Model()).entries), default=0))

    def _store(
        self,
        name: str,
        number: str,
        source: str,
        source_run_id: str | None,
        tags: Mapping[str, str],
        created_at: datetime | None,
    ) -> None:
        made = ModelVersion(
            name=name,
            version=number,
            model_uri=f"models:/{name}/{number}",
            source_run_id=source_run_id,
            created_at=created_at or self._clock(),
            tags=_tags(tags),
        )
        self.add_model(name)
        self._models[name].entries[number] = _Entry(made, source)

    def _seen(self, name: str, number: str) -> ModelVersion:
        model = self._models[name]
        aliases = tuple(sorted(alias for alias, version in model.aliases.items() if version == number))
        return model.entries[number].version.model_copy(update={"aliases": aliases}, deep=True)

    def _versions(self, name: str) -> list[ModelVersion]:
        entries = self._models.get(name, _Model()).entries
        return [self._seen(name, number) for number in sorted(entries, key=int, reverse=True)]


@dataclass
class TrackedRun:
    """What one run holds."""

    id: str
    run_id: str
    model_name: str
    tags: dict[str, str]
    metrics: dict[str, float] = field(default_factory=dict)
    artifacts: dict[str, bytes] = field(default_factory=dict)
    """By path."""
    status: Literal["RUNNING", "FINISHED", "FAILED"] = "RUNNING"


class MemoryTracking:
    """Port `Tracking`. `runs` holds everything, by tracking run id; set `failure` to have every call raise it."""

    def __init__(self) -> None:
        self.runs: dict[str, TrackedRun] = {}
        self.failure: RetrainingError | None = None

    def open_run(self, run_id: str, model_name: str, tags: Mapping[str, str]) -> str:
        """Finds the run by its id among the model's, opens it again, adds the tags."""
        self._answer()
        unquoted(run_id)
        for run in self.runs.values():
            if (run.run_id, run.model_name) == (run_id, model_name):
                run.tags |= _tags(tags)
                run.status = "RUNNING"
                return run.id
        made = f"memory-{len(self.runs) + 1}"
        self.runs[made] = TrackedRun(made, run_id, model_name, {RUN_TAG: run_id} | _tags(tags))
        return made

    def log_json(self, tracking_run_id: str, path: str, content: Mapping[str, Any]) -> None:
        """Overwrites."""
        text = json_text(content, plain_path(path))
        self._run(tracking_run_id).artifacts[path] = text.encode()

    def log_file(self, tracking_run_id: str, file: Path, folder: str) -> None:
        """Overwrites."""
        path = plain_path(f"{folder}/{existing(file).name}")
        self._run(tracking_run_id).artifacts[path] = file.read_bytes()

    def log_metrics(self, tracking_run_id: str, metrics: Mapping[str, float]) -> None:
        """All of them or none."""
        for name in finite(metrics):
            _key(name)
        self._run(tracking_run_id).metrics |= metrics

    def set_tags(self, tracking_run_id: str, tags: Mapping[str, str]) -> None:
        """Adds and overwrites."""
        self._run(tracking_run_id).tags |= _tags(tags)

    def get_tags(self, tracking_run_id: str) -> Mapping[str, str]:
        """A copy."""
        return dict(self._run(tracking_run_id).tags)

    def fetch(self, tracking_run_id: str, path: str, folder: Path) -> Path | None:
        """A copy in `folder`, under the artifact's own name."""
        self._answer()
        plain_path(path)
        run = self.runs.get(tracking_run_id)
        if run is None or path not in run.artifacts:
            return None
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy = folder / path.rpartition("/")[2]
        copy.write_bytes(run.artifacts[path])
        return copy

    def close_run(self, tracking_run_id: str, *, failed: bool = False) -> None:
        """The last word counts."""
        self._run(tracking_run_id).status = "FAILED" if failed else "FINISHED"

    def where(self) -> str:
        """Nowhere a person could look."""
        return "in memory, gone with this process"

    def _answer(self) -> None:
        if self.failure is not None:
            raise self.failure

    def _run(self, tracking_run_id: str) -> TrackedRun:
        self._answer()
        if tracking_run_id not in self.runs:
            raise NotFound(
                f"no tracking run {tracking_run_id}", thing="tracking server", value="memory", remedy="check the name"
            )
        return self.runs[tracking_run_id]


def _refuse(what: str, value: str) -> BadInput:
    return BadInput(f"the registry refused: {value!r} is no {what}", thing=what, value=value, remedy="choose another")


def _name(name: str) -> str:
    if not name or set(name) & set("/:"):
        raise _refuse("name of a model", name)
    return name


def _alias(alias: str) -> str:
    if not _ALIAS.fullmatch(alias) or _RESERVED_ALIAS.fullmatch(alias):
        raise _refuse("alias", alias)
    return alias


def _stage(stage: str) -> str:
    if stage.capitalize() not in STAGES:
        raise _refuse("stage", stage)
    return stage.capitalize()


def _key(key: str) -> str:
    if not _KEY.fullmatch(key) or key in (".", ".."):
        raise _refuse("key of a tag or metric", key)
    return key


def _tags(tags: Mapping[str, str]) -> dict[str, str]:
    return {_key(key): value for key, value in tags.items()}
