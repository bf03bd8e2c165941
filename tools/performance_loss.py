"""What has the champion lost on recent mature labels, against what it once achieved?

The loss is the recorded baseline minus the recent value, in the metric's unit, positive when worse. Both sides err: the
recent one by the block jackknife of `value_interval`; the baseline by the same on its recorded rows, or, where only their
number is on record, by as much a row as the recent side.

* **bad**: the loss is at least `max_loss`, and zero loss is refused one-sided at 0.05 / `checks_a_year`: of the same check
  repeated every night on a model that lost nothing, one year in twenty raises a false finding.
* **ok**: the whole 95 % interval lies below `max_loss`.
* **could_not_tell**: everything between. **could_not_measure**: too few recent rows have a mature label.

`since` is the start of the first block of the recent rows from which the loss stays: of all places to begin a constant loss
that was 0 before, the one with the least squares.
"""

from datetime import UTC, datetime
from itertools import pairwise
from math import hypot, sqrt
from typing import Final, Literal

import numpy as np
from pydantic import model_validator
from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from tools.contracts.base import Contract, UtcDatetime
from tools.contracts.comparison import Criteria
from tools.contracts.evidence import Outcome, Signal
from tools.contracts.request import Direction
from tools.metrics import metric_named, noun
from tools.scored_rows import ScoredRows
from tools.value_interval import ValueInterval, value_interval

ALPHA: Final = 0.05
METHOD: Final = "block jackknife"
DATED_BLOCKS: Final = 12
MIN_DATED: Final = 30
"""Rows of a block that a loss is dated by."""


class PerformanceEvidence(Contract):
    """The champion's primary metric on recent mature labels, against what was recorded at its registration."""

    metric: str
    direction: Direction
    baseline: float
    """Recorded at registration, on the holdout of that time."""
    baseline_n: int | None = None
    """Rows of that holdout."""
    recent: float | None = None
    """On the recent rows; absent when too few have a mature label."""
    loss_low: float | None = None
    loss_high: float | None = None
    """Two-sided interval of the loss; positive is worse, in the metric's unit."""
    p_value: float | None = None
    """One-sided, of a loss this large where there is none."""
    since: UtcDatetime | None = None
    """Start of the first block from which the loss stays."""
    n: int
    """Recent rows with a mature label that the champion was not trained on; of a ranking, groups of them that count."""
    counted: Literal["rows", "groups"] = "rows"
    """What `n` and `baseline_n` count."""
    left_out: int = 0
    """Recent labelled rows that it was trained on: they say nothing."""

    @model_validator(mode="after")
    def _whole(self) -> "PerformanceEvidence":
        given = [v is not None for v in (self.recent, self.loss_low, self.loss_high, self.p_value)]
        if any(given) != all(given):
            raise ValueError("recent, loss_low, loss_high and p_value come together")
        if self.loss_low is not None and self.loss_high is not None and self.loss_low > self.loss_high:
            raise ValueError(f"loss_low {self.loss_low} is above loss_high {self.loss_high}")
        return self

    @property
    def loss(self) -> float | None:
        """Positive when worse than at registration; None without a recent value."""
        return None if self.recent is None else loss_of(self.direction, self.baseline, self.recent)


def loss_of(direction: Direction, before: float, after: float) -> float:
    """Positive when worse."""
    return before - after if direction == "higher" else after - before


def performance_evidence(
    *,
    criteria: Criteria,
    baseline: float,
    baseline_n: int | None,
    baseline_rows: ScoredRows | None,
    recent: ScoredRows,
    left_out: int = 0,
) -> PerformanceEvidence | None:
    """The loss with its interval; None where the metric is undefined on the recent rows.

    Args:
        criteria: Names metric, direction and confidence.
        baseline: Recorded at registration.
        baseline_n: Rows behind it; None takes it as exact.
        baseline_rows: A sample of them, where it is on record.
        recent: Labelled rows, in time order.
        left_out: Labelled rows not among them because the champion was trained on them.
    """
    now = value_interval(rows=recent, criteria=criteria)
    if now is None:
        return None
    error, degrees = _baseline_error(now, recent.counted(criteria), baseline_n, baseline_rows, criteria)
    se = hypot(now.se, error)
    loss = loss_of(criteria.primary.direction, baseline, now.value)
    reach = float(stats.t.ppf((1 + criteria.confidence) / 2, degrees)) * se  # pyright: ignore
    p_value = float(stats.t.sf(loss / se, degrees)) if se > 0 else float(loss <= 0)  # pyright: ignore
    return PerformanceEvidence(
        metric=criteria.primary.metric,
        direction=criteria.primary.direction,
        baseline=baseline,
        baseline_n=baseline_n,
        recent=now.value,
        loss_low=loss - reach,
        loss_high=loss + reach,
        p_value=p_value,
        since=_since(recent, criteria, baseline),
        n=recent.counted(criteria),
        counted=noun(metric_named(criteria.primary.metric, criteria.primary.direction)),
        left_out=left_out,
    )


