"""Where do tracking server, registry, run store and profiles of this workspace live?"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, cast

from pydantic import Field, ValidationError

from agent.marked_yaml import Document, read
from agent.problems import Path_, Problem, dotted, explain, field_errors, nearest, refuse, snake
from tools.contracts.base import Contract
from tools.contracts.language import LanguageSpec
from tools.contracts.peer_settings import PeerSpec, Role
from tools.errors import NotFound

FILE_NAME: Final = "retraining.yaml"
_URI_FIELDS: Final = ("tracking_uri", "registry_uri", "store")
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class WorkspaceFile(Contract):
    """What may stand in `retraining.yaml`. Relative paths start at the file's folder."""

    tracking_uri: str = Field(min_length=1)
    """MLflow tracking server: `https://…`, `sqlite:///mlflow.db` or `databricks`."""
    registry_uri: str | None = None
    """Model registry; the tracking server where absent."""
    store: str = "sqlite:///.retraining/store.db"
    """SQLAlchemy URL of the run store."""
    profiles_dir: str = "profiles"
    """Folder with one YAML file a model, and `defaults.yaml`."""
    work_dir: str = ".retraining"
    """Folder for data sets, logs and reports of runs."""
    llm_model: str | None = None
    """Name of the language model that writes rationales and chats; a template writes where absent."""
    llm: LanguageSpec = Field(default_factory=LanguageSpec)
    """Where that model answers, and how patient and generous we are with it."""
    peers: dict[Role, PeerSpec] = Field(default_factory=dict[Role, PeerSpec])
    """Peers asked over A2A, by their role; those that are not named work in this process."""


class Workspace(Contract):
    """One workspace, every path absolute."""

    root: Path
    """Folder of `retraining.yaml`."""
    tracking_uri: str = Field(repr=False)
    registry_uri: str = Field(repr=False)
    store: str = Field(repr=False)
    """SQLAlchemy URL; may hold a password, so it stands in no message."""
    profiles_dir: Path
    work_dir: Path
    llm_model: str | None = None
    llm: LanguageSpec = Field(default_factory=LanguageSpec)
    peers: dict[Role, PeerSpec] = Field(default_factory=dict[Role, PeerSpec], repr=False)
    """Peers that answer elsewhere."""

    @property
    def file(self) -> Path:
        """The `retraining.yaml` it was read from."""
        return self.root / FILE_NAME


def find_workspace(
    start: Path, explicit: Path | None = None, environment: Mapping[str, str] | None = None
) -> Workspace:
    """The workspace named, else the nearest one in `start` or a folder above it, as git does.

    Args:
        start: Folder where the search begins.
        explicit: A folder or a `retraining.yaml`; ends the search, found or not.
        environment: Values for `${NAME}` in URIs, so that passwords need not stand in the file.

    Raises:
        NotFound: No `retraining.yaml` there.
        BadInput: The file is at fault; names line, field, value and remedy.
    """
    if explicit is not None:
        file = explicit / FILE_NAME if explicit.is_dir() else explicit
        if not file.is_file():
            raise NotFound(
                f"no workspace at {explicit}: there is no {FILE_NAME}",
                thing="workspace",
                value=str(explicit),
                remedy=f"name a folder that holds {FILE_NAME}, or make one with `retrain init` there",
            )
        return load_workspace(file, environment)
    here = start.resolve()
    for folder in (here, *here.parents):
        if (folder / FILE_NAME).is_file():
            return load_workspace(folder / FILE_NAME, environment)
    raise NotFound(
        f"no {FILE_NAME} in {here} or any folder above it",
        thing="workspace",
        value=str(here),
        remedy="run `retrain init` in the folder that is to be the workspace, or name one with --workspace or "
        "RETRAINING_WORKSPACE",
    )


