"""A ranker through the whole machine: rows are (query, item) pairs, and nothing is ever counted, cut or drawn but whole queries."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.graph.world import TWIN, WORSE, World, make_world
from tests.streams import queries
from tools.contracts.peers import EvaluationReply
from tools.errors import BadInput

ROWS = queries()
DATA = {
    "source": "rows",
    "event_time": "at",
    "target": "y",
    "group": "query",
    "features": ["a", "b", "c"],
    "key": ["at"],
    "label_maturity": "1d",
}
METRICS = {
    "primary": {"name": "ndcg", "min_improvement": 0.02},
    "guardrails": [{"name": "precision@2", "margin": 0.05}, {"name": "mrr@3", "margin": 0.05}],
}


def ranking(folder: Path, rows: pd.DataFrame = ROWS, **changes: Any) -> World:
    return make_world(folder, rows=rows, **({"task": "ranking", "data": DATA, "metrics": METRICS} | changes))


def decided(output: dict[str, Any]) -> str:
    return output["deploymentDecision"]["decision"]


def failed(output: dict[str, Any]) -> dict[str, str]:
    """Name and statement of the checks that failed and block."""
    return {
        f"{check['name']}/{check['subject']}": check["statement"]
        for check in output["validation"]["checks"]
        if check["result"] == "fail" and check["severity"] == "block"
    }


def test_a_better_ranker_is_deployed_on_whole_queries_only(tmp_path: Path):
    world = ranking(tmp_path)
    output = world.run()

    assert decided(output) == "deploy"
    assert world.champion == "2"
    torn = next(c for c in output["validation"]["checks"] if c["name"] == "groups" and c["subject"].startswith("torn"))
    assert torn["result"] == "pass"
    assert torn["counts"] == {"groups": 299, "torn": 2, "rows": 6}
    assert output["comparison"]["holdoutRows"] == 299 * 6
    assert output["comparison"]["verdicts"] == {
        "ndcg": "improved",
        "precision@2": "improved",
        "mean_reciprocal_rank@3": "improved",
    }
    ndcg = next(item for item in output["evidence"] if item["key"] == "comparison/ndcg")
    assert 200 < ndcg["n"] < 299
    assert f"on {ndcg['n']} groups ({299 - ndcg['n']} more are left out" in ndcg["statement"]


@pytest.mark.parametrize("trains", [TWIN, WORSE])
def test_a_ranker_that_is_no_better_is_not_deployed(tmp_path: Path, trains: str):
    world = ranking(tmp_path, trains=trains)
    assert decided(world.run()) == "reject"
    assert world.champion == "1"


def test_the_second_opinion_is_asked_with_the_groups_and_agrees(tmp_path: Path):
    world = ranking(tmp_path)
    output = world.run()
    metrics = output["retrainingResult"]["validationMetrics"]
    assert set(metrics) == {"ndcg", "precision@2", "mean_reciprocal_rank@3"}
    assert not [item for item in output["evidence"] if item["key"].startswith("comparison/doubt")]


def test_staleness_is_measured_on_whole_queries_and_is_not_estimated(tmp_path: Path):
    world = ranking(tmp_path)
    # What the champion puts first is what nobody wants any more.
    against = np.where(ROWS["at"] >= "2026-06-11", np.digitize(-ROWS["a"], [0.8, 1.6]), ROWS["y"])
    world.data.frames["rows"] = with_column(y=against)
    output = world.run(request={"retrainingConfig": {"trigger": "performance"}})
    signals = {signal["rule"]: signal for signal in output["staleness"]["signals"]}
    assert signals["performance"]["outcome"] == "bad"
    assert 150 < signals["performance"]["n"] <= 240
    assert f"on {signals['performance']['n']} recent groups" in signals["performance"]["statement"]
    assert signals["estimated_performance"]["outcome"] == "could_not_measure"
    assert "known from their labels alone" in signals["estimated_performance"]["statement"]


def with_column(**columns: Any) -> pd.DataFrame:
    return ROWS.assign(**columns)


BAD = {
    "the group column is gone": (ROWS.drop(columns="query"), "schema/query", "query is gone"),
    "every second row names no group": (
        with_column(query=ROWS["query"].where(np.arange(len(ROWS)) % 2 == 0)),
        "groups/query in the holdout",
        "rows of the holdout have no query",
    ),
    "all groups of one row": (
        with_column(query=[f"r{i}" for i in range(len(ROWS))]),
        "relevance/y in the holdout",
        "no order of rows is better than another",
    ),
    "no relevant row": (with_column(y=0), "relevance/y in the holdout", "no order of rows is better than another"),
    "relevances below 0": (with_column(y=ROWS["y"] - 1), "relevance/y in the holdout", "lie below 0"),
    "relevances that are words": (
        with_column(y=np.array(["bad", "fair", "good"])[ROWS["y"]]),
        "relevance/y in the holdout",
        "are no finite numbers",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_judge_nobody_are_refused_with_the_reason(tmp_path: Path, case: str):
    world = ranking(tmp_path)
    world.data.frames["rows"], check, said = BAD[case]
    output = world.run()
    assert decided(output) == "reject"
    assert world.champion == "1"
    assert said in failed(output)[check]


def test_a_group_that_names_what_comes_again_is_refused(tmp_path: Path):
    """Ten users ask all queries: every group of the holdout stands before it too."""
    world = ranking(tmp_path)
    world.data.frames["rows"] = with_column(query=[f"user{i // 6 % 10}" for i in range(len(ROWS))])
    with pytest.raises(BadInput, match="10 groups have rows outside of it too"):
        world.run()
    assert world.champion == "1"


def test_a_few_rows_without_a_group_are_left_out_and_told(tmp_path: Path):
    world = ranking(tmp_path)
    world.data.frames["rows"] = with_column(query=ROWS["query"].where(np.arange(len(ROWS)) % 50 != 0))
    output = world.run()
    assert decided(output) == "deploy"
    told = next(c for c in output["validation"]["checks"] if c["subject"] == "query in the holdout")
    assert (told["result"], told["severity"]) == ("fail", "warn")
    assert output["comparison"]["holdoutRows"] < 299 * 6


def test_a_group_with_one_row_that_was_trained_on_goes_whole(tmp_path: Path):
    from tools.adapters import frames

    rows = pd.DataFrame({"y": [1, 0, 0, 1], "q": ["a", "a", "b", "b"], "__row_hash": ["1", "2", "3", "4"]})
    rows.to_parquet(tmp_path / "rows.parquet")
    pd.DataFrame({"prediction": [0.1, 0.2, 0.3, 0.4]}).to_parquet(tmp_path / "scored.parquet")
    scored = str(tmp_path / "scored.parquet")
    files = (str(tmp_path / "rows.parquet"), scored, scored)
    found = frames.paired_rows(
        [files, files],
        target="y",
        task="ranking",
        slices=(),
        drop=[{"2"}, set()],
        scored_out=tmp_path / "out.parquet",
        group="q",
    )
    # Of the first holdout b is left; the second holdout's a and b are other groups, for another model judged them.
    assert found.query is not None
    assert found.query.tolist() == [0, 0, 1, 1, 2, 2]
    assert list(pd.read_parquet(tmp_path / "out.parquet")[frames.GROUP]) == [1, 1, 2, 2, 3, 3]


def test_a_peer_that_measures_another_order_makes_the_case_doubtful(tmp_path: Path):
    from tests.graph.world import with_deps
    from tools.adapters.memory_peers import ScriptedModelEvaluator

    world = ranking(tmp_path)
    peer = ScriptedModelEvaluator(EvaluationReply(success=True, overall_metrics={"ndcg": 0.2}))
    output = with_deps(world, model_evaluator=peer).run()
    assert decided(output) == "manual_review"
    asked = peer.requests[0].payload
    assert (asked.task_type, asked.group_column) == ("ranking", "__group")
