"""`retrain mcp`: the Model Context Protocol over stdin and stdout, for the client that starts this process."""

from typing import TYPE_CHECKING

from agent.entrypoints.cli.options import Quiet, Workspace, open_app

if TYPE_CHECKING:
    from agent.bootstrap import App
    from tools.contracts.access import Caller


def mcp(quiet: Quiet = False, workspace: Workspace = None) -> None:
    """Serve an MCP client over stdin and stdout, as an agent of the OS user. Ends when the client closes stdin.

    Nothing but the protocol is written to stdout. An agent may look, begin runs and roll back; it answers no review. With
    RETRAIN_KEY in the environment, the calls are those of the key's bearer.
    """
    import os
    from functools import partial

    import anyio

    from agent.desk import Desk
    from agent.entrypoints.server.mcp import run_stdio
    from agent.settings import read_settings

    opened = open_app(workspace)
    caller = _caller(opened, read_settings(os.environ).key)
    desk = Desk(opened)
    try:
        anyio.run(partial(run_stdio, desk, caller))
    finally:
        desk.close()


def _caller(opened: "App", key: str | None) -> "Caller":
    """Who started the client is known, who speaks through it is not; a key says whose word it is.

    Raises:
        NotAllowed: The key is unknown, revoked or expired.
    """
    from agent.services.keys import Keys
    from agent.services.reviews import os_user
    from tools.contracts.access import Caller
    from tools.errors import NotAllowed

    if key is None:
        return Caller(name=os_user(), kind="agent", scopes=frozenset({"read", "run", "roll_back"}), door="mcp")
    bearer = Keys(opened.deps.store, opened.deps.clock).authenticate(key, "mcp")
    if bearer is None:
        raise NotAllowed(
            "the key in RETRAIN_KEY is unknown, revoked or expired",
            thing="RETRAIN_KEY",
            remedy="`retrain keys create NAME --scope read` makes one; or leave the variable out",
        )
    return bearer
