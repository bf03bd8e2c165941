# pyright: basic
"""The rollout plan on Seldon, step by step and interrupted, over any API server."""

import threading

import pytest

from tests.kubernetes.world import World, request
from tools.contracts.seldon import SeldonCall, SeldonDeployment
from tools.errors import BadInput, Conflict, NotFound, TimedOut, Unavailable


def test_whole_rollout_ends_with_one_model_that_holds_the_new_version(world: World):
    target = world.serving_6()
    target.prepare(request("7", 0, "6"))
    assert target.status(request("7")).observed_weights == {"6": 100}

    shadow = target.apply(request("7", 0, "6", mirror=30))
    assert (shadow.observed_weights, shadow.observed_mirror, shadow.healthy) == ({"6": 100}, 30, True)
    assert world.get("experiments", "prices")["spec"] == {
        "default": "prices",
        "candidates": [{"name": "prices", "weight": 100}],
        "mirror": {"name": "prices-v7", "percent": 30},
    }
    for weight in (10, 50):
        split = target.apply(request("7", weight, "6"))
        assert (split.observed_weights, split.observed_mirror) == ({"6": 100 - weight, "7": weight}, 0)
    assert target.apply(request("7", 100, "6")).observed_weights == {"7": 100}
    assert world.get("models", "prices")["spec"]["storageUri"] == "s3://b/prices/6", "still loaded through the bake"

    for _ in range(2):
        target.release("6")
        assert target.status(request("7")).observed_weights == {"7": 100}
        assert (world.names("models"), world.names("experiments")) == (["prices"], [])
    assert world.get("models", "prices")["spec"]["storageUri"] == "s3://b/prices/7"


def test_rollback_in_mid_canary_loads_nothing_and_leaves_the_candidate_to_be_released(world: World):
    target = world.serving_6()
    before = world.get("models", "prices")["metadata"]["generation"]
    target.apply(request("7", 50, "6"))

    reply = target.undo(request("6"))

    assert (reply.observed_weights, reply.healthy) == ({"6": 100}, True)
    assert world.names("experiments") == []
    assert world.get("models", "prices")["metadata"]["generation"] == before
    target.release("7")
    target.release("7")
    assert world.names("models") == ["prices"]


def test_rollback_after_the_promotion_points_the_default_model_back(world: World):
    target = world.serving_6()
    target.apply(request("7", 100, "6"))
    target.release("6")
    assert target.undo(request("6")).observed_weights == {"6": 100}
    assert world.get("models", "prices")["spec"]["storageUri"] == "s3://b/prices/6"


def test_candidate_that_fails_to_load_gets_no_traffic_and_says_why(world: World):
    target = world.serving_6()
    world.controller.fails["Model prices-v7"] = "rclone: no such bucket"
    with pytest.raises(Unavailable, match=r"Model prices-v7 failed: ModelReady is False .*no such bucket"):
        target.apply(request("7", 10, "6"))
    reply = target.status(request("7"))
    assert (reply.observed_weights, reply.healthy) == ({"6": 100}, False)
    assert reply.deployment_config["seldon"]["status"] == "error"
    assert world.names("experiments") == []


def test_candidate_that_never_becomes_ready_times_out_and_is_no_news(world: World):
    target = world.serving_6()
    world.controller.never.add("Model prices-v7")
    with pytest.raises(TimedOut, match="ModelReady, Ready not True yet"):
        world.target(0.3).apply(request("7", 10, "6"))
    reply = target.status(request("7"))
    assert (reply.observed_weights, reply.healthy) == ({"6": 100}, None)
    assert reply.deployment_config["seldon"]["deploymentStatus"] == "creating"


def test_conditions_of_an_older_generation_prove_nothing(world: World):
    target = world.serving_6()
    world.controller.stale.add("Model prices")
    world.replace("models", "prices", lambda m: m["spec"].update(storageUri="s3://b/prices/5"))
    reply = target.status(request("6"))
    assert (reply.observed_weights, reply.healthy) == (None, None)
    with pytest.raises(TimedOut, match="the controller has seen generation"):
        world.target(0.3).undo(request("6"))


