"""Which servers of a model run, and how does a person start, see and stop them?"""

import json
import shlex
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pydantic import Field

from agent.deps import Deps
from agent.services import active
from agent.services.champion import find_champion
from tools.contracts.base import Contract
from tools.contracts.peers import DeploymentRequest, ModelArtifact, TrafficConfig
from tools.contracts.profile import Profile
from tools.errors import Conflict, NotFound, RetrainingError, Unavailable

if TYPE_CHECKING:
    from tools.adapters.serving.target import ServingTargetAdapter

RECENT = timedelta(minutes=5)
MOST_ANSWERS = 50_000


class ServedVersion(Contract):
    """One version's server."""

    version: str
    state: str
    """`starting`, `ready`, `waiting` (to be started again), `failed` (given up)."""
    weight: int | None = None
    """Percent of the requests; absent where Envoy does not say."""
    mirror: int | None = None
    healthy: bool | None = None
    restarts: int = 0
    memory_mb: float | None = None
    load_seconds: float | None = None
    recent_answers: int = 0
    """In the last five minutes, mirrored ones too."""
    recent_failed: int = 0
    median_ms: float | None = None
    lost_answers: int | None = None
    """Answers that its server gave and could not log since it started; absent where it does not say."""
    said: str = ""


class Serving(Contract):
    """Everything that serves one model."""

    model_id: str
    serving: bool
    """Whether the endpoint answers."""
    url: str | None = None
    champion: str | None = None
    supervised: bool = False
    versions: tuple[ServedVersion, ...] = ()
    curl: str | None = None
    """A command line that asks for a prediction of a real row."""
    notes: tuple[str, ...] = Field(default=())


def up(deps: Deps, profile: Profile, target: "ServingTargetAdapter") -> Serving:
    """The champion behind the endpoint. A split that is in force is a rollout's: its servers are revived, it stays as it is.

    Raises:
        NotFound: There is no champion to serve.
        Unavailable, BadInput, Conflict: As `ServingTargetAdapter.prepare`.
    """
    champion = find_champion(deps, profile)
    if champion is None:
        raise NotFound(
            f"{profile.registered_model!r} has no champion to serve",
            thing="champion",
            value=profile.champion.value,
            remedy=f"set the alias {profile.champion.value!r} on a version, or let `retrain run` deploy one",
        )
    split = target.routed()
    if len(split) > 1:
        deps.progress(f"a rollout is under way ({_shares(split)}): its route is kept")
        target.revive()
    else:
        target.apply(_request(champion.model_uri, champion.version))
    return status(deps, profile, target)


def down(deps: Deps, profile: Profile, target: "ServingTargetAdapter", *, force: bool = False) -> bool:
    """Ends all servers of the model; whether there were any.

    Raises:
        Conflict: A rollout is under way, at whatever weight, and it was not forced.
    """
    split, under_way = target.routed(), active.find(deps, profile)
    if (len(split) > 1 or under_way is not None) and not force:
        run = "" if under_way is None else f" (run {under_way.run.run_id})"
        raise Conflict(
            f"a rollout is under way{run}: {_shares(split) or 'no traffic is routed'}",
            thing="serving",
            value=split,
            remedy="abort it first, or stop the servers all the same with --force",
        )
    return target.control.down()


def status(deps: Deps, profile: Profile, target: "ServingTargetAdapter") -> Serving:
    """What serves now. Starts and changes nothing."""
    control, notes = target.control, list[str]()
    champion = _champion(deps, profile, notes)
    wanted: dict[str, Any] = control.wanted.get("versions", {})
    if not wanted:
        return Serving(model_id=profile.id, serving=False, champion=champion, notes=tuple(notes))
    envoy = control.running.get("envoy", {}).get("said") or ""
    answers = True
    versions = tuple(_version(deps, target, version) for version in sorted(wanted))
    if any(version.weight is None for version in versions):
        answers = False
        notes.append("Envoy does not answer" + (f": {envoy}" if envoy else ""))
    if not control.supervised:
        notes.append("nothing supervises the servers: `retrain serving up` starts a supervisor, which adopts what runs")
    notes += [
        f"version {version.version} could not log {version.lost_answers:,} of its answers: is the disk full?"
        for version in versions
        if version.lost_answers
    ]
    full = [version.version for version in versions if version.weight == 100]
    if full and champion is not None and full[0] != champion:
        notes.append(f"all requests go to version {full[0]}, the champion is version {champion}")
    return Serving(
        model_id=profile.id,
        serving=answers and any(version.healthy for version in versions if version.weight),
        url=target.url,
        champion=champion,
        supervised=control.supervised,
        versions=versions,
        curl=_curl(deps, profile, target, notes),
        notes=tuple(notes),
    )


def _champion(deps: Deps, profile: Profile, notes: list[str]) -> str | None:
    """A registry that is away must not hide what serves."""
    try:
        found = find_champion(deps, profile)
    except RetrainingError as failure:
        notes.append(f"the champion is not known: {failure.message}")
        return None
    return None if found is None else found.version


def _version(deps: Deps, target: "ServingTargetAdapter", version: str) -> ServedVersion:
    record = target.control.version(version)
    weight = mirror = healthy = None
    try:
        reply = target.status(_request(f"models:/x/{version}", version))
        weight, mirror = (reply.observed_weights or {}).get(version, 0), reply.observed_mirror
        healthy = reply.healthy
    except Unavailable:
        pass
    now = deps.clock()
    rows = target.log.observations([version], now - RECENT, now, MOST_ANSWERS)
    times = sorted(float(value) for value in rows.latency_ms if value == value)
    return ServedVersion(
        version=version,
        state=record.get("state", "starting"),
        weight=weight,
        mirror=mirror,
        healthy=healthy,
        restarts=record.get("restarts", 0),
        memory_mb=record.get("memory_mb"),
        load_seconds=record.get("load_seconds"),
        recent_answers=len(rows),
        recent_failed=int(rows.failed.sum()),
        median_ms=round(times[len(times) // 2], 2) if times else None,
        lost_answers=target.lost_answers(version),
        said=record.get("said", ""),
    )


def _curl(deps: Deps, profile: Profile, target: "ServingTargetAdapter", notes: list[str]) -> str | None:
    """A real row of the profile's data as a request."""
    from tools.adapters.serving.asking import example

    path = target.layout.folder / "example.parquet"
    try:
        deps.data.write_window(profile.data, None, deps.clock(), path, 1)
        body = example(path, profile.data.features)
    except RetrainingError as failure:
        notes.append(f"no example request: {failure.message}")
        return None
    return f"curl -s {target.url} -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"


def _request(path: str, version: str) -> DeploymentRequest:
    return DeploymentRequest(
        model_artifact=ModelArtifact(path=path, version=version),
        traffic_config=TrafficConfig(canary_percent=100),
    )


def _shares(split: dict[str, int]) -> str:
    return ", ".join(f"{weight} % on version {version}" for version, weight in sorted(split.items()))
