"""What a report draws: of known rows, known numbers."""

from typing import Any

import numpy as np
import pytest

from tests.unit.report_samples import comparison, metric
from tools.paired_rows import PairedRows
from tools.report_figures import MAX_STRETCHES, calibration, error_over_time, figures, wilson, worst_first

DAY = 86_400.0


def binary(y: Any, champion: Any, candidate: Any) -> PairedRows:
    """Labels and both models' probabilities of class 1."""

    def side(one: Any) -> dict[str, Any]:
        one = np.asarray(one, dtype=float)
        return {"prediction": (one > 0.5).astype(int), "proba:0": 1 - one, "proba:1": one}

    return PairedRows.from_columns(task="classification", y=y, baseline=side(champion), candidate=side(candidate))


def regression(y: Any, champion: Any, candidate: Any) -> PairedRows:
    return PairedRows.from_columns(
        task="regression", y=y, baseline={"prediction": champion}, candidate={"prediction": candidate}
    )


def test_calibration_bins_hold_every_row_and_a_calibrated_model_lies_on_the_diagonal() -> None:
    random = np.random.default_rng(7)
    stated = random.uniform(size=20_000)
    y = (random.uniform(size=stated.size) < stated).astype(int)

    found = calibration(binary(y, stated, stated**3), None)

    assert found is not None
    champion, candidate = found.curves
    assert found.about == "class 1"
    assert sum(one.n for one in champion.bins) == sum(one.n for one in candidate.bins) == stated.size
    # Ten intervals of 95 %: at the most two may miss by chance; the cube is off by far more than that.
    on_line = [one.low <= one.stated <= one.high for one in champion.bins]
    off_line = [one.low <= one.stated <= one.high for one in candidate.bins]
    assert sum(on_line) >= 8
    assert sum(off_line) <= 2


def test_probabilities_that_are_missing_or_outside_are_counted_and_not_drawn() -> None:
    stated = np.tile([0.2, 0.8], 50)
    broken = stated.copy()
    broken[0], broken[1] = np.nan, 1.7

    found = calibration(binary(np.tile([0, 1], 50), stated, broken), None)

    assert found is not None
    assert [(curve.side, curve.left_out, sum(b.n for b in curve.bins)) for curve in found.curves] == [
        ("champion", 0, 100),
        ("candidate", 2, 98),
    ]


def test_many_classes_are_judged_by_the_likeliest_one() -> None:
    y = np.array(["a", "b", "c"] * 40)
    sure = {f"proba:{name}": np.where(y == name, 0.8, 0.1) for name in "abc"}
    unsure = {f"proba:{name}": np.full(y.size, 0.4 if name == "a" else 0.3) for name in "abc"}

    rows = PairedRows.from_columns(
        task="classification",
        y=y,
        baseline={"prediction": ["a"] * y.size, **unsure},
        candidate={"prediction": y, **sure},
    )
    found = calibration(rows, None)

    assert found is not None
    assert found.about == "the likeliest class is right"
    assert [curve.bins[-1].observed for curve in found.curves] == [pytest.approx(1 / 3), 1.0]


def test_regression_and_models_without_probabilities_have_no_curve() -> None:
    plain = PairedRows.from_columns(
        task="classification", y=[0, 1], baseline={"prediction": [0, 1]}, candidate={"prediction": [1, 1]}
    )

    assert calibration(plain, None) is None
    assert calibration(regression([1.0, 2.0], [1.0, 2.0], [1.0, 3.0]), None) is None


def test_wilson_interval_of_a_share() -> None:
    # Wilson 1927 / Newcombe 1998, table I: 81 of 263 and 0 of 20.
    assert wilson(81, 263) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
    assert wilson(0, 20) == (pytest.approx(0.0, abs=1e-12), pytest.approx(0.1611, abs=1e-4))


@pytest.mark.parametrize("days", [0.0, 0.5, 30.0, 400.0, 40_000.0])
def test_stretches_of_time_cover_every_dated_row(days: float) -> None:
    n = 2_000
    seconds = 1_700_000_000 + np.linspace(0, days * DAY, n)
    y = np.arange(n, dtype=float)

    found = error_over_time(regression(y, y + 2, y - 1), seconds)

    assert found is not None
    assert sum(one.rows for one in found.bins) == sum(one.n for one in found.bins) == n
    assert len(found.bins) <= MAX_STRETCHES + 1
    assert all(one.end == after.start for one, after in zip(found.bins, found.bins[1:], strict=False))
    assert {(one.champion, one.candidate) for one in found.bins} == {(2.0, 1.0)}
    assert found.bins[0].start.timestamp() <= seconds[0]
    assert found.bins[-1].end.timestamp() >= seconds[-1]


def test_missing_predictions_labels_and_times_are_counted_and_averaged_over_nobody() -> None:
    n = 400
    seconds = np.linspace(0, 10 * DAY, n)
    champion, candidate, y = np.zeros(n), np.ones(n), np.zeros(n)
    seconds[:7], candidate[10:20], y[20:25] = np.nan, np.nan, np.nan
    candidate[25:30] = np.inf

    found = error_over_time(regression(y, champion, candidate), seconds)

    assert found is not None
    assert found.undated == 7
    assert sum(one.rows for one in found.bins) == n - 7
    assert sum(one.n for one in found.bins) == n - 7 - 20
    assert {(one.champion, one.candidate) for one in found.bins} == {(0.0, 1.0)}


def test_stretch_without_a_judged_row_has_no_error_and_rows_without_times_have_no_plot() -> None:
    seconds = np.concatenate([np.linspace(0, DAY, 500), np.linspace(9 * DAY, 10 * DAY, 500)])
    y = np.zeros(1_000)

    found = error_over_time(regression(y, y, y), seconds)

    assert found is not None
    assert any(one.rows == 0 and one.champion is None for one in found.bins)
    assert error_over_time(regression(y, y, y), np.full(1_000, np.nan)) is None


def test_figures_survive_their_own_json() -> None:
    stated = np.linspace(0.01, 0.99, 200)
    made = figures(
        rows=binary((stated > 0.5).astype(int), stated, stated[::-1]),
        seconds=np.linspace(0, DAY, 200),
        positive_label="1",
        holdout_digest="d",
    )

    assert type(made).model_validate_json(made.model_dump_json(by_alias=True, exclude_none=True)) == made


def test_slices_stand_worst_first_whether_declared_or_found() -> None:
    slices = [
        metric("improved", role="slice", value="fine"),
        metric("regressed", role="slice", value="bad", low=-0.1),
        metric("no_data", role="slice", value="unknown"),
        metric("regressed", role="found_slice", value="worse", low=-0.3),
        metric("inconclusive", role="slice", value="open"),
    ]

    found = worst_first(comparison(metric("improved"), *slices))

    assert [item.criterion.slice_value for item in found] == ["worse", "bad", "unknown", "open", "fine"]
