"""Do natural windows of the three example streams pass, and is planted damage found?"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from agent.profiles import load_profile
from agent.workspace import Workspace
from tools.adapters.memory_data import MemoryData
from tools.contracts.evidence import Check, ValidationReport
from tools.contracts.profile import DataSpec, Profile, ValidationSpec
from tools.contracts.profiling import ColumnProfile, DataProfile
from tools.contracts.training import ColumnSpec, ModelSignature
from tools.validation import missing_columns, validate, validate_signature
from tools.windows import fold_boundaries, parse_strategy, parse_window

EXAMPLES = Path(__file__).parents[2] / "examples"
DAY = timedelta(days=1)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@dataclass(frozen=True)
class Window:
    """The rows of one run: what the service `validate` takes, profiled."""

    window: DataProfile
    holdout: DataProfile
    training: DataProfile
    holdout_start: datetime


@dataclass
class Stream:
    """An example's rows under its own profile; each set is profiled once."""

    profile: Profile
    frame: Any
    folder: Path

    def __post_init__(self) -> None:
        self.data = MemoryData({self.profile.data.source: self.frame})
        self._known: dict[Any, Any] = {}

    def labelled(self, start: datetime | None, end: datetime, known_by: datetime) -> DataProfile:
        return self._profile((start, end, known_by), self.data.write_labelled, start, end, known_by)

    def at(self, as_of: datetime, strategy: str | None = None) -> Window:
        """Window, holdout and training rows as a run at `as_of` cuts them."""
        spec, profile = self.profile.data, self.profile
        window = parse_window(profile.data_window, as_of)
        labelled = self.data.labelled_range(spec, window.start, window.end, as_of)
        assert labelled is not None
        cut = parse_strategy(strategy or profile.validation_strategy)
        (fold,) = fold_boundaries(cut, window, lambda _: None, labelled[1])
        rows = self._profile((window, "all"), self.data.write_window, window.start, window.end, limit=200_000)
        return Window(
            window=rows,
            holdout=self.labelled(fold.holdout_start, fold.holdout_end, as_of),
            training=self.labelled(fold.train_start, fold.holdout_start, fold.holdout_start),
            holdout_start=fold.holdout_start,
        )

    def report(self, rows: Window, reference: DataProfile | None, **changes: Any) -> ValidationReport:
        given = {
            "reference": reference,
            "window": rows.window,
            "holdout": rows.holdout,
            "spec": self.profile.validation,
            "data": self.profile.data,
            "task": self.profile.task,
            "labelled_rows": rows.training.rows,
            "columns": self.data.columns(self.profile.data),
        }
        return validate(**(given | changes))

    def _profile(self, name: Any, write: Callable[..., Any], start: Any, end: Any, *more: Any, **named: Any) -> Any:
        if name not in self._known:
            path = self.folder / "rows.parquet"
            write(self.profile.data, start, end, *more, path=path, **named)
            self._known[name] = self.data.profile(path, self.profile.data)
        return self._known[name]

    @cached_property
    def ordinary(self) -> tuple[Window, DataProfile]:
        """A run in mid-stream, and the rows that its champion was trained on."""
        champion_at, as_of = ORDINARY[self.profile.registered_model]
        return self.at(as_of), self.at(champion_at).training

    def damaged(self, damage: Callable[[Any], Any]) -> "tuple[Stream, Window, DataProfile]":
        """The ordinary run again, after something happened to its latest rows, the holdout's."""
        healthy, reference = self.ordinary
        _, as_of = ORDINARY[self.profile.registered_model]
        start = parse_window(self.profile.data_window, as_of).start or as_of
        times = self.frame[self.profile.data.event_time]
        rows = self.frame[(times >= naive(start)) & (times < naive(as_of))]
        late = rows[self.profile.data.event_time] >= naive(healthy.holdout_start)
        broken = pd.concat([rows[~late], damage(rows[late].reset_index(drop=True))], ignore_index=True)
        stream = Stream(self.profile, broken, self.folder)
        return stream, replace(stream.at(as_of), training=healthy.training), reference


def naive(time: datetime) -> datetime:
    return time.replace(tzinfo=None)


