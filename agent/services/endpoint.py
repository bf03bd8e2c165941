"""Is the endpoint fit for a rollout? The champion serves and answers as recorded, the candidate loads and does so too."""

from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import Any

from agent.deps import Deps
from agent.services import lineage
from agent.state import Run
from tools.contracts.peers import DeploymentRequest, ModelArtifact, TrafficConfig
from tools.contracts.profile import Profile, ServingTarget
from tools.contracts.training import ModelVersion
from tools.errors import BadInput, RetrainingError, Unavailable
from tools.infrastructure import Soundness, soundness


class TargetFault(Exception):
    """The target did not do what it was asked. Set apart from the same errors of the store: a lost lease is a `Conflict` too."""

    def __init__(self, error: BadInput | Unavailable) -> None:
        super().__init__(error.message)
        self.refused = isinstance(error, BadInput)
        """It will not by itself: somebody has to mend something first. Else it may the next time."""
        remedy = "" if error.remedy is None or not self.refused else f" (remedy: {error.remedy})"
        self.told = error.message + remedy


@contextmanager
def asking_the_target() -> Generator[None]:
    """Around calls of the target alone.

    Raises:
        TargetFault: it refused, or did not answer. A broken invariant stays one.
    """
    try:
        yield
    except (BadInput, Unavailable) as error:
        raise TargetFault(error) from error


def request_for(
    version: ModelVersion, weight: int, previous: str | None, key: str, strategy: Any, *, mirror: int = 0
) -> DeploymentRequest:
    """deployment-engineer's message for putting `weight` percent on `version`."""
    return DeploymentRequest(
        model_artifact=ModelArtifact(path=version.model_uri, version=version.version),
        serving_requirements={},
        deployment_strategy=strategy,
        traffic_config=TrafficConfig(canary_percent=weight, mirror_percent=mirror or None),
        previous_version=previous,
        idempotency_key=key,
    )


def faults_before_traffic(deps: Deps, run: Run, candidate: ModelVersion, *, again: bool = False) -> str | None:
    """None where traffic may be moved; else why not, with the candidate unloaded again.

    With `again`, a rollout of the same candidate has been in doubt and a person insists: it may have its share already, and keeps it
    until the rollout goes on or back.

    Where the target cannot be loaded into, there is nothing to ask: the proofs in a subprocess are all there is. A target that
    refuses is as unfit as one that does not answer: nothing has moved yet, so nothing has to be taken back.
    """
    target = deps.target_of(run.profile)
    if not target.abilities.can_load:
        return None
    found: list[Soundness] = []
    try:
        if run.champion is not None:
            serving = target.status(request_for(run.champion, 100, None, f"{run.run_id}/rehearsal", "rolling"))
            weights = serving.observed_weights or {}
            ours = again and weights and set(weights) <= {run.champion.version, candidate.version}
            if not ours and weights.get(run.champion.version) != 100:
                return f"the endpoint serves {weights or 'nothing it can name'}, not the champion, version {run.champion.version}"
            found.append(ask(deps, run, run.champion))
            if not found[-1].sound:
                return f"the way back does not answer at the endpoint: {'; '.join(found[-1].faults)}"
        deps.progress(f"loading version {candidate.version} at the endpoint, without traffic")
        target.prepare(request_for(candidate, 0, None, f"{run.run_id}/prepare", "canary"))
        found.append(ask(deps, run, candidate))
        if found[-1].sound:
            return None
        fault = "; ".join(found[-1].faults)
    except (BadInput, Unavailable) as failure:
        fault = TargetFault(failure).told
    finally:
        content = {"versions": [each.to_json_dict() for each in found]}
        deps.tracking.log_json(run.tracking_run_id, "infrastructure.json", content)
    if not again:
        with suppress(RetrainingError):
            target.release(candidate.version)
    return f"the candidate is not fit for traffic: {fault}"


def ask(deps: Deps, run: Run, version: ModelVersion) -> Soundness:
    """What the endpoint's own copy of the version answers to its golden rows, held against what was recorded."""
    from tools.adapters import frames

    folder = deps.run_dir(run.run_id) / "endpoint"
    folder.mkdir(exist_ok=True, mode=0o700)
    version = deps.registry.get_version(version.name, version.version)
    rows = lineage.fetch(deps, version, "golden_rows", folder)
    expected = lineage.fetch(deps, version, "golden_predictions", folder)
    recorded = [] if rows is None or expected is None else frames.answers(expected)
    limits = _limits(run.profile)
    return soundness(
        version=version.version,
        answer=None if rows is None else deps.target_of(run.profile).ask(version.version, rows),
        golden_expected=recorded,
        digest_recorded=lineage.read(version).artifact_digest,
        latency_limit_ms=limits[0],
        memory_limit_mb=limits[1],
        load_limit_seconds=limits[2],
    )


def _limits(profile: Profile) -> tuple[float | None, float | None, float | None]:
    """(median latency in ms, memory in MB, loading time in s)."""
    target = profile.target
    if not isinstance(target, ServingTarget):
        return None, None, None
    return target.latency_limit_ms, target.memory_limit_mb, target.load_limit.total_seconds()


def proved_there(deps: Deps, run: Run, version: ModelVersion, served: Any) -> Any:
    """`served`, but `contradicted` where the endpoint's own copy is not the version that it is said to be.

    Where it cannot be asked, the weights it reports are all that is known.
    """
    if served != "proved" or not deps.target_of(run.profile).abilities.can_load:
        return served
    try:
        found = ask(deps, run, version)
    except RetrainingError as failure:
        deps.progress(f"the endpoint could not be asked: {failure.message}")
        return "unproved"
    if not found.answered or not found.golden_rows:
        deps.progress(f"the endpoint's version {version.version} could not be held against golden rows")
        return "unproved"
    if not found.sound:
        deps.progress(f"the endpoint's version {version.version} is not as registered: {'; '.join(found.faults)}")
    return "proved" if _as_registered(found) else "contradicted"


def has_proved(deps: Deps, run: Run, version: ModelVersion) -> bool:
    """Whether the endpoint has the version loaded, and its own copy answers as recorded: as good as a rehearsal."""
    try:
        if not deps.target_of(run.profile).abilities.can_load:
            return False
        found = ask(deps, run, version)
    except RetrainingError:
        return False
    return found.answered and found.golden_rows > 0 and _as_registered(found)


def _as_registered(found: Soundness) -> bool:
    return found.same_files and found.golden_matches == found.golden_rows


def unload(deps: Deps, run: Run, version: ModelVersion) -> None:
    """Unload what failed. It gets no traffic any more, so staying loaded harms nobody."""
    target = deps.target_of(run.profile)
    if not target.abilities.can_load:
        return
    try:
        target.release(version.version)
    except RetrainingError as failure:
        deps.progress(f"version {version.version} stays loaded: {failure.message}")