def test_false_condition_on_the_experiment_fails_the_step_and_the_way_back_works(world: World):
    target = world.serving_6()
    target.prepare(request("7"))
    world.controller.fails["Experiment prices"] = "scheduler is gone"
    with pytest.raises(Unavailable, match=r"Experiment prices failed: ModelReady is False \(ModelFailed: scheduler"):
        target.apply(request("7", 10, "6"))
    reply = target.status(request("7"))
    assert (reply.observed_weights, reply.healthy) == (None, False)
    assert target.undo(request("6")).observed_weights == {"6": 100}
    assert world.names("experiments") == []


def test_deletion_is_awaited_and_an_interrupted_promotion_is_finished_by_asking_again(world: World):
    target = world.serving_6()
    target.apply(request("7", 100, "6"))
    world.controller.keeps.add("Experiment prices")
    with pytest.raises(TimedOut, match="Experiment prices is not gone"):
        world.target(0.5).release("6")
    assert world.get("models", "prices")["spec"]["storageUri"] == "s3://b/prices/7"
    world.controller.keeps = {"Model prices-v7"}
    with pytest.raises(TimedOut, match="Model prices-v7 is not gone"):
        world.target(0.5).release("6")
    world.controller.keeps.clear()

    target.release("6")

    assert (world.names("models"), world.names("experiments")) == (["prices"], [])
    assert target.status(request("7")).observed_weights == {"7": 100}


def test_version_with_traffic_is_not_released(world: World):
    target = world.serving_6()
    with pytest.raises(Conflict, match="version 6 gets 100 %"):
        target.release("6")
    target.apply(request("7", 10, "6"))
    with pytest.raises(Conflict, match="prices-v7 has 10 %"):
        target.release("7")
    with pytest.raises(Conflict, match="version 6 gets 90 %"):
        target.release("6")
    assert target.status(request("7")).observed_weights == {"6": 90, "7": 10}


def test_mirrored_version_may_be_released_and_its_experiment_goes_with_it(world: World):
    target = world.serving_6()
    target.apply(request("7", 0, "6", mirror=100))
    target.release("7")
    assert (world.names("models"), world.names("experiments")) == (["prices"], [])


def test_next_rollout_finishes_a_promotion_whose_release_was_missed(world: World):
    target = world.serving_6()
    target.apply(request("7", 100, "6"))
    assert target.apply(request("8", 10, "7")).observed_weights == {"7": 90, "8": 10}
    assert world.names("models") == ["prices", "prices-v8"]


def test_second_candidate_beside_a_running_split_is_refused(world: World):
    target = world.serving_6()
    target.apply(request("7", 10, "6"))
    with pytest.raises(Conflict, match="prices-v7 gets 10 %"):
        target.apply(request("8", 10, "6"))
    assert target.status(request("7")).observed_weights == {"6": 90, "7": 10}


def test_split_whose_rest_would_go_to_another_version_is_refused(world: World):
    target = world.serving_6()
    with pytest.raises(Conflict, match="would go to version 6, not to 5"):
        target.apply(request("7", 10, "5"))
    with pytest.raises(Conflict, match="it is the default itself"):
        target.apply(request("6", 10, "5"))


def test_split_without_a_default_model_is_refused(world: World):
    with pytest.raises(Conflict, match="there is no Model prices to take the rest"):
        world.target().apply(request("7", 10, "6"))


def test_experiment_of_somebody_else_on_our_model_is_a_conflict_and_no_proof(world: World):
    target = world.serving_6()
    target.prepare(request("7"))
    spec = {"default": "prices", "candidates": [{"name": "prices", "weight": 1}, {"name": "prices-v7", "weight": 1}]}
    world.create("experiments", "theirs", spec)
    with pytest.raises(Conflict, match="Experiment theirs splits the traffic"):
        target.apply(request("7", 10, "6"))
    with pytest.raises(Conflict, match="Experiment theirs"):
        target.undo(request("6"))
    assert target.status(request("6")).observed_weights is None


