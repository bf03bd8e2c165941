"""LangGraph's tooling opens the graph by `langgraph.json`."""

import importlib.util
import json
from pathlib import Path

from langgraph.graph.state import CompiledStateGraph

ROOT = Path(__file__).parents[2]


def test_langgraph_json_names_a_compiled_graph_with_every_node_of_the_design() -> None:
    path, name = json.loads((ROOT / "langgraph.json").read_text())["graphs"]["retraining_orchestrator"].split(":")
    spec = importlib.util.spec_from_file_location("opened_by_tooling", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    graph = getattr(module, name)

    assert isinstance(graph, CompiledStateGraph)
    assert graph.checkpointer is None
    assert set(graph.get_graph().nodes) - {"__start__", "__end__"} == {
        "check_staleness",
        "validate_data",
        "train_candidate",
        "compare_candidate",
        "decide_deployment",
        "write_rationale",
        "ask_reviewer",
        "start_rollout",
        "watch_rollout",
        "roll_back",
        "conclude",
    }
    assert "ask_reviewer" in graph.get_graph().draw_mermaid()
