"""What does the gate, as it ships, do with one candidate, and was that right?

One profile rule for all streams of a task, written once, before anything was measured: the two example profiles with a rare class ask
for half a point or a point of AUC and guard log-loss, and so does this one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from scipy import stats

from evals.decisions.gate_cases import APART, BAD, Case
from evals.decisions.gate_rivals import RIVALS, Holdout
from evals.decisions.gate_truth import UNDEFINED, Truth, truth
from evals.decisions.gate_worlds import World
from tools.comparison import compare
from tools.contracts.comparison import ComparisonResult, Contamination, Criteria, MetricComparison
from tools.contracts.profile import MetricsSpec, PrimaryMetric, ProfileGuardrail, Task
from tools.criteria import resolve_criteria
from tools.paired_rows import PairedRows
from tools.policy import PolicyInput, decide

CLEAN: Final = Contamination(candidate="clean", champion="clean")
GAIN, MARGIN, SLICE_MARGIN, LOSS_MARGIN = 0.005, 0.01, 0.05, 0.03
Mode = Literal["improved", "non_inferior"]
MODES: Final[tuple[Mode, ...]] = ("improved", "non_inferior")
LEAST_POWER: Final = 0.9


def profile(task: Task, mode: Mode, slices: tuple[str, ...], confidence: float = 0.95, gain: float = GAIN) -> Criteria:
    """What a sensible user writes: a gain of half a point, guardrails on what the primary metric cannot see, one slice column."""
    refresh = mode == "non_inferior"
    asked: dict[str, Any] = {"margin": MARGIN} if refresh else {"min_improvement": gain}
    if task == "regression":
        primary = PrimaryMetric(name="mean_absolute_error", unit="relative", **asked)
        guardrails = (ProfileGuardrail(name="root_mean_squared_error", margin=LOSS_MARGIN, unit="relative"),)
    else:
        primary = PrimaryMetric(name="roc_auc", **asked)
        guardrails = (
            ProfileGuardrail(name="log_loss", margin=LOSS_MARGIN, unit="relative"),
            ProfileGuardrail(name="expected_calibration_error", margin=0.02),
        )
    spec = MetricsSpec(
        primary=primary,
        guardrails=guardrails,
        promote_on=mode,
        slices=slices,
        slice_margin=SLICE_MARGIN,
        confidence=confidence,
    )
    return resolve_criteria(metrics=spec, request=None, task=task, positive_label=None)


@dataclass(frozen=True)
class Judged:
    """One case, decided and looked up.

    Attributes:
        status: `kept`, `inside its error`, `good here, harmful there` or `not measurable`.
        change: The truth's change of what the kind is about, positive when better.
        beyond: Bad: the true loss is more than the profile accepts. Good: the true gain is at least what it asks for.
        differs: The truth of the primary metric leaves 0 out.
        decisions: By mode.
        codes: The reasons of `improved`.
        power: By mode, of the primary metric.
        power_of_all: By mode, of whichever demand has least.
        rivals: By name, whether it deploys.
        swept: By knob and value, the decision.
    """

    world: str
    family: str
    kind: str
    size: int
    status: str
    change: float
    beyond: bool
    differs: bool
    decisions: Mapping[str, str]
    codes: tuple[str, ...]
    power: Mapping[str, float]
    power_of_all: Mapping[str, float]
    rivals: Mapping[str, bool]
    swept: Mapping[tuple[str, float], str] = field(default_factory=dict[tuple[str, float], str])


def judged(world: World, case: Case, sweep: tuple[tuple[str, float], ...] = (), weight: Any = None) -> Judged:
    """Decides in both modes, asks the rivals, and looks at the truth.

    Args:
        world: The stream.
        case: Candidate, champion and holdout.
        sweep: Knobs (`confidence` or `gain`) and values at which the gate decides once more.
        weight: (period,) rows that each row of the truth stands for.
    """
    rows = paired_rows(world, case)
    results = {mode: _compare(rows, profile(world.task, mode, (world.slice_column,))) for mode in MODES}
    made = {mode: decide(_inputs(result)) for mode, result in results.items()}
    at = case.holdout
    seen = Holdout(results["improved"], world.truth_y[at], case.champion[at], case.candidate[at])
    told, about, demands = _truths(world, case, results["improved"], weight)
    gap = {"improved": -GAIN, "non_inferior": MARGIN}
    exact = case.family == "same"
    power = {m: _power(r.primary, gap[m] + (0.0 if exact else told.change)) for m, r in results.items()}
    every = {
        m: min(
            [
                power[m],
                *(_power(g, g.criterion.margin + (0.0 if exact else demands[g.criterion.metric])) for g in _guards(r)),
            ]
        )
        for m, r in results.items()
    }
    status = _status(world, case, told, about, demands, weight)
    beyond = about.change < -_accepted(case.kind) if case.family != "good" else told.change >= GAIN
    # The frontier needs bad ones, and good ones that the rows can tell.
    wanted = status == "kept" and (case.family == "bad" or (beyond and power["improved"] >= LEAST_POWER))
    return Judged(
        world=world.name,
        family=case.family,
        kind=case.kind,
        size=case.size,
        status=status,
        change=about.change,
        differs=told.told,
        beyond=beyond,
        decisions={mode: one.decision for mode, one in made.items()},
        codes=tuple(reason.code for reason in made["improved"].reasons),
        power=power,
        power_of_all=every,
        rivals={name: rule(seen) for name, rule in RIVALS.items()},
        swept={knob: decide(_inputs(_compare(rows, _at(world, knob)))).decision for knob in (sweep if wanted else ())},
    )


def paired_rows(world: World, case: Case) -> PairedRows:
    """The holdout as the product hands it to the gate."""
    at = case.holdout
    return PairedRows.from_columns(
        task=world.task,
        y=world.truth_y[at],
        baseline=_columns(case.champion[at]),
        candidate=_columns(case.candidate[at]),
        slices={world.slice_column: world.slice_values[at]},
        features={name: column[at] for name, column in world.shown.items()},
    )


def _columns(outputs: Any) -> dict[str, Any]:
    if outputs.ndim == 1:
        return {"prediction": outputs}
    return {"prediction": outputs.argmax(axis=1)} | {f"proba:{c}": outputs[:, c] for c in range(outputs.shape[1])}


def _compare(rows: PairedRows, criteria: Criteria) -> ComparisonResult:
    return compare(rows=rows, criteria=criteria, contamination=CLEAN, holdout_digest="eval")


def _inputs(result: ComparisonResult) -> PolicyInput:
    return PolicyInput(training_status="given", comparison=result, has_champion=True, can_split=True)


def _at(world: World, knob: tuple[str, float]) -> Criteria:
    return profile(world.task, "improved", (world.slice_column,), **{knob[0]: knob[1]})


# --- truth ---------------------------------------------------------------------------------------------------------


def _truths(world: World, case: Case, result: ComparisonResult, weight: Any) -> tuple[Truth, Truth, dict[str, float]]:
    """(of the primary metric, of what the kind is about, the guardrails' true changes)."""
    primary = result.primary.criterion.metric
    told = _truth(world, case, primary, case.rest, weight)
    demands = {
        item.criterion.metric: item.change or 0.0  # the calibration error has no truth of its own here
        if item.criterion.metric == "expected_calibration_error"
        else _truth(world, case, item.criterion.metric, case.rest, weight).change
        for item in _guards(result)
    }
    about = told
    if case.kind in BAD[:2]:
        inside = case.rest[case.harmed[case.rest]]
        about = _truth(world, case, primary, inside, weight) if len(inside) else UNDEFINED
    elif case.kind == BAD[3] or (case.kind == APART[0] and world.task == "classification"):
        about = _truth(world, case, "log_loss", case.rest, weight)
    return told, about, demands


def _truth(world: World, case: Case, metric: str, at: Any, weight: Any) -> Truth:
    return truth(
        metric,
        world.truth_y[at],
        case.champion[at],
        case.production[at],
        world.stretch[at],
        None if weight is None else weight[at],
    )


def _status(world: World, case: Case, told: Truth, about: Truth, demands: Mapping[str, float], weight: Any) -> str:
    if not np.isfinite([about.change, told.change]).all():
        return "not measurable"
    if case.family == "same":
        return "kept"
    if case.family != "good":
        return "kept" if about.high < 0 else "inside its error"
    if told.low <= 0:
        return "inside its error"
    accepted = {item.metric: item.margin for item in profile(world.task, "improved", ()).guardrails}
    if any(change < -accepted[metric] for metric, change in demands.items() if metric != "expected_calibration_error"):
        return "good here, harmful there"
    primary = "roc_auc" if world.task == "classification" else "mean_absolute_error"
    values = world.slice_values[case.rest].astype(str)
    for value in np.unique(values):
        change = _truth(world, case, primary, case.rest[values == value], weight).change
        if change < -SLICE_MARGIN:
            return "good here, harmful there"
    return "kept"


def _accepted(kind: str) -> float:
    return SLICE_MARGIN if kind in BAD[:2] else LOSS_MARGIN if kind == BAD[3] else MARGIN


# --- power ---------------------------------------------------------------------------------------------------------


def _guards(result: ComparisonResult) -> list[MetricComparison]:
    return [item for item in result.metrics if item.criterion.role == "guardrail"]


def _power(item: MetricComparison, gap: float) -> float:
    """Chance that the interval's lower end is above the bar, the truth being `gap` above it: Φ(gap / se - z).

    The standard error is that of the gate's own interval: its lower arm over z of the two-sided 95 %.
    """
    if item.change is None or item.low is None or not np.isfinite(gap):
        return 0.0
    z = float(stats.norm.ppf(0.975))
    error = (item.change - item.low) / z
    return float(stats.norm.cdf(gap / error - z)) if error > 0 else float(gap > 0)
