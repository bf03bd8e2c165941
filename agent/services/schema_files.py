"""Which schema must the data keep, and what would a first one say?"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.deps import Deps
from agent.services import lineage
from agent.services.champion import find_champion
from tools import schema_rules
from tools.contracts.profile import Profile
from tools.contracts.profiling import DataProfile, SchemaRule
from tools.errors import BadInput, Conflict, NotFound


@dataclass(frozen=True)
class Drafted:
    """A schema file as written. `shown_as` is what the profile's `validation.schema_file` would say."""

    path: Path
    shown_as: str
    columns: int
    rows: int


def schema_of(deps: Deps, profile: Profile) -> Sequence[SchemaRule]:
    """The rules of the profile's schema file; none where it names none.

    Raises:
        NotFound: the file is missing. BadInput: it is at fault.
    """
    from tools.adapters.pandera_schema import read_rules

    file = profile.validation.schema_file
    return () if file is None else read_rules(deps.root / file)


def draft_schema(deps: Deps, model_id: str, *, out: Path | None, force: bool) -> Drafted:
    """Write a schema learned from the champion's recorded training rows.

    Raises:
        NotFound: no champion, or nothing on record for it. Conflict: the file exists, and `force` is not given.
    """
    from tools.adapters.pandera_schema import dump

    profile = deps.load_profile(model_id)
    path = out or deps.root / "schemas" / f"{profile.id}.yaml"
    if path.exists() and not force:
        raise Conflict(f"{path} exists", thing="--out", value=str(path), remedy="name another file, or --force")
    reference = _reference(deps, profile)
    schema = schema_rules.draft(
        reference=reference,
        types=deps.data.columns(profile.data),
        data=profile.data,
        unique=reference.duplicate_share == 0,
    )
    notes = {column.name: f"{column.null_share:.1%} null, {column.distinct:,} values" for column in reference.columns}
    header = (
        f"# Rules that the data of {profile.id} must keep, learned from {reference.rows:,} training rows of its champion.\n"
        "# Pandera's format; behind each column what was seen. Edit, and name the file in validation.schema_file.\n"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(header + dump(schema, notes), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}", thing="--out", value=str(path)) from error
    inside = path.is_relative_to(deps.root)
    shown = str(path.relative_to(deps.root)) if inside else str(path)
    return Drafted(path, shown, len(schema["columns"]), reference.rows)


def _reference(deps: Deps, profile: Profile) -> DataProfile:
    champion = find_champion(deps, profile)
    folder = deps.run_dir(f"schema-{deps.new_id()}")
    rows = None if champion is None else lineage.fetch(deps, champion, "reference", folder)
    if rows is None:
        what = (
            "there is no champion"
            if champion is None
            else f"no training rows of version {champion.version} are on record"
        )
        raise NotFound(
            f"{what}: a schema is learned from them",
            thing="model",
            value=profile.registered_model,
            remedy=f"`retrain init {profile.id} --adopt` records the champion's training rows",
        )
    return deps.data.profile(rows, profile.data)
