"""The speed evals run: small tables through the real tasks, and intervals that say what they should."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from evals.speed import compare
from evals.speed._measured import Cost, run
from evals.speed._tables import FIFTY, GROUP, TWENTY, write
from evals.speed.drift import _against, _slope, ratio_of


def cost(cpu: float, peak: float) -> Cost:
    return Cost(cpu=cpu, seconds=cpu, task_cpu=cpu, peak=peak, before=50.0, tree_peak=peak, told={})


def test_tables_are_the_same_for_a_seed_and_written_in_groups(tmp_path: Path) -> None:
    one, same, other = (
        write(tmp_path / f"{name}.parquet", GROUP + 10, TWENTY, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )

    file = pq.ParquetFile(one)
    assert (file.metadata.num_rows, file.metadata.num_row_groups) == (GROUP + 10, 2)
    assert set(TWENTY.names("all")) | {"at", "y"} == set(file.schema_arrow.names)
    assert pq.read_table(one).equals(pq.read_table(same))
    assert not pq.read_table(one).equals(pq.read_table(other))


def test_fifty_columns_are_fifty() -> None:
    assert (len(FIFTY.names("all")), len(TWENTY.names("all"))) == (50, 20)


@pytest.mark.reliability
def test_ours_runs_from_file_to_verdict_in_a_process_of_its_own(tmp_path: Path) -> None:
    for name, seed in (("reference", 1), ("current", 2)):
        write(tmp_path / f"{name}.parquet", 3_000, TWENTY, seed=seed)

    found = run("ours", folder=str(tmp_path), columns=TWENTY.names("all"), sample=1_000)

    assert found.told == {"columns": 20, "drifted": 0, "sampled": [1_000, 1_000]}
    assert found.cpu > found.task_cpu > 0
    assert found.tree_peak >= found.peak > found.before > 0


def test_failed_task_is_told(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="ours failed"):
        run("ours", folder=str(tmp_path), columns=["num_00"], sample=10)


def test_target_is_met_only_where_the_whole_interval_says_so() -> None:
    steady = _against("x", [cost(1.0, 100.0), cost(1.1, 101.0)], [cost(50.0, 900.0), cost(52.0, 910.0)], 15.0)
    erratic = _against("x", [cost(1.0, 100.0), cost(9.0, 800.0)], [cost(50.0, 900.0), cost(52.0, 910.0)], 15.0)
    slow = _against("x", [cost(30.0, 890.0), cost(31.0, 890.0)], [cost(50.0, 900.0), cost(52.0, 910.0)], 15.0)

    assert [[row.met for row in rows[:2]] for rows in (steady, erratic, slow)] == [
        [True, True],
        [None, None],
        [False, False],
    ]


def test_one_run_of_each_has_no_interval() -> None:
    assert ratio_of([1.0], [20.0]) == (pytest.approx(0.05), None, None)


def test_slope_of_time_that_grows_as_rows_do_is_one() -> None:
    slope, low, high = _slope([(1_000, 1.0), (10_000, 10.0), (100_000, 100.0)])

    assert (slope, low, high) == (pytest.approx(1.0), pytest.approx(1.0), pytest.approx(1.0))


def drawn(cpu: float, width: float) -> list[Cost]:
    told = {"rows": 10, "drawn": 5, "cpu": cpu, "width": width}
    return [Cost(cpu=cpu, seconds=cpu, task_cpu=cpu, peak=100.0, before=50.0, tree_peak=100.0, told=told)] * 2


def ours(cpu: float, width: float) -> list[Cost]:
    one = f"{compare.COLUMNS[0]}={compare.COLUMNS[0]}-0"
    widths = {name: width for metric in compare.METRICS for name in (metric, f"{metric}/{one}")}
    told = {"intervals": 105, "widths": widths}
    return [Cost(cpu=cpu, seconds=cpu, task_cpu=cpu, peak=500.0, before=50.0, tree_peak=500.0, told=told)] * 2


def test_wider_intervals_of_ours_are_not_counted_as_faster() -> None:
    def times(width: float) -> float:
        whole = {metric: drawn(100.0, 1.0) for metric in compare.METRICS}
        sliced = {metric: drawn(10.0, 1.0) for metric in compare.METRICS}
        found = compare.rows_of(1_000, 20.0, ours(1.0, 1.0), ours(10.0, width), ours(20.0, width), whole, sliced)
        assert found[2].value == 480.0
        return found[1].value

    assert times(1.0) == pytest.approx((5 * 100 + 20 * 5 * 10) / 20)
    assert times(2.0) == pytest.approx(times(1.0) / 4)
    assert times(0.5) == pytest.approx(times(1.0))


@pytest.mark.reliability
def test_duel_and_scipy_give_intervals_of_like_width_on_the_same_rows(tmp_path: Path) -> None:
    folder = str(tmp_path)
    run("duel_write", folder=folder, rows=6_000)

    mine = run("duel", folder=folder, duels=[["log_loss", "roc_auc"]])
    theirs = run("duel_scipy", folder=folder, metric="log_loss", slice=False, seed=0, timed=400, resamples=800)

    assert mine.told["intervals"] == 22
    assert theirs.told["rows"] == 6_000
    assert theirs.told["cpu"] > 0
    assert mine.told["widths"]["log_loss"] == pytest.approx(theirs.told["width"], rel=0.3)
