"""`retrain holds`, `release`, `pause` and `resume`: what stands still until a person says so."""

from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Json, Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, shortened, table, wrapped

if TYPE_CHECKING:
    from agent.bootstrap import App
    from tools.contracts.run import Hold

Reason = Annotated[str, typer.Option("--reason", help="Why; stands in the record.")]
All = Annotated[bool, typer.Option("--all", help="Every model of this run store.")]


def holds(
    everything: Annotated[bool, typer.Option("--all", help="Released ones too.")] = False,
    json: Json = False,
    workspace: Workspace = None,
) -> None:
    """What is held: models after a rollback, paused rollouts, everything."""
    found = open_app(workspace).deps.store.holds(in_force=not everything)
    headers = ["held", "since (UTC)", "by", "why", *(["released by", "when (UTC)"] if everything else [])]
    rows = [
        [h.scope, f"{h.at:%Y-%m-%d %H:%M}", h.by, shortened(h.why), *(_released(h) if everything else [])]
        for h in found
    ]
    lines = table(headers, rows) if found else ["nothing was ever held" if everything else "nothing is held"]
    SCREEN.result([hold.to_json_dict() for hold in found], lines)


def _released(hold: "Hold") -> list[str | None]:
    return [hold.released_by, None if hold.released_at is None else f"{hold.released_at:%Y-%m-%d %H:%M}"]


def release(
    model: Annotated[str, typer.Argument(help="Profile id or registered model name.")],
    reason: Reason,
    json: Json = False,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Let a model train and deploy by itself again after a rollback. Approvers only."""
    from agent.services import holds as service

    opened = open_app(workspace, model)
    profile = opened.deps.load_profile(model)
    scope = service.of_model(profile.registered_model)
    _tell(service.release(opened.deps, scope, reason, approvers=profile.review.approvers))


def pause(reason: Reason, everything: All = False, json: Json = False, workspace: Workspace = None) -> None:
    """Stop all new runs, training and rollouts. Rollbacks stay possible. Anybody may."""
    from agent.services import holds as service

    _require_all(everything, "pause")
    hold = service.put(open_app(workspace).deps, service.ALL, reason)
    told = f"paused by {hold.by} since {hold.at:%Y-%m-%d %H:%M} UTC: {hold.why}"
    SCREEN.result(hold.to_json_dict(), wrapped(f"{told}\n`retrain resume --all --reason …` by an approver goes on"))


def resume(
    reason: Reason, everything: All = False, json: Json = False, quiet: Quiet = False, workspace: Workspace = None
) -> None:
    """Go on after `pause --all`. Approvers of any profile."""
    from agent.services import holds as service

    _require_all(everything, "resume")
    opened = open_app(workspace)
    _tell(service.release(opened.deps, service.ALL, reason, approvers=all_approvers(opened)))


def all_approvers(opened: "App") -> set[str]:
    """A profile that cannot be read names nobody."""
    from agent import standings

    return standings.all_approvers(opened, SCREEN.progress)


def _require_all(everything: bool, command: str) -> None:
    from tools.errors import BadInput

    if not everything:
        raise BadInput(
            f"`retrain {command}` is about everything",
            thing="--all",
            remedy=f'`retrain {command} --all --reason "…"`, or `retrain rollout {command} MODEL` for one rollout',
        )


def _tell(hold: "Hold") -> None:
    SCREEN.result(hold.to_json_dict(), wrapped(f"{hold.scope} is released by {hold.released_by}: {hold.released_why}"))
