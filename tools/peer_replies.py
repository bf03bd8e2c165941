"""May a peer's reply be believed? What may not be is `could not measure`, with the reason.

A reply is held against the question (run, model, version, window, request), against the clock, against what its numbers can
be, against itself, and against what we measured. The first fault is told, in our own words: of a peer's text no more than a
plain word is ever repeated.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar, cast

from pydantic import ValidationError

from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.comparison import ComparisonResult, Criterion
from tools.contracts.peers import (
    DeploymentReply,
    DriftReply,
    DriftReport,
    DriftRequest,
    Envelope,
    EvaluationReply,
    EvaluationRequest,
    FeatureDrift,
    PeerRecommendation,
)
from tools.metric_names import OPERATIONAL
from tools.own_metrics import is_own

PEER_TOLERANCE: Final = 1e-3
"""How far the model-evaluator may be from our own value, relative to the larger of it and 1."""
SKEW: Final = timedelta(minutes=5)
"""How far two clocks may be apart."""
OLDEST: Final = timedelta(hours=1)
"""A reply written longer ago is no answer to a question of now; a repeated one may be as old as its first asking."""
_SHARES: Final = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "average_precision", "ndcg")
_MORE_SHARES: Final = ("mean_average_precision", "mean_reciprocal_rank", "expected_calibration_error")
_ANY_SIGN: Final = ("mean_cost",)
_MOST: Final = 1e15
"""No metric of anybody's data is larger."""
_SEVERITIES: Final = ("none", "drifted", "could_not_tell", "could_not_measure")
_WORD: Final = re.compile(r"[A-Za-z0-9_.:@%()\[\]/ <>=-]{1,60}")
_METHOD: Final = re.compile(r"[A-Za-z0-9_.:@%()\[\]/ <>=;,-]{1,80}")
"""Several tests and a distance: `jensen-shannon; g, ks, range`."""
_ACTIONS: Final = ("fix_data", "retrain", "keep_watching", "wait_for_labels", "check_performance", "roll_back")

Reply = TypeVar("Reply", DriftReply, EvaluationReply, DeploymentReply)


def request_id(content: Mapping[str, Any], *parts: bytes) -> str:
    """The same question has the same id, whenever it is asked: everything counts but the time.

    Args:
        content: The envelope as JSON.
        parts: What is sent beside it.
    """
    lasting = {name: value for name, value in content.items() if name not in ("sentAt", "requestId")}
    digest = hashlib.sha256(json.dumps(lasting, sort_keys=True, separators=(",", ":")).encode())
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:32]


# --- is it a reply at all? -----------------------------------------------------------------------------------------


def read(content: object, kind: type[Envelope[Reply]]) -> Envelope[Reply] | str:
    """The reply, or what is wrong with it. Unknown fields are left out; a number that is none is never a zero."""
    if not isinstance(content, Mapping):
        return "the reply is no message"
    message = cast("Mapping[str, Any]", content)
    if "payload" not in message or "runId" not in message or "schemaVersion" not in message:
        return "the reply has no envelope: whom and what it is about is not known"
    broken = next((path for path, value in _numbers(message) if not math.isfinite(value)), None)
    if broken is not None:
        return f"{broken} is not a finite number"
    spoken = _version_fault(message["schemaVersion"])
    if spoken is not None:
        return spoken
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        what = {"missing": "is missing"}.get(first["type"], f"is not as agreed ({first['type'].replace('_', ' ')})")
        return f"{_path(first['loc'])} {what}"


def _numbers(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str, float]]:
    if isinstance(value, float):
        yield _path(path), value
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[str, object]", value).items():
            yield from _numbers(item, (*path, name))
    elif isinstance(value, list | tuple):
        for place, item in enumerate(cast("list[object]", value)):
            yield from _numbers(item, (*path, place))


def _path(parts: tuple[str | int, ...]) -> str:
    return ".".join(word(part) for part in parts) or "the message"


def word(text: object) -> str:
    """A peer's word where it is a plain one; nothing of it where it is not."""
    told = str(text)
    return told if _WORD.fullmatch(told) else "(something that is no name)"


def _version_fault(version: object) -> str | None:
    ours = SCHEMA_VERSION.partition(".")[0]
    if str(version).partition(".")[0] == ours:
        return None
    return f"it speaks version {word(version)} of the messages, and we speak {ours}"


# --- is it about this, and of now? ---------------------------------------------------------------------------------


def envelope_fault(role: str, asked: Envelope[Any], told: Envelope[Any], *, now: datetime) -> str | None:
    """Identity and freshness. What the question names, the reply has to name alike: silence is no agreement."""
    spoken = _version_fault(told.schema_version)
    if spoken is not None:
        return f"the {role} cannot be understood: {spoken}"
    for name, wanted, got in (
        ("run", asked.run_id, told.run_id),
        ("model", asked.model_id, told.model_id),
        ("version", asked.model_version, told.model_version),
        ("data window", asked.data_window_digest, told.data_window_digest),
    ):
        if wanted != got:
            what = f"{name} {word(got)}" if got is not None else f"no {name}"
            return (
                f"the {role} answered about another run, model or window: it names {what}, asked was {wanted or 'none'}"
            )
    if told.request_id is not None and told.request_id != asked.request_id:
        return f"the {role} answered another request than this one"
    if told.sent_at > now + SKEW:
        return f"the {role}'s reply is dated in the future, {told.sent_at:%Y-%m-%d %H:%M} UTC"
    if told.sent_at < min(now, asked.sent_at) - OLDEST:
        return f"the {role}'s reply is old, written {told.sent_at:%Y-%m-%d %H:%M} UTC"
    return None


