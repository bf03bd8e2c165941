"""`retrain serve`: webhooks that can take a rollout back."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from agent.entrypoints.cli.options import Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN


class PeerRole(StrEnum):
    """What `--role` takes."""

    DRIFT_DETECTIVE = "drift-detective"
    MODEL_EVALUATOR = "model-evaluator"
    DEPLOYMENT_ENGINEER = "deployment-engineer"


def serve(
    host: Annotated[str, typer.Option(help="Address; any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8472,
    token_hashes: Annotated[
        Path | None, typer.Option("--token-hashes", help="File with the sha256 of a token a line.")
    ] = None,
    role: Annotated[
        PeerRole | None, typer.Option(help="Be this peer for other agents, over Agent2Agent, and nothing else.")
    ] = None,
    shared_folder: Annotated[
        list[Path] | None, typer.Option("--shared-folder", help="With --role: a folder that callers may name paths in.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="With --role: where callers reach it, if not at host and port.")
    ] = None,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Answer Alertmanager's webhook: an alert of an exported rule takes the rollout back. Ctrl-C ends it."""
    import os

    if role is not None:
        from agent.entrypoints.cli.serve_peer import serve_peer

        serve_peer(
            role.value,
            host=host,
            port=port,
            token_hashes=token_hashes,
            folders=shared_folder or [],
            url=url,
            quiet=quiet,
            workspace=workspace,
        )
        return

    import uvicorn

    from agent.entrypoints.cli.tokens import hashes_of, require_loopback_or
    from agent.entrypoints.server.app import application
    from agent.settings import read_settings

    hashes = hashes_of(read_settings(os.environ).webhook_token, token_hashes)
    require_loopback_or(bool(hashes), host, "RETRAIN_WEBHOOK_TOKEN")
    opened = open_app(workspace)
    if not hashes:
        SCREEN.progress("no token is configured: the webhook answers 503 until RETRAIN_WEBHOOK_TOKEN is set")
    app = application(opened.deps, opened.runs, hashes)
    uvicorn.run(app, host=host, port=port, log_level="warning" if quiet else "info", server_header=False)
