"""`retrain init`: a workspace, profiles drafted from the registry, and adopting what is in production."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from agent.entrypoints.cli.options import AsOf, Json, Quiet, Workspace, open_app, tell_match
from agent.entrypoints.cli.render import SCREEN, hint, wrapped

_FILE = """# A workspace: where tracking, registry and run store live. Relative paths start at this file's folder.
tracking_uri: {tracking}
store: sqlite:///.retraining/store.db
profiles_dir: profiles
work_dir: .retraining
"""
_DEFAULTS = """# What every profile of this workspace starts from; a profile's own lines win.
mode: observe
"""


def init(
    model: Annotated[
        str | None, typer.Argument(help="Registered model to draft a profile for, or profile to adopt.")
    ] = None,
    all_models: Annotated[bool, typer.Option("--all", help="A profile for every model in the registry.")] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Record golden rows, digest and training rows of the champion.")
    ] = False,
    tracking_uri: Annotated[str | None, typer.Option("--tracking-uri", help="For a new workspace.")] = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Write retraining.yaml where there is none, and profiles from the models in the registry."""
    from tools.errors import BadInput

    if all_models and (model is not None or adopt):
        other = repr(model) if model is not None else "--adopt"
        raise BadInput(
            f"--all and {other} exclude each other", thing="--all", value=other, remedy="name one model, or take --all"
        )
    done: list[str] = []
    if workspace is None and not (Path.cwd() / "retraining.yaml").exists():
        done += _make_workspace(Path.cwd(), tracking_uri)
    opened = open_app(workspace)
    if adopt:
        from agent.requests import request_from_flags
        from agent.services.adopt import adopt as take
        from agent.services.reviews import os_user

        if model is None:
            raise BadInput("--adopt needs a profile", thing="model", remedy="`retrain init PROFILE --adopt`")
        tell_match(opened.workspace, model)
        when = request_from_flags(model, as_of=as_of).retraining_config.as_of
        taken = take(opened.deps, opened.deps.load_profile(model), as_of=when, by=os_user())
        rows = "training rows unknown" if taken.training_rows is None else f"{taken.training_rows:,} training rows"
        done.append(f"adopted version {taken.version}: {taken.golden_rows} golden rows, {rows}")
    elif model is not None or all_models:
        done += _draft(opened.workspace.profiles_dir, opened.deps, [model] if model else None)
    if not done:
        done.append("nothing to do: name a model, or --all")
    SCREEN.result(done, [line for text in done for line in wrapped(text, indent=0, hanging=2)])


def _make_workspace(folder: Path, tracking_uri: str | None) -> list[str]:
    import os

    tracking = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    (folder / "retraining.yaml").write_text(_FILE.format(tracking=tracking), encoding="utf-8")
    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    made = [f"wrote {folder / 'retraining.yaml'}"]
    if not (profiles / "defaults.yaml").exists():
        (profiles / "defaults.yaml").write_text(_DEFAULTS, encoding="utf-8")
        made.append(f"wrote {profiles / 'defaults.yaml'}")
    return made


def _draft(folder: Path, deps: object, names: list[str] | None) -> list[str]:
    from agent.deps import Deps
    from agent.profile_drafts import draft_profile, profile_id, write_profile
    from tools.errors import Conflict

    assert isinstance(deps, Deps)
    done: list[str] = []
    known = deps.registry.list_models()
    for name in known if names is None else names:
        _require_known(name, known)
        versions = deps.registry.list_versions(name)
        champion = next((v for v in versions if "champion" in v.aliases), versions[0] if versions else None)
        aliases = () if champion is None else champion.aliases
        alias = "champion" if "champion" in aliases else next(iter(aliases), None)
        signature = None if champion is None else deps.registry.signature(champion.model_uri)
        path = folder / f"{profile_id(name)}.yaml"
        try:
            write_profile(path, draft_profile(name, signature, alias))
            adopt = hint(f"init {profile_id(name)} --adopt")
            done.append(f"wrote {path}: fill in what is marked, then `{adopt}`")
        except Conflict:
            done.append(f"kept {path}: it is there already")
    return done or ["the registry has no models"]


def _require_known(name: str, known: Sequence[str]) -> None:
    from agent.problems import nearest
    from tools.errors import NotFound

    if name in known:
        return
    meant = nearest(name, known)
    some = ", ".join(known[:10]) + (f" and {len(known) - 10} more" if len(known) > 10 else "")
    remedy = f"did you mean {meant!r}?" if meant else f"the registry has: {some}" if known else "it has no models"
    raise NotFound(f"the registry has no model {name!r}", thing="model", value=name, remedy=remedy)
