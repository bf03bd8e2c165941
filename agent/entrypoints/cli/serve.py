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
    public_url: Annotated[
        str | None, typer.Option("--public-url", help="With --role: where callers reach it, if not at host and port.")
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
            public_url=public_url,
            quiet=quiet,
            workspace=workspace,
        )
        return

    import uvicorn

    from agent.entrypoints.server.app import application
    from agent.settings import read_settings

    hashes = hashes_of(read_settings(os.environ).webhook_token, token_hashes)
    require_safe(host, hashes)
    opened = open_app(workspace)
    if not hashes:
        SCREEN.progress("no token is configured: the webhook answers 503 until RETRAIN_WEBHOOK_TOKEN is set")
    app = application(opened.deps, opened.runs, hashes)
    uvicorn.run(app, host=host, port=port, log_level="warning" if quiet else "info", server_header=False)


def hashes_of(token: str | None, file: Path | None) -> tuple[str, ...]:
    import re

    from agent.entrypoints.server.app import hashed
    from tools.errors import BadInput

    found = [] if token is None else [hashed(token)]
    if file is None:
        return tuple(found)
    try:
        lines = file.read_text(encoding="utf-8").split()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(
            f"{file} cannot be read", thing="--token-hashes", value=str(file), remedy="name a file of hashes"
        ) from error
    if not lines or any(re.fullmatch(r"[0-9a-f]{64}", line) is None for line in lines):
        # A line that is no hash may be a token: it is not repeated.
        raise BadInput(
            f"{file} holds a line that is no sha256 in hexadecimal digits, or nothing",
            thing="--token-hashes",
            remedy="printf %s TOKEN | sha256sum | cut -d' ' -f1 > FILE",
        )
    return (*found, *lines)


def require_safe(host: str, hashes: tuple[str, ...], variable: str = "RETRAIN_WEBHOOK_TOKEN") -> None:
    import ipaddress

    from tools.errors import BadInput

    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback and not hashes:
        raise BadInput(
            f"{host} can be reached from outside, and no token is configured",
            thing="--host",
            value=host,
            remedy=f"set {variable}, or stay on 127.0.0.1",
        )
