# pyright: basic
"""Does Envoy count what the exported rules read? The rules' series, held against `/stats/prometheus` of a real Envoy under requests."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
import yaml

from tests.serving.conftest import World, request
from tools import alert_rules
from tools.adapters.serving import admin
from tools.adapters.serving.asking import bodies
from tools.adapters.serving.load import SteadyLoad
from tools.contracts.rollout import Analysis, RolloutMetric, RolloutPlan, SetWeight

pytestmark = pytest.mark.serving

PLAN = RolloutPlan(
    candidate_version="7",
    last_known_good="6",
    strategy="canary",
    steps=(SetWeight(weight=50), Analysis(), SetWeight(weight=100)),
    metrics=(RolloutMetric(name="errors", margin=0.02), RolloutMetric(name="latency_ms", margin=0.05)),
    max_duration=timedelta(hours=1),
    digest="d1",
)


class Series(NamedTuple):
    """A name and what its labels must be: the matchers of a rule, or the labels of a live series."""

    name: str
    labels: tuple[tuple[str, str, str], ...]

    def meets(self, wanted: "Series") -> bool:
        mine = {label: value for label, _, value in self.labels}
        return self.name == wanted.name and all(
            re.fullmatch(value if how == "=~" else re.escape(value), mine.get(label, ""))
            for label, how, value in wanted.labels
        )

    def answers_for(self, version: str) -> bool:
        return any(how == "=~" and value.startswith(f"version_{version}") for _, how, value in self.labels)


def found_in(text: str) -> Iterator[tuple[Series, str]]:
    """Each `name{labels}` with what follows it."""
    for name, labels, rest in re.findall(r"([a-z_]+)\{([^}]*)\}(?=([^\n{]*))", text):
        yield Series(name, tuple(re.findall(r'(\w+)(=~|=)"([^"]*)"', labels))), rest.strip()


def read_by_the_rules() -> set[Series]:
    rules = yaml.safe_load(alert_rules.export(PLAN, model_id="prices", run_id="r1").text)["groups"][0]["rules"]
    return {series for rule in rules for series, _ in found_in(rule["expr"])}


def live(world: World) -> dict[Series, float]:
    status, text = admin.get(world.target.control.wanted["admin_port"], "/stats/prometheus")
    assert status == 200
    return {series: float(value) for series, value in found_in(text.decode())}


def total(counted: dict[Series, float], wanted: Series) -> float:
    return sum(value for series, value in counted.items() if series.meets(wanted))


def counted_until(world: World, true: Callable[[dict[Series, float]], bool]) -> dict[Series, float]:
    """Counters are on the page at once, histograms every few seconds."""
    deadline = time.monotonic() + 30
    while not true(counted := live(world)):
        assert time.monotonic() < deadline, "it was not counted"
        time.sleep(0.3)
    return counted


@pytest.fixture(scope="module")
def world(made: Callable[..., World]) -> World:
    """Version 6 serves, 7 is loaded beside it; both fail on the same rows."""
    world = made()
    for version in ("6", "7"):
        world.models.add(version, "raises on some")
    world.target.apply(request("6"))
    world.target.prepare(request("7"))
    return world


def asked(world: World, folder: Path, times: int) -> SteadyLoad:
    """One request in three fails."""
    pd.DataFrame({"x": [-1.0, 2.0, -9.0]}).to_parquet(folder / "rows.parquet")
    assert world.target.url is not None
    with SteadyLoad(world.target.url, bodies(folder / "rows.parquet", ["x"], 3), 25) as load:
        deadline = time.monotonic() + 90
        while len(load.replies) < times:
            assert time.monotonic() < deadline, f"{len(load.replies)} answers"
            time.sleep(0.1)
    return load


def test_every_series_of_the_exported_rules_exists_and_counts_for_the_version_that_answered(
    world: World, tmp_path: Path
):
    wanted = read_by_the_rules()
    assert len(wanted) == 9, "health of the candidate; answers, failures, buckets and counts of both versions"
    world.target.apply(request("7", 50, "6"))

    load = asked(world, tmp_path, 150)

    times = [each for each in wanted if each.name.endswith("_count")]
    counted = counted_until(world, lambda now: sum(total(now, each) for each in times) == len(load.replies))
    assert [each for each in wanted if not any(series.meets(each) for series in counted)] == []
    failures = 0
    for version in ("6", "7"):
        answered = sum(reply.version == version for reply in load.replies)  # a model's own 500 names no version
        counts = {each.name: total(counted, each) for each in wanted if each.answers_for(version)}
        failed = counts["envoy_cluster_upstream_rq_xx"]
        assert (answered > 20, failed > 10) == (True, True)
        assert counts["envoy_cluster_upstream_rq_completed"] == answered + failed
        assert counts["envoy_cluster_upstream_rq_time_count"] == answered + failed
        assert counts["envoy_cluster_upstream_rq_time_bucket"] >= answered + failed
        failures += failed
    assert failures == len(load.failed())
    (healthy,) = [each for each in wanted if each.name.endswith("membership_healthy")]
    assert total(counted, healthy) == 1


def test_mirrored_requests_are_counted_as_the_candidates(world: World, tmp_path: Path):
    (answers,) = [e for e in read_by_the_rules() if e.name.endswith("_completed") and e.answers_for("7")]
    world.target.apply(request("7", 0, "6", mirror=100))
    before = total(live(world), answers)

    load = asked(world, tmp_path, 30)

    counted_until(world, lambda now: total(now, answers) - before == len(load.replies))