ORDINARY = {
    "electricity": (utc("1997-09-01"), utc("1997-10-01")),
    "weather": (utc("1985-01-01"), utc("1990-01-01")),
    "flights.nyc.late": (utc("2013-09-01"), utc("2013-10-01")),
    "flights.nyc.delay": (utc("2013-09-01"), utc("2013-10-01")),
}
NAMES = {"electricity": "electricity", "weather": "weather", "flights_late": "flights", "flights_delay": "flights"}


@pytest.fixture(scope="session")
def streams(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stream]:
    made: dict[str, Stream] = {}
    for name, folder in NAMES.items():
        root = EXAMPLES / folder
        workspace = Workspace(
            root=root,
            tracking_uri="x",
            registry_uri="x",
            store="x",
            profiles_dir=root / "profiles",
            work_dir=root,
        )
        profile = load_profile(workspace, name).profile
        frame = pd.read_parquet(root / profile.data.source)
        # Every twentieth flight tells the same, quicker.
        frame = frame.iloc[::20] if folder == "flights" else frame
        made[name] = Stream(profile, frame, tmp_path_factory.mktemp(name))
    return made


def blocking(report: ValidationReport) -> dict[tuple[str, str], str]:
    return {(c.name, c.subject): c.statement for c in report.checks if c.result == "fail" and c.severity == "block"}


def check_of(report: ValidationReport, name: str, subject: str) -> Check:
    return next(check for check in report.checks if (check.name, check.subject) == (name, subject))


# Natural windows


@dataclass(frozen=True)
class Series:
    """Runs one after the other; the champion of each is what the run before it trained."""

    stream: str
    first: datetime
    step: timedelta
    runs: int


SERIES = [
    Series("electricity", utc("1996-11-05"), 56 * DAY, 14),
    Series("weather", utc("1966-01-01"), 3 * 365 * DAY, 11),
    Series("flights_late", utc("2013-03-15"), 28 * DAY, 10),
    Series("flights_delay", utc("2013-03-15"), 56 * DAY, 5),
]


@pytest.mark.slow
@pytest.mark.parametrize("series", SERIES, ids=lambda series: series.stream)
def test_no_natural_window_is_refused_whether_the_champion_is_new_or_old(series: Series, streams: dict[str, Stream]):
    stream = streams[series.stream]
    runs = [stream.at(series.first + number * series.step) for number in range(series.runs)]
    refused = {
        (number, name): blocking(report)
        for number in range(1, series.runs)
        for name, champion in (("new", runs[number - 1]), ("old", runs[0]))
        if (report := stream.report(runs[number], champion.training)).verdict != "pass"
    }
    assert refused == {}


def test_runs_of_the_demo_pass(streams: dict[str, Stream]):
    stream = streams["electricity"]
    end_of_first = utc("1996-11-01")
    first_champion = stream.labelled(None, end_of_first, end_of_first)
    improve, damaged_month = stream.at(utc("1997-09-01")), stream.at(utc("1997-10-01"))
    ask = stream.at(utc("1998-01-01"), "latest:5d")
    reports = [
        stream.report(improve, first_champion),
        stream.report(damaged_month, improve.training),  # the month that the demo damages, before it does
        stream.report(ask, first_champion),  # gone back to
        stream.report(ask, improve.training),
    ]
    assert [blocking(report) for report in reports] == [{}] * 4


def test_flights_without_the_exceptions_that_their_profile_makes_are_refused(streams: dict[str, Stream]):
    # The year moves on, and gusts are reported in strong wind only: the profile says so, and it has to.
    stream = streams["flights_late"]
    spring, autumn = stream.at(utc("2013-03-15")), stream.at(utc("2013-10-15"))
    refused = blocking(stream.report(autumn, spring.training, spec=ValidationSpec()))
    assert set(refused) == {("range", "month")}


# Planted damage, in the latest rows only


@dataclass(frozen=True)
class Damage:
    id: str
    stream: str
    column: str
    change: Callable[[Any], Any]
    check: str
    says: str


def thirds(values: Any) -> Any:
    return values.where(np.arange(len(values)) % 3 > 0)


