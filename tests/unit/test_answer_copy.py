"""Answers in segment files, copied into a folder of Parquet: each request of a version once, whatever is killed, full or late."""

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.answers import OPEN, answer, copier, written
from tools.adapters.appended_table import AppendedTable
from tools.adapters.serving.answer_copy import Copied, CopiedLog
from tools.adapters.serving.answer_log import SEGMENTS_KEPT, Segments
from tools.adapters.serving.segments import SegmentLog
from tools.adapters.traffic_log import IbisTrafficLog
from tools.errors import BadInput, RetrainingError, Unavailable


def table(root: Path) -> pd.DataFrame:
    found = pd.read_parquet(root / "answers-table")
    return found.sort_values(["version", "request_id"]).reset_index(drop=True)


def names(root: Path) -> list[tuple[str, str]]:
    return list(zip(table(root)["version"], table(root)["request_id"], strict=True))


def test_answers_of_all_versions_and_segments_are_copied_whole_and_once(tmp_path: Path):
    written(tmp_path, "6", [answer(1, "6"), answer(2, "6")], "1")
    written(tmp_path, "6", [answer(3, "6")], "2")
    written(tmp_path, "7", [answer(1, "7", mirrored=True, failed=True, prediction=None, probability=0.5)], "1")
    copies = copier(tmp_path)
    assert copies.copy(wait=True) == Copied(added=4)
    assert copies.waiting() == 0
    assert copies.copy(wait=True) == Copied()
    written(tmp_path, "6", [answer(4, "6")], "2")
    assert copies.waiting() > 0
    assert copier(tmp_path).copy(wait=True) == Copied(added=1)
    assert names(tmp_path) == [("6", "q1"), ("6", "q2"), ("6", "q3"), ("6", "q4"), ("7", "q1")]
    last = table(tmp_path).iloc[-1]
    assert (last["mirrored"], last["failed"], last["probability"]) == (True, True, 0.5)
    assert pd.isna(last["prediction"])
    assert last["at"] == pd.Timestamp(1.0, unit="s", tz="UTC")


@pytest.mark.parametrize("lost", ["offsets", "one version of the offsets"])
def test_copy_killed_behind_the_append_and_before_the_offsets_adds_nothing_twice(tmp_path: Path, lost: str):
    written(tmp_path, "6", [answer(1, "6"), answer(2, "6")], "1")
    written(tmp_path, "7", [answer(1, "7")], "1")
    copier(tmp_path).copy(wait=True)
    offsets = tmp_path / "copied.json"
    if lost == "offsets":
        offsets.unlink()
    else:
        state = json.loads(offsets.read_text())
        offsets.write_text(json.dumps({"7": state["7"]}))
    written(tmp_path, "6", [answer(3, "6")], "1")
    assert copier(tmp_path).copy(wait=True).added == 1
    assert names(tmp_path) == [("6", "q1"), ("6", "q2"), ("6", "q3"), ("7", "q1")]


def test_request_id_that_comes_again_counts_once_a_version_and_its_first_answer_stands(tmp_path: Path):
    written(tmp_path, "6", [answer(1, "6"), answer(1, "6", prediction="later")], "1")
    copies = copier(tmp_path)
    assert copies.copy(wait=True) == Copied(added=1, known=1)
    written(tmp_path, "6", [answer(1, "6", prediction="later still")], "1")
    assert copies.copy(wait=True) == Copied(added=0, known=1)
    assert table(tmp_path)["prediction"].tolist() == ["good"]


def test_line_under_way_is_copied_once_it_is_whole(tmp_path: Path):
    whole = json.dumps(answer(2, "6"))
    written(tmp_path, "6", [answer(1, "6")], "1", end=whole[:20])
    copies = copier(tmp_path)
    assert copies.copy(wait=True) == Copied(added=1)
    with (tmp_path / "answers" / "6" / "1.jsonl").open("a") as file:
        file.write(whole[20:] + "\n")
    assert copies.copy(wait=True) == Copied(added=1)


