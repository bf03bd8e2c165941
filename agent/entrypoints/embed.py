"""How does another program hold the graph? LangGraph's tooling opens it here; a parent adds it as a subgraph."""

from agent.graph import build_graph

graph = build_graph()
"""Compiled without a checkpointer: the parent, or LangGraph's server, brings its own. Needs `Deps` as its context."""