def some_infinite(values: Any) -> Any:
    return values.where(np.arange(len(values)) % 50 > 0, np.inf)


def constant(values: Any) -> Any:
    return values * 0 + values.median()


def half_new(values: Any) -> Any:
    return values.where(np.arange(len(values)) % 2 > 0, "ZZ")


NUMERIC = {
    "electricity": ["period", "nsw_price", "vic_demand", "transfer"],
    "weather": ["temperature", "sea_level_pressure", "visibility", "wind_speed"],
    "flights_late": ["temp", "pressure"],
}
UNITS = [
    Damage(f"{name}, {column} {change}", name, column, how, "", "")
    for name, columns in NUMERIC.items()
    for column in columns
    for change, how in (("times 1000", lambda v: v * 1000), ("by 100", lambda v: v / 100))
]
DAMAGES = [
    Damage("a third of nulls", "electricity", "vic_demand", thirds, "nulls", "33.3% nulls in the holdout, 0.0%"),
    Damage("a third of nulls", "weather", "visibility", thirds, "nulls", "nulls in the holdout"),
    Damage("a third of nulls in text", "flights_late", "carrier", thirds, "nulls", "nulls in the holdout"),
    Damage("infinities", "electricity", "nsw_price", some_infinite, "range", "28 infinite values in the window"),
    Damage("infinities", "weather", "temperature", some_infinite, "range", "infinite values in the window"),
    Damage("infinite labels", "flights_delay", "arr_delay", some_infinite, "range", "infinite values in the window"),
    Damage(
        "new categories",
        "flights_late",
        "carrier",
        half_new,
        "categories",
        "% of the holdout has categories the champion never saw (`ZZ`)",
    ),
    Damage(
        "minutes become seconds", "flights_delay", "arr_delay", lambda v: v * 60, "range", "of the holdout lies outside"
    ),
    Damage("labels flipped", "weather", "rain", lambda v: 1 - v, "label_share", "of the labels in the holdout"),
    Damage("labels flipped", "flights_late", "late", lambda v: ~v, "label_share", "of the labels in the holdout"),
    Damage("labels of one class", "electricity", "price_up", lambda v: v * 0, "label_share", "has 1 different labels"),
    Damage("labels coded anew", "electricity", "price_up", lambda v: v + 1, "label_share", "are of another class"),
]


@pytest.mark.parametrize("damage", UNITS, ids=lambda damage: damage.id)
def test_unit_that_changed_in_the_latest_rows_is_refused(damage: Damage, streams: dict[str, Stream]):
    refused = blocking(report_of(damage, streams))
    assert {subject for _, subject in refused} == {damage.column}
    assert {name for name, _ in refused} <= {"unit", "range"}


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: f"{damage.stream}, {damage.id}")
def test_damage_of_the_latest_rows_is_refused_by_the_check_that_it_is_for(damage: Damage, streams: dict[str, Stream]):
    refused = blocking(report_of(damage, streams))
    assert set(refused) == {(damage.check, damage.column)}
    assert damage.says in refused[damage.check, damage.column]


def report_of(damage: Damage, streams: dict[str, Stream]) -> ValidationReport:
    def change(rows: Any) -> Any:
        return rows.assign(**{damage.column: damage.change(rows[damage.column])})

    broken, rows, reference = streams[damage.stream].damaged(change)
    return broken.report(rows, reference)


@pytest.mark.parametrize("name", NAMES)
def test_stream_without_damage_passes_every_check(name: str, streams: dict[str, Stream]):
    # Else the tests above might find something that was there before.
    healthy, rows, reference = streams[name].damaged(lambda rows: rows)
    report = healthy.report(rows, reference)
    assert (report.verdict, blocking(report)) == ("pass", {})
    assert {check.name for check in report.checks} >= {"schema", "volume", "duplicates", "nulls", "range"}
    assert "could_not_check" not in {check.result for check in report.checks}