# --- drift-detective -----------------------------------------------------------------------------------------------


def drift_fault(asked: Envelope[DriftRequest], told: Envelope[DriftReply], *, now: datetime) -> str | None:
    """Why the reply cannot be used, or None."""
    fault = envelope_fault("drift-detective", asked, told, now=now)
    if fault is not None:
        return fault
    report = told.payload.drift_report
    fault = _features_fault(asked.payload, report, now) or _share_fault(report) or _concept_fault(asked.payload, report)
    return None if fault is None else f"the drift-detective's reply cannot be used: {fault}"


def _features_fault(asked: DriftRequest, report: DriftReport, now: datetime) -> str | None:
    names = [found.feature for found in report.feature_drift]
    if len(set(names)) < len(names):
        return "a column stands in it twice"
    wanted = asked.monitoring_config.features
    if wanted is not None:
        strange = sorted(set(names) - set(wanted))
        if strange:
            return f"it speaks of {word(strange[0])}, which was not asked about"
        silent = sorted(set(wanted) - set(names))
        if silent:
            return f"it says nothing about {len(silent)} of {len(wanted)} columns, {silent[0]} among them"
    sides = [side for side in (report.prediction_drift, report.label_drift) if side is not None]
    for found in (*report.feature_drift, *sides):
        fault = _feature_fault(found, now)
        if fault is not None:
            return f"{word(found.feature)}: {fault}"
    return None


def _feature_fault(found: FeatureDrift, now: datetime) -> str | None:
    if found.severity not in _SEVERITIES:
        return f"its severity is {word(found.severity)}, none of {', '.join(_SEVERITIES)}"
    if not _WORD.fullmatch(found.drift_type) or (found.method is not None and not _METHOD.fullmatch(found.method)):
        return "a text stands where a name was expected"
    for name, value in (("score", found.drift_score), ("p-value", found.p_value), ("weight", found.weight)):
        if value is not None and not (math.isfinite(value) and 0 <= value <= 1):
            return f"its {name} {value:.4g} is outside 0 to 1"
    if any(rows is not None and rows < 0 for rows in (found.reference_rows, found.current_rows)):
        return "it counts fewer than no rows"
    if found.since is not None and found.since > now + SKEW:
        return "it changed in the future"
    return None


def _share_fault(report: DriftReport) -> str | None:
    """The overall share against the columns' own words, which it sums up."""
    overall, found = report.overall_drift_score, report.feature_drift
    if overall is None:
        return None
    if not (math.isfinite(overall) and 0 <= overall <= 1):
        return f"the share of drifted columns {overall:.4g} is outside 0 to 1"
    weights = [1.0 if one.weight is None else one.weight for one in found]
    total = sum(weights)
    if total <= 0:
        return None
    drifted = sum(weight for weight, one in zip(weights, found, strict=True) if one.severity == "drifted") / total
    unsure = sum(w for w, one in zip(weights, found, strict=True) if one.severity.startswith("could_not")) / total
    if drifted - PEER_TOLERANCE <= overall <= drifted + unsure + PEER_TOLERANCE:
        return None
    return f"it contradicts itself: a share of {overall:.2f} drifted, by its own columns {drifted:.2f}"


def _concept_fault(asked: DriftRequest, report: DriftReport) -> str | None:
    claim, said = asked.monitoring_config.performance, report.concept_drift
    if claim is None or said is None or claim.outcome not in ("ok", "bad"):
        return None
    if said.detected == (claim.outcome == "bad"):
        return None
    return "it contradicts what we measured on labels: whether the concept moved"


def without_texts(reply: DriftReply) -> DriftReply:
    """Numbers and known words only. A stranger's sentences explain nothing here: they reach no person and no language model."""

    def plain(found: FeatureDrift | None) -> FeatureDrift | None:
        return None if found is None else found.model_copy(update={"statement": None})

    report = reply.drift_report.model_copy(
        update={
            "feature_drift": tuple(plain(found) for found in reply.drift_report.feature_drift),
            "prediction_drift": plain(reply.drift_report.prediction_drift),
            "label_drift": plain(reply.drift_report.label_drift),
            "concept_drift": None
            if reply.drift_report.concept_drift is None
            else reply.drift_report.concept_drift.model_copy(update={"evidence": ""}),
        }
    )
    kept = tuple(
        PeerRecommendation(action=one.action, priority="", rationale="")
        for one in reply.recommendations
        if one.action in _ACTIONS
    )
    return DriftReply(drift_report=report, alerts=(), recommendations=kept)