def load_workspace(file: Path, environment: Mapping[str, str] | None = None) -> Workspace:
    """Read one `retraining.yaml`; see `find_workspace` for arguments and errors."""
    root = file.resolve().parent
    document = read(root / file.name)
    problems = _unknown(document)
    data = _as_text(document)
    for name in _URI_FIELDS:
        value = data.get(name)
        if isinstance(value, str):
            data[name] = _expand(value, environment or {}, document, (name,), problems)
    data |= _peers(document, environment or {}, problems)
    settings: WorkspaceFile | None = None
    try:
        settings = WorkspaceFile.model_validate({k: v for k, v in data.items() if k in WorkspaceFile.model_fields})
    except ValidationError as error:
        problems += [_problem(document, path, item) for path, item in field_errors(error, data, rename_missing=snake)]
    if settings is not None and "://" not in settings.store:
        what = "is not a SQLAlchemy URL"
        remedy = "write sqlite:///FILE or postgresql+psycopg://…"
        problems.append(Problem("store", what, remedy, document.where(("store",)), settings.store))
    if settings is None or problems:
        raise refuse(f"workspace {document.path}", problems)
    tracking = _resolve_uri(root, settings.tracking_uri)
    return Workspace(
        root=root,
        tracking_uri=tracking,
        registry_uri=tracking if settings.registry_uri is None else _resolve_uri(root, settings.registry_uri),
        store=_resolve_uri(root, settings.store),
        profiles_dir=_resolve_path(root, settings.profiles_dir),
        work_dir=_resolve_path(root, settings.work_dir),
        llm_model=settings.llm_model,
        llm=settings.llm,
        peers=settings.peers,
    )


def _peers(document: Document, environment: Mapping[str, str], problems: list[Problem]) -> dict[str, Any]:
    """The peers with `${NAME}` filled in where an address or a token stands."""
    peers = document.data.get("peers")
    if not isinstance(peers, Mapping):
        return {}
    found: dict[str, Any] = {}
    for role, spec in cast("Mapping[str, Any]", peers).items():
        found[role] = spec
        if isinstance(spec, Mapping):
            entries = dict(cast("Mapping[str, Any]", spec))
            for name in ("url", "token"):
                text = document.texts.get(("peers", role, name))
                if text is not None and entries.get(name) is not None:
                    entries[name] = _expand(text, environment, document, ("peers", role, name), problems)
            found[role] = entries
    return {"peers": found}


def _as_text(document: Document) -> dict[str, Any]:
    """Every field is text: `llm_model: 7` means the text 7."""
    data = dict(document.data)
    for name, value in data.items():
        if value is not None and (name,) in document.texts:
            data[name] = document.texts[(name,)]
    return {name: value for name, value in data.items() if value is not None}


def _unknown(document: Document) -> list[Problem]:
    known = list(WorkspaceFile.model_fields)
    problems: list[Problem] = []
    for name, value in document.data.items():
        if name not in known:
            meant = nearest(name, known)
            remedy = f"did you mean {meant}?" if meant else f"known fields: {', '.join(known)}"
            problems.append(Problem(name, "is no field of a workspace", remedy, document.where((name,)), value))
    return problems


def _problem(document: Document, path: Path_, item: Any) -> Problem:
    what, remedy = explain(item)
    missing = item["type"] == "missing"
    if missing and path == ("tracking_uri",):
        remedy = "add e.g. `tracking_uri: sqlite:///mlflow.db` or your MLflow server's address"
    # A peer's entry may hold a token: it is not repeated.
    told = not missing and path[:1] != ("peers",)
    return Problem(dotted(path), what, remedy, document.where(path), item["input"], has_value=told)


def _expand(
    value: str, environment: Mapping[str, str], document: Document, path: Path_, problems: list[Problem]
) -> str:
    for variable in _VARIABLE.findall(value):
        if variable not in environment:
            what = f"the environment variable {variable} is not set"
            remedy = f"set {variable}, or write the value out"
            problems.append(Problem(dotted(path), what, remedy, document.where(path), value))
    return _VARIABLE.sub(lambda match: environment.get(match.group(1), match.group(0)), value)


def _resolve_path(root: Path, text: str) -> Path:
    return (root / Path(text).expanduser()).resolve()


def _resolve_uri(root: Path, uri: str) -> str:
    """Absolute SQLite URLs and folders; servers and keywords such as `databricks` as they are."""
    found = re.fullmatch(r"(sqlite(?:\+\w+)?):///(?!/)([^?]*)(\?.*)?", uri)
    if found:
        scheme, path, query = found.groups()
        if path in ("", ":memory:") or path.startswith("file:"):
            return uri
        return f"{scheme}:///{_resolve_path(root, path)}{query or ''}"
    if uri.startswith("file:"):
        path = uri.removeprefix("file:")
        return uri if path.startswith("/") else f"file://{_resolve_path(root, path)}"
    if "://" in uri or uri in ("databricks", "databricks-uc", "uc"):
        return uri
    return str(_resolve_path(root, uri))
