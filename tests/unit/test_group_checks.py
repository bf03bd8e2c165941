"""What is said of a ranking's groups before anything is trained."""

import pandas as pd
import pytest

from tools.adapters.group_rows import GROUP_HASH, keep_whole, whole_groups
from tools.adapters.row_digest import set_digest
from tools.contracts.evidence import Check, DatasetRef, HoldoutGroups
from tools.contracts.profile import ValidationSpec
from tools.group_checks import group_checks


def checks(**counts: int) -> dict[str, Check]:
    given = HoldoutGroups(**({"groups": 100, "telling": 80, "single": 5, "irrelevant": 10} | counts))
    found = group_checks(fold="holdout", groups=given, rows=900, group="q", target="y", spec=ValidationSpec())
    return {check.subject.split()[0]: check for check in found}


def test_groups_that_judge_pass_and_say_how_many():
    found = checks()
    assert [check.result for check in found.values()] == ["pass", "pass", "pass"]
    assert "80 of 100 groups of the holdout have rows that differ in relevance" in found["y"].statement
    assert "(5 have one row, 10 nothing relevant, 5 rows of one relevance)" in found["y"].statement


@pytest.mark.parametrize(
    ("torn", "result", "severity"),
    [(0, "pass", "warn"), (5, "pass", "warn"), (20, "fail", "warn"), (101, "fail", "block")],
)
def test_torn_groups_are_counted_and_block_where_they_are_most(torn: int, result: str, severity: str):
    found = checks(torn=torn, torn_rows=3 * torn)["torn"]
    assert (found.result, found.severity, found.counts["torn"]) == (result, severity, torn)


@pytest.mark.parametrize(
    ("lone", "result", "severity"),
    [(0, "pass", "warn"), (1, "fail", "warn"), (100, "fail", "warn"), (101, "fail", "block")],
)
def test_rows_without_a_group_block_beyond_the_nulls_that_are_accepted(lone: int, result: str, severity: str):
    found = checks(rows_without_group=lone)["q"]
    assert (found.result, found.severity) == (result, severity)


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"telling": 0}, "no order of rows is better than another"),
        ({"negative_rows": 3}, "3 values of y in the holdout lie below 0"),
        ({"not_numbers": 2}, "2 values of y in the holdout are no finite numbers"),
    ],
)
def test_relevances_that_judge_nobody_block(counts: dict[str, int], said: str):
    found = checks(**counts)["y"]
    assert (found.result, found.severity) == ("fail", "block")
    assert said in found.statement


def written(path, groups, y) -> DatasetRef:
    hashes = [f"h{number}" for number in range(len(groups))]
    frame = pd.DataFrame(
        {"at": pd.date_range("2026-01-01", periods=len(groups)), "q": groups, "y": y, "__row_hash": hashes}
    )
    frame.to_parquet(path)
    return DatasetRef(path=str(path), rows=len(frame), digest=set_digest(hashes))


def test_a_holdout_keeps_whole_groups_and_its_reference_says_what_it_lost(tmp_path):
    holdout = written(tmp_path / "holdout.parquet", ["a", "a", "b", None, "c", "d", "d"], [0, 1, 0, 1, 2, 0, 0])
    before = written(tmp_path / "before.parquet", ["z", "b", None], [0, 0, 0])
    behind = written(tmp_path / "behind.parquet", ["c"], [0])
    named = {"group": "q", "target": "y", "event_time": "at"}

    kept = keep_whole(holdout, [before.path, behind.path], **named)

    assert kept.groups == HoldoutGroups(
        groups=2, telling=1, single=0, irrelevant=1, torn=2, torn_rows=2, rows_without_group=1
    )
    assert pd.read_parquet(kept.path)["q"].tolist() == ["a", "a", "d", "d"]
    assert (kept.rows, kept.digest) == (4, set_digest(["h0", "h1", "h5", "h6"]))
    assert kept.start is not None
    assert kept.end is not None
    assert (kept.start.day, kept.end.day) == (1, 7)
    again = keep_whole(kept, [before.path, behind.path], **named)
    assert (again.rows, again.digest) == (kept.rows, kept.digest)


def test_the_group_at_the_edge_of_a_sample_is_dropped_unless_it_is_alone():
    import pyarrow as pa

    rows = pa.table({GROUP_HASH: ["1", "1", "2", "2"], "v": [1, 2, 3, 4]})
    assert whole_groups(rows).to_pydict() == {"v": [1, 2]}
    assert whole_groups(rows.slice(0, 2)).to_pydict() == {"v": [1, 2]}
