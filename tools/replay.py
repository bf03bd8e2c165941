"""Would another policy have decided otherwise? Recorded evidence in, the same question asked again.

A record replays byte for byte under the policy that made it: the same input gives the same result, the language model's recorded vote
is used again, and a template's text is worded anew. With changed demands the recorded **intervals** are judged anew; what would
need rows (another confidence, a metric that nobody measured) cannot be replayed, and that is said. A slice whose margin changes
is judged by its interval, without the correction over all slices, which needs the rows too.
"""

from typing import Annotated, Literal

from pydantic import Field

from tools.contracts.base import Contract
from tools.contracts.comparison import ComparisonResult, Criterion, MetricComparison
from tools.contracts.decision import DecisionKind
from tools.contracts.record import DecisionRecord, PolicyInput
from tools.contracts.request import Direction, Unit
from tools.errors import BadInput
from tools.metric_names import find_named
from tools.policy import apply_model_vote, decide
from tools.rationale import TEMPLATE_VERSION, paragraphs, template_rationale
from tools.verdicts import verdict_of

Amount = Annotated[float, Field(ge=0)]


class PrimaryDemand(Contract):
    """Absent fields stay as recorded."""

    min_improvement: Amount | None = None
    margin: Amount | None = None


class GuardrailDemand(Contract):
    """The margin of a guardrail that was measured."""

    name: str
    margin: Amount
    unit: Unit | None = None
    """For checking only: an interval in one unit says nothing in the other."""


class MetricsDemand(Contract):
    """As in a profile's `metrics`."""

    primary: PrimaryDemand = PrimaryDemand()
    guardrails: tuple[GuardrailDemand, ...] = ()
    promote_on: Literal["improved", "non_inferior"] | None = None
    on_inconclusive: Literal["keep", "review"] | None = None
    slice_margin: Amount | None = None
    allow_first_model: bool | None = None


class RolloutDemand(Contract):
    """As in a profile's `rollout`."""

    risk: Literal["low", "high"] | None = None


class PolicyChange(Contract):
    """What a policy file may change. Written like a profile; absent fields stay as recorded."""

    metrics: MetricsDemand = MetricsDemand()
    rollout: RolloutDemand = RolloutDemand()


class Replayed(Contract):
    """One recorded decision, made again."""

    run_id: str
    model_id: str
    decided_at: str
    was: DecisionKind
    would_be: DecisionKind | None = None
    """Absent where it could not be replayed."""
    codes_before: tuple[str, ...]
    codes_after: tuple[str, ...] = ()
    same: bool = False
    """Without a change: whether result, vote and text came out byte for byte. With one: whether the decision is the same."""
    why_not: str = ""
    """Why it could not be replayed, or what came out otherwise."""


def replay(record: DecisionRecord, change: PolicyChange | None = None) -> Replayed:
    """The decision again, under changed demands where given."""
    known = Replayed(
        run_id=record.run_id,
        model_id=record.model_id,
        decided_at=record.decided_at.isoformat(),
        was=record.decision,
        codes_before=tuple(reason.code for reason in record.policy.reasons),
    )
    try:
        inputs = record.policy_input if change is None else changed(record.policy_input, change)
    except BadInput as error:
        return known.model_copy(update={"why_not": error.message})
    result = decide(inputs)
    decision, by = apply_model_vote(result, record.rationale.routed_to_review)
    after = {"would_be": decision, "codes_after": tuple(reason.code for reason in result.reasons)}
    if change is not None:
        return known.model_copy(update=after | {"same": decision == record.decision})
    differs = _what_differs(record, result.to_state() == record.policy.to_state(), (decision, by))
    return known.model_copy(update=after | {"same": not differs, "why_not": differs})


def _what_differs(record: DecisionRecord, same_result: bool, vote: tuple[str, str]) -> str:
    found: list[str] = []
    if not same_result:
        found.append(f"the policy's result (made by version {record.policy.policy_version} of the table)")
    if vote != (record.decision, record.decided_by):
        found.append("the decision")
    # What another version of the template wrote, this one words otherwise.
    if record.rationale.written_by == "template" and record.rationale.prompt_version == TEMPLATE_VERSION:
        text = paragraphs(template_rationale(record.policy, record.evidence, record.model_id))
        if text != record.rationale.text:
            found.append(f"the template's text (version {record.rationale.prompt_version})")
    return ", ".join(found)


def changed(inputs: PolicyInput, change: PolicyChange) -> PolicyInput:
    """The recorded input as it would stand under other demands.

    Raises:
        BadInput: What is asked would need the rows.
    """
    metrics = change.metrics
    more = {
        "on_inconclusive": metrics.on_inconclusive,
        "allow_first_model": metrics.allow_first_model,
        "risk": change.rollout.risk,
    }
    update: dict[str, object] = {name: value for name, value in more.items() if value is not None}
    if inputs.comparison is not None:
        update["comparison"] = _rejudged(inputs.comparison, metrics)
    return inputs.model_copy(update=update)


def _rejudged(comparison: ComparisonResult, wanted: MetricsDemand) -> ComparisonResult:
    known: dict[str, Direction] = {m.criterion.metric: m.criterion.direction for m in comparison.metrics}
    margins = {find_named(one.name, known=known).name: one for one in wanted.guardrails}
    measured = {
        m.criterion.metric for m in comparison.metrics if m.criterion.role == "guardrail" and not m.criterion.nulls
    }
    unknown = sorted(margins.keys() - measured)
    if unknown:
        raise BadInput(
            f"guardrail {unknown[0]} was not measured",
            thing="metrics.guardrails",
            value=unknown[0],
            remedy="leave it out",
        )
    items = tuple(_under(item, _criterion(item.criterion, wanted, margins)) for item in comparison.metrics)
    return comparison.model_copy(update={"metrics": items})


def _criterion(old: Criterion, wanted: MetricsDemand, margins: dict[str, GuardrailDemand]) -> Criterion:
    if old.role == "slice":
        return old if wanted.slice_margin is None else old.model_copy(update={"margin": wanted.slice_margin})
    if old.role == "guardrail":
        new = None if old.nulls else margins.get(old.metric)
        if new is None:
            return old
        if new.unit is not None and new.unit != old.unit:
            raise BadInput(
                f"guardrail {old.metric} was measured in {old.unit} terms",
                thing="unit",
                value=new.unit,
                remedy=old.unit,
            )
        return old.model_copy(update={"margin": new.margin})
    must = {"improved": "improve", "non_inferior": "not_lose", None: old.must}[wanted.promote_on]
    update = {"must": must, "min_improvement": wanted.primary.min_improvement, "margin": wanted.primary.margin}
    found = old.model_copy(update={name: value for name, value in update.items() if value is not None})
    if found.must == "not_lose" and found.margin <= 0:
        raise BadInput(
            "promote_on: non_inferior needs primary.margin",
            thing="metrics.primary.margin",
            value=found.margin,
            remedy="name it",
        )
    return found


def _under(item: MetricComparison, criterion: Criterion) -> MetricComparison:
    if criterion == item.criterion:
        return item
    update: dict[str, object] = {"criterion": criterion}
    if item.low is not None and item.high is not None:
        verdict = verdict_of(criterion, item.low, item.high)
        update["verdict"] = verdict
        if verdict != "inconclusive" or item.verdict != "inconclusive":
            update |= {"rows_needed": None, "tells_by": None}
    return item.model_copy(update=update)
