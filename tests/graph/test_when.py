"""What a run keeps of its losses, what the next look makes of them, and how a check tells it."""

from pathlib import Path

import pytest

from agent.entrypoints.cli.check_lines import check_lines, checked_json
from agent.services import check, loss_history
from agent.services.champion import find_champion
from agent.state import Run
from tests.graph.world import World, make_world
from tools.contracts.evidence import StalenessReport

RULES = {"recent": "20d", "drift": {}, "performance": {"max_loss": 0.2}}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, dict]:  # type: ignore[type-arg]
    world = make_world(tmp_path_factory.mktemp("when"), triggers=RULES)
    return world, world.run()


def run_of(world: World) -> Run:
    profile = world.deps.load_profile("prices")
    return Run("c1", world.order(), profile, "", find_champion(world.deps, profile))


def test_a_run_keeps_the_champions_losses_and_the_next_look_weighs_both_versions(ran: tuple[World, dict]) -> None:  # type: ignore[type-arg]
    world, output = ran
    kept = StalenessReport.model_validate(output["staleness"]).losses

    known = loss_history.history(world.deps, run_of(world), (), None)

    assert {cell.version for cell in kept} == {"1"}
    assert set(known.cells) == set(kept)
    assert (known.version, len(known.trainings), known.trainings[0].deployed) == ("2", 1, True)
    looked = check.check(world.deps, world.order()).staleness
    assert {cell.version for cell in looked.losses} == {"2"}
    assert looked.when is not None and looked.when.basis == "history"  # noqa: PT018
    assert all(cell.loss < 0 and cell.n >= loss_history.MIN_ROWS for cell in looked.losses)


def test_a_run_weighs_and_says_so_in_its_evidence(ran: tuple[World, dict]) -> None:  # type: ignore[type-arg]
    evidence = {item["key"]: item for item in ran[1]["evidence"]}

    assert evidence["when/verdict"]["outcome"] == "retrain"
    assert evidence["when/retraining_cost"]["value"] == 17


def test_a_check_shows_the_sentence_the_numbers_and_the_next_look(ran: tuple[World, dict]) -> None:  # type: ignore[type-arg]
    checked = check.check(ran[0].deps, ran[0].order())

    shown = " ".join(" ".join(check_lines("prices", "drift", checked, seconds=1.0, columns=False)).split())

    assert checked.staleness.when is not None
    assert checked.staleness.when.statement in shown
    assert "A retraining costs 17 point-days" in shown
    assert "Look again at" in shown
    assert checked_json(checked)["staleness"]["when"]["strategy"] == "expected_cost"


def test_losses_kept_by_another_program_are_no_evidence(ran: tuple[World, dict]) -> None:  # type: ignore[type-arg]
    world, output = ran
    record = world.deps.store.list_runs("prices")[0]
    odd = {**output, "staleness": {**output["staleness"], "losses": [{"strange": 1}]}}
    world.deps.store.update_run(record.run_id, output=odd)
    try:
        assert loss_history.history(world.deps, run_of(world), (), None).cells == ()
    finally:
        world.deps.store.update_run(record.run_id, output=record.output)


def test_a_champion_whose_training_rows_are_unknown_has_no_losses(tmp_path: Path) -> None:
    world = make_world(tmp_path, triggers=RULES)
    run = run_of(world)
    assert run.champion is not None
    bare = run.champion.model_copy(update={"tags": {}})

    assert loss_history.measure(Run("c1", run.order, run.profile, "", bare), None) == ()
