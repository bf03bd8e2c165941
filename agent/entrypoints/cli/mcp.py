"""`retrain mcp`: the Model Context Protocol over stdin and stdout, for the client that starts this process."""

from typing import TYPE_CHECKING

from agent.entrypoints.cli.options import Quiet, Workspace, open_app

if TYPE_CHECKING:
    from tools.contracts.access import Caller


def mcp(quiet: Quiet = False, workspace: Workspace = None) -> None:
    """Serve an MCP client over stdin and stdout, as an agent of the OS user. Ends when the client closes stdin.

    Nothing but the protocol is written to stdout. An agent may look, begin runs and roll back; it answers no review.
    """
    from functools import partial

    import anyio

    from agent.desk import Desk
    from agent.entrypoints.server.mcp import run_stdio

    desk = Desk(open_app(workspace))
    try:
        anyio.run(partial(run_stdio, desk, _caller()))
    finally:
        desk.close()


def _caller() -> "Caller":
    """Who started the client is known, who speaks through it is not."""
    from agent.services.reviews import os_user
    from tools.contracts.access import Caller

    return Caller(name=os_user(), kind="agent", scopes=frozenset({"read", "run", "roll_back"}), door="mcp")
