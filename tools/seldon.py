"""Seldon Core 2's resources: what is written into them, and what is read back from them.

A rollout of version 8 beside version 7 on the Model `prices`:

    Model prices            the default; serves 7 until 8 is promoted
    Model prices-v8         the candidate
    Experiment prices       default `prices`, candidates `prices` and `prices-v8` by weight, mirror `prices-v8`

The API server accepts a weight of -1 and candidates that do not exist, so weights and names are checked here.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal, NamedTuple, cast

from tools.errors import BadInput

API_VERSION: Final = "mlops.seldon.io/v1alpha1"
VERSION_KEY: Final = "retraining-orchestrator/version"
URI_KEY: Final = "retraining-orchestrator/storage-uri"
"""Beside the version: whether somebody changed the files since the version was written."""
OURS: Final[Mapping[str, str]] = {"app.kubernetes.io/managed-by": "retraining-orchestrator"}
MODEL_CONDITIONS: Final = ("ModelReady", "Ready")
LONGEST_NAME: Final = 63

_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_UNDER_WAY: Final = frozenset({"ModelProgressing", "ModelCreate", "ModelStateUnknown"})
"""Reasons with which the controller writes False while a model is still being loaded."""

Manifest = dict[str, Any]


class Readiness(NamedTuple):
    """What the conditions of one object say."""

    state: Literal["ready", "waiting", "failed"]
    why: str


def checked_name(name: str, what: str) -> str:
    """The name, where Kubernetes and the routes of the mesh take it.

    Raises:
        BadInput: They do not.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise BadInput(
            f"{what} {name!r} is no name for a resource",
            thing=what,
            value=name,
            remedy=f"lower-case letters, digits and dashes, at most {LONGEST_NAME} characters",
        )
    return name


def candidate_name(default: str, version: str) -> str:
    """Of the Model that holds a version beside the default Model."""
    return checked_name(f"{default}-v{version or '?'}", "the candidate's Model")


def model_manifest(
    *, name: str, namespace: str, version: str, storage_uri: str, requirements: Sequence[str], memory: str | None
) -> Manifest:
    """A `Model` that holds one version."""
    if not storage_uri or storage_uri.startswith("models:"):
        raise BadInput(
            f"version {version}: Seldon cannot fetch {storage_uri!r}",
            thing="target.storage_uri",
            value=storage_uri,
            remedy="a location that rclone reads in the cluster, e.g. s3://BUCKET/{name}/{version}",
        )
    spec: Manifest = {"storageUri": storage_uri, "requirements": list(requirements)}
    if memory is not None:
        spec["memory"] = memory
    return {
        "apiVersion": API_VERSION,
        "kind": "Model",
        "metadata": {
            "name": checked_name(name, "the Model"),
            "namespace": namespace,
            "labels": dict(OURS),
            "annotations": {VERSION_KEY: version, URI_KEY: storage_uri},
        },
        "spec": spec,
    }


def experiment_manifest(
    *, default: str, namespace: str, candidate: str, weight: int, mirror: int, models: Sequence[str]
) -> Manifest:
    """An `Experiment` that gives `weight` percent to the candidate and mirrors `mirror` percent to it.

    Args:
        models: Names of the Models that there are.

    Raises:
        BadInput: A percent outside 0 to 100, a Model that is not there, or a Model against itself.
    """
    for what, percent in (("weight", weight), ("mirror", mirror)):
        if not 0 <= percent <= 100:
            raise BadInput(f"a {what} of {percent} %", thing=what, value=percent, remedy="0 to 100")
    for name in (default, candidate):
        if name not in models:
            raise BadInput(
                f"there is no Model {name!r} to route to", thing="Model", value=name, remedy="deploy it first"
            )
    if default == candidate:
        raise BadInput(f"Model {default!r} cannot be tried against itself", thing="Model", value=default)
    candidates = [{"name": default, "weight": 100 - weight}]
    if weight > 0:
        candidates.append({"name": candidate, "weight": weight})
    spec: Manifest = {"default": default, "candidates": candidates}
    if mirror > 0:
        spec["mirror"] = {"name": candidate, "percent": mirror}
    return {
        "apiVersion": API_VERSION,
        "kind": "Experiment",
        "metadata": {"name": checked_name(default, "the Experiment"), "namespace": namespace, "labels": dict(OURS)},
        "spec": spec,
    }