def test_two_changes_of_the_demo_are_both_refused(streams: dict[str, Stream]):
    def change(rows: Any) -> Any:
        return rows.assign(nsw_demand=rows["nsw_demand"] * 1000, vic_demand=thirds(rows["vic_demand"]))

    broken, rows, reference = streams["electricity"].damaged(change)
    report = broken.report(rows, reference)
    assert report.verdict == "fail"
    assert {("unit", "nsw_demand"), ("range", "nsw_demand"), ("nulls", "vic_demand")} == set(blocking(report))


@pytest.mark.parametrize("column", ["temperature", "dew_point", "max_temperature", "min_temperature"])
@pytest.mark.parametrize(
    ("change", "says"),
    [(lambda f: (f - 32) / 1.8, "Fahrenheit to Celsius"), (lambda f: f * 1.8 + 32, "Celsius to Fahrenheit")],
    ids=["to Celsius", "to Fahrenheit"],
)
def test_temperature_in_another_unit_warns(column: str, change: Any, says: str, streams: dict[str, Stream]):
    report = report_of(Damage("", "weather", column, change, "", ""), streams)
    check = check_of(report, "unit", column)
    assert (check.result, check.severity) == ("fail", "warn")
    assert says in check.statement


@pytest.mark.parametrize(("stream", "column"), [("electricity", "vic_demand"), ("weather", "wind_speed")])
def test_column_that_became_constant_warns(stream: str, column: str, streams: dict[str, Stream]):
    report = report_of(Damage("", stream, column, constant, "", ""), streams)
    check = check_of(report, "constant", column)
    assert (check.result, check.severity) == ("fail", "warn")
    assert check.statement == f"{column} is constant in the holdout; in the champion's training rows it was not."


@pytest.mark.parametrize(
    ("stream", "column"), [("electricity", "transfer"), ("weather", "rain"), ("flights_late", "event_time")]
)
def test_column_that_vanished_is_refused_and_the_columns_left_are_named(
    stream: str, column: str, streams: dict[str, Stream]
):
    healthy = streams[stream]
    columns = {name: kind for name, kind in healthy.data.columns(healthy.profile.data).items() if name != column}
    report = missing_columns(healthy.profile.data, columns)
    assert report is not None
    assert report.verdict == "fail"
    assert blocking(report) == {("schema", column): f"{column} is gone; the source has {', '.join(sorted(columns))}."}


def test_column_that_vanished_from_the_window_is_refused(streams: dict[str, Stream]):
    stream = streams["electricity"]
    rows, reference = stream.ordinary
    without = replace(rows, window=dropped(rows.window, "transfer"), holdout=dropped(rows.holdout, "transfer"))
    columns = {name: kind for name, kind in stream.data.columns(stream.profile.data).items() if name != "transfer"}
    assert set(blocking(stream.report(without, reference, columns=columns))) == {("schema", "transfer")}


def dropped(profile: DataProfile, name: str) -> DataProfile:
    return profile.model_copy(update={"columns": tuple(c for c in profile.columns if c.name != name)})


def test_source_with_all_declared_columns_lacks_nothing(streams: dict[str, Stream]):
    for stream in streams.values():
        assert missing_columns(stream.profile.data, stream.data.columns(stream.profile.data)) is None


@pytest.mark.parametrize(
    ("stream", "column", "kinds"),
    [("electricity", "nsw_price", ("numeric", "categorical")), ("weather", "rain", ("numeric", "boolean"))],
)
def test_column_of_another_type_is_refused(
    stream: str, column: str, kinds: tuple[str, str], streams: dict[str, Stream]
):
    healthy = streams[stream]
    rows, reference = healthy.ordinary
    as_kind = str if kinds[1] == "categorical" else bool
    other = MemoryData({"other": healthy.frame.assign(**{column: healthy.frame[column].map(as_kind)})})
    spec = healthy.profile.data.model_copy(update={"source": "other"})
    other.write_window(
        spec, rows.holdout_start, rows.holdout_start + 60 * DAY, healthy.folder / "other.parquet", 10_000
    )
    holdout = other.profile(healthy.folder / "other.parquet", spec)
    refused = blocking(healthy.report(replace(rows, holdout=holdout), reference))
    assert refused == {
        ("schema", column): f"{column} was {kinds[0]} in the champion's training rows and is {kinds[1]} in the holdout."
    }


