"""One suite for every data source: frames in memory, and the same rows as Parquet and as CSV. Then what only files do."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from hashlib import md5
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from agent.problems import explain, show
from tools.adapters.ibis_data import IbisData
from tools.adapters.memory_data import MemoryData
from tools.adapters.row_digest import ROW_HASH, set_digest
from tools.contracts.evidence import DatasetRef
from tools.contracts.profile import DataSpec
from tools.errors import BadInput, TimedOut, Unavailable
from tools.ports import DataSource

EVER = datetime.max.replace(tzinfo=UTC)
SPEC = DataSpec(source="rows", event_time="at", target="y", features=("a", "kind"), key=("id",))


def day(number: int, hour: int = 0) -> datetime:
    return datetime(2026, 1, number, hour, tzinfo=UTC)


def rows(count: int = 10, **columns: Any) -> pd.DataFrame:
    """One row a day from 1 January 2026 on, shuffled."""
    made = {
        "id": np.arange(count),
        "at": pd.date_range("2026-01-01", periods=count, freq="D"),
        "a": np.arange(count) / 4,
        "kind": [f"k{number % 3}" for number in range(count)],
        "y": np.arange(count) % 2,
    }
    return pd.DataFrame(made | columns).sample(frac=1.0, random_state=0)


@dataclass(frozen=True)
class Given:
    """A data source over one frame, and where it writes."""

    data: DataSource
    spec: DataSpec
    folder: Path

    def meaning(self, **changes: Any) -> "Given":
        return replace(self, spec=self.spec.model_copy(update=changes))

    def labelled(self, start: datetime | None = None, end: datetime = EVER, known_by: datetime = EVER, **more: Any):
        """The rows written, beside what was said of them."""
        ref = self.data.write_labelled(
            self.spec, start, end, known_by, self.folder / "out" / "labelled.parquet", **more
        )
        return Written(ref, pd.read_parquet(ref.path))

    def window(self, start: datetime | None = None, end: datetime = EVER, limit: int = 1000) -> "Written":
        ref = self.data.write_window(self.spec, start, end, self.folder / "out" / "window.parquet", limit)
        return Written(ref, pd.read_parquet(ref.path))


@dataclass(frozen=True)
class Written:
    ref: DatasetRef
    frame: pd.DataFrame

    @property
    def ids(self) -> list[int]:
        return self.frame["id"].tolist()

    @property
    def hashes(self) -> list[str]:
        return self.frame[ROW_HASH].tolist()


Over = Callable[[pd.DataFrame], Given]


def in_memory(frame: pd.DataFrame, folder: Path) -> Given:
    return Given(MemoryData({"rows": frame}), SPEC, folder)


def as_parquet(frame: pd.DataFrame, folder: Path) -> Given:
    frame.to_parquet(folder / "rows.parquet", index=False)
    return Given(IbisData(folder), SPEC.model_copy(update={"source": "rows.parquet"}), folder)


def as_csv(frame: pd.DataFrame, folder: Path) -> Given:
    frame.to_csv(folder / "rows.csv", index=False)
    return Given(IbisData(folder), SPEC.model_copy(update={"source": "rows.csv"}), folder)


@pytest.fixture(params=[in_memory, as_parquet, as_csv], ids=["memory", "parquet", "csv"])
def over(request: pytest.FixtureRequest, tmp_path: Path) -> Over:
    return lambda frame: request.param(frame, tmp_path)


@pytest.fixture(params=[in_memory, as_parquet], ids=["memory", "parquet"])
def typed(request: pytest.FixtureRequest, tmp_path: Path) -> Over:
    """Where a column keeps the type that it was given."""
    return lambda frame: request.param(frame, tmp_path)


# Windows


def test_window_is_half_open(over: Over):
    given = over(rows())
    assert given.window(day(2), day(5)).ids == [1, 2, 3]
    assert given.labelled(day(2), day(5)).ids == [1, 2, 3]
    assert given.data.count(given.spec, day(2), day(5), EVER) == (3, 3)
    assert given.data.labelled_range(given.spec, day(2), day(5), EVER) == (day(2), day(4), 3)


def test_window_without_start_begins_with_the_first_row(over: Over):
    given = over(rows())
    assert given.window(None, day(3)).ids == [0, 1]
    assert given.data.count(given.spec, None, day(3), EVER) == (2, 2)


def test_time_range_reaches_up_to_and_with_as_of(over: Over):
    given = over(rows())
    assert given.data.time_range(given.spec, day(4)) == (day(1), day(4), 4)
    assert given.data.time_range(given.spec, EVER) == (day(1), day(10), 10)


def test_window_without_rows_is_none_and_an_empty_file(over: Over):
    given = over(rows())
    before, after = (None, day(1)), (day(20), day(30))
    for start, end in (before, after):
        assert given.data.labelled_range(given.spec, start, end, EVER) is None
        assert given.data.time_at_share(given.spec, start, end, EVER, 0.5) is None
        assert given.data.count(given.spec, start, end, EVER) == (0, 0)
        written = given.labelled(start, end)
        assert written.ref == DatasetRef(path=written.ref.path, rows=0, digest=set_digest([]))
        assert list(written.frame.columns) == ["at", "id", "a", "kind", "y", ROW_HASH]
        assert given.data.profile(Path(written.ref.path), given.spec).rows == 0
    assert given.data.time_range(given.spec, day(1) - timedelta(microseconds=1)) is None


def test_source_without_rows_has_columns_and_no_range(over: Over):
    given = over(rows(0))
    assert set(given.data.columns(given.spec)) == {"id", "at", "a", "kind", "y"}
    assert given.data.time_range(given.spec, EVER) is None
    assert given.labelled().ref.rows == 0


def test_row_without_event_time_is_in_no_window(over: Over):
    frame = rows().assign(at=lambda f: f["at"].where(f["id"] != 3))
    given = over(frame)
    assert given.window().ids == [0, 1, 2, 4, 5, 6, 7, 8, 9]
    assert given.data.time_range(given.spec, EVER) == (day(1), day(10), 9)


def test_bounds_in_another_zone_are_the_same_instants(over: Over):
    given = over(rows())
    east = timezone(timedelta(hours=5, minutes=30))
    assert given.window(day(2).astimezone(east), day(5).astimezone(east)).ids == [1, 2, 3]
    assert given.labelled(known_by=day(4).astimezone(east)).ids == [0, 1, 2, 3]


DAILY = pd.date_range("2026-01-01", periods=10, freq="D")
TIMES = {
    "naive, in microseconds": DAILY.astype("datetime64[us]"),
    "naive, in seconds": DAILY.astype("datetime64[s]"),
    "aware, in UTC": DAILY.tz_localize("UTC"),
    "aware, in another zone": DAILY.tz_localize("UTC").tz_convert("Asia/Kolkata"),
    "dates": [time.date() for time in DAILY],
    "text": [time.isoformat() for time in DAILY],
    "text with an offset": [time.isoformat() for time in DAILY.tz_localize("UTC").tz_convert("America/New_York")],
}


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
def test_same_instants_are_the_same_rows_however_the_column_tells_them(times: Any, over: Over):
    naive = over(rows()).meaning(key=("at", "id")).labelled(day(2), day(5))
    told = over(rows(at=times)).meaning(key=("at", "id")).labelled(day(2), day(5))
    assert (told.ids, told.hashes, told.ref) == ([1, 2, 3], naive.hashes, naive.ref)
    assert (told.ref.start, told.ref.end) == (day(2), day(4))


@pytest.mark.parametrize("times", [range(10), np.arange(10) / 2], ids=["whole", "float"])
def test_number_is_no_time(times: Any, over: Over):
    given = over(rows(at=times))
    with pytest.raises(BadInput, match="the time column 'at' is of type") as caught:
        given.data.time_range(given.spec, EVER)
    assert "ISO 8601" in (caught.value.remedy or "")


def test_text_that_is_no_time_is_bad_input(over: Over):
    given = over(rows(at=["yesterday"] * 10))
    with pytest.raises(BadInput, match="cannot be used"):
        given.data.time_range(given.spec, EVER)


# Labels


def test_label_is_mature_after_its_delay_and_not_a_moment_before(over: Over):
    given = over(rows()).meaning(label_maturity=timedelta(days=2))
    assert given.labelled(known_by=day(5)).ids == [0, 1, 2]
    assert given.labelled(known_by=day(5) - timedelta(microseconds=1)).ids == [0, 1]
    assert given.data.count(given.spec, day(2), day(9), day(5)) == (7, 2)
    assert given.data.labelled_range(given.spec, None, EVER, day(5)) == (day(1), day(3), 3)


def test_delay_longer_than_the_calendar_leaves_no_label(over: Over):
    given = over(rows()).meaning(label_maturity=timedelta(days=999_999))
    assert given.data.labelled_range(given.spec, None, EVER, day(9)) is None


def test_label_known_later_than_asked_is_not_mature(over: Over):
    known = pd.Series(DAILY + timedelta(days=1))
    known[[1, 4]] = [pd.Timestamp("2026-03-01"), pd.NaT]
    given = over(rows(known=known)).meaning(label_time="known")
    assert given.labelled(known_by=day(6)).ids == [0, 2, 3]
    assert given.labelled(known_by=EVER).ids == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_label_time_and_delay_must_both_have_passed(over: Over):
    given = over(rows(known=DAILY + timedelta(days=1))).meaning(label_time="known", label_maturity=timedelta(days=3))
    assert given.labelled(known_by=day(5)).ids == [0, 1]


LABELS = {
    "NaN": [1.0, np.nan] * 5,
    "null text": ["yes", None] * 5,
    "null flag": pd.array([True, None] * 5, dtype="boolean"),
    "null whole number": pd.array([1, None] * 5, dtype="Int64"),
    "null category": pd.Categorical(["yes", None] * 5),
}


@pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)
def test_row_without_label_is_in_the_window_and_not_among_the_labelled(labels: Any, over: Over):
    given = over(rows(y=labels))
    assert given.labelled().ids == [0, 2, 4, 6, 8]
    assert given.window().ids == list(range(10))
    assert given.data.count(given.spec, None, EVER, EVER) == (10, 5)
    assert given.data.labelled_range(given.spec, None, EVER, EVER) == (day(1), day(9), 5)


def test_window_without_any_label_has_no_labelled_rows(over: Over):
    given = over(rows(y=[None] * 10))
    assert given.data.count(given.spec, None, EVER, EVER) == (10, 0)
    assert given.data.labelled_range(given.spec, None, EVER, EVER) is None


@pytest.mark.parametrize(
    ("share", "first"), [(0.2, day(9)), (0.5, day(6)), (0.01, day(10)), (0.24, day(9)), (0.99, day(1))]
)
def test_latest_share_of_the_labelled_rows_lies_behind_its_time(share: float, first: datetime, typed: Over):
    given = typed(rows())
    assert given.data.time_at_share(given.spec, None, EVER, EVER, share) == first


def test_share_counts_mature_labels_of_the_window_only(over: Over):
    given = over(rows(y=[1.0] * 8 + [np.nan] * 2)).meaning(label_maturity=timedelta(days=1))
    assert given.data.time_at_share(given.spec, None, EVER, EVER, 0.5) == day(5)
    assert given.data.time_at_share(given.spec, None, EVER, day(7), 0.5) == day(4)
    assert given.data.time_at_share(given.spec, day(5), day(7), EVER, 0.5) == day(6)


# What is written


def test_declared_columns_are_written_in_time_order_and_nothing_else(over: Over):
    given = over(rows(leak=range(10), place=list("ABCDEFGHIJ")))
    written = given.labelled(day(2), day(4), extra_columns=("place",))
    assert written.frame.drop(columns=ROW_HASH).to_dict("list") == {
        "at": [pd.Timestamp("2026-01-02"), pd.Timestamp("2026-01-03")],
        "id": [1, 2],
        "a": [0.25, 0.5],
        "kind": ["k1", "k2"],
        "place": ["B", "C"],
        "y": [1, 0],
    }
    assert written.ref == DatasetRef(
        path=str(given.folder / "out" / "labelled.parquet"),
        rows=2,
        digest=set_digest(sorted(written.hashes)),
        start=day(2),
        end=day(3),
    )


def test_column_named_twice_is_written_once(over: Over):
    given = over(rows()).meaning(key=("at", "kind"))
    assert list(given.labelled(extra_columns=("a", "kind")).frame.columns) == ["at", "kind", "a", "y", ROW_HASH]


def test_column_names_may_hold_anything(over: Over):
    name = 'Net "price" in €, 100% | a\\b'
    given = over(rows().rename(columns={"a": name})).meaning(features=(name, "kind"), key=())
    assert given.labelled(day(2), day(4)).frame[name].tolist() == [0.25, 0.5]


def test_file_is_written_anew_and_nothing_is_left_beside_it(over: Over):
    given = over(rows())
    given.labelled()
    assert given.labelled(day(2), day(3)).ids == [1]
    assert [file.name for file in (given.folder / "out").iterdir()] == ["labelled.parquet"]


def test_types_of_the_columns_are_told(over: Over):
    given = over(rows(on=[True, False] * 5))
    told = given.data.columns(given.spec)
    assert dict(told) | {"at": told["at"].split("(")[0]} == {
        "id": "int64",
        "at": "date" if given.spec.source.endswith("csv") else "timestamp",
        "a": "float64",
        "kind": "string",
        "y": "int64",
        "on": "boolean",
    }


def test_profile_tells_of_features_target_and_repeated_keys(over: Over):
    given = over(rows(id=[0, *range(9)], a=[None, np.inf, *range(8)]))
    profile = given.data.profile(Path(given.labelled().ref.path), given.spec)
    assert (profile.rows, profile.duplicate_share) == (10, 0.1)
    assert [(c.name, c.family, c.null_share, c.infinite, c.distinct) for c in profile.columns] == [
        ("a", "numeric", 0.1, 1, 9),
        ("kind", "categorical", 0.0, 0, 3),
        ("y", "numeric", 0.0, 0, 2),
    ]
    assert profile.columns[1].categories == {"k0": 0.4, "k1": 0.3, "k2": 0.3}


# Samples


def hourly(count: int = 1200) -> pd.DataFrame:
    return rows(count, at=pd.date_range("2026-01-01", periods=count, freq="h"))


def test_sample_is_the_same_each_time_whatever_the_order_of_the_source(typed: Over):
    first = typed(hourly()).labelled(limit=200)
    again = typed(hourly().sample(frac=1.0, random_state=1)).labelled(limit=200)
    assert (first.ref.rows, first.ref.sampled_from) == (200, 1200)
    assert again.ref == first.ref
    pd.testing.assert_frame_equal(again.frame, first.frame)


def test_sample_is_spread_over_the_whole_window_in_time_order(typed: Over):
    sample = typed(hourly()).window(limit=300).frame
    quarters = np.histogram(sample["id"], bins=4, range=(0, 1200))[0]
    assert sample["at"].is_monotonic_increasing
    # 75 are expected in each; the hashes are given, so nothing here is left to chance.
    assert ((quarters > 55) & (quarters < 95)).all(), quarters


@pytest.mark.parametrize("limit", [10, 11, None])
def test_limit_that_is_not_reached_samples_nothing(limit: int | None, over: Over):
    written = over(rows()).labelled(limit=limit)
    assert (written.ref.rows, written.ref.sampled_from) == (10, None)


def test_rows_that_share_a_key_and_a_time_come_in_the_same_order_each_time(typed: Over):
    frame = rows(1000, id=[7] * 1000, at=[pd.Timestamp("2026-01-01")] * 1000)
    sample = typed(frame).labelled(limit=100).frame["a"].tolist()
    assert sample == [number / 4 for number in range(100)]


# What is missing


def test_missing_column_is_named_beside_those_that_are_there(over: Over):
    given = over(rows().rename(columns={"kind": "kinds"}))
    with pytest.raises(BadInput, match="no column 'kind'; it has id, at, a, kinds, y") as caught:
        given.labelled()
    assert (caught.value.value, caught.value.remedy) == ("kind", "did you mean 'kinds' or 'id'?")


@pytest.mark.parametrize("role", ["event_time", "target", "label_time", "key"])
def test_column_of_any_role_that_is_missing_is_bad_input(role: str, typed: Over):
    given = typed(rows()).meaning(**{role: ("gone",) if role == "key" else "gone"})
    with pytest.raises(BadInput, match="no column 'gone'"):
        given.labelled()


def test_window_is_written_with_the_columns_that_are_left(over: Over):
    given = over(rows().drop(columns=["kind", "y", "id"]))
    written = given.window()
    assert list(written.frame.columns) == ["at", "a", ROW_HASH]
    assert len(set(written.hashes)) == 10


def test_unknown_source_is_bad_input_with_near_names(over: Over):
    given = over(rows())
    wrong = given.meaning(source=given.spec.source.replace("rows", "rovs"))
    with pytest.raises(BadInput, match=f"data source {wrong.spec.source} does not exist") as caught:
        wrong.data.columns(wrong.spec)
    assert caught.value.remedy == f"did you mean '{given.spec.source}'?"


# Row hashes


def test_row_hash_is_the_one_on_record(over: Over):
    # Versions registered long ago carry such hashes: a new recipe would call every row of theirs a new one.
    one = over(rows(1, a=[2.5], kind=["k|0"])).meaning(key=()).labelled()
    assert one.hashes == [md5(rb"1767225600000000|2500000|k\|0|0").hexdigest()]


@dataclass(frozen=True)
class Pair:
    id: str
    left: Any
    right: Any
    same: bool


PAIRS = [
    Pair("whole and float", 5, 5.0, True),
    Pair("flag and whole", True, 1, True),
    Pair("minus zero", 0.0, -0.0, True),
    Pair("closer than a millionth", 0.1 + 0.2, 0.3, True),
    Pair("a millionth apart", 0.000001, 0.000002, False),
    Pair("half a millionth rounds away from zero", 0.0000025, 0.000003, True),
    Pair("sign", -1.5, 1.5, False),
    Pair("infinities", np.inf, -np.inf, False),
    Pair("huge", 1e300, 1.1e300, False),
    Pair("beyond 64 bits in millionths", 1e15, 2e15, False),
    Pair("text", "a", "b", False),
    Pair("null is no text", None, "\\N", False),
    Pair("null is not false", None, False, False),
    Pair("null is not zero", None, 0, False),
]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.id)
def test_rows_are_told_apart_by_their_values_not_by_how_they_are_kept(pair: Pair, typed: Over):
    def hashed(value: Any) -> list[str]:
        typed_by = pair.right if value is None else value
        return typed(rows(2, v=[value, typed_by])).meaning(key=("v",)).window().hashes[:1]

    assert (hashed(pair.left) == hashed(pair.right)) is pair.same


def test_values_of_two_columns_do_not_run_into_each_other(over: Over):
    frame = rows(2, b=["x|y", "x"], c=["z", "y|z"])
    assert len(set(over(frame).meaning(key=("b", "c")).window().hashes)) == 2


ODD = rows(
    6,
    at=pd.to_datetime(
        [
            "1965-01-01 00:00:00.000000999",
            "1970-01-01",
            "2026-01-01 00:00:00.123456789",
            "2026-01-01 00:00:00.0000005",
            "2026-01-03 12:00",
            "2262-01-01",
        ],
        format="ISO8601",
    ),
    huge=[1e305, -1e32, 1e31, 9.99e30, 1e15 + 0.3, 123456789012345.678],
    small=[0.1, -0.0, 2.5e-6, -2.5e-6, 4.9e-7, np.nan],
    infinite=[np.inf, -np.inf, 1, 2, 3, np.nan],
    single=np.array([0.1, 1, 2, 3, 4, 5], dtype="float32"),
    whole=pd.array([5, None, 0, -3, 2**62, 7], dtype="Int64"),
    flag=pd.array([True, None, False, True, True, False], dtype="boolean"),
    text=["a|b", "\\N", None, "x\\", "ä \n ö", "100%"],
    day=[date(1960, 1, 1), None, date(2026, 1, 1)] * 2,
    decimal=[Decimal("1.25"), None, Decimal("-3.0000005")] * 2,
    category=pd.Categorical(["u", "v", None, "u", "v", "u"]),
    zoned=pd.to_datetime(["2026-01-01T00:00:00+02:00", None] * 3),
    nothing=[None] * 6,
)
COLUMNS = [name for name in ODD.columns if name not in ("at", "y", "a", "kind", "id")]


def test_both_adapters_write_the_same_files_of_odd_values(tmp_path: Path):
    frame = ODD.drop(columns="nothing")  # has no type: each adapter writes one of its own
    both = [make(frame, tmp_path) for make in (in_memory, as_parquet)]
    wide = [given.meaning(features=tuple(c for c in COLUMNS if c != "nothing"), key=()) for given in both]
    memory, parquet = (given.window() for given in wide)
    assert (memory.ref, memory.ref.rows) == (parquet.ref, 6)
    pd.testing.assert_frame_equal(memory.frame, parquet.frame)
    assert wide[0].data.columns(wide[0].spec) == wide[1].data.columns(wide[1].spec)


@pytest.mark.parametrize("column", ["at", *COLUMNS])
def test_rows_have_the_same_hashes_in_memory_as_parquet_and_as_csv(column: str, tmp_path: Path):
    # CSV says nothing of nanoseconds' rounding or single precision; otherwise it tells the same.
    makers = [in_memory, as_parquet, *([] if column in ("at", "single") else [as_csv])]
    first, *others = [make(ODD, tmp_path).meaning(key=(column,)).window().hashes for make in makers]
    assert others == [first] * len(others)


# Only files


def files(folder: Path, source: str) -> Given:
    return Given(IbisData(folder), SPEC.model_copy(update={"source": source}), folder)


@dataclass(frozen=True)
class Broken:
    id: str
    name: str
    content: bytes
    says: str


HEAD, LINE = b"at,a,kind,y,id\n", b"2026-01-01,1,k,0,1\n"
BROKEN = [
    Broken("empty", "rows.parquet", b"", "is empty (0 bytes)"),
    Broken("empty CSV", "rows.csv", b"", "is empty (0 bytes)"),
    Broken("no Parquet", "rows.parquet", HEAD + LINE, "rows.parquet cannot be used"),
    Broken("cut Parquet", "rows.parquet", b"PAR1" + bytes(100), "rows.parquet cannot be used"),
    Broken("another kind", "rows.json", b"{}", "is neither Parquet nor CSV (rows.json)"),
    Broken("not UTF-8", "rows.csv", HEAD + LINE + b"2026-01-01,1,\xff\xfe,0,1\n", "rows.csv cannot be used"),
    Broken("cut line", "rows.csv", HEAD + LINE * 99 + b"2026-01-02,1\n", "differ in their number of fields"),
    Broken("no header", "rows.csv", LINE * 9, "has no column 'at'; it has 2026-01-01, 1, k, 0, 1_1"),
    Broken("late nonsense in a time", "rows.csv", HEAD + LINE * 30_000 + b"soon,1,k,0,1\n", '"soon"'),
]


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.id)
def test_file_that_cannot_be_read_is_bad_input_and_nothing_is_written(broken: Broken, tmp_path: Path):
    (tmp_path / broken.name).write_bytes(broken.content)
    with pytest.raises(BadInput) as caught:
        files(tmp_path, broken.name).window()
    assert broken.says in caught.value.message
    assert caught.value.remedy
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_file_whose_rows_are_damaged_is_unavailable_and_nothing_is_written(tmp_path: Path):
    given = as_parquet(hourly(), tmp_path)
    content = bytearray((tmp_path / "rows.parquet").read_bytes())
    content[100:4000] = bytes(3900)  # pages, not the footer: it opens, and breaks in mid-read
    (tmp_path / "rows.parquet").write_bytes(content)
    with pytest.raises(Unavailable, match=r"rows.parquet could not be read"):
        given.window()
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://user:secret@db/shop#public.rows",
        "postgresql://user:sec/secret@db/shop#public.rows",
        "postgresql://user:a secret@db/shop#public.rows",
        "postgresql://user:${NAME}secret@db/shop#public.rows",
        "postgresql://user:${NAME}@secret@db/shop#public.rows",
        "postgresql://db/shop?user=u&password=secret#public.rows",
        "postgresql://user:${NAME}@db/shop?sslpassword=secret#public.rows",
        "host=db password=secret dbname=shop",
        "https://secret@db/rows.parquet",
    ],
)
def test_password_in_a_source_is_refused_and_not_shown(source: str):
    with pytest.raises(ValidationError, match="holds a password") as caught:
        SPEC.model_validate(SPEC.model_dump() | {"source": source})
    assert "secret" not in explain(caught.value.errors()[0])[0]
    assert "secret" not in show(source)


@pytest.mark.parametrize(
    "source",
    [
        "postgresql://user:${NAME}@db:5432/shop#public.rows",
        "postgresql://${USER}:${NAME}@db/shop?sslmode=verify-full&sslkey=/etc/retrain/client.key#public.rows",
        "postgresql://db/shop?user=u&password=${NAME}#public.rows",
        "postgresql://user@db/shop#public.rows",
        "data/day=*/rows.parquet",
        "spark:shop.rows",
    ],
)
def test_source_without_a_password_is_taken_as_it_is(source: str):
    assert SPEC.model_validate(SPEC.model_dump() | {"source": source}).source == source


@pytest.mark.parametrize("where", ["127.0.0.1:port", "127.0.0.1:99999", "[::1"])
def test_address_that_is_none_is_told(where: str, tmp_path: Path):
    data = IbisData(tmp_path, {"NAME": "secret"})
    with pytest.raises(BadInput, match="not the address of a database"):
        data.columns(SPEC.model_copy(update={"source": f"postgresql://user:${{NAME}}@{where}/shop#public.rows"}))


def test_password_from_the_environment_is_not_shown_when_the_server_is_away(tmp_path: Path):
    pytest.importorskip("psycopg", reason="the extra `postgres` is not installed; `make engines` runs this with it")
    data = IbisData(tmp_path, {"PASSWORD": "secret"})
    spec = SPEC.model_copy(update={"source": "postgresql://user:${PASSWORD}@127.0.0.1:1/shop#public.rows"})
    with pytest.raises(Unavailable, match="does not answer") as caught:
        data.columns(spec)
    assert "secret" not in f"{caught.value} {caught.value.value} {caught.value.__cause__}"


def test_variable_that_is_not_set_is_named(tmp_path: Path):
    spec = SPEC.model_copy(update={"source": "postgresql://user:${NO_SUCH}@127.0.0.1:1/shop#public.rows"})
    with pytest.raises(BadInput, match="NO_SUCH, which is not set"):
        IbisData(tmp_path).columns(spec)


def test_other_addresses_are_refused(tmp_path: Path):
    with pytest.raises(BadInput, match="is an address; only files are read") as caught:
        files(tmp_path, "mysql://user:${PASSWORD}@db/rows").window()
    assert "postgresql://" in str(caught.value)


def split(folder: Path) -> None:
    """Ten rows in two files of a folder: a column that only the second has, and columns in another order."""
    frame = rows().sort_values("id")
    deep = folder / "many" / "2026"
    deep.mkdir(parents=True)
    frame.head(5).drop(columns="kind").to_parquet(folder / "many" / "first.parquet", index=False)
    frame.tail(5)[["y", "kind", "a", "at", "id"]].to_parquet(deep / "second.parquet", index=False)


@pytest.mark.parametrize("source", ["many", "many/**/*.parquet"])
def test_files_of_a_folder_are_one_source_matched_by_column_name(source: str, tmp_path: Path):
    split(tmp_path)
    for hidden in (".staging.parquet", "_temporary.parquet"):
        if source == "many":
            (tmp_path / "many" / hidden).write_bytes(b"not yet written")
    written = files(tmp_path, source).window()
    assert written.ids == list(range(10))
    assert written.frame["kind"].isna().tolist() == [True] * 5 + [False] * 5


def test_folder_of_both_kinds_is_bad_input(tmp_path: Path):
    split(tmp_path)
    rows().to_csv(tmp_path / "many" / "third.csv", index=False)
    with pytest.raises(BadInput, match="many holds both Parquet and CSV files"):
        files(tmp_path, "many").window()
    assert files(tmp_path, "many/*.csv").window().ref.rows == 10


@pytest.mark.parametrize(("name", "says"), [("nothing", "holds no file"), ("notes", "is neither Parquet nor CSV")])
def test_folder_without_data_is_bad_input(name: str, says: str, tmp_path: Path):
    (tmp_path / "nothing").mkdir()
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README").write_text("soon")
    with pytest.raises(BadInput, match=f"{name} {says}"):
        files(tmp_path, name).window()


def test_name_that_looks_like_a_pattern_is_taken_as_it_stands(tmp_path: Path):
    folder = tmp_path / "run [1]"
    folder.mkdir()
    rows().to_parquet(folder / "rows*.parquet", index=False)
    rows(3).to_parquet(folder / "rows2.parquet", index=False)
    given = Given(IbisData(folder), SPEC.model_copy(update={"source": "rows*.parquet"}), folder)
    assert given.window().ids == list(range(10))


def test_rows_that_came_since_are_seen_and_a_file_that_went_is_missed(tmp_path: Path):
    given = as_parquet(rows(3), tmp_path)
    assert given.window().ref.rows == 3
    rows(5, more=range(5)).to_parquet(tmp_path / "rows.parquet", index=False)
    assert given.window().ref.rows == 5
    assert "more" in given.data.columns(given.spec)
    (tmp_path / "rows.parquet").unlink()
    with pytest.raises(BadInput, match="does not exist"):
        given.window()


def test_csv_column_has_the_type_of_all_its_rows(tmp_path: Path):
    # A guess from the first twenty thousand rows would break on the last one, or read it as null.
    numbers = [*range(30_000), 0.5]
    given = as_csv(
        pd.DataFrame({"at": "2026-01-01", "a": numbers, "kind": [*numbers[:-1], "x"], "y": 1, "id": 0}), tmp_path
    )
    told = given.data.columns(given.spec)
    assert (told["a"], told["kind"]) == ("float64", "string")
    assert given.window(limit=10**6).frame["a"].max() == 29_999


def test_csv_null_is_an_empty_field_or_an_unquoted_word_for_it(tmp_path: Path):
    values = ["", "NA", "NULL", "null", '"NA"', '"null"', "none"]
    lines = [f"2026-01-01,{number},{value},0,{number}" for number, value in enumerate(values)]
    (tmp_path / "rows.csv").write_text("\n".join(["at,a,kind,y,id", *lines]))
    written = files(tmp_path, "rows.csv").window().frame.sort_values("id")
    assert written["kind"].fillna("-").tolist() == ["-", "-", "-", "-", "NA", "null", "none"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_csv_may_be_separated_otherwise(separator: str, tmp_path: Path):
    rows().to_csv(tmp_path / "rows.tsv", sep=separator, index=False)
    assert files(tmp_path, "rows.tsv").window().ids == list(range(10))


def test_threads_may_share_one_source(tmp_path: Path):
    given = as_parquet(hourly(), tmp_path)
    found: list[int] = []

    def read(number: int) -> None:
        out = tmp_path / f"{number}.parquet"
        found.append(given.data.write_window(given.spec, None, EVER, out, 10_000).rows)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [1200] * 4


# --- what looking costs ------------------------------------------------------------------------------------------


def test_effort_counts_queries_and_the_rows_that_came_into_memory(over: Over):
    here = over(rows(100))
    here.data.effort()
    here.window(limit=30)
    spent = here.data.effort()
    assert spent.queries > 0
    assert spent.sampled_from == 100
    assert 30 <= spent.rows_in_memory < 40
    assert here.data.effort().queries == 0


def _ask_twice(here: Given) -> None:
    here.window(limit=30)
    here.window(limit=30)


def test_budget_of_queries_ends_what_is_asked_beyond_it(over: Over):
    here = over(rows(100))
    with here.data.budget(queries=1, seconds=60):
        here.data.effort()
        with pytest.raises(TimedOut, match="budget of 1 queries is spent"):
            _ask_twice(here)
    assert here.window(limit=30).ref.rows == 30


def test_summary_counts_every_row_exactly(over: Over):
    amounts = np.arange(100) / 4
    amounts[:3], amounts[3:5] = np.nan, np.inf
    here = over(rows(100, a=amounts, known=pd.date_range("2026-01-03", periods=100, freq="D"))).meaning(
        label_time="known"
    )
    found = here.data.summary(here.spec, day(1), EVER, day(31), ("a", "kind", "gone"))
    assert (found.rows, found.labelled, found.undated) == (100, 29, 0)
    assert (found.newest, found.newest_labelled) == (day(1) + timedelta(days=99), day(29))
    number = found.column("a")
    assert number is not None
    assert (number.nulls, number.infinite, number.low, number.high) == (3, 2, 1.25, 24.75)
    assert found.column("gone") is None
    assert found.delay is not None
    assert (found.delay.rows, found.delay.median, found.delay.longest) == (29, 2 * 86_400, 2 * 86_400)


def test_rows_say_whether_their_label_is_mature(over: Over):
    here = over(rows(20, y=[None, *([1, 0] * 9), 1])).meaning(label_maturity=timedelta(days=5))
    ref = here.data.write_window(here.spec, None, EVER, here.folder / "out" / "w.parquet", 50, known_by=day(12))
    frame = pd.read_parquet(ref.path)
    assert frame.loc[frame["__mature"], "id"].tolist() == [1, 2, 3, 4, 5, 6]


def test_overlap_counts_rows_that_a_model_was_trained_on(over: Over):
    here = over(rows(60))
    paths = [here.folder / "out" / f"{name}.parquet" for name in ("holdout", "training", "other")]
    here.data.write_window(here.spec, day(21), EVER, paths[0], 100)
    here.data.write_window(here.spec, None, day(24), paths[1], 100)
    here.data.write_window(here.spec, None, day(21), paths[2], 100)
    found = here.data.overlap(paths[0], paths[1])
    assert (found.rows, found.trained_on, found.overlapping, len(found.examples)) == (40, 23, 3, 3)
    assert here.data.overlap(paths[0], paths[2]).overlapping == 0


def test_a_sample_of_a_ranking_is_of_whole_groups(over: Over):
    frame = rows(400).sort_values("id")
    frame["query"] = [f"q{number // 8}" if number % 50 else None for number in range(400)]
    given = over(frame).meaning(group="query", key=("id",))
    sizes = frame["query"].value_counts()

    made = given.labelled(limit=100)

    assert 80 < made.ref.rows <= 100
    assert made.ref.sampled_from == 400
    assert "__group_hash" not in made.frame
    counted = made.frame["query"].value_counts()
    assert counted.to_dict() == {name: sizes[name] for name in counted.index}
    assert made.ids == sorted(made.ids)
    assert given.labelled(limit=100).ref.digest == made.ref.digest
    assert set(given.window(limit=100).frame["query"].dropna()) == set(counted.index)
