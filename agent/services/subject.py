"""What is a person's answer about, and is it still the same? Read from the run's state, and again from the world outside.

State and world are different things to be wrong: a run that was resumed with another state asks something else, and an artifact that
was put in the candidate's place is another candidate.
"""

from typing import Any, Final

from agent.deps import Deps
from agent.services import lineage
from agent.services.champion import find_champion
from agent.services.decide import policy_input
from agent.state import Findings, Run
from tools.approval import changed
from tools.contracts.profile import Profile
from tools.contracts.run import Review, Subject
from tools.errors import NotFound, Unavailable
from tools.evidence import digest

_WHO: Final = {"review", "notify"}
"""Parts of a profile that say who answers and who is told: they are read anew at each answer, and void nothing."""


def of_state(run: Run, findings: Findings) -> Subject:
    """As the run's state has it. Pure."""
    candidate = findings.candidate
    reports = (findings.staleness, findings.trigger, findings.validation, findings.comparison, findings.rollout)
    evidence = {
        "items": [item.to_state() for item in findings.evidence],
        "reports": [None if report is None else report.to_state() for report in reports],
    }
    policy = {
        "result": None if findings.policy is None else findings.policy.to_state(),
        "input": policy_input(run, findings, findings.can_split).to_state(),
        "decision": findings.decision,
    }
    return Subject(
        candidate_uri=findings.candidate_uri,
        candidate_version=None if candidate is None else candidate.version,
        candidate_digest=findings.candidate_digest,
        baseline_version=None if run.champion is None else run.champion.version,
        baseline_digest=None if run.champion is None else lineage.read(run.champion).artifact_digest,
        evidence=digest(evidence),
        policy=digest(policy),
        plan=None if findings.plan is None else findings.plan.digest,
        profile=_of_profile(run.profile),
    )


def changes_outside(deps: Deps, review: Review, *, promoted: str | None = None) -> tuple[str, ...]:
    """What of the question's subject is no longer so in registry, artifacts and profile; in words.

    Args:
        review: The question.
        promoted: A version that may be champion by now, because the answer's own effect made it so.

    Raises:
        Unavailable: registry or artifacts do not answer: nobody can tell, and nothing is approved.
    """
    then = review.subject
    if then is None:
        return ("what it was about",)
    try:
        profile = deps.load_profile(review.model_id)
    except NotFound:
        return ("the profile",)
    now = then.model_copy(
        update={
            "profile": _of_profile(profile),
            **_baseline(deps, profile, then, promoted),
            **_candidate(deps, profile, then),
        }
    )
    return changed(then, now)


def _baseline(deps: Deps, profile: Profile, then: Subject, promoted: str | None) -> dict[str, Any]:
    champion = find_champion(deps, profile)
    if champion is None:
        return {"baseline_version": None, "baseline_digest": None}
    if promoted is not None and champion.version == promoted:
        return {}
    recorded = lineage.read(champion).artifact_digest
    # A champion that was adopted meanwhile has golden rows and a digest now; it is the same version all the same.
    return {"baseline_version": champion.version} | (
        {} if then.baseline_digest is None else {"baseline_digest": recorded}
    )


def _candidate(deps: Deps, profile: Profile, then: Subject) -> dict[str, Any]:
    """The files that would be deployed: of the version where there is one, else of the model that was logged."""
    if then.candidate_uri is None:
        return {}
    uri = then.candidate_uri
    if then.candidate_version is not None:
        try:
            uri = deps.registry.get_version(profile.registered_model, then.candidate_version).model_uri
        except NotFound:
            return {"candidate_version": None}
    found = deps.scorer.digest(uri)
    if found is None and then.candidate_digest is not None:
        raise Unavailable(
            f"the files of {uri} cannot be fetched: whether they are those that were judged cannot be told",
            thing="model",
            value=uri,
            remedy="bring the artifact store back, then answer again; or reject",
        )
    return {"candidate_digest": found}


def _of_profile(profile: Profile) -> str:
    return digest({name: value for name, value in profile.to_state().items() if name not in _WHO})
