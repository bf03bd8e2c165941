"""`retrain serve --role ROLE`: one of our own peers as an agent of its own."""

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

from agent.entrypoints.cli.options import open_app
from agent.entrypoints.cli.render import SCREEN
from tools.contracts.peer_settings import Role
from tools.errors import BadInput


def serve_peer(
    role: str,
    *,
    host: str,
    port: int,
    token_hashes: Path | None,
    folders: list[Path],
    url: str | None,
    quiet: bool,
    workspace: Path | None,
) -> None:
    """Serves until it is ended. Only the deployment-engineer needs a workspace: the profiles say where it deploys to."""
    import uvicorn

    from agent.entrypoints.cli.tokens import hashes_of, require_loopback_or
    from agent.entrypoints.server.peer import application
    from agent.services import peer_work
    from agent.settings import read_settings
    from tools.adapters.drift_local import LocalDriftDetective
    from tools.adapters.evaluator_local import LocalModelEvaluator

    hashes = hashes_of(read_settings(os.environ).peer_token, token_hashes)
    require_loopback_or(bool(hashes), host, "set RETRAIN_PEER_TOKEN")
    rows = peer_work.Rows(tuple(folders))
    known: Role
    if role == "drift-detective":
        known, answer = "drift-detective", peer_work.detective(LocalDriftDetective(_now, html=False), rows)
    elif role == "model-evaluator":
        known, answer = "model-evaluator", peer_work.evaluator(LocalModelEvaluator(_now), rows)
    else:
        known, answer = "deployment-engineer", peer_work.engineer(open_app(workspace).deps)
    remembered = answer if known == "deployment-engineer" else peer_work.Remembered(answer)
    # Bound before the card is written: with port 0 the system chooses.
    with _bound(host, port) as taken:
        at = url or f"http://{f'[{host}]' if ':' in host else host}:{taken.getsockname()[1]}"
        SCREEN.progress(f"{role} answers at {at}")
        app = application(known, remembered, url=f"{at.rstrip('/')}/", token_hashes=hashes)
        config = uvicorn.Config(app, log_level="warning" if quiet else "info", server_header=False, ws="none")
        uvicorn.Server(config).run(sockets=[taken])


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        taken = socket.socket(family, socket.SOCK_STREAM)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, port))
    except OSError as error:
        remedy = "name another --port, or 0 for a free one"
        raise BadInput(f"{host}:{port} cannot be taken: {error}", thing="--port", value=port, remedy=remedy) from error
    return taken


def _now() -> datetime:
    return datetime.now(UTC)