def test_many_answers_are_copied_piece_by_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(tmp_path, "6", [answer(n, "6") for n in range(50)], "1")
    monkeypatch.setattr("tools.adapters.serving.answer_copy.AT_ONCE", 1_000)
    assert copier(tmp_path).copy(wait=True) == Copied(added=50)
    assert len(list((tmp_path / "answers-table").glob("*.parquet"))) > 3
    assert len(table(tmp_path)) == 50


def test_ids_that_no_database_would_take_stop_no_copy(tmp_path: Path):
    written(tmp_path, "6", [answer(1, "6", id="a\0b"), answer(1, "6", id="a\ud800b"), answer(2, "6")], "1")
    assert copier(tmp_path).copy(wait=True) == Copied(added=3)


def test_numbers_of_a_regression_are_numbers_and_nonsense_is_counted(tmp_path: Path):
    written(tmp_path, "6", [answer(1, "6", prediction=2), answer(2, "6", prediction="nonsense")], "1")
    assert copier(tmp_path, "regression").copy(wait=True) == Copied(added=2, odd=1)
    assert table(tmp_path)["prediction"].fillna(-1).tolist() == [2.0, -1.0]


def test_clock_that_jumps_loses_no_answer_and_doubles_none(tmp_path: Path):
    written(tmp_path, "6", [answer(1, "6", at=10**9), answer(2, "6", at=5.0)], "1")
    copies = copier(tmp_path)
    assert copies.copy(wait=True).added == 2
    written(tmp_path, "6", [answer(3, "6", at=1.0), answer(1, "6", at=10**9)], "1")
    assert copies.copy(wait=True) == Copied(added=1, known=1)
    assert names(tmp_path) == [("6", "q1"), ("6", "q2"), ("6", "q3")]


def test_segments_dropped_before_they_were_copied_are_told(tmp_path: Path):
    written(tmp_path, "6", [answer(1, "6")], "1")
    copies = copier(tmp_path)
    copies.copy(wait=True)
    (tmp_path / "answers" / "6" / "1.jsonl").unlink()
    written(tmp_path, "6", [answer(9, "6")], "9")
    assert copies.copy(wait=True) == Copied(added=1, gaps=("6",))
    assert copies.copy(wait=True) == Copied()


def test_second_process_does_not_copy_at_the_same_time(tmp_path: Path):
    written(tmp_path, "6", [answer(1, "6")], "1")
    with copier(tmp_path)._alone(wait=True):
        assert copier(tmp_path).copy(wait=False) == Copied(busy=True)
    assert copier(tmp_path).copy(wait=False) == Copied(added=1)


class Full(AppendedTable):
    """A table on a full disk."""

    def append(self, rows: Any) -> int:
        raise Unavailable("No space left on device", thing="target.answers")


class Broken(AppendedTable):
    """A table that takes no such row."""

    def append(self, rows: Any) -> int:
        raise BadInput("price is of type string", thing="target.answers")


@pytest.mark.parametrize("kind", [Full, Broken])
def test_table_that_takes_nothing_stops_no_look_and_is_told(tmp_path: Path, kind: type[AppendedTable]):
    written(tmp_path, "6", [answer(1, "6")], "1")
    told: list[str] = []
    broken = copier(tmp_path, kind=kind)
    with pytest.raises(RetrainingError):
        broken.copy(wait=True)
    log = CopiedLog(SegmentLog(tmp_path / "answers"), broken, told.append)
    seen = log.observations(["6"], datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(100, UTC), 10)
    assert seen.request_id.tolist() == ["q1"]
    assert len(told) == 1
    assert "wait in the servers' own log" in told[0]
    mended = CopiedLog(SegmentLog(tmp_path / "answers"), copier(tmp_path), told.append)
    mended.observations(["6"], datetime.fromtimestamp(0, UTC), datetime.fromtimestamp(100, UTC), 10)
    assert names(tmp_path) == [("6", "q1")]


