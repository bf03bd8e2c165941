"""What must be known about a model, and which line of which file says so?

`profiles/defaults.yaml` lies under every `profiles/<id>.yaml`: mappings are merged field by field, lists and values are
replaced, and a part whose `kind` differs is replaced whole, since the fields of the other kind mean nothing to it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ValidationError

from agent.marked_yaml import Document, read
from agent.problems import Path_, Problem, dotted, explain, field_errors, nearest, refuse, snake
from agent.profile_fields import Conversion, contradictory, meaningless
from agent.workspace import Workspace
from tools.contracts.profile import Profile
from tools.errors import BadInput, NotFound

DEFAULTS = "defaults"
"""Name of the file every profile inherits from; no model can have it as its id."""


@dataclass(frozen=True)
class LoadedProfile:
    """A profile and, for each dotted field, `FILE:LINE` or `default`."""

    profile: Profile
    sources: Mapping[str, str]
    path: Path


@dataclass(frozen=True)
class ProfileEntry:
    """What a glance at a profile's file tells. `fault` says why it cannot be used, as far as was looked."""

    id: str
    path: Path
    registered_model: str | None
    fault: str | None = None


@dataclass(frozen=True)
class ProfileMatch:
    """The profile that a name means, and what of it bears that name."""

    id: str
    path: Path
    by: Literal["id", "registered_model"]


def list_profiles(workspace: Workspace, *, check: bool = False) -> tuple[ProfileEntry, ...]:
    """Every profile of the workspace, sorted by id. Without `check`, a fault is only that the file cannot be read."""
    defaults = _defaults(workspace)
    inherited = None if defaults is None else defaults.data.get("registered_model")
    entries = tuple(_glance(path, inherited) for path in profile_files(workspace))
    return tuple(_checked(workspace, entry) for entry in entries) if check else entries


def load_profile(workspace: Workspace, model_id: str) -> LoadedProfile:
    """Find, merge and check one profile.

    Args:
        workspace: Where the profiles are.
        model_id: A profile's id (the file's name), else a registered model's name that one profile has.

    Raises:
        NotFound: No profile by that name; names the nearest.
        BadInput: Two profiles share the registered model, or files are at fault: all faults at once.
    """
    return load_file(workspace, find_profile(workspace, model_id).path)


def load_file(workspace: Workspace, path: Path) -> LoadedProfile:
    """Merge and check the profile in this file; raises `BadInput` as `load_profile` does, and `NotFound` without it."""
    profile, merged, problems = _read(workspace, path)
    if profile is None or problems:
        raise refuse(f"profile {path.stem!r}", problems)
    return LoadedProfile(profile, {dotted(at): merged.where(at, None) for at, _ in _leaves(profile)}, path)


def resolved(loaded: LoadedProfile) -> list[tuple[str, Any, str]]:
    """(dotted field, value as plain JSON, `FILE:LINE` or `default`) for every field, in the contract's order."""
    return [(dotted(at), value, loaded.sources[dotted(at)]) for at, value in _leaves(loaded.profile)]


# --- finding -----------------------------------------------------------------------------------------------------


def profile_files(workspace: Workspace) -> list[Path]:
    """The files of all profiles, unread, sorted by id."""
    return sorted(
        (path for path in workspace.profiles_dir.glob("*.yaml") if path.stem != DEFAULTS), key=lambda path: path.stem
    )


def _defaults(workspace: Workspace) -> Document | None:
    path = workspace.profiles_dir / f"{DEFAULTS}.yaml"
    return read(path) if path.is_file() else None


def _glance(path: Path, inherited: object) -> ProfileEntry:
    try:
        document = read(path)
    except BadInput as error:
        return ProfileEntry(path.stem, path, None, error.message)
    name = document.texts.get(("registered_model",), inherited)
    return ProfileEntry(path.stem, path, None if name is None else str(name))


def find_profile(workspace: Workspace, model_id: str) -> ProfileMatch:
    """The profile that `model_id` means, unchecked; arguments and errors as of `load_profile`."""
    files = {path.stem: path for path in profile_files(workspace)}
    # The id wins: it is the only way to name one of two profiles for the same registered model.
    if model_id in files:
        return ProfileMatch(model_id, files[model_id], "id")
    entries = list_profiles(workspace)
    found = [entry for entry in entries if entry.registered_model == model_id]
    if len(found) == 1:
        return ProfileMatch(found[0].id, found[0].path, "registered_model")
    if found:
        ids = ", ".join(entry.id for entry in found)
        raise BadInput(
            f"modelId {model_id!r} is the registered model of {len(found)} profiles: {ids}",
            thing="modelId",
            value=model_id,
            remedy=f"name one of the profiles: {ids}",
        )
    raise NotFound(
        f"unknown model {model_id!r}: no profile has it as id or registered_model",
        thing="modelId",
        value=model_id,
        remedy=_unknown_remedy(workspace, model_id, entries),
    )


def _checked(workspace: Workspace, entry: ProfileEntry) -> ProfileEntry:
    if entry.fault is not None:
        return entry
    _, _, problems = _read(workspace, entry.path)
    if not problems:
        return entry
    first = problems[0]
    number = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return replace(entry, fault=f"{number}: {first.field} {first.what}" + (" …" if len(problems) > 1 else ""))


