# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
"""The state machine, as a table of contents. Wiring only; the flow stands in docs/design/flow.md."""

from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from agent import routing
from agent.deps import Deps
from agent.nodes.ask_reviewer import ask_reviewer
from agent.nodes.check_staleness import check_staleness
from agent.nodes.compare_candidate import compare_candidate
from agent.nodes.conclude import conclude
from agent.nodes.decide_deployment import decide_deployment
from agent.nodes.roll_back import roll_back
from agent.nodes.start_rollout import start_rollout
from agent.nodes.train_candidate import train_candidate
from agent.nodes.validate_data import validate_data
from agent.nodes.watch_rollout import watch_rollout
from agent.nodes.write_rationale import write_rationale
from agent.state import RunState

NODES = (
    check_staleness,
    validate_data,
    train_candidate,
    compare_candidate,
    decide_deployment,
    write_rationale,
    ask_reviewer,
    start_rollout,
    watch_rollout,
    roll_back,
    conclude,
)


def build_graph(checkpointer: BaseCheckpointSaver[Any] | None = None) -> CompiledStateGraph[RunState, Deps]:
    """The compiled graph. As a parent's subgraph it takes no checkpointer of its own."""
    graph = StateGraph(RunState, context_schema=Deps)
    for node in NODES:
        graph.add_node(node.__name__, node)
    graph.add_conditional_edges(START, routing.entry)
    graph.add_conditional_edges("check_staleness", routing.after_staleness)
    graph.add_conditional_edges("validate_data", routing.after_validation)
    graph.add_conditional_edges("train_candidate", routing.after_training)
    graph.add_edge("compare_candidate", "decide_deployment")
    graph.add_edge("decide_deployment", "write_rationale")
    graph.add_conditional_edges("write_rationale", routing.after_decision)
    graph.add_conditional_edges("ask_reviewer", routing.after_review)
    graph.add_conditional_edges("start_rollout", routing.after_start)
    graph.add_conditional_edges("watch_rollout", routing.after_look)
    graph.add_edge("roll_back", "conclude")
    graph.add_edge("conclude", END)
    return graph.compile(checkpointer=checkpointer)
