"""Which doors does `retrain serve` open beside `/v1`? All that there are, over the one desk."""

from collections.abc import Callable, Sequence

from agent.desk import Desk
from agent.entrypoints.server.a2a import a2a_door
from agent.entrypoints.server.app import Door
from agent.entrypoints.server.mcp import http_door


def all_doors(url: str) -> Callable[[Desk], Sequence[Door]]:
    """A2A and MCP.

    Args:
        url: The server as clients reach it; stands on the agent card.
    """

    def doors(desk: Desk) -> Sequence[Door]:
        return a2a_door(desk, url), http_door(desk)

    return doors
