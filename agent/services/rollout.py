"""How does a decision become production: plan, steps, looks, promotion?"""

from typing import Any

from agent.deps import Deps
from agent.services import baseline as baselines
from agent.services import endpoint, holds, lineage, notices, overtaken, reviews, signals, train
from agent.services.champion import find_champion, move_champion
from agent.services.decide import plan_for
from agent.services.effects import Result, once
from agent.services.endpoint import request_for
from agent.services.rollback import prove
from agent.state import Findings, Run
from tools import rollout as rules
from tools.contracts.decision import DecisionKind
from tools.contracts.peers import DeploymentReply
from tools.contracts.profile import ServingTarget
from tools.contracts.rollout import RolloutPlan, RolloutStatus, SetMirror, SetWeight
from tools.contracts.run import ChampionEvent
from tools.contracts.training import ModelVersion
from tools.errors import BrokenInvariant, Unavailable


def start(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """Registers if that waited for approval, proves the way back and the candidate, stores the plan, loads the candidate.

    Refused (no traffic moves) when the champion is no longer the one that was compared, the way back or the candidate cannot
    be loaded and proved, here or at the endpoint, or the target cannot do what was decided.
    """
    attempt = findings.rollout_attempt + 1
    decision: DecisionKind = "canary" if findings.decision == "canary" else "deploy"
    holds.require_going_on(deps, "no rollout starts")
    void = reviews.why_void(deps, findings, "deploy", "canary")
    if void is not None:
        return _refuse(attempt, f"the approval counts no more: {void}")
    held = holds.why_no_rollout(deps, run.profile)
    if held is not None:
        return _refuse(attempt, held)
    if decision == "canary" and not findings.can_split:
        return _refuse(attempt, "the target cannot split traffic (target_cannot_split)")
    candidate = findings.candidate or _register(deps, run, findings)
    now = find_champion(deps, run.profile)
    was = None if run.champion is None else run.champion.version
    current = None if now is None else now.version
    if current not in (was, candidate.version):
        return _refuse(attempt, f"the champion is version {current} now, the comparison was against {was}")
    if run.champion is not None:
        deps.progress(f"rehearsing the way back: version {run.champion.version}")
        way_back = _prove_or_adopt(deps, run, findings, run.champion)
        if way_back is not None:
            return _refuse(attempt, f"the way back could not be proved: {way_back}")
        _mark_way_back(deps, run, run.champion)
    fault = _candidate_fault(deps, run, findings, candidate)
    if fault is not None:
        return _refuse(attempt, f"the candidate could not be proved: {fault}")
    insisted = findings.rollout is not None and findings.rollout.phase == "inconclusive" and decision == "deploy"
    plan = plan_for(deps, run, Findings(candidate=candidate), decision, insisted=insisted)
    if attempt == 1 and _was_approved(findings) and not _same_course(plan, findings.plan):
        return _refuse(attempt, "the plan is another one than was approved: the target can do other things by now")
    once(deps, run.run_id, f"plan-{attempt}", plan.to_state(), lambda: {"digest": plan.digest}, lambda: None)
    deps.tracking.log_json(run.tracking_run_id, "rollout-plan.json", plan.to_json_dict())
    unsound = endpoint.faults_before_traffic(deps, run, candidate, again=attempt > 1)
    if unsound is not None:
        return _refuse(attempt, unsound)
    status = RolloutStatus(
        phase="progressing", started_at=deps.clock(), statement=f"{decision} of version {candidate.version} started."
    )
    return {
        "candidate": candidate.to_state(),
        "plan": plan.to_state(),
        "rollout_attempt": attempt,
        "rollout": status.to_state(),
    }


def look(deps: Deps, run: Run, findings: Findings) -> dict[str, Any]:
    """One look: do the step that is due, read back what the target and the log report, say where the rollout stands.

    A target that does not answer is a look that could not be taken, and is asked again. One that refuses will refuse again: the
    rollout ends and the champion takes all traffic. Whatever else is raised (a lost lease, a broken promise of ours) is no word
    of the target and moves nothing.
    """
    plan, status, candidate = findings.plan, findings.rollout, findings.candidate
    if plan is None or status is None or candidate is None:
        raise BrokenInvariant("a rollout was looked at before it started", thing="rollout")
    reply, fault = None, None
    if rules.asks_a_person(rules.pending_action(plan, status)):
        _hold_for_a_person(deps, run, findings, status)
    held = holds.on_rollout(deps, run.profile, run.run_id) is not None
    moved = None if held else _champion_moved(deps, run, plan)
    if moved is not None:
        ended = status.model_copy(update={"phase": "unhealthy", "wake_at": None, "statement": moved})
        return {"rollout": ended.to_state()}
    try:
        reply = _act(deps, run, findings, plan, candidate, status, held=held)
    except endpoint.TargetFault as failure:
        fault = failure
        deps.progress(f"the target {'refuses' if fault.refused else 'failed'}: {fault.told}")
    following = rules.next_status(
        plan=plan,
        status=status,
        look=reply,
        now=deps.clock(),
        can_prove=deps.target_of(run.profile).abilities.can_prove,
        signals=signals.read(deps, run, plan, status),
        fault=None if fault is None else fault.told,
        refused=fault is not None and fault.refused,
        held=held,
    )
    if following.phase == "healthy":
        _promote(deps, run, findings, candidate)
        following = following.model_copy(update={"phase": "promoted", "statement": _promoted(candidate, following)})
    notices.rollout(deps, run, following)
    if rules.asks_a_person(rules.pending_action(plan, following)) and held:
        notices.waits_for_a_person(deps, run, following)
    if following.phase == "promoted":
        _release(deps, run, findings, plan)
    deps.progress(f"rollout: {following.phase}, {following.weight} % on version {candidate.version}")
    return {"rollout": following.to_state()}


def _champion_moved(deps: Deps, run: Run, plan: RolloutPlan) -> str | None:
    """Whether somebody else has made another version champion meanwhile: nothing is left to be compared with, nor to be replaced."""
    try:
        champion = find_champion(deps, run.profile)
    except Unavailable:
        return None
    now = None if champion is None else champion.version
    was = None if run.champion is None else run.champion.version
    if now in (was, plan.candidate_version):
        return None
    told = "there is no champion any more" if now is None else f"version {now} is champion"
    return f"Somebody else moved the champion in mid-rollout: {told}, and version {was} was when it began."


def _hold_for_a_person(deps: Deps, run: Run, findings: Findings, status: RolloutStatus) -> None:
    """Once: what an approver has released is not held again by the next look."""
    scope = holds.of_rollout(run.run_id)

    def found() -> Result | None:
        return None if holds.found(deps, scope) is None else {"scope": scope}

    def act() -> Result:
        holds.put(deps, scope, "the plan pauses here until an approver lets it go on", by="plan", run_id=run.run_id)
        return {"scope": scope}

    once(deps, run.run_id, f"pause-{findings.rollout_attempt}-{status.step_index}", {"scope": scope}, act, found)


def _act(
    deps: Deps,
    run: Run,
    findings: Findings,
    plan: RolloutPlan,
    candidate: ModelVersion,
    status: RolloutStatus,
    *,
    held: bool,
) -> DeploymentReply | None:
    """The weight or mirror that is due, once, unless a person holds it; then what is served."""
    action = rules.pending_action(plan, status)
    target = deps.target_of(run.profile)
    weight = action.weight if isinstance(action, SetWeight) else status.weight
    mirror = action.percent if isinstance(action, SetMirror) else 0 if isinstance(action, SetWeight) else status.mirror
    step = f"weight-{findings.rollout_attempt}-{status.step_index}"
    key = f"{run.run_id}/{step}"
    request = request_for(candidate, weight, plan.last_known_good, key, plan.strategy, mirror=mirror)
    if isinstance(action, SetWeight | SetMirror) and not held:

        def act() -> Result:
            with endpoint.asking_the_target():
                observed = target.apply(request).observed_weights
            _take_back_if_overtaken(deps, run, weight)
            return {"observed": observed}

        intent = {"version": candidate.version, "weight": weight} | ({"mirror": mirror} if mirror else {})
        once(deps, run.run_id, step, intent, act, lambda: None)
    with endpoint.asking_the_target():
        return target.status(request)


def _take_back_if_overtaken(deps: Deps, run: Run, weight: int) -> None:
    """A rollback that came and went while the target was at it would be undone by it."""
    late = overtaken.by_rollback(deps, run.profile.id, run.run_id)
    if late is None:
        return
    rollback, to = late
    back = deps.registry.get_version(run.profile.registered_model, to)
    with endpoint.asking_the_target():
        deps.target_of(run.profile).undo(request_for(back, 100, None, f"{rollback.run_id}/undo", "rolling"))
    raise overtaken.stop(rollback, f"set {weight} %")


def _release(deps: Deps, run: Run, findings: Findings, plan: RolloutPlan) -> None:
    """What is no longer needed as a way back is unloaded, now that another is champion. What stays loaded harms nobody."""
    target, old = deps.target_of(run.profile), _superseded(deps, run, plan)
    if old is None or not target.abilities.can_load:
        return

    def act() -> Result:
        with endpoint.asking_the_target():
            target.release(old)
        return {"version": old}

    try:
        once(deps, run.run_id, f"release-{findings.rollout_attempt}", {"version": old}, act, lambda: None)
    except endpoint.TargetFault as failure:
        deps.progress(f"version {old} stays loaded: {failure.told}")


def _superseded(deps: Deps, run: Run, plan: RolloutPlan) -> str | None:
    """The champion of before; where that stays loaded as the way back, the one before it."""
    target = run.profile.target
    if not isinstance(target, ServingTarget) or not target.keep_former:
        return plan.last_known_good
    needed = {plan.candidate_version, plan.last_known_good}
    earlier = (event.version for event in deps.store.champions(run.profile.registered_model))
    return next((version for version in earlier if version not in needed), None)


def _promote(deps: Deps, run: Run, findings: Findings, candidate: ModelVersion) -> None:
    before = None if run.champion is None else run.champion.version
    move_champion(
        deps,
        run.run_id,
        f"promote-{findings.rollout_attempt}",
        run.profile,
        expected=before,
        to=candidate.version,
        event=ChampionEvent(
            model_name=candidate.name,
            version=candidate.version,
            previous=before,
            how="deployed",
            run_id=run.run_id,
            at=deps.clock(),
            by=findings.decided_by,
            reason=_why(findings),
        ),
    )
    deps.registry.set_tags(
        candidate.name, candidate.version, {"retraining.status": "champion", "retraining.run_id": run.run_id}
    )
    if findings.validation_metrics and findings.data is not None:
        holdout = findings.data.folds[-1].holdout
        holdouts = [fold.holdout for fold in findings.data.folds]
        rows = sum(each.rows if each.groups is None else each.groups.telling for each in holdouts)
        baseline = lineage.Baseline(metrics=findings.validation_metrics, rows=rows, holdout_digest=holdout.digest)
        lineage.record_baseline(deps, candidate, baseline)
        version = deps.registry.get_version(candidate.name, candidate.version)
        baselines.record_holdout(deps, run, findings, version)


def _why(findings: Findings) -> str:
    """The reviewer's reason where a person decided, else the policy's first."""
    if findings.review is not None and findings.review.get("reason"):
        return str(findings.review["reason"])
    return "" if findings.policy is None else findings.policy.reasons[0].sentence


def _promoted(candidate: ModelVersion, status: RolloutStatus) -> str:
    if status.proof == "proved":
        return f"Version {candidate.version} is champion, and the endpoint reports that it serves it."
    unproved = "that it is served stays unproved until an endpoint or the next batch reports it"
    return f"Version {candidate.version} is champion by alias; {unproved}."


def _register(deps: Deps, run: Run, findings: Findings) -> ModelVersion:
    """In `recommend` the registration itself waited for the person's yes."""
    if findings.data is None or findings.candidate_uri is None:
        raise BrokenInvariant("a rollout was started without a candidate", thing="candidate")
    source = None if findings.training is None else findings.training.tracking_run_id
    return train.register(deps, run, findings.data, findings.candidate_uri, source)


def _mark_way_back(deps: Deps, run: Run, champion: ModelVersion) -> None:
    alias = run.profile.champion.last_known_good_alias

    def found() -> Result | None:
        now = deps.registry.by_alias(champion.name, alias)
        return {"version": now.version} if now is not None and now.version == champion.version else None

    def act() -> Result:
        deps.registry.set_alias(champion.name, alias, champion.version)
        return {"version": champion.version}

    once(deps, run.run_id, "last-known-good", {"version": champion.version}, act, found)


def _prove_or_adopt(deps: Deps, run: Run, findings: Findings, version: ModelVersion) -> str | None:
    """None when the version is loadable and answers as recorded; its golden rows are recorded now where none are."""
    if lineage.read(version).artifact_digest is None and findings.data is not None:
        deps.progress(f"version {version.version} has no golden rows on record: recording them now")
        try:
            lineage.record(
                deps,
                run.profile,
                version,
                run.tracking_run_id,
                deps.run_dir(run.run_id) / f"adopt-{version.version}",
                training=None,
                golden_source=findings.data.folds[-1].holdout,
            )
        except Unavailable as failure:
            return failure.message
        version = deps.registry.get_version(version.name, version.version)
    proof = prove(deps, run, version, served="unproved")
    return None if proof.holds else proof.statement


def _candidate_fault(deps: Deps, run: Run, findings: Findings, candidate: ModelVersion) -> str | None:
    return _prove_or_adopt(deps, run, findings, deps.registry.get_version(candidate.name, candidate.version))


def _was_approved(findings: Findings) -> bool:
    """Whether a person took the very plan that he was shown."""
    given = findings.review or {}
    return given.get("answer") == "approve" and given.get("offered") in ("deploy", "canary")


def _same_course(plan: RolloutPlan, shown: RolloutPlan | None) -> bool:
    """The same but for the candidate's number, which a plan may have been shown without."""
    fixed = {"candidate_version", "digest"}
    return shown is None or plan.model_dump(exclude=fixed) == shown.model_dump(exclude=fixed)


def _refuse(attempt: int, why: str) -> dict[str, Any]:
    status = RolloutStatus(phase="refused", statement=f"Not rolled out: {why}. The champion stays where it was.")
    return {"rollout": status.to_state(), "rollout_attempt": attempt}