def test_model_made_by_somebody_else_is_known_by_its_files(world: World):
    world.create("models", "prices", {"storageUri": "s3://b/prices/6", "requirements": ["sklearn"], "replicas": 2})
    target = world.target()
    target.apply(request("6", 100))
    target.deployer.cluster.wait_ready("Model", "prices")
    assert target.status(request("6")).observed_weights == {"6": 100}
    assert target.apply(request("7", 10, "6")).observed_weights == {"6": 90, "7": 10}
    target.apply(request("7", 100, "6"))
    target.release("6")
    assert world.get("models", "prices")["spec"]["replicas"] == 2, "what we say nothing about stays"


def test_files_changed_by_hand_are_reported_as_what_they_are(world: World):
    target = world.serving_6()
    world.replace("models", "prices", lambda m: m["spec"].update(storageUri="s3://b/prices/hand"))
    target.deployer.cluster.wait_ready("Model", "prices")
    assert target.status(request("6")).observed_weights == {"s3://b/prices/hand": 100}
    assert target.undo(request("6")).observed_weights == {"6": 100}


def test_candidate_of_somebody_else_is_not_written_over(world: World):
    target = world.serving_6()
    world.create("models", "prices-v7", {"storageUri": "s3://other"})
    with pytest.raises(Conflict, match="Model prices-v7 is there already"):
        target.apply(request("7", 10, "6"))
    assert world.get("models", "prices-v7")["spec"]["storageUri"] == "s3://other"


def test_weights_that_make_no_percents_are_no_proof(world: World):
    target = world.serving_6()
    target.apply(request("7", 10, "6"))
    negative = [{"name": "prices", "weight": 101}, {"name": "prices-v7", "weight": -1}]
    world.replace("experiments", "prices", lambda e: e["spec"].update(candidates=negative))
    target.deployer.cluster.wait_ready("Experiment", "prices")
    assert target.status(request("7")).observed_weights is None
    assert target.apply(request("7", 20, "6")).observed_weights == {"6": 80, "7": 20}


def test_two_writers_of_one_model_both_end_and_one_of_them_is_in_force(world: World):
    world.serving_6()
    faults: list[BaseException] = []

    def write(version: str) -> None:
        target = world.target()
        try:
            for _ in range(5):
                target.undo(request(version))
        except (Unavailable, BadInput) as fault:
            faults.append(fault)

    threads = [threading.Thread(target=write, args=(version,)) for version in "89"]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=60)
    assert faults == []
    target = world.target()
    target.deployer.cluster.wait_ready("Model", "prices")
    assert target.status(request("8")).observed_weights in ({"8": 100}, {"9": 100})


def test_calls_are_carried_out_as_the_skill_describes_them(world: World):
    deployer = world.serving_6().deployer
    config = SeldonDeployment(name="prices-v7", model_uri="s3://b/prices/7", version="7", replicas=1)
    reply = deployer.carry_out(SeldonCall(action="deploy", deployment_config=config))
    assert reply.to_json_dict() == {
        "status": "success",
        "action": "deploy",
        "deploymentName": "prices-v7",
        "deploymentStatus": "available",
        "replicas": {"desired": 1, "ready": 1},
        "trafficSplit": {"6": 100},
    }
    with pytest.raises(NotFound, match="no Model 'prices-v9' to update"):
        deployer.carry_out(SeldonCall(action="update", deployment_config=SeldonDeployment(name="prices-v9")))
    with pytest.raises(BadInput, match="namespace 'other'"):
        deployer.carry_out(SeldonCall(action="status", deployment_config=SeldonDeployment(namespace="other")))
