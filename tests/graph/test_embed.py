"""LangGraph's tooling opens the graph by `langgraph.json`."""

import asyncio
import importlib
import importlib.util
import json
from pathlib import Path

import pytest
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


def test_every_graph_of_langgraph_json_exists_and_can_be_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "retraining.yaml").write_text("tracking_uri: sqlite:///mlflow.db\n")
    monkeypatch.chdir(tmp_path)
    named = json.loads((ROOT / "langgraph.json").read_text())["graphs"]

    for where in named.values():
        path, name = where.split(":")
        found = getattr(importlib.import_module(path.removesuffix(".py").removeprefix("./").replace("/", ".")), name)
        # LangGraph's server calls it in its event loop, and ends what blocks there.
        built = found if isinstance(found, CompiledStateGraph) else asyncio.run(found())

        assert isinstance(built, CompiledStateGraph)
        assert built.checkpointer is None