def readiness(found: Mapping[str, Any]) -> Readiness:
    """Whether the controller has seen this generation and says that all is well.

    Any condition that is False is a failure, save one that says itself that loading is under way. Conditions of an older
    generation say nothing. A `Model` is ready by ModelReady and Ready; an `Experiment` by ExperimentReady, CandidatesReady,
    Ready and, where it mirrors, MirrorReady.
    """
    metadata, status = _part(found, "metadata"), _part(found, "status")
    if metadata.get("deletionTimestamp"):
        return Readiness("waiting", "it is being deleted")
    generation, seen = metadata.get("generation"), status.get("observedGeneration")
    if seen is None or generation is None or seen < generation:
        return Readiness("waiting", f"the controller has seen generation {seen or 'none'}, not {generation}")
    conditions: dict[str, Mapping[str, Any]] = {each["type"]: each for each in status.get("conditions") or ()}
    bad = [each for each in conditions.values() if each["status"] == "False"]
    for each in sorted(bad, key=lambda each: each["type"] == "Ready"):
        if each.get("reason") not in _UNDER_WAY:
            return Readiness("failed", _told(each))
    missing = [kind for kind in _needed(found) if kind not in conditions or conditions[kind]["status"] != "True"]
    if missing:
        return Readiness("waiting", f"{', '.join(missing)} not True yet")
    return Readiness("ready", "")


def version_of(model: Mapping[str, Any], known: Mapping[str, str]) -> str:
    """Which registry version a Model holds; its storage URI where that is no version we know of.

    Args:
        known: Storage URI to version, for Models that somebody else wrote.
    """
    uri = str(model["spec"]["storageUri"])
    notes = _part(_part(model, "metadata"), "annotations")
    if notes.get(URI_KEY) == uri and notes.get(VERSION_KEY):
        return str(notes[VERSION_KEY])
    return known.get(uri, uri)


def is_ours(found: Mapping[str, Any]) -> bool:
    """Whether the object bears our label."""
    labels = _part(_part(found, "metadata"), "labels")
    return all(labels.get(key) == value for key, value in OURS.items())


def percents(experiment: Mapping[str, Any]) -> dict[str, int] | None:
    """Model name to percent of the traffic; None where the weights are none (negative, or no whole percents)."""
    weights: dict[str, int] = {}
    candidates: Sequence[Mapping[str, Any]] = experiment["spec"].get("candidates") or ()
    for each in candidates:
        weights[each["name"]] = weights.get(each["name"], 0) + each["weight"]
    total = sum(weights.values())
    if total <= 0 or any(weight < 0 or weight * 100 % total for weight in weights.values()):
        return None
    return {name: weight * 100 // total for name, weight in weights.items() if weight > 0}


def mirrored(experiment: Mapping[str, Any], name: str) -> int:
    """Percent of requests mirrored to a Model."""
    mirror = _part(experiment["spec"], "mirror")
    return int(mirror["percent"]) if mirror.get("name") == name else 0


def changed(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether the object in the cluster differs from the manifest in what the manifest says.

    A field of the spec that the manifest leaves out is not ours to judge, but for those that make traffic.
    """
    notes = _part(_part(found, "metadata"), "annotations")
    ours = _part(wanted["metadata"], "annotations")
    if any(notes.get(key) != value for key, value in ours.items()):
        return True
    there, here = _part(found, "spec"), _part(wanted, "spec")
    if wanted["kind"] == "Experiment":
        return there != here
    return any(there.get(key) != value for key, value in here.items())


def merged(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> Manifest:
    """The object as found, with what the manifest says written over it: replicas and the like that others set stay."""
    metadata: Manifest = dict(found["metadata"])
    for key in ("labels", "annotations"):
        metadata[key] = {**_part(metadata, key), **_part(wanted["metadata"], key)}
    spec = (
        _part(wanted, "spec") if wanted["kind"] == "Experiment" else {**_part(found, "spec"), **_part(wanted, "spec")}
    )
    return {**found, "metadata": metadata, "spec": spec}


def _part(found: Mapping[str, Any], key: str) -> Manifest:
    """A part that may be absent or null."""
    return dict(cast("Manifest", found.get(key) or {}))


def _needed(found: Mapping[str, Any]) -> tuple[str, ...]:
    if found.get("kind") != "Experiment":
        return MODEL_CONDITIONS
    mirror = ("MirrorReady",) if found["spec"].get("mirror") else ()
    return ("ExperimentReady", "CandidatesReady", *mirror, "Ready")


def _told(condition: Mapping[str, Any]) -> str:
    why = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
    return f"{condition['type']} is False" + (f" ({why})" if why else "")
