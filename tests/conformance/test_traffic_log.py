"""One suite for every log of answers: arrays in memory, and the same rows as Parquet and as CSV through Ibis."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tools.adapters.memory_target import MemoryTrafficLog
from tools.adapters.traffic_log import IbisTrafficLog
from tools.contracts.profile import LabelSpec, TrafficLogSpec
from tools.errors import BadInput, Unavailable
from tools.label_join import Labels, with_labels
from tools.observations import Observations, thinned
from tools.ports import TrafficLog

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
FULL = TrafficLogSpec(
    source="log", failed="failed", latency_ms="latency_ms", probability="probability", mirrored="mirrored"
)
LABELS = LabelSpec(source="labels")


def after(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def answers(count: int = 6, **changes: Any) -> pd.DataFrame:
    """An answer a second, versions 6 and 7 in turn."""
    made = {
        "request_id": [f"q{i}" for i in range(count)],
        "version": ["6" if i % 2 == 0 else "7" for i in range(count)],
        "at": pd.to_datetime([after(i) for i in range(count)], utc=True),
        "failed": [False] * count,
        "latency_ms": [float(i) for i in range(count)],
        "prediction": ["good" if i % 3 == 0 else "poor" for i in range(count)],
        "probability": [i / 10 for i in range(count)],
        "mirrored": [i % 2 == 1 for i in range(count)],
    }
    return pd.DataFrame(made | changes)


def labels(*rows: tuple[str | None, Any, float | None]) -> pd.DataFrame:
    made = [(name, label, pd.NaT if at is None else pd.Timestamp(after(at))) for name, label, at in rows]
    table = pd.DataFrame(made, columns=["request_id", "label", "at"])
    return table.assign(at=pd.to_datetime(table["at"], utc=True))


def in_memory(folder: Path, log: pd.DataFrame, known: pd.DataFrame | None) -> TrafficLog:
    """Joined once and for all by the shared rule; the log hides what was known only later."""
    log = log.sort_values("at")
    rows = Observations(
        request_id=log["request_id"].to_numpy(object),
        version=log["version"].to_numpy(object),
        at=np.array([each.timestamp() for each in log["at"]]),
        mirrored=log["mirrored"].to_numpy(bool),
        failed=log["failed"].to_numpy(bool),
        latency_ms=log["latency_ms"].to_numpy(float),
        prediction=log["prediction"].astype(object).where(log["prediction"].notna(), None).to_numpy(object),
        probability=log["probability"].to_numpy(float),
        label=np.full(len(log), None, dtype=object),
        label_at=np.full(len(log), np.nan),
    )
    if known is not None:
        at = np.array([np.nan if pd.isna(each) else each.timestamp() for each in known["at"]])
        given = Labels(known["request_id"].to_numpy(object), known["label"].to_numpy(object), at)
        rows = with_labels(rows, given, np.inf)
    return MemoryTrafficLog(rows)


def parquet(folder: Path, log: pd.DataFrame, known: pd.DataFrame | None) -> IbisTrafficLog:
    log.to_parquet(folder / "log.parquet")
    if known is not None:
        known.to_parquet(folder / "labels.parquet")
    return over(folder, "parquet")


def csv(folder: Path, log: pd.DataFrame, known: pd.DataFrame | None) -> IbisTrafficLog:
    log.to_csv(folder / "log.csv", index=False)
    if known is not None:
        known.to_csv(folder / "labels.csv", index=False)
    return over(folder, "csv")


def over(folder: Path, ending: str, log: TrafficLogSpec = FULL, known: LabelSpec | None = LABELS) -> IbisTrafficLog:
    named = log.model_copy(update={"source": f"log.{ending}"})
    joined = None if known is None else known.model_copy(update={"source": f"labels.{ending}"})
    return IbisTrafficLog(named, joined, folder)


Make = Callable[[Path, pd.DataFrame, pd.DataFrame | None], TrafficLog]


@pytest.fixture(params=[in_memory, parquet, csv], ids=["memory", "parquet", "csv"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., TrafficLog]:
    return lambda log, known=None: request.param(tmp_path, log, known)


def seen(log: TrafficLog, *, until: float = 100, since: float = 0, limit: int = 1000) -> Observations:
    return log.observations(["6", "7"], after(since), after(until), limit)


def test_every_answer_in_the_window_comes_whole_and_in_order_of_time(make: Callable[..., TrafficLog]):
    rows = seen(make(answers().sample(frac=1, random_state=1)))
    assert rows.request_id.tolist() == [f"q{i}" for i in range(6)]
    assert rows.version.tolist() == ["6", "7"] * 3
    assert rows.at.tolist() == [after(i).timestamp() for i in range(6)]
    assert rows.mirrored.tolist() == [False, True] * 3
    assert rows.latency_ms.tolist() == [0, 1, 2, 3, 4, 5]
    assert rows.probability.tolist() == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert rows.prediction.tolist() == ["good", "poor", "poor", "good", "poor", "poor"]
    assert not rows.failed.any()
    assert rows.label.tolist() == [None] * 6
    assert np.isnan(rows.label_at).all()
    assert not rows.cut


def test_the_window_holds_its_first_moment_and_not_its_last(make: Callable[..., TrafficLog]):
    rows = seen(make(answers()), since=1, until=4)
    assert rows.request_id.tolist() == ["q1", "q2", "q3"]


def test_answers_of_the_future_are_left_out_as_after_a_jump_of_the_clock(make: Callable[..., TrafficLog]):
    times = pd.to_datetime([after(0), after(1), after(10**8), after(3), after(4), after(5)], utc=True)
    assert "q2" not in seen(make(answers(at=times))).request_id.tolist()


def test_answers_of_other_versions_are_left_out(make: Callable[..., TrafficLog]):
    rows = make(answers(version=["5", "6", "7", "8", "6", "7"])).observations(["7"], after(0), after(100), 10)
    assert rows.request_id.tolist() == ["q2", "q5"]


def test_no_version_asked_gives_no_row(make: Callable[..., TrafficLog]):
    assert len(make(answers()).observations([], after(0), after(100), 10)) == 0


def test_of_many_answers_all_logs_read_the_same_part_and_a_later_look_reads_that_and_more(
    make: Callable[..., TrafficLog],
):
    log = make(answers(900, request_id=[f"q{i // 2}" for i in range(900)]))  # each request is answered by both
    rows = [seen(log, until=until, limit=50) for until in (80, 300, 600, 900)]
    read = [list(zip(each.request_id, each.version, strict=True)) for each in rows]
    assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(read))
    assert {name for name, version in read[-1] if version == "6"} == {
        name for name, version in read[-1] if version == "7"
    }
    kept = thinned([f"q{i}" for i in range(450)], 50)
    assert [name for name, version in read[-1] if version == "7"] == [f"q{i}" for i in range(450) if kept[i]]
    assert [each.cut for each in rows] == [False, True, True, True]


def test_each_version_is_thinned_by_its_own_number_of_answers(make: Callable[..., TrafficLog]):
    rows = seen(make(answers(100, version=["6"] * 97 + ["7"] * 3)), limit=3)
    assert rows.request_id.tolist()[-3:] == ["q97", "q98", "q99"]
    assert sum(rows.version == "6") < 20


def test_a_label_joins_both_answers_of_its_request_whatever_its_delay(make: Callable[..., TrafficLog]):
    twice = answers(4, request_id=["q0", "q0", "q1", "q1"])
    rows = seen(make(twice, labels(("q0", "good", 50_000), ("q1", "poor", 7))), until=60_000)
    assert rows.label.tolist() == ["good", "good", "poor", "poor"]
    assert rows.label_at.tolist() == [after(50_000).timestamp()] * 2 + [after(7).timestamp()] * 2


def test_a_label_known_only_later_is_hidden(make: Callable[..., TrafficLog]):
    log = make(answers(2), labels(("q0", "good", 10), ("q1", "poor", 30)))
    assert seen(log, until=20).label.tolist() == ["good", None]
    assert seen(log, until=30).label.tolist() == ["good", "poor"]


def test_of_labels_that_came_twice_the_first_counts_and_they_are_counted(make: Callable[..., TrafficLog]):
    rows = seen(make(answers(2), labels(("q0", "late", 9), ("q0", "first", 5), ("q0", "later", 12), ("q1", "poor", 6))))
    assert rows.label.tolist() == ["first", "poor"]
    assert rows.doubled_labels == 2


def test_labels_that_match_no_request_are_counted_a_request_once(make: Callable[..., TrafficLog]):
    rows = seen(
        make(answers(2), labels(("lost", "good", 5), ("lost", "poor", 6), ("gone", "poor", 6), ("q0", "poor", 6)))
    )
    assert rows.orphan_labels == 2
    assert rows.label.tolist() == ["poor", None]


def test_rows_without_id_label_or_time_are_no_labels(make: Callable[..., TrafficLog]):
    rows = seen(make(answers(3), labels((None, "good", 5), ("q0", None, 6), ("q1", "poor", None), ("q2", "good", 8))))
    assert rows.label.tolist() == [None, None, "good"]
    assert (rows.orphan_labels, rows.doubled_labels) == (0, 0)


def test_missing_numbers_are_nan_and_a_missing_prediction_is_none(make: Callable[..., TrafficLog]):
    gaps = answers(
        2, prediction=[None, "poor"], latency_ms=[np.nan, 1], probability=[0.5, np.nan], failed=[True, False]
    )
    rows = seen(make(gaps))
    assert rows.prediction.tolist() == [None, "poor"]
    assert np.isnan(rows.latency_ms).tolist() == [True, False]
    assert np.isnan(rows.probability).tolist() == [False, True]
    assert rows.failed.tolist() == [True, False]


# --- what only tables do -----------------------------------------------------------------------------------------


def test_a_log_that_does_not_exist_yet_is_empty(tmp_path: Path):
    assert len(seen(over(tmp_path, "parquet"))) == 0
    (tmp_path / "log").mkdir()
    assert len(seen(IbisTrafficLog(FULL, None, tmp_path))) == 0
    (tmp_path / "log.csv").touch()
    assert len(seen(over(tmp_path, "csv"))) == 0


def test_labels_before_any_answer_are_orphans(tmp_path: Path):
    labels(("q0", "good", 5)).to_parquet(tmp_path / "labels.parquet")
    assert seen(over(tmp_path, "parquet")).orphan_labels == 1


def test_a_log_without_labels_yet_has_none(tmp_path: Path):
    rows = seen(parquet(tmp_path, answers(2), None))
    assert (rows.label.tolist(), rows.orphan_labels) == ([None, None], 0)


def test_a_label_of_a_request_before_the_window_is_no_orphan(tmp_path: Path):
    rows = seen(parquet(tmp_path, answers(4), labels(("q0", "good", 50))), since=2)
    assert (rows.label.tolist(), rows.orphan_labels) == ([None, None], 0)


def test_more_answers_than_the_limit_are_reported_as_cut(tmp_path: Path):
    log = parquet(tmp_path, answers(6), None)
    assert seen(log, limit=2).cut
    assert not seen(log, limit=3).cut


def test_an_answer_without_a_request_id_is_not_lost_where_there_are_many(tmp_path: Path):
    rows = seen(parquet(tmp_path, answers(100, version=["6"] * 100, request_id=[None] * 100), None), limit=10)
    assert 10 < len(rows) < 50


@pytest.mark.parametrize("column", ["request_id", "version", "at", "prediction", "latency_ms", "mirrored"])
def test_a_missing_column_is_named_with_those_that_are_there(tmp_path: Path, column: str):
    with pytest.raises(BadInput, match=f"no column '{column}'; it has .*failed"):
        seen(parquet(tmp_path, answers().drop(columns=[column]), None))


@pytest.mark.parametrize("column", ["request_id", "label", "at"])
def test_a_missing_column_of_the_labels_is_named(tmp_path: Path, column: str):
    with pytest.raises(BadInput, match=f"no column '{column}'"):
        seen(parquet(tmp_path, answers(), labels(("q0", "good", 5)).drop(columns=[column])))


def test_rows_without_a_time_or_a_version_are_no_answers(tmp_path: Path):
    times = pd.to_datetime([after(0), None, after(2)], utc=True)
    rows = seen(parquet(tmp_path, answers(3, at=times, version=["6", "7", None]), None))
    assert rows.request_id.tolist() == ["q0"]


def test_without_a_failed_column_an_answer_without_a_prediction_failed(tmp_path: Path):
    answers(3, prediction=[1.5, np.nan, 2.5]).to_parquet(tmp_path / "log.parquet")
    rows = seen(over(tmp_path, "parquet", TrafficLogSpec(source="log")))
    assert rows.failed.tolist() == [False, True, False]
    assert rows.prediction.tolist() == [1.5, None, 2.5]
    assert np.isnan(rows.latency_ms).all()
    assert not rows.mirrored.any()


def test_ids_and_versions_may_be_numbers_even_with_gaps(tmp_path: Path):
    log = answers(3, request_id=[1.0, np.nan, 3.0], version=[6.0, 7.0, 6.0])
    rows = seen(parquet(tmp_path, log, labels((1, "good", 5), (3, "poor", 5))))  # pyright: ignore[reportArgumentType]
    assert rows.request_id.tolist() == ["1", None, "3"]
    assert rows.version.tolist() == ["6", "7", "6"]
    assert rows.label.tolist() == ["good", None, "poor"]


def test_columns_may_bear_other_names(tmp_path: Path):
    log = answers(2).rename(columns={"request_id": "rid", "version": "model", "at": "ts", "prediction": "yhat"})
    log.to_parquet(tmp_path / "log.parquet")
    labels(("q0", "good", 5)).rename(columns={"request_id": "k", "label": "y", "at": "t"}).to_parquet(
        tmp_path / "labels.parquet"
    )
    spec = TrafficLogSpec(source="log", request_id="rid", version="model", time="ts", prediction="yhat")
    known = LabelSpec(source="labels", request_id="k", label="y", time="t")
    assert seen(over(tmp_path, "parquet", spec, known)).label.tolist() == ["good", None]


def test_a_time_column_of_numbers_is_refused_with_a_remedy(tmp_path: Path):
    with pytest.raises(BadInput, match="time column 'at' is of type"):
        seen(parquet(tmp_path, answers(2, at=[1.0, 2.0]), None))


def test_a_log_that_grows_is_read_anew(tmp_path: Path):
    log = parquet(tmp_path, answers(2), None)
    assert len(seen(log)) == 2
    answers(4).to_parquet(tmp_path / "log.parquet")
    assert len(seen(log)) == 4


def test_a_broken_file_says_so(tmp_path: Path):
    log = parquet(tmp_path, answers(2), None)
    (tmp_path / "log.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises((BadInput, Unavailable), match=r"log\.parquet"):
        seen(log)
