"""What does the estimate without labels say about the champion?

Held against the recorded baseline as the measured loss is: `bad` where the loss expected is at least `max_loss` and refuses
zero one-sided at 0.05 / `checks_a_year` by the error of its own backtest; `ok` where its whole interval lies below `max_loss`;
`could_not_tell` between, or where too few past blocks could tell how good it is; `could_not_measure` with the reason. An
estimate that was no better than 'as last measured' is shown with both errors, and its outcome is `could_not_tell`.
"""

from typing import Final

from scipy import stats  # pyright: ignore[reportMissingTypeStubs]

from tools.contracts.comparison import Criteria
from tools.contracts.evidence import Outcome, Signal
from tools.estimation import Estimate, NotEstimated
from tools.performance_loss import ALPHA, loss_of

_METHODS: Final = {"confidence": "confidence-based estimation", "direct loss": "direct loss estimation"}


def estimated_signal(
    *,
    estimate: Estimate | NotEstimated,
    criteria: Criteria,
    baseline: float,
    baseline_n: int | None,
    max_loss: float,
    checks_a_year: int,
) -> Signal:
    """The rule stands in the module's docstring; `value` is the loss expected."""
    metric = criteria.primary.metric
    if isinstance(estimate, NotEstimated):
        return not_estimated(metric, estimate.why, max_loss)
    loss = loss_of(criteria.primary.direction, baseline, estimate.value)
    reach = None if estimate.high is None else estimate.high - estimate.value
    low, high = (None, None) if reach is None else (loss - reach, loss + reach)
    p_value = _p_value(loss, estimate)
    outcome: Outcome = "could_not_tell"
    if estimate.reliable and p_value is not None and high is not None:
        if loss >= max_loss and p_value < ALPHA / checks_a_year:
            outcome = "bad"
        elif high < max_loss:
            outcome = "ok"
    range_ = "" if low is None or high is None else f" ({low:.4g} to {high:.4g}; accepted below {max_loss:g})"
    return Signal(
        rule="estimated_performance",
        subject=metric,
        outcome=outcome,
        value=loss,
        low=low,
        high=high,
        threshold=max_loss,
        n=estimate.n,
        n_reference=estimate.n_labelled,
        p_value=p_value,
        method=_METHODS[estimate.method],
        reliable=estimate.reliable,
        unit=metric,
        statement=(
            f"{metric} is estimated at {estimate.value:.4g} on {estimate.n:,} recent rows without a mature label, "
            f"{baseline:.4g} at registration{'' if baseline_n is None else f' ({baseline_n:,} rows)'}: a loss of "
            f"{loss:.4g}{range_}. {_trust(estimate)}"
        ),
    )


def not_estimated(metric: str, why: str, max_loss: float | None) -> Signal:
    """No estimate, and why."""
    return Signal(
        rule="estimated_performance",
        subject=metric,
        outcome="could_not_measure",
        threshold=max_loss,
        unit=metric,
        statement=f"{metric} without labels could not be estimated: {why}.",
    )


def _p_value(loss: float, estimate: Estimate) -> float | None:
    if estimate.se is None:
        return None
    if estimate.se == 0:
        return float(loss <= 0)
    return float(stats.t.sf(loss / estimate.se, estimate.blocks - 1))  # pyright: ignore


def _trust(estimate: Estimate) -> str:
    if estimate.reliable is None or estimate.error is None or estimate.error_last is None:
        return f"How reliable that is could not be told: {estimate.blocks} past blocks had labels to compare with."
    told = (
        f"over {estimate.blocks} past blocks it was off by {estimate.error:.4g} on average, 'as last measured' by "
        f"{estimate.error_last:.4g}"
    )
    return f"Reliable: {told}." if estimate.reliable else f"Not reliable: {told}, which is no clear gain."
