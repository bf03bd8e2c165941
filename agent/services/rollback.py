"""Does production serve the last known good version again, and how do we know?"""

from typing import Any, Final, Literal, NamedTuple

from agent.deps import Deps
from agent.services import active, endpoint, holds, lineage, overtaken
from agent.services.champion import find_champion, last_known_good, move_champion
from agent.services.effects import once
from agent.services.endpoint import request_for
from agent.state import Findings, Run
from tools import rollback
from tools.contracts.rollout import ProofOfVersion, RollbackReport, RolloutPlan, RolloutStatus
from tools.contracts.run import ChampionEvent
from tools.contracts.training import ModelVersion

_NOWHERE: Final = (
    "there is no last known good version to go back to; of a first model, `retrain rollout pause` keeps the share where it is, and "
    "taking it out of service is the target's (`retrain serving down --force`)"
)


def roll_back(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """All traffic and the champion alias to the way back, once, with a proof of what is served then.

    A way back that was rehearsed when this rollout started, or that the endpoint still has loaded and that answers there as
    recorded, takes the traffic first and is proved after; any other is proved before, and refused where it cannot be.
    """
    reason = _reason(run, findings)
    champion, to, failed, rehearsed = _chosen(deps, run, findings)
    if to is None:
        return _refused(champion, None, reason, _NOWHERE)
    foreign = _moved_by_others(run, champion, to, failed)
    rehearsed = rehearsed or endpoint.has_proved(deps, run, to)
    before: ProofOfVersion | None = None
    if not rehearsed:
        deps.progress(f"proving version {to.version} of {to.name}: loading it and scoring its golden rows")
        before = prove(deps, run, to, served="unproved")
        if rollback.speaks_against(before):
            return _refused(champion, to, reason, before.statement, before)
    if findings.overtaken is not None:
        _end_overtaken(deps, findings.overtaken, f"a rollback (run {run.run_id}) took the model")
    holds.end_rollout(deps, findings.overtaken or run.run_id)
    served, untold = _serve(deps, run, to)
    if foreign is None and (champion is None or champion.version != to.version):
        move_champion(
            deps,
            run.run_id,
            f"rollback-alias-{findings.rollout_attempt}",
            run.profile,
            expected=None if champion is None else champion.version,
            to=to.version,
            event=ChampionEvent(
                model_name=to.name,
                version=to.version,
                previous=None if champion is None else champion.version,
                how="rolled_back",
                run_id=run.run_id,
                at=deps.clock(),
                by=run.order.requested_by,
                reason=reason,
            ),
        )
    left = failed or (champion if champion is not None and champion.version != to.version else None)
    if left is not None:
        deps.registry.set_tags(
            left.name, left.version, {"retraining.status": "rolled_back", "retraining.rolled_back_why": reason[:500]}
        )
    told = untold is None
    if told:
        served = endpoint.proved_there(deps, run, to, served)
    after = before if before is not None and served == "unproved" else prove(deps, run, to, served=served)
    result = rollback.report(
        from_version=None if left is None else left.version,
        to_version=to.version,
        reason=reason,
        applied=True,
        proved=after,
    )
    if left is not None and told:
        endpoint.unload(deps, run, left)
    # What was rehearsed and took the traffic is back, even where its files can no longer be read to prove it once more; and so
    # is what nothing speaks against, where no proof could be had.
    back = result.done or (served != "contradicted" and (rehearsed or not rollback.speaks_against(after)))
    told_all = [result.statement]
    if untold is not None:
        told_all.append(f"The target was not told: {untold}")
    if foreign is not None:
        told_all.append(f"Somebody else made version {foreign} champion in mid-rollout: the alias was left there.")
    status = RolloutStatus(
        phase="rolled_back" if back else "refused", proof=served, weight=0, statement=" ".join(told_all)
    )
    return {"rollback": result.to_state(), "rollout": status.to_state()}


class _Chosen(NamedTuple):
    """Where to go back from and to."""

    champion: ModelVersion | None
    to: ModelVersion | None
    failed: ModelVersion | None
    """The candidate, in mid-rollout."""
    rehearsed: bool
    """The way back was proved when the rollout began, and has stayed loaded since."""


def _chosen(deps: Deps, run: Run, findings: Findings) -> _Chosen:
    """Chosen once: a killed attempt that moved the alias must not be gone back from."""

    def act() -> dict[str, Any]:
        champion = find_champion(deps, run.profile)
        plan = _running_plan(deps, run, findings)
        to = _way_back(deps, run, champion, plan)
        failed = None if plan is None else plan.candidate_version
        if failed is None and findings.candidate is not None and run.order.kind != "rollback":
            failed = findings.candidate.version
        versions = {"from": champion, "to": to}
        numbers = {name: None if found is None else found.version for name, found in versions.items()}
        rehearsed = plan is not None and to is not None and to.version == plan.last_known_good
        return numbers | {"left": failed, "rehearsed": rehearsed}

    chosen = once(deps, run.run_id, f"{overtaken.WAY_BACK}{findings.rollout_attempt}", {}, act, lambda: None)

    def version(number: Any) -> ModelVersion | None:
        return None if number is None else deps.registry.get_version(run.profile.registered_model, number)

    stays = chosen.get("left") is not None and chosen["from"] == chosen["to"]
    rehearsed = bool(chosen.get("rehearsed", stays))
    return _Chosen(version(chosen["from"]), version(chosen["to"]), version(chosen.get("left")), rehearsed)


def _moved_by_others(
    run: Run, champion: ModelVersion | None, to: ModelVersion, failed: ModelVersion | None
) -> str | None:
    """In mid-rollout the champion is the old version, or already the candidate. Any other is somebody's decision, and stays."""
    if champion is None or failed is None or run.order.rollback_to is not None:
        return None
    return None if champion.version in (to.version, failed.version) else champion.version


def _running_plan(deps: Deps, run: Run, findings: Findings) -> RolloutPlan | None:
    """The plan that is being gone back from in mid-rollout: this run's own, or that of the run it overtook."""
    if run.order.kind != "rollback":
        return active.plan_of(deps, run.run_id)
    return None if findings.overtaken is None else active.plan_of(deps, findings.overtaken)


def prove(deps: Deps, run: Run, version: ModelVersion, *, served: str) -> ProofOfVersion:
    """Load the version in a subprocess, check its digest, score its golden rows."""
    folder = deps.run_dir(run.run_id) / "proof"
    folder.mkdir(exist_ok=True, mode=0o700)
    expected, got, loaded, digest_now = lineage.golden(deps, run.profile, version, folder)
    return rollback.proof(
        version=version.version,
        loaded=loaded,
        digest_recorded=lineage.read(version).artifact_digest,
        digest_now=digest_now,
        golden_expected=expected,
        golden_got=got,
        served=served,  # type: ignore[arg-type]
    )


def _end_overtaken(deps: Deps, run_id: str, why: str) -> None:
    """The run that held the model is over: what it asked or meant to do no longer holds."""
    if run_id == (None if deps.lease is None else deps.lease.current.run_id):
        return
    if deps.store.get_run(run_id).status == "finished":
        return
    deps.store.update_run(run_id, status="aborted", error=why, parked_for=None, wake_at=None)
    for review in deps.store.list_reviews():
        if review.run_id == run_id:
            deps.store.close_review(review.id, "void")


class _Served(NamedTuple):
    """What the target reports, and why it could not be told where it could not: the effect stays open then."""

    proof: Literal["proved", "unproved", "contradicted"]
    untold: str | None = None


def _serve(deps: Deps, run: Run, to: ModelVersion) -> _Served:
    """All traffic to `to`; what the target then reports is the proof."""
    request = request_for(to, 100, None, f"{run.run_id}/undo", "rolling")

    def act() -> dict[str, Any]:
        with endpoint.asking_the_target():
            return {"observed": deps.target_of(run.profile).undo(request).observed_weights}

    def found() -> dict[str, Any] | None:
        return None  # `undo` is idempotent by contract: doing it again is the safe way to know

    try:
        once(deps, run.run_id, "undo", {"version": to.version}, act, found)
    except endpoint.TargetFault as failure:
        # The alias goes back all the same: whoever loads by it is served the old version, and the target is told again later.
        deps.progress(f"the target could not be told to go back: {failure.told}")
        return _Served("unproved", failure.told)
    target = deps.target_of(run.profile)
    if not target.abilities.can_prove:
        return _Served("unproved")
    try:
        with endpoint.asking_the_target():
            observed = target.status(request).observed_weights
    except endpoint.TargetFault as failure:
        deps.progress(f"the target did not report what it serves: {failure.told}")
        return _Served("unproved")
    if observed is None:
        return _Served("unproved")
    return _Served("proved" if observed.get(to.version) == 100 else "contradicted")


def _way_back(deps: Deps, run: Run, champion: ModelVersion | None, plan: RolloutPlan | None) -> ModelVersion | None:
    if run.order.kind == "rollback" and run.order.rollback_to is not None:
        return deps.registry.get_version(run.profile.registered_model, run.order.rollback_to)
    # In mid-rollout the champion of its beginning is the way back, loaded and rehearsed, whatever the alias says by now.
    if plan is not None and plan.last_known_good is not None:
        return deps.registry.get_version(run.profile.registered_model, plan.last_known_good)
    return last_known_good(deps, run.profile, champion)


def _reason(run: Run, findings: Findings) -> str:
    if run.order.reason:
        return run.order.reason
    if findings.rollout is not None and findings.rollout.phase in ("refused", "unhealthy"):
        return findings.rollout.statement
    if findings.review is not None and findings.review.get("reason"):
        return str(findings.review["reason"])
    return "the rollout was unhealthy" if findings.rollout is None else findings.rollout.statement


def _refused(
    champion: ModelVersion | None, to: ModelVersion | None, reason: str, why: str, proof: ProofOfVersion | None = None
) -> dict[str, Any]:
    report = RollbackReport(
        from_version=None if champion is None else champion.version,
        to_version=None if to is None else to.version,
        done=False,
        proof=proof,
        reason=reason,
        statement=f"Not rolled back: {why}. The champion stays where it was.",
    )
    status = RolloutStatus(phase="refused", statement=report.statement)
    return {"rollback": report.to_state(), "rollout": status.to_state()}
