"""The A2A door: a run is a task. `a2a_door` is all that the server needs of it."""

from agent.entrypoints.server.a2a.door import OPEN_PATHS, PATH, a2a_door, routes

__all__ = ["OPEN_PATHS", "PATH", "a2a_door", "routes"]