def _unknown_remedy(workspace: Workspace, model_id: str, entries: Sequence[ProfileEntry]) -> str:
    names = [name for entry in entries for name in (entry.id, entry.registered_model) if name]
    broken = [entry.path.name for entry in entries if entry.fault]
    meant = nearest(model_id, names)
    if meant:
        return f"did you mean {meant!r}?"
    if broken:
        return f"mend the profiles that cannot be read: {', '.join(broken)}"
    if not names:
        return f"write {workspace.profiles_dir / 'NAME.yaml'}, or let `retrain init` write it from the registry"
    return f"known: {', '.join(entry.id for entry in entries)}; or let `retrain init` write a profile for it"


# --- reading ------------------------------------------------------------------------------------------------------


def _read(workspace: Workspace, path: Path) -> tuple[Profile | None, "_Merged", list[Problem]]:
    """The profile where there are no problems, what it was made from, and everything that is wrong with it."""
    own, defaults = read(path), _defaults(workspace)
    merged = _Merged()
    if defaults is not None:
        merged.lay(defaults)
    merged.lay(own)
    merged.data.setdefault("id", path.stem)
    conversion = Conversion(merged.texts)
    converted = conversion.model(Profile, merged.data)
    found = [*conversion.problems, *meaningless(converted)]
    problems = [_placed(merged, own, at, problem) for at, problem in found]
    if merged.data["id"] != path.stem and merged.text(("id",)) != path.stem:
        what, remedy = f"differs from the file's name {path.stem!r}", f"write `id: {path.stem}`, or leave id out"
        problems.append(Problem("id", what, remedy, merged.where(("id",), own), merged.data["id"]))
    known_bad = {at for at, _ in found}
    try:
        profile = Profile.model_validate(converted)
        return profile, merged, problems + [_placed(merged, own, *each) for each in contradictory(profile)]
    except ValidationError as error:
        for at, item in field_errors(error, converted, rename_missing=snake):
            if not _covered(at, known_bad):
                problems.append(_from_pydantic(merged, own, at, item))
        return None, merged, problems


# --- merging -----------------------------------------------------------------------------------------------------


class _Merged:
    """Documents laid over each other; for every entry, the document it came from."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.texts: dict[Path_, str] = {}
        self._from: dict[Path_, Document] = {}

    def lay(self, document: Document) -> None:
        self._over(self.data, document.data, (), document)

    def _over(self, under: dict[str, Any], over: Mapping[str, Any], path: Path_, document: Document) -> None:
        for name, value in over.items():
            here = (*path, name)
            below = under.get(name)
            if isinstance(value, dict) and isinstance(below, dict):
                upper, lower = cast("dict[str, Any]", value), cast("dict[str, Any]", below)
                if "kind" not in upper or upper["kind"] == lower.get("kind"):
                    self._from[here] = document
                    self._over(lower, upper, here, document)
                    continue
            self._replace(here, value, document)
            under[name] = _copy(value)

    def _replace(self, path: Path_, value: Any, document: Document) -> None:
        for known in [known for known in self._from if known[: len(path)] == path]:
            self._from.pop(known)
            self.texts.pop(known, None)
        for at in _paths(value, path):
            self._from[at] = document
            if at in document.texts:
                self.texts[at] = document.texts[at]

    def text(self, path: Path_) -> str | None:
        return self.texts.get(path)

    def where(self, path: Path_, fallback: Document | None) -> str:
        """`FILE:LINE`; of the nearest entry around it with `fallback`, else `default`."""
        if path in self._from:
            return self._from[path].where(path)
        if fallback is None:
            return "default"
        while path and path not in self._from:
            path = path[:-1]
        return self._from[path].where(path) if path else fallback.where(())


def _copy(value: Any) -> Any:
    """Documents stay as read: laying one over another must not change it."""
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in cast("dict[str, Any]", value).items()}
    return list(cast("list[Any]", value)) if isinstance(value, list) else value


def _paths(value: Any, path: Path_) -> Iterator[Path_]:
    yield path
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from _paths(item, (*path, name))
    elif isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _paths(item, (*path, index))


# --- reporting ---------------------------------------------------------------------------------------------------


def _placed(merged: _Merged, own: Document, path: Path_, problem: Problem) -> Problem:
    where = merged.where(path, own)
    return Problem(problem.field, problem.what, problem.remedy, where, problem.value, problem.has_value)


def _covered(path: Path_, known: set[Path_]) -> bool:
    """Something nearer to the cause was said already, here or above or below."""
    return any(path[: len(at)] == at or (path and at[: len(path)] == path) for at in known)


def _from_pydantic(merged: _Merged, own: Document, path: Path_, item: Any) -> Problem:
    what, remedy = explain(item)
    missing = item["type"] == "missing"
    field = dotted(path) or "(profile)"
    described = _description(path)
    if missing and described:
        remedy = f"add it: {described}"
    whole = isinstance(item["input"], dict | BaseModel)
    # An address that is at fault may hold the secret that made it so.
    secret = path[:1] == ("notify",) or path[:2] == ("review", "escalate_to")
    value = None if secret else item["input"]
    shown = not (missing or whole or secret)
    return Problem(field, what, remedy, merged.where(path, own), value, has_value=shown)


def _description(path: Path_) -> str | None:
    model: type[BaseModel] = Profile
    for part in path[:-1]:
        field = model.model_fields.get(str(part))
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            return None
        model = field.annotation
    field = model.model_fields.get(str(path[-1])) if path else None
    return field.description if field else None


def _leaves(model: BaseModel, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    plain = model.model_dump(mode="json")
    for name in type(model).model_fields:
        value = getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), plain[name]
