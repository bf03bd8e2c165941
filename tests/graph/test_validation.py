"""Data validation as a run asks for it, where the source, the budget or the registry lets it down."""

from pathlib import Path

import pytest

from agent.services.validate import examine
from tests.graph.world import PROFILE, Broken, World, make_world
from tests.graph.world import with_deps as seen_with
from tools.contracts.evidence import Check, ValidationReport


@pytest.fixture
def world(tmp_path: Path) -> World:
    return make_world(tmp_path)


def by_name(report: ValidationReport) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for check in report.checks:
        found.setdefault(check.name, []).append(check)
    return found


def undone(report: ValidationReport) -> set[str]:
    return {check.name for check in report.checks if check.result == "could_not_check" and check.subject == "not done"}


def test_every_section_is_done_where_nothing_is_in_the_way(world: World) -> None:
    assert undone(examine(world.deps, world.order())) == set()


@pytest.mark.parametrize("method", ["summary", "overlap", "profile"])
def test_source_that_disappears_in_mid_read_costs_what_rests_on_it_and_no_run(world: World, method: str) -> None:
    whole = by_name(examine(world.deps, world.order()))
    report = examine(seen_with(world, data=Broken(world.data, method)).deps, world.order())

    lost = [check for check in report.checks if "in mid-read" in check.statement]
    assert lost
    assert all((check.result, check.subject) == ("could_not_check", "not done") for check in lost)
    assert report.verdict == "could_not_check"
    assert set(whole) & set(by_name(report)), "everything else was checked"


def test_budget_that_is_spent_leaves_checks_undone_and_says_so(tmp_path: Path) -> None:
    world = make_world(tmp_path, validation=PROFILE["validation"] | {"max_queries": 1})
    report = examine(world.deps, world.order())

    spent = [check for check in report.checks if "budget of 1 queries is spent" in check.statement]
    assert spent
    assert all(check.result == "could_not_check" for check in spent)
    assert report.verdict == "could_not_check"


def test_run_whose_validation_ran_out_of_budget_trains_nothing_by_itself(tmp_path: Path) -> None:
    world = make_world(tmp_path, validation=PROFILE["validation"] | {"max_queries": 1})
    output = world.run()

    assert output["deploymentDecision"]["decision"] in ("manual_review", "reject")
    assert world.champion == "1"
