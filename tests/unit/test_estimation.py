"""Performance without labels, in worlds of known truth: right where the model knows its doubts, and said where it does not."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tools.contracts.comparison import Criteria
from tools.contracts.profile import MetricsSpec, PrimaryMetric
from tools.criteria import resolve_criteria
from tools.estimated_loss import estimated_signal
from tools.estimation import Estimate, NotEstimated, estimate
from tools.metrics import METRICS
from tools.scored_rows import ScoredRows

N, BLOCKS = 300, 24


def criteria(name: str, task: Any = "classification") -> Criteria:
    return resolve_criteria(
        metrics=MetricsSpec(primary=PrimaryMetric(name=name), costs={True: {False: 0.3}, 0: {1: 0.1}}),
        request=None,
        task=task,
        positive_label=None,
    )


def calibrated(shares: Any, seed: int = 0, classes: int = 2, squeeze: float = 1.0, flip: Any = 0.0) -> ScoredRows:
    """Blocks of rows; in each a share is easy, the rest hard. The stated probability is the true one, or squeezed.

    Args:
        shares: Share of easy rows, a block each.
        squeeze: 1 states the truth; less states more doubt than there is.
        flip: Chance that the label is another one than the model could know, a block each.
    """
    generator = np.random.default_rng(seed)
    easy = generator.random((len(shares), N)) < np.asarray(shares)[:, None]
    top = np.where(easy, 0.97, 0.6).ravel()
    guess = generator.integers(0, classes, top.shape[0])
    hit = generator.random(top.shape[0]) < top
    y = np.where(hit, guess, (guess + 1 + generator.integers(0, classes - 1, top.shape[0])) % classes)
    lost = generator.random(top.shape[0]) < np.broadcast_to(np.asarray(flip)[..., None], (len(shares), N)).ravel()
    y = np.where(lost, (y + 1) % classes, y)
    stated = 1 / classes + squeeze * (top - 1 / classes)
    proba = np.tile(((1 - stated) / (classes - 1))[:, None], (1, classes))
    proba[np.arange(top.shape[0]), guess] = stated
    outputs: dict[str, Any] = {"prediction": guess} | {f"proba:{c}": proba[:, c] for c in range(classes)}
    return ScoredRows.from_columns(
        task="classification",
        y=y,
        outputs=outputs,
        time=np.arange(top.shape[0], dtype=float),
        costs={"1": {"0": 0.3}, "0": {"1": 0.1}},
    )


def split(rows: ScoredRows, blocks: int = 2) -> tuple[ScoredRows, ScoredRows]:
    """Labelled rows, and the last blocks, whose labels only the test knows."""
    return rows.at(slice(0, -blocks * N)), rows.at(slice(-blocks * N, None))


def estimated(rows: ScoredRows, metric: str, delay: float = 0.0, blocks: int = 2) -> tuple[Estimate, float]:
    history, recent = split(rows, blocks)
    made = estimate(history=history, recent=recent, criteria=criteria(metric, rows.task), delay=delay)
    assert isinstance(made, Estimate), made
    return made, recent.value(criteria(metric, rows.task))


MOVING = np.random.default_rng(1).uniform(0.1, 0.9, BLOCKS)
"""The shares of easy rows come and go: 'as last measured' is a poor guess."""
CLASSIFIERS = sorted(m.name for m in METRICS.values() if m.task == "classification")


@pytest.mark.parametrize("squeeze", [1.0, 0.5], ids=["stated truly", "stated with too much doubt"])
@pytest.mark.parametrize("metric", CLASSIFIERS)
def test_model_that_knows_its_doubts_is_estimated_well_on_every_metric(metric: str, squeeze: float):
    made, truth = estimated(calibrated(MOVING, squeeze=squeeze), metric)
    assert made.value == pytest.approx(truth, abs=0.06), metric
    assert made.low is not None
    assert made.high is not None
    assert made.low <= truth <= made.high


def test_estimate_is_reliable_where_it_beats_as_last_measured():
    made, truth = estimated(calibrated(MOVING), "accuracy")
    assert made.reliable is True
    assert made.error is not None
    assert made.error_last is not None
    assert made.error < made.error_last
    assert made.value == pytest.approx(truth, abs=0.04)


def test_more_than_two_classes_are_estimated_too():
    made, truth = estimated(calibrated(MOVING, classes=4), "accuracy")
    assert made.value == pytest.approx(truth, abs=0.05)


def test_concept_that_keeps_changing_is_labelled_unreliable():
    steps = np.repeat(np.linspace(0.0, 0.45, BLOCKS // 4), 4)
    made, truth = estimated(calibrated(np.full(BLOCKS, 0.5), flip=steps), "accuracy", delay=2.0 * N)
    assert made.reliable is not True
    assert abs(made.value - truth) > 0.01


def test_concept_that_changes_only_behind_the_labels_is_not_seen_by_any_estimate():
    flip = np.r_[np.zeros(BLOCKS - 2), 0.4, 0.4]
    made, truth = estimated(calibrated(MOVING, flip=flip), "accuracy")
    assert made.value - truth > 0.15


def test_concept_that_changed_while_labels_came_is_carried_over():
    flip = np.r_[np.zeros(BLOCKS // 2), np.full(BLOCKS // 2, 0.35)]
    made, truth = estimated(calibrated(np.full(BLOCKS, 0.7), flip=flip), "accuracy")
    assert made.value == pytest.approx(truth, abs=0.05)


def test_few_blocks_cannot_tell_reliability_but_give_a_value():
    made, _ = estimated(calibrated(MOVING[:2]), "accuracy", blocks=1)
    assert (made.reliable, made.low) == (None, None)
    signal = estimated_signal(
        estimate=made, criteria=criteria("accuracy"), baseline=0.9, baseline_n=500, max_loss=0.02, checks_a_year=365
    )
    assert signal.outcome == "could_not_tell"


def regression(noise: Any, seed: int = 0) -> ScoredRows:
    """Errors as wide as the first feature says, times a factor a block."""
    generator = np.random.default_rng(seed)
    blocks = len(noise)
    centre = np.random.default_rng(2).uniform(0.5, 3.0, blocks)
    width = np.abs(generator.normal(centre[:, None], 0.3, (blocks, N))).ravel()
    prediction = generator.normal(size=width.shape[0])
    y = prediction + generator.normal(size=width.shape[0]) * width * np.repeat(noise, N)
    features = np.column_stack([width, generator.normal(size=width.shape[0])])
    return ScoredRows.from_columns(
        task="regression",
        y=y,
        outputs={"prediction": prediction},
        time=np.arange(len(y), dtype=float),
        features=features,
    )


@pytest.mark.parametrize("metric", ["mean_absolute_error", "root_mean_squared_error"])
def test_error_that_features_tell_is_estimated_directly(metric: str):
    made, truth = estimated(regression(np.ones(BLOCKS)), metric, blocks=1)
    assert made.value == pytest.approx(truth, rel=0.15)
    assert made.reliable is True


def test_feature_without_any_value_stops_no_estimate():
    rows = regression(np.ones(BLOCKS))
    assert rows.features is not None
    empty = np.full((rows.n, 1), np.nan)
    made, truth = estimated(
        replace(rows, features=np.column_stack([empty, rows.features])), "mean_absolute_error", blocks=1
    )
    assert made.value == pytest.approx(truth, rel=0.15)


def test_error_that_no_feature_tells_is_not_called_reliable():
    steps = np.repeat([1.0, 3.0, 0.6, 4.0, 0.8, 3.5], 4)
    made, _ = estimated(regression(steps), "mean_absolute_error", blocks=1, delay=float(N))
    assert made.reliable is not True


@pytest.mark.parametrize("metric", ["r2", "median_absolute_error"])
def test_metric_that_is_no_mean_of_losses_is_named(metric: str):
    history, recent = split(regression(np.ones(BLOCKS)))
    made = estimate(history=history, recent=recent, criteria=criteria(metric, "regression"))
    assert isinstance(made, NotEstimated)
    assert metric in made.why


def without_probabilities(rows: ScoredRows) -> ScoredRows:
    return ScoredRows.from_columns(
        task="classification", y=rows.sample.y, outputs={"prediction": rows.sample.prediction}, time=rows.time
    )


@pytest.mark.parametrize(
    ("history", "recent", "why"),
    [
        (slice(0, 50), slice(-N, None), "50 labelled rows"),
        (slice(0, -N), slice(0, 0), "no row waits"),
    ],
)
def test_what_cannot_be_estimated_says_why(history: slice, recent: slice, why: str):
    rows = calibrated(MOVING)
    made = estimate(history=rows.at(history), recent=rows.at(recent), criteria=criteria("accuracy"))
    assert isinstance(made, NotEstimated)
    assert why in made.why


def test_model_without_probabilities_is_not_estimated():
    history, recent = split(without_probabilities(calibrated(MOVING)))
    made = estimate(history=history, recent=recent, criteria=criteria("accuracy"))
    assert made == NotEstimated("the model gives no probabilities")


# --- what follows from it


def judged(made: Estimate | NotEstimated, baseline: float = 0.95) -> Any:
    return estimated_signal(
        estimate=made,
        criteria=criteria("accuracy"),
        baseline=baseline,
        baseline_n=2000,
        max_loss=0.05,
        checks_a_year=365,
    )


def an_estimate(value: float, se: float = 0.005, reliable: bool | None = True) -> Estimate:
    return Estimate(
        value=value,
        method="confidence",
        n=500,
        n_labelled=4000,
        low=value - 2 * se,
        high=value + 2 * se,
        se=se,
        blocks=12,
        error=0.01,
        error_last=0.03,
        reliable=reliable,
    )


@pytest.mark.parametrize(
    ("made", "outcome"),
    [
        (an_estimate(0.80), "bad"),
        (an_estimate(0.95), "ok"),
        (an_estimate(0.90, se=0.03), "could_not_tell"),
        (an_estimate(0.80, reliable=False), "could_not_tell"),
        (an_estimate(0.95, reliable=False), "could_not_tell"),
        (NotEstimated("the model gives no probabilities"), "could_not_measure"),
    ],
)
def test_estimate_has_four_outcomes_and_only_a_reliable_one_says_good_or_bad(made: Any, outcome: str):
    assert judged(made).outcome == outcome


def test_unreliable_estimate_says_both_errors():
    told = judged(an_estimate(0.8, reliable=False)).statement
    assert "Not reliable" in told
    assert "0.01" in told
    assert "0.03" in told
