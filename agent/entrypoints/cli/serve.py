"""`retrain serve`: webhooks that can take a rollout back."""

from pathlib import Path
from typing import Annotated

import typer

from agent.entrypoints.cli.options import Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN


def serve(
    host: Annotated[str, typer.Option(help="Address; any but loopback needs a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8472,
    token_hashes: Annotated[
        Path | None, typer.Option("--token-hashes", help="File with the sha256 of a token a line.")
    ] = None,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Answer Alertmanager's webhook: an alert of an exported rule takes the rollout back. Ctrl-C ends it."""
    import os

    import uvicorn

    from agent.entrypoints.server.app import application
    from agent.settings import read_settings

    hashes = _hashes(read_settings(os.environ).webhook_token, token_hashes)
    _require_safe(host, hashes)
    opened = open_app(workspace)
    if not hashes:
        SCREEN.progress("no token is configured: the webhook answers 503 until RETRAIN_WEBHOOK_TOKEN is set")
    app = application(opened.deps, opened.runs, hashes)
    uvicorn.run(app, host=host, port=port, log_level="warning" if quiet else "info", server_header=False)


def _hashes(token: str | None, file: Path | None) -> tuple[str, ...]:
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


def _require_safe(host: str, hashes: tuple[str, ...]) -> None:
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
            remedy="set RETRAIN_WEBHOOK_TOKEN, or stay on 127.0.0.1",
        )
