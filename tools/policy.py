"""Given the evidence, what may happen, and how sure is that? The table is in docs/design/policy.md.

A pure function. `reject` and `manual_review` move nothing; `canary` and `deploy` do. Nothing missing, undecided or
doubted ever leads to either. Whatever is ambiguous is `manual_review` by code.
"""

from typing import Final

from tools.contracts.comparison import ComparisonResult, MetricComparison
from tools.contracts.decision import Certainty, DecisionKind, PolicyResult, Reason
from tools.contracts.evidence import ValidationReport
from tools.contracts.record import PolicyInput

__all__ = ["POLICY_VERSION", "PolicyInput", "apply_model_vote", "decide"]

POLICY_VERSION: Final = "3"
"""Changes whenever the table does; stands in every decision record."""


def decide(inputs: PolicyInput) -> PolicyResult:
    """The first rule that applies decides; its reasons name every item it rests on."""
    return _before_comparison(inputs) or _by_comparison(inputs)


def apply_model_vote(policy: PolicyResult, routed_to_review: bool) -> tuple[DecisionKind, str]:
    """The decision and who made it: the model may only send a borderline decision to a person.

    Returns:
        (decision, "policy") unless the model moved it, then ("manual_review", "model").
    """
    moves = policy.certainty == "borderline" and policy.decision in ("canary", "deploy")
    if routed_to_review and moves:
        return "manual_review", "model"
    return policy.decision, "policy"


def _result(decision: DecisionKind, certainty: Certainty, *reasons: Reason) -> PolicyResult:
    return PolicyResult(decision=decision, certainty=certainty, reasons=reasons, policy_version=POLICY_VERSION)


def _reject(*reasons: Reason) -> PolicyResult:
    return _result("reject", "clear", *reasons)


def _ask(*reasons: Reason) -> PolicyResult:
    return _result("manual_review", "ambiguous", *reasons)


# --- before there is anything to compare ---------------------------------------------------------------------------


def _before_comparison(inputs: PolicyInput) -> PolicyResult | None:
    validation, status, trigger = inputs.validation, inputs.training_status, inputs.trigger
    if trigger is not None and not trigger.proceed:
        reason = Reason(code=trigger.code, sentence=trigger.statement)
        return _ask(reason) if trigger.code == "roll_back_instead" else _reject(reason)
    if validation is not None and validation.verdict == "fail":
        return _reject(*_checks(validation, "fail", "validation_failed"))
    if status == "invalid_data":
        return _reject(Reason(code="validation_failed", sentence="The data were refused before training."))
    if status == "failed":
        return _reject(Reason(code="training_failed", sentence="Training failed: there is no candidate."))
    if status == "skipped":
        return _reject(Reason(code="not_retrained", sentence="Nothing was trained: there is no candidate."))
    if validation is not None and validation.verdict == "could_not_check":
        return _ask(*_checks(validation, "could_not_check", "validation_could_not_check"))
    if validation is None and status != "given":
        return _ask(Reason(code="validation_missing", sentence="The data were not validated."))
    if status == "pending":
        return _ask(Reason(code="training_pending", sentence="A person is asked before anything is trained."))
    if not inputs.has_champion:
        return _first_model(inputs.allow_first_model)
    return None


def _checks(report: ValidationReport, result: str, code: str) -> tuple[Reason, ...]:
    found = tuple(
        Reason(code=code, sentence=check.statement, evidence=(f"validation/{check.name}/{check.subject}",))
        for check in report.checks
        if check.result == result and check.severity == "block"
    )
    return found or (Reason(code=code, sentence=report.statement),)


def _first_model(allowed: bool) -> PolicyResult:
    if allowed:
        sentence = "There is no champion to beat; the profile lets a person adopt the first model."
        return _result("manual_review", "clear", Reason(code="first_model", sentence=sentence))
    sentence = "There is no champion to compare with, and the profile does not allow a first model."
    return _reject(Reason(code="no_champion", sentence=sentence))


# --- by the comparison ---------------------------------------------------------------------------------------------