def test_copied_table_reads_back_as_a_log_of_answers(tmp_path: Path):
    rows = [answer(1, "6"), answer(2, "6", prediction=None, failed=True), answer(3, "6", prediction=True)]
    written(tmp_path, "6", rows, "1")
    copier(tmp_path).copy(wait=True)
    until = datetime.fromtimestamp(100, UTC)
    log = IbisTrafficLog(OPEN, None, tmp_path)
    seen = log.observations(["6"], until - timedelta(days=1), until, 10)
    own = SegmentLog(tmp_path / "answers").observations(["6"], until - timedelta(days=1), until, 10)
    assert seen.request_id.tolist() == own.request_id.tolist()
    assert seen.at.tolist() == own.at.tolist()
    assert seen.failed.tolist() == own.failed.tolist()
    assert seen.latency_ms.tolist() == own.latency_ms.tolist()
    assert seen.prediction.tolist() == ["good", None, "1"]


# --- the servers' own files ----------------------------------------------------------------------------------------


class OnFullDisk(Segments):
    """Takes `room` bytes, then what the system says of a full disk."""

    room = 0

    def _put(self, content: bytes) -> int:
        if self.room == 0:
            raise OSError(28, "No space left on device")
        taken = content[: self.room]
        self.room -= len(taken)
        return os.write(self._file, taken)


def logged(log: Segments, number: int, rows: int = 1) -> None:
    log.append(f"q{number}", False, False, 1.0, [0.5] * rows, None)


def kept(folder: Path) -> list[str]:
    seen = SegmentLog(folder).observations(
        ["6"], datetime.fromtimestamp(0, UTC), datetime(9999, 1, 1, tzinfo=UTC), 1000
    )
    return sorted(seen.request_id.tolist())


def test_full_disk_costs_lines_that_are_counted_and_no_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    log = OnFullDisk(tmp_path / "6", "6")
    logged(log, 0)
    assert (log.lost, kept(tmp_path)) == (1, [])
    log.room = 10**6
    logged(log, 1)
    log.room = 20
    logged(log, 2)
    logged(log, 3, rows=3)
    assert (log.lost, kept(tmp_path)) == (1 + 1 + 3, ["q1"])
    log.room = 10**6
    logged(log, 4)
    assert (log.lost, kept(tmp_path)) == (5, ["q1", "q4"])
    assert "No space left on device" in capsys.readouterr().err


def test_rows_of_an_answer_that_were_written_before_the_disk_was_full_are_not_counted_as_lost(tmp_path: Path):
    log = OnFullDisk(tmp_path / "6", "6")
    log.room = 10**6
    logged(log, 1, rows=2)
    length = next((tmp_path / "6").glob("*.jsonl")).stat().st_size
    log.room = length + 10
    logged(log, 2, rows=4)
    assert (log.lost, kept(tmp_path)) == (2, ["q1#0", "q1#1", "q2#0", "q2#1"])


def test_a_real_device_without_room_costs_no_answer(tmp_path: Path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    log = Segments(tmp_path / "6", "6")
    logged(log, 1)
    os.dup2(device := os.open("/dev/full", os.O_WRONLY), log._file)
    os.close(device)
    logged(log, 2)
    logged(log, 3)
    assert (log.lost, kept(tmp_path)) == (2, ["q1"])
    os.close(log._file)


def test_clock_put_back_drops_the_oldest_segment_and_never_the_one_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("tools.adapters.serving.answer_log.SEGMENT_BYTES", 1)
    ahead = time.time_ns() + 10**15
    (tmp_path / "6").mkdir()
    for number in range(SEGMENTS_KEPT):
        (tmp_path / "6" / f"{ahead + number:020d}-1.jsonl").write_text("")
    log = Segments(tmp_path / "6", "6")
    logged(log, 1)
    logged(log, 2)
    files = sorted((tmp_path / "6").glob("*.jsonl"))
    assert (kept(tmp_path), len(files)) == (["q1", "q2"], SEGMENTS_KEPT)
    assert files[0].name == f"{ahead + 2:020d}-1.jsonl"
    os.close(log._file)