def performance_signal(evidence: PerformanceEvidence, max_loss: float, checks_a_year: int) -> Signal:
    """The loss of the primary metric against `max_loss`; the rules stand in the module's docstring."""
    loss, low, high, p_value = evidence.loss, evidence.loss_low, evidence.loss_high, evidence.p_value
    trained = f" ({evidence.left_out:,} others were trained on and say nothing)" if evidence.left_out else ""
    if loss is None or low is None or high is None or p_value is None:
        return Signal(
            rule="performance",
            subject=evidence.metric,
            outcome="could_not_measure",
            threshold=max_loss,
            n=evidence.n,
            n_reference=evidence.baseline_n,
            unit=evidence.metric,
            statement=(
                f"{evidence.metric}: {evidence.n:,} recent {evidence.counted} have a mature label{trained}, too few to measure "
                "its loss."
            ),
        )
    outcome: Outcome = "could_not_tell"
    if p_value < ALPHA / checks_a_year and loss >= max_loss:
        outcome = "bad"
    elif high < max_loss:
        outcome = "ok"
    said = {"bad": "has lost", "ok": "holds", "could_not_tell": "may have lost, could not tell"}[outcome]
    grouped = evidence.counted == "groups" and evidence.baseline_n is not None
    then = f" on {evidence.baseline_n:,} groups" if grouped else ""
    since = evidence.since if outcome == "bad" else None
    dated = f", since {since:%Y-%m-%d}" if since is not None else ""
    return Signal(
        rule="performance",
        subject=evidence.metric,
        outcome=outcome,
        value=loss,
        low=low,
        high=high,
        threshold=max_loss,
        n=evidence.n,
        n_reference=evidence.baseline_n,
        p_value=p_value,
        method=METHOD,
        since=since,
        unit=evidence.metric,
        statement=(
            f"{evidence.metric} {said}: {evidence.recent:.4g} on {evidence.n:,} recent {evidence.counted}{trained}, "
            f"{evidence.baseline:.4g} at registration{then}, a loss of {loss:.4g} ({low:.4g} to {high:.4g}; accepted below "
            f"{max_loss:g}; p {p_value:.2g}, asked for below {ALPHA / checks_a_year:.2g}){dated}."
        ),
    )


def _baseline_error(
    now: ValueInterval, n: int, baseline_n: int | None, rows: ScoredRows | None, criteria: Criteria
) -> tuple[float, int]:
    """Standard error of the recorded baseline, and the degrees of freedom of the whole loss."""
    if baseline_n is None:
        return 0.0, now.degrees
    then = None if rows is None else value_interval(rows=rows, criteria=criteria)
    if rows is None or then is None:
        return now.se * sqrt(n / baseline_n), now.degrees
    # The value was recorded on all rows of the holdout; a sample of them errs by more than it did.
    return then.se * sqrt(min(1.0, rows.counted(criteria) / baseline_n)), min(now.degrees, then.degrees)


def _since(recent: ScoredRows, criteria: Criteria, baseline: float) -> datetime | None:
    units = recent.units
    count = int(units.max()) + 1 if recent.n else 0
    blocks = min(DATED_BLOCKS, count // MIN_DATED)
    if blocks < 2:
        return None
    edges = np.linspace(0, count, blocks + 1).astype(int)
    values = [recent.at((units >= a) & (units < b)).value(criteria) for a, b in pairwise(edges.tolist())]
    losses = np.array([loss_of(criteria.primary.direction, baseline, value) for value in values])
    if not np.isfinite(losses).all():
        return None
    gains = [(blocks - k) * max(float(losses[k:].mean()), 0.0) ** 2 for k in range(blocks)]
    if max(gains) <= 0:
        return None
    first = edges[int(np.argmax(gains))]
    return datetime.fromtimestamp(float(recent.time[units == first].min()), UTC)