# --- model-evaluator -----------------------------------------------------------------------------------------------


def evaluation_fault(
    asked: Envelope[EvaluationRequest], told: Envelope[EvaluationReply], *, now: datetime
) -> str | None:
    """Why the reply cannot be used, or None. A metric may be missing where the reply says that it was not measured."""
    fault = envelope_fault("model-evaluator", asked, told, now=now)
    if fault is not None:
        return fault
    reply, config = told.payload, asked.payload.evaluation_config
    fault = None
    if not reply.success:
        fault = "it says itself that it failed"
    elif not reply.overall_metrics and config.metrics:
        fault = "it holds no metric"
    else:
        fault = _metrics_fault(reply, config.metrics) or _matrix_fault(reply)
    return None if fault is None else f"the model-evaluator's reply cannot be used: {fault}"


def _metrics_fault(reply: EvaluationReply, wanted: tuple[str, ...]) -> str | None:
    strange = [name for name in reply.overall_metrics if not re.fullmatch(r"[A-Za-z0-9_.@:]{1,60}", name)]
    if strange:
        return "a text stands where a metric's name was expected"
    every = [*reply.overall_metrics.items()]
    for values in reply.slice_metrics.values():
        every += [item for each in values.values() for item in each.items()]
    for name, value in every:
        fault = _range_fault(name, value)
        if fault is not None:
            return f"{word(name)} {value:.4g} {fault}"
    for name in wanted:
        if name not in reply.overall_metrics and not any(name in note for note in reply.recommendations):
            return f"half of it is missing: it says nothing about {name}"
    return None


def _range_fault(name: str, value: float) -> str | None:
    if not math.isfinite(value):
        return "is not a finite number"
    base = re.sub(r"(@.*|_macro|_weighted|_micro)$", "", name)
    if base in _SHARES or base in _MORE_SHARES:
        return None if 0 <= value <= 1 else "is outside 0 to 1"
    if base == "matthews_corrcoef":
        return None if -1 <= value <= 1 else "is outside -1 to 1"
    if base == "r2":
        return None if value <= 1 else "is above 1"
    if abs(value) > _MOST:
        return "is larger than any metric"
    known = ("loss", "error")
    if base not in _ANY_SIGN and any(base.endswith(end) for end in known) and value < 0:
        return "is a loss below zero"
    return None


def _matrix_fault(reply: EvaluationReply) -> str | None:
    """The confusion matrix against the accuracy that stands beside it."""
    matrix = (reply.error_analysis or {}).get("confusionMatrix")
    told = reply.overall_metrics.get("accuracy")
    if matrix is None or told is None:
        return None
    try:
        rows = [[float(cell) for cell in row] for row in matrix]
        total, right = sum(map(sum, rows)), sum(row[place] for place, row in enumerate(rows))
    except (TypeError, ValueError, IndexError):
        return "its confusion matrix is none"
    if total <= 0 or any(cell < 0 for row in rows for cell in row):
        return "its confusion matrix counts no rows"
    if abs(right / total - told) <= PEER_TOLERANCE:
        return None
    return f"it contradicts itself: accuracy {told:.4f}, by its own confusion matrix {right / total:.4f}"


def is_theirs(criterion: Criterion) -> bool:
    """Whether the criterion can be measured from the file of scored rows, by somebody who runs no code of the user's."""
    return not (criterion.nulls or criterion.metric in OPERATIONAL or is_own(criterion.metric))


def disagreement(reply: EvaluationReply, result: ComparisonResult) -> str | None:
    """Where the model-evaluator's value of the candidate is not ours, beyond `PEER_TOLERANCE`."""
    for item in result.metrics:
        wanted = item.criterion
        if wanted.slice_column is not None or item.candidate is None or not is_theirs(wanted):
            continue
        values = reply.overall_metrics if wanted.group is None else reply.fairness_metrics.get(wanted.group, {})
        theirs = values.get(wanted.metric)
        if theirs is not None and abs(theirs - item.candidate) > PEER_TOLERANCE * max(1.0, abs(item.candidate)):
            return f"The model-evaluator has {wanted.about} {theirs:.4f}, we have {item.candidate:.4f}."
    return None


# --- deployment-engineer -------------------------------------------------------------------------------------------


def deployment_fault(asked: Envelope[Any], told: Envelope[DeploymentReply], *, now: datetime) -> str | None:
    """Why the reply cannot be used, or None. What is served is proved elsewhere: weights that fit are not yet the truth."""
    fault = envelope_fault("deployment-engineer", asked, told, now=now)
    if fault is not None:
        return fault
    weights = told.payload.observed_weights
    if weights is not None and (
        any(not 0 <= weight <= 100 for weight in weights.values()) or sum(weights.values()) > 100
    ):
        return "the deployment-engineer's reply cannot be used: its weights are no percentages of one whole"
    mirror = told.payload.observed_mirror
    if mirror is not None and not 0 <= mirror <= 100:
        return "the deployment-engineer's reply cannot be used: its mirror is no percentage"
    return None