def _by_comparison(inputs: PolicyInput) -> PolicyResult:
    comparison = inputs.comparison
    if comparison is None or not comparison.metrics or comparison.primary.criterion.role != "primary":
        return _ask(Reason(code="comparison_missing", sentence="Candidate and champion were not compared."))
    doubts = _doubts(comparison)
    if doubts:
        return _ask(*doubts)
    primary = comparison.primary
    found = [item for item in comparison.metrics if item.criterion.role == "found_slice"]
    judged = [item for item in comparison.metrics if item.criterion.role != "found_slice"]
    demanded = [item for item in judged if item.criterion.role != "slice"]
    regressed = [item for item in judged if item.verdict == "regressed"]
    if regressed:
        return _reject(*(_about(item, f"{item.criterion.role}_regressed") for item in regressed))
    harmed = [item for item in found if item.verdict == "regressed"]
    if harmed:
        return _ask(*(_about(item, "found_slice_regressed") for item in harmed))
    unknown = [item for item in judged if item.verdict == "no_data"]
    if unknown:
        return _ask(*(_about(item, f"{item.criterion.role}_no_data") for item in unknown))
    if primary.verdict == "non_inferior" and primary.criterion.must_gain:
        return _reject(_about(primary, "no_gain"))
    undecided = [item for item in demanded if item.verdict == "inconclusive"]
    if not undecided:
        return _win(inputs, demanded)
    if undecided == [primary] and _nearly(primary):
        return _canary(inputs, "borderline", _about(primary, "primary_probably_improved"), *_holding(demanded))
    reasons = tuple(_about(item, f"{item.criterion.role}_inconclusive") for item in undecided)
    if inputs.on_inconclusive == "keep":
        return _reject(_kept(undecided), *reasons)
    return _ask(*reasons)


def _kept(undecided: list[MetricComparison]) -> Reason:
    """Why the champion stays, and when the next look pays: when the slowest of the undecided would be told."""
    dates = [item.tells_by for item in undecided]
    known = [date for date in dates if date is not None]
    when = f" The next look pays from {max(known):%Y-%m-%d}." if len(known) == len(dates) and known else ""
    sentence = f"These rows cannot tell, and the profile keeps the champion then.{when}"
    return Reason(code="champion_kept", sentence=sentence)


def _doubts(comparison: ComparisonResult) -> tuple[Reason, ...]:
    """Every doubt; an unchecked contamination is one, whether or not the comparison says so."""
    sentences = dict(zip(comparison.doubts, comparison.doubt_statements, strict=False))
    codes = list(dict.fromkeys(comparison.doubts))
    found = comparison.contamination
    if "could_not_check" in (found.candidate, found.champion) and "contamination_unchecked" not in codes:
        codes.append("contamination_unchecked")
        sentences["contamination_unchecked"] = "Whether a model trained on holdout rows could not be checked."
    return tuple(
        Reason(code=code, sentence=sentences.get(code, f"Doubt: {code}."), evidence=(f"comparison/doubt/{code}",))
        for code in codes
    )


def _about(item: MetricComparison, code: str) -> Reason:
    return Reason(code=code, sentence=item.statement, evidence=(item.key,))


def _holding(demanded: list[MetricComparison]) -> tuple[Reason, ...]:
    return tuple(_about(item, "guardrail_holds") for item in demanded if item.criterion.role == "guardrail")


def _nearly(primary: MetricComparison) -> bool:
    """Surely better, and by the asked gain at the point estimate, though not surely by that much."""
    if primary.change is None or primary.low is None or not primary.criterion.must_gain:
        return False
    return primary.low > 0 and primary.change >= primary.criterion.min_improvement


def _win(inputs: PolicyInput, demanded: list[MetricComparison]) -> PolicyResult:
    primary = demanded[0]
    reasons = (_about(primary, f"primary_{primary.verdict}"), *_holding(demanded))
    if inputs.risk == "high":
        high = Reason(code="high_risk", sentence="The profile's risk is high: a clear win goes through a canary.")
        return _canary(inputs, "clear", *reasons, high)
    return _result("deploy", "clear", *reasons)


def _canary(inputs: PolicyInput, certainty: Certainty, *reasons: Reason) -> PolicyResult:
    if inputs.can_split:
        return _result("canary", certainty, *reasons)
    sentence = "A canary is due, and the target cannot split traffic: a person decides."
    return _result("manual_review", certainty, Reason(code="target_cannot_split", sentence=sentence), *reasons)
