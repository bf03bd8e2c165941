"""`retrain keys create|list|revoke`: who may come in by the doors of `retrain serve`."""

from typing import TYPE_CHECKING, Annotated, get_args

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, table, wrapped

if TYPE_CHECKING:
    from agent.bootstrap import App
    from agent.services.keys import Keys
    from tools.contracts.access import ApiKey, Scope

app = typer.Typer(help="Keys for `retrain serve`.", no_args_is_help=True, rich_markup_mode=None)
Name = Annotated[str, typer.Argument(help="Who bears it, as records will call him.")]


@app.command()
def create(
    name: Name,
    scope: Annotated[list[str], typer.Option("--scope", help="read, run, review or roll_back; again for more.")],
    agent: Annotated[bool, typer.Option("--agent", help="A program bears it, no person: it never answers.")] = False,
    model: Annotated[
        list[str] | None, typer.Option("--model", help="Only this profile; again for more; all where absent.")
    ] = None,
    expires: Annotated[str | None, typer.Option("--expires", help="After e.g. 90d; never where absent.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Make a key. Its token is shown this once: only its hash is kept."""
    from agent.entrypoints.cli.holds import all_approvers
    from agent.services.reviews import os_user
    from tools.windows import parse_duration

    opened = open_app(workspace)
    made = _keys(opened).create(
        name,
        _scopes(scope),
        by=os_user(),
        kind="agent" if agent else "person",
        models=None if model is None else [opened.deps.load_profile(each).id for each in model],
        expires=None if expires is None else parse_duration(expires),
        approvers=all_approvers(opened),
    )
    told = f"key {name!r} ({made.key.kind}) for {_what(made.key)}; the token is shown this once:"
    SCREEN.result(made.key.shown() | {"token": made.token}, [*wrapped(told), made.token])


@app.command("list")
def list_keys(
    everything: Annotated[bool, typer.Option("--all", help="Revoked ones too.")] = False,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """Who may come in, to do what, until when. Never a token."""
    found = _keys(open_app(workspace)).list(everything=everything)
    headers = [
        "name",
        "kind",
        "for",
        "made by",
        "expires (UTC)",
        "last used (UTC)",
        *(["revoked"] if everything else []),
    ]
    rows = [
        [
            key.name,
            key.kind,
            _what(key),
            key.created_by,
            "never" if key.expires_at is None else f"{key.expires_at:%Y-%m-%d %H:%M}",
            "never" if key.last_used_at is None else f"{key.last_used_at:%Y-%m-%d %H:%M}",
            *([None if key.revoked_at is None else f"{key.revoked_at:%Y-%m-%d %H:%M}"] if everything else []),
        ]
        for key in found
    ]
    SCREEN.result([key.shown() for key in found], table(headers, rows) if found else ["no keys"])


@app.command()
def revoke(name: Name, json: Json = False, workspace: Workspace = None) -> None:
    """End a key: from now on its token opens nothing. Anybody may stop things."""
    from agent.services.reviews import os_user

    ended = _keys(open_app(workspace)).revoke(name, by=os_user())
    SCREEN.result(ended.shown(), [f"key {ended.name!r} is revoked"])


def _keys(opened: "App") -> "Keys":
    from agent.services.keys import Keys

    return Keys(opened.deps.store, opened.deps.clock)


def _scopes(given: list[str]) -> "list[Scope]":
    from tools.contracts.access import Scope
    from tools.errors import BadInput

    known: tuple[Scope, ...] = get_args(Scope)
    for each in given:
        if each not in known:
            raise BadInput(f"{each!r} is no scope", thing="--scope", value=each, remedy=f"one of {', '.join(known)}")
    return [each for each in known if each in given]


def _what(key: "ApiKey") -> str:
    scopes = ", ".join(sorted(key.scopes))
    return scopes if key.models is None else f"{scopes} of {', '.join(sorted(key.models))}"