def test_too_few_rows_are_refused(streams: dict[str, Stream]):
    stream = streams["weather"]
    rows, reference = stream.ordinary
    assert stream.report(rows, reference, labelled_rows=500).verdict == "pass"
    refused = blocking(stream.report(rows, reference, labelled_rows=499))
    assert refused == {("volume", "data set"): "499 labelled rows would train; at least 500 are asked."}


def test_rows_written_twice_are_refused(streams: dict[str, Stream]):
    broken, rows, reference = streams["weather"].damaged(lambda rows: pd.concat([rows, rows], ignore_index=True))
    refused = blocking(broken.report(rows, reference))
    assert set(refused) == {("duplicates", "data set")}
    assert "of the rows repeat another row's key; up to 5.00% is accepted." in refused["duplicates", "data set"]


# What cannot be told, and single rules


SPEC = DataSpec(source="rows", event_time="at", target="y", features=("x",))
COLUMNS = {"at": "timestamp", "x": "float64", "y": "int64"}


def column(name: str, values: Any, nulls: float = 0.0, infinite: int = 0) -> ColumnProfile:
    numbers = np.asarray(values, dtype=float)
    return ColumnProfile(
        name=name,
        family="numeric",
        null_share=nulls,
        infinite=infinite,
        distinct=len(np.unique(numbers)),
        quantiles=tuple(float(q) for q in np.quantile(numbers, np.linspace(0, 1, 101))),
    )


def text(name: str, shares: dict[str, float], distinct: int | None = None) -> ColumnProfile:
    return ColumnProfile(
        name=name, family="categorical", null_share=0.0, distinct=distinct or len(shares), categories=shares
    )


def empty(name: str) -> ColumnProfile:
    return ColumnProfile(name=name, family="empty", null_share=1.0)


Y = column("y", [0, 1] * 50)
X = column("x", np.linspace(10, 20, 101))


def profile(
    x: ColumnProfile = X, y: ColumnProfile = Y, rows: int = 4000, duplicates: float | None = 0.0
) -> DataProfile:
    return DataProfile(rows=rows, duplicate_share=duplicates, columns=(x, y))


def judged(
    window: DataProfile | None = None,
    holdout: DataProfile | None = None,
    reference: DataProfile | None = None,
    **changes: Any,
) -> ValidationReport:
    given = {
        "reference": reference or profile(),
        "window": window or profile(),
        "holdout": holdout or profile(),
        "spec": ValidationSpec(),
        "data": SPEC,
        "task": "classification",
        "labelled_rows": 4000,
        "columns": COLUMNS,
    }
    return validate(**(given | changes))


def test_without_a_reference_nothing_can_be_compared_and_nothing_blocks():
    report = validate(
        reference=None,
        window=profile(column("x", [1e9, 2e9])),
        holdout=profile(),
        spec=ValidationSpec(),
        data=SPEC,
        task="classification",
        labelled_rows=4000,
        columns=COLUMNS,
    )
    check = check_of(report, "reference", "x")
    assert (report.verdict, check.result, check.severity) == ("pass", "could_not_check", "warn")


def test_without_a_reference_nulls_only_infinities_and_one_class_still_block():
    report = validate(
        reference=None,
        window=profile(empty("x")),
        holdout=profile(column("x", [1, 2], infinite=3), column("y", [1, 1])),
        spec=ValidationSpec(),
        data=SPEC,
        task="classification",
        labelled_rows=4000,
        columns=COLUMNS,
    )
    assert blocking(report) == {
        ("nulls", "x"): "x has only nulls in the window.",
        ("range", "x"): "x has 3 infinite values in the holdout.",
        ("label_share", "y"): "The holdout has 1 different labels; one class alone judges nobody.",
    }


def test_rows_without_a_key_warn_that_duplicates_cannot_be_told():
    report = judged(window=profile(duplicates=None))
    check = check_of(report, "duplicates", "data set")
    assert (report.verdict, check.result, check.severity) == ("pass", "could_not_check", "warn")


