"""`retrain serve`: one desk behind HTTP, A2A and MCP, and webhooks that can take a rollout back."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.entrypoints.cli.options import Quiet, Workspace, open_app
from agent.entrypoints.cli.render import SCREEN, hint

if TYPE_CHECKING:
    from collections.abc import Sequence


class PeerRole(StrEnum):
    """What `--role` takes."""

    DRIFT_DETECTIVE = "drift-detective"
    MODEL_EVALUATOR = "model-evaluator"
    DEPLOYMENT_ENGINEER = "deployment-engineer"


def serve(
    host: Annotated[str, typer.Option(help="Address; any but loopback needs a key or a token.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8472,
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", help="Name that clients call it by; repeatable.")
    ] = None,
    url: Annotated[
        str | None, typer.Option("--url", help="As clients reach it through a proxy; stands on the agent card.")
    ] = None,
    token_hashes: Annotated[
        Path | None, typer.Option("--token-hashes", help="File with the sha256 of a webhook's token a line.")
    ] = None,
    role: Annotated[
        PeerRole | None, typer.Option(help="Be this peer for other agents, over Agent2Agent, and nothing else.")
    ] = None,
    shared_folder: Annotated[
        list[Path] | None, typer.Option("--shared-folder", help="With --role: a folder that callers may name paths in.")
    ] = None,
    quiet: Quiet = False,
    workspace: Workspace = None,
) -> None:
    """Offer everything over HTTP, A2A and MCP, and answer webhooks. Ctrl-C ends it once what is under way has ended."""
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

    from agent.entrypoints.cli.tokens import hashes_of, require_loopback_or
    from agent.entrypoints.server.app import application
    from agent.entrypoints.server.doors import all_doors
    from agent.entrypoints.server.process import listen, url_of, uvicorn_server
    from agent.services.keys import Keys
    from agent.settings import read_settings

    own_name = _host_of(url)
    settings = read_settings(os.environ)
    hashes = hashes_of(settings.webhook_token, token_hashes)
    opened = open_app(workspace)
    keys = Keys(opened.deps.store, opened.deps.clock)
    any_key = bool(keys.list())
    require_loopback_or(any_key or bool(hashes), host, "`retrain keys create NAME --scope read` first")
    taken = listen(host, port)
    here = url_of(taken)
    server = application(
        opened,
        hashes,
        keys=keys,
        doors=all_doors(url or here),
        hosts=(*(allow_host or ()), *own_name),
        tell=SCREEN.progress,
        secret=settings.webhook_secret,
        mlflow_secret=settings.mlflow_webhook_secret,
    )
    signed = {"trigger": settings.webhook_secret, "mlflow": settings.mlflow_webhook_secret}
    for line in _welcome(
        here,
        server.doors,
        any_key=any_key,
        webhook=bool(hashes),
        signed=[name for name, secret in signed.items() if secret],
    ):
        SCREEN.progress(line)
    uvicorn_server(server, SCREEN.progress).run(sockets=[taken])
    SCREEN.progress("ended")


def _host_of(url: str | None) -> tuple[str, ...]:
    from urllib.parse import urlsplit

    from tools.errors import BadInput

    if url is None:
        return ()
    try:
        split = urlsplit(url)
        host = split.hostname if split.scheme in ("http", "https") else None
    except ValueError:
        host = None
    if host is None:
        raise BadInput(f"{url!r} is no address", thing="--url", value=url, remedy="e.g. https://retrain.example.com")
    return (host,)


def _welcome(url: str, doors: "Sequence[str]", *, any_key: bool, webhook: bool, signed: "Sequence[str]") -> list[str]:
    """Where it listens, what is open, and what to type next."""
    where = {"http": f"{url}/v1", "a2a": f"{url}/a2a", "mcp": f"{url}/mcp"}
    lines = [f"listening on {url}"]
    lines += [f"  {name:<8} {where[name]}" + ("" if any_key else " (shut: there is no key)") for name in doors]
    shut = "" if webhook else " (shut: RETRAIN_WEBHOOK_TOKEN is not set)"
    lines.append(f"  webhook  {url}/webhooks/alertmanager{shut}")
    lines += [f"  signed   {url}/webhooks/{name}" for name in signed]
    if any_key:
        lines.append(f"next: curl -H 'Authorization: Bearer KEY' {url}/v1/runs    (description: {url}/openapi.json)")
    else:
        lines.append(f"next: {hint('keys create NAME --scope read --scope run')}    (in another terminal)")
    lines.append("Ctrl-C ends it")
    return lines
