# pyright: basic
"""What the double promises of an API server; a real one is asked the same."""

import json
import time
from typing import Any

import pytest
from kubernetes.client import ApiException

from tests.kubernetes.world import World

MODEL = {"storageUri": "s3://b/1", "requirements": ["mlflow"]}


def refused(call: Any, *args: Any, **given: Any) -> int | None:
    with pytest.raises(ApiException) as caught:
        call(*args, **given)
    return caught.value.status


def eventually(true: Any) -> bool:
    deadline = time.monotonic() + 20
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_stale_version_is_a_conflict_and_a_missing_one_is_refused(quiet: World):
    old = quiet.create("models", "m", MODEL)
    quiet.replace("models", "m", lambda m: m["spec"].update(storageUri="s3://b/2"))

    assert refused(quiet.replace, "models", "m", lambda m: None, found=old) == 409
    assert refused(quiet.replace, "models", "m", lambda m: m["metadata"].pop("resourceVersion")) == 422
    assert refused(quiet.create, "models", "m", MODEL) == 409


def test_schema_is_enforced_but_senseless_weights_and_unknown_names_are_accepted(quiet: World):
    assert refused(quiet.create, "models", "m", {"requirements": ["mlflow"]}) == 422
    assert refused(quiet.create, "experiments", "e", {"candidates": [{"name": "m", "weight": "all"}]}) == 422
    made = quiet.create("experiments", "e", {"default": "nobody", "candidates": [{"name": "nobody", "weight": -1}]})
    assert made["spec"]["candidates"] == [{"name": "nobody", "weight": -1}]


def test_unknown_fields_are_dropped(quiet: World):
    assert quiet.create("models", "m", {**MODEL, "storageURI": "s3://b/2"})["spec"] == MODEL


def test_generation_follows_the_spec_only_and_status_has_its_own_door(quiet: World):
    first = quiet.create("models", "m", MODEL)["metadata"]["generation"]
    noted = quiet.replace("models", "m", lambda m: m["metadata"].update(annotations={"a": "b"}))
    assert noted["metadata"]["generation"] == first
    status = {"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "True"}]}
    assert "status" not in quiet.replace("models", "m", lambda m: m.update(status=status))
    body = {**quiet.get("models", "m"), "status": status, "spec": {"storageUri": "s3://elsewhere"}}
    quiet.objects.replace_namespaced_custom_object_status(**quiet.where("models", "m"), body=body)
    found = quiet.get("models", "m")
    assert (found["status"], found["spec"], found["metadata"]["generation"]) == (status, MODEL, first)
    moved = quiet.replace("models", "m", lambda m: m["spec"].update(storageUri="s3://b/2"))
    assert moved["metadata"]["generation"] == first + 1


def test_object_with_a_finalizer_stays_until_that_is_gone(quiet: World):
    made = quiet.create("models", "m", MODEL, finalizers=["a.b/c"])
    wrong = {"apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": "another"}}
    assert refused(quiet.objects.delete_namespaced_custom_object, **quiet.where("models", "m"), body=wrong) == 409
    quiet.objects.delete_namespaced_custom_object(**quiet.where("models", "m"))
    leaving = quiet.get("models", "m")
    assert leaving["metadata"]["deletionTimestamp"]
    assert leaving["metadata"]["generation"] == made["metadata"]["generation"] + 1
    assert refused(quiet.create, "models", "m", MODEL) == 409

    quiet.replace("models", "m", lambda m: m["metadata"].pop("finalizers"))

    assert refused(quiet.get, "models", "m") == 404
    assert quiet.create("models", "m", MODEL)["metadata"]["uid"] != made["metadata"]["uid"]


def watched(quiet: World, since: str, **given: Any) -> list[dict[str, Any]]:
    """Events of the model `m` until the server ends the watch, a second later."""
    from kubernetes import watch

    stream: Any = watch.Watch().stream(
        quiet.objects.list_namespaced_custom_object,
        **quiet.where("models"),
        field_selector="metadata.name=m",
        resource_version=since,
        timeout_seconds=1,
        allow_watch_bookmarks=True,
        **given,
    )
    return [event for event in stream if event["type"] != "BOOKMARK"]


def test_watch_tells_every_change_after_a_version_once_and_in_order(quiet: World):
    since = quiet.objects.list_namespaced_custom_object(**quiet.where("models"))["metadata"]["resourceVersion"]
    quiet.create("models", "m", MODEL, finalizers=["a.b/c"])
    quiet.create("models", "another", MODEL)
    quiet.replace("models", "m", lambda m: m["spec"].update(storageUri="s3://b/2"))
    body = {**quiet.get("models", "m"), "status": {"observedGeneration": 2}}
    quiet.objects.replace_namespaced_custom_object_status(**quiet.where("models", "m"), body=body)
    quiet.objects.delete_namespaced_custom_object(**quiet.where("models", "m"))
    quiet.replace("models", "m", lambda m: m["metadata"].pop("finalizers"))
    quiet.create("models", "m", MODEL)
    quiet.objects.delete_namespaced_custom_object(**quiet.where("models", "m"))

    seen = watched(quiet, since)

    assert [(each["type"], each["object"]["metadata"]["generation"]) for each in seen] == [
        ("ADDED", 1),
        ("MODIFIED", 2),
        ("MODIFIED", 2),
        ("MODIFIED", 3),
        ("DELETED", 3),
        ("ADDED", 1),
        ("DELETED", 1),
    ]
    assert len({each["object"]["metadata"]["uid"] for each in seen}) == 2
    half = seen[3]["object"]["metadata"]["resourceVersion"]
    assert watched(quiet, half) == seen[4:]


def test_watch_from_a_version_too_old_is_told_that_it_is_gone(quiet: World):
    quiet.create("models", "m", MODEL)
    with pytest.raises(ApiException, match="too old resource version") as caught:
        watched(quiet, "1")
    assert caught.value.status == 410


def test_missing_object_is_named_by_its_404_and_a_missing_kind_names_none(quiet: World):
    for where, about in ((quiet.where("models", "m"), "m"), ({**quiet.where("models", "m"), "plural": "nosuch"}, None)):
        with pytest.raises(ApiException) as caught:
            quiet.objects.get_namespaced_custom_object(**where)
        try:
            body = json.loads(caught.value.body or "")
        except ValueError:
            body = {}
        assert (caught.value.status, (body.get("details") or {}).get("name")) == (404, about)


def test_controller_writes_the_conditions_of_the_newest_generation(world: World):
    def seen() -> bool:
        found = world.get("models", "m")
        status = found.get("status") or {}
        ready = {each["type"]: each["status"] for each in status.get("conditions", [])}
        return status.get("observedGeneration") == found["metadata"]["generation"] and ready.get("Ready") == "True"

    world.create("models", "m", MODEL)
    assert eventually(seen)
    world.controller.delay = 0.1
    world.replace("models", "m", lambda m: m["spec"].update(storageUri="s3://b/2"))
    assert not seen()
    assert eventually(seen)