def test_worst_of_window_and_holdout_is_told_and_a_warning_hides_no_refusal():
    # The window only warns (it varies now), the holdout blocks: both are the check `range` of x.
    was_constant = profile(column("x", [5, 5]))
    report = judged(reference=was_constant, holdout=profile(column("x", [5, 5], infinite=2)))
    check = check_of(report, "range", "x")
    assert (report.verdict, check.severity, check.statement) == (
        "fail",
        "block",
        "x has 2 infinite values in the holdout.",
    )


@pytest.mark.parametrize("now", [[1, 2, 3], [7, 7]])
def test_column_that_was_constant_may_change_with_a_warning(now: list[float]):
    report = judged(reference=profile(column("x", [5, 5])), window=profile(column("x", now)))
    check = check_of(report, "range", "x")
    assert (report.verdict, check.result, check.severity) == ("pass", "fail", "warn")
    assert "was always 5" in check.statement


@pytest.mark.parametrize(
    ("now", "verdict"),
    [
        (np.linspace(6, 24, 101), "pass"),  # within the range widened by half
        (np.linspace(14, 29, 101), "fail"),  # a quarter beyond it
        (np.linspace(-20, -10, 101), "fail"),
    ],
    ids=["wider", "a quarter beyond", "elsewhere"],
)
def test_range_may_widen_by_half_its_width(now: Any, verdict: str):
    assert judged(holdout=profile(column("x", now))).verdict == verdict


def test_range_of_a_column_that_moves_by_nature_is_not_checked_but_its_unit_is():
    spec = ValidationSpec(skip_range=("x",))
    moved, scaled = (profile(column("x", np.linspace(*ends, 101))) for ends in ((40, 50), (10_000, 20_000)))
    assert judged(holdout=moved, spec=spec).verdict == "pass"
    assert set(blocking(judged(holdout=scaled, spec=spec))) == {("unit", "x")}


def test_few_rows_need_a_greater_rise_of_nulls_than_many():
    some = column("x", np.linspace(10, 20, 101), nulls=0.2)
    many, few = judged(holdout=profile(some)), judged(holdout=profile(some, rows=60))
    assert (many.verdict, few.verdict) == ("fail", "pass")


def test_category_of_too_many_to_keep_is_not_called_new():
    # Tail numbers: of thousands, the profile keeps the five hundred most frequent.
    kept = {f"N{number}": 1 / 4000 for number in range(500)}
    now = profile(text("x", {f"M{number}": 1 / 4000 for number in range(500)}, 4000))
    report = judged(reference=profile(text("x", kept, 4000)), window=now, holdout=now)
    check = check_of(report, "categories", "x")
    assert (report.verdict, check.result, check.severity) == ("pass", "could_not_check", "warn")


def test_new_category_of_few_rows_passes():
    report = judged(
        reference=profile(text("x", {"a": 0.5, "b": 0.5})),
        window=profile(text("x", {"a": 0.5, "b": 0.4, "c": 0.1})),
        holdout=profile(text("x", {"a": 0.5, "b": 0.5})),
    )
    check = check_of(report, "categories", "x")
    assert (report.verdict, check.result, check.value) == ("pass", "pass", 0.1)


def test_holdout_without_labels_is_refused():
    assert blocking(judged(holdout=profile(y=empty("y")))) == {("label_share", "y"): "The holdout has no labels."}


def test_column_that_was_all_null_before_is_not_compared():
    assert judged(reference=profile(empty("x"))).verdict == "pass"


def test_input_that_the_champion_needs_must_be_in_the_source():
    signature = ModelSignature(
        inputs=(
            ColumnSpec(name="x", type="double"),
            ColumnSpec(name="gone", type="double"),
            ColumnSpec(name="maybe", type="double", required=False),
        )
    )
    assert [check.result for check in validate_signature(signature, COLUMNS)] == ["pass", "fail", "pass"]
    assert set(blocking(judged(signature=signature))) == {("schema", "gone")}


def test_statement_names_what_blocks_and_nothing_else():
    report = judged(labelled_rows=3)
    assert report.statement == "3 labelled rows would train; at least 500 are asked."
    assert judged().statement == f"{len(judged().checks)} checks, none of them blocks."
