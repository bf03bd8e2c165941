"""dataWindow and validationStrategy mean what docs/windows.md says."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

import pytest

from tools.errors import BadInput
from tools.windows import (
    Fixed,
    FoldSpan,
    Latest,
    Rolling,
    Strategy,
    Window,
    fold_boundaries,
    parse_duration,
    parse_strategy,
    parse_window,
)

NOW = datetime(2013, 6, 30, 12, tzinfo=UTC)


def day(year: int, month: int, number: int, hour: int = 0) -> datetime:
    return datetime(year, month, number, hour, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    text: str
    start: datetime | None
    end: datetime


@pytest.mark.parametrize(
    "case",
    [
        Case("90d", NOW - timedelta(days=90), NOW),
        Case("12h", NOW - timedelta(hours=12), NOW),
        Case("6w", NOW - timedelta(weeks=6), NOW),
        Case("1.5d", NOW - timedelta(hours=36), NOW),
        Case("P90D", NOW - timedelta(days=90), NOW),
        Case("p1dt6h", NOW - timedelta(hours=30), NOW),
        Case("PT30M", NOW - timedelta(minutes=30), NOW),
        Case("30m", NOW - timedelta(minutes=30), NOW),
        Case("P3M", day(2013, 3, 30, 12), NOW),
        Case("P4M", day(2013, 2, 28, 12), NOW),
        Case("P1Y", day(2012, 6, 30, 12), NOW),
        Case("P1Y1M1D", day(2012, 5, 29, 12), NOW),
        Case("2013-01-01/2013-06-01", day(2013, 1, 1), day(2013, 6, 1)),
        Case(" 2013-01-01 / 2013-06-01 ", day(2013, 1, 1), day(2013, 6, 1)),
        Case("2013-01-01/P90D", day(2013, 1, 1), day(2013, 4, 1)),
        Case("2013-01-31/P1M", day(2013, 1, 31), day(2013, 2, 28)),
        Case("P90D/2013-06-01", day(2013, 3, 3), day(2013, 6, 1)),
        Case("2013-01-01T00:00+02:00/2013-06-01T06:00Z", day(2012, 12, 31, 22), day(2013, 6, 1, 6)),
        Case("2013-01-01/2013-06-30T12:00", day(2013, 1, 1), NOW),
        Case("all", None, NOW),
        Case("ALL", None, NOW),
    ],
    ids=lambda case: case.text,
)
def test_a_window_means_what_the_grammar_says(case: Case) -> None:
    assert parse_window(case.text, NOW) == Window(case.start, case.end)


def test_a_naive_as_of_is_utc_and_a_zoned_one_is_converted() -> None:
    berlin = datetime(2013, 6, 30, 14, tzinfo=timezone(timedelta(hours=2)))

    assert parse_window("1d", datetime(2013, 6, 30, 12)) == parse_window("1d", berlin) == parse_window("1d", NOW)  # noqa: DTZ001


def test_a_leap_day_a_year_ago_becomes_the_28th() -> None:
    assert parse_window("P1Y", day(2012, 2, 29)).start == day(2011, 2, 28)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "90",
        "d",
        "-90d",
        "0d",
        "P0D",
        "P",
        "PT",
        "P1DT",
        "90 d ago",
        "٩٠d",
        "last week",
        "2013-01-01",
        "2013-13-01/2013-14-01",
        "2013-01-01/",
        "/",
        "P1D/P1D",
        "2013-06-01/2013-01-01",
        "2013-06-01/2013-06-01",
        "2013-01-01/2013-06-01/2013-07-01",
        "9999999999999d",
        "999999d",
        "P9999Y",
        "0001-01-01T00:00+05:00/2013-01-01",
        "9" * 400 + "d",
        "2013-01-01/P9999Y",
    ],
)
def test_an_unreadable_window_is_refused_with_text_and_remedy(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_window(text, NOW)

    assert (caught.value.thing, caught.value.value) == ("dataWindow", text)
    assert caught.value.remedy


def test_the_grammar_is_named_for_an_unreadable_window() -> None:
    with pytest.raises(BadInput, match="90d, 12h, P90D, P3M"):
        parse_window("lately", NOW)


def test_a_window_that_ends_after_as_of_is_refused() -> None:
    with pytest.raises(BadInput, match=r"ends after as-of \(2013-06-30 12:00 UTC\)"):
        parse_window("2013-01-01/2013-06-30T12:00:01", NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("latest:20%", Latest(share=0.2)),
        ("latest:0.5%", Latest(share=0.005)),
        ("latest:14d", Latest(duration=timedelta(days=14))),
        ("latest: P2W", Latest(duration=timedelta(days=14))),
        ("rolling:3x14d", Rolling(3, timedelta(days=14))),
        ("rolling:50xPT12H", Rolling(50, timedelta(hours=12))),
        ("fixed:gold/holdout 2013.parquet", Fixed("gold/holdout 2013.parquet")),
        ("fixed:C:/x.csv", Fixed("C:/x.csv")),
    ],
)
def test_a_strategy_means_what_the_grammar_says(text: str, expected: Strategy) -> None:
    assert parse_strategy(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "latest",
        "latest:",
        "latest:0%",
        "latest:100%",
        "latest:nan%",
        "latest:-5%",
        "latest:P1M",
        "latest:0d",
        "rolling:14d",
        "rolling:0x14d",
        "rolling:51x14d",
        "rolling:" + "9" * 5000 + "x14d",
        "rolling:3xP1Y",
        "rolling:3x",
        "fixed:",
        "k-fold:5",
        "20%",
    ],
)
def test_an_unreadable_strategy_is_refused_with_text_and_remedy(text: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_strategy(text)

    assert (caught.value.thing, caught.value.value) == ("validationStrategy", text)
    assert caught.value.remedy


@pytest.mark.parametrize("text", ["P1M", "P1Y", "P1M1D"])
def test_a_duration_in_months_has_no_fixed_length(text: str) -> None:
    with pytest.raises(BadInput, match="no fixed length"):
        parse_duration(text)


def test_a_duration_in_days_has_one() -> None:
    assert parse_duration("1.5d") == timedelta(hours=36)


WINDOW = Window(day(2013, 1, 1), day(2013, 6, 1))
LAST = day(2013, 5, 30, 23)
TICK = timedelta(microseconds=1)


def never(share: float) -> datetime | None:
    raise AssertionError("the share was not asked for")


def test_the_latest_share_starts_where_the_rows_say() -> None:
    asked: list[float] = []

    def share_time(share: float) -> datetime | None:
        asked.append(share)
        return day(2013, 5, 1)

    spans = fold_boundaries(Latest(share=0.2), WINDOW, share_time, LAST)

    assert asked == [0.2]
    assert spans == (FoldSpan(WINDOW.start, day(2013, 5, 1), LAST + TICK),)


def test_the_latest_duration_counts_back_from_the_last_labelled_row_and_keeps_it() -> None:
    spans = fold_boundaries(Latest(duration=timedelta(days=14)), WINDOW, never, LAST)

    assert spans == (FoldSpan(WINDOW.start, LAST - timedelta(days=14) + TICK, LAST + TICK),)


def test_a_label_after_the_windows_end_does_not_stretch_it() -> None:
    spans = fold_boundaries(Latest(duration=timedelta(days=14)), WINDOW, never, day(2013, 7, 1))

    assert spans[0].holdout_end == WINDOW.end


def test_rolling_folds_are_consecutive_and_each_trains_on_what_lies_before() -> None:
    spans = fold_boundaries(Rolling(3, timedelta(days=14)), WINDOW, never, LAST)

    assert len(spans) == 3
    assert [span.train_start for span in spans] == [WINDOW.start] * 3
    assert [span.holdout_end for span in spans] == [*(span.holdout_start for span in spans[1:]), LAST + TICK]
    assert all(span.holdout_end - span.holdout_start == timedelta(days=14) for span in spans)


def test_nothing_at_or_after_a_fixed_files_first_row_is_trained_on() -> None:
    spans = fold_boundaries(Fixed("h.csv"), WINDOW, never, LAST, fixed_start=day(2013, 4, 1))

    assert spans == (FoldSpan(WINDOW.start, day(2013, 4, 1), WINDOW.end, "h.csv"),)


def test_a_fixed_file_behind_the_window_leaves_the_whole_window_for_training() -> None:
    spans = fold_boundaries(Fixed("h.csv"), WINDOW, never, LAST, fixed_start=day(2013, 9, 1))

    assert spans[0].holdout_start == WINDOW.end


@pytest.mark.parametrize(
    ("strategy", "fixed_start"),
    [
        (Latest(duration=timedelta(days=400)), None),
        (Latest(duration=timedelta(days=999_999)), None),
        (Rolling(50, timedelta(days=14)), None),
        (Rolling(50, timedelta(days=99_999)), None),
        (Fixed("h.csv"), day(2012, 1, 1)),
        (Fixed("h.csv"), None),
    ],
)
def test_a_strategy_that_leaves_nothing_to_train_or_judge_on_is_refused(
    strategy: Strategy, fixed_start: datetime | None
) -> None:
    with pytest.raises(BadInput) as caught:
        fold_boundaries(strategy, WINDOW, never, LAST, fixed_start=fixed_start)

    assert caught.value.thing == "validationStrategy"
    assert caught.value.remedy


def test_a_share_of_no_rows_is_refused() -> None:
    with pytest.raises(BadInput, match=r"latest:20.000%.*cannot be used"):
        fold_boundaries(Latest(share=0.2), WINDOW, lambda share: None, LAST)


def test_an_open_window_has_no_start_to_run_into() -> None:
    spans = fold_boundaries(Latest(duration=timedelta(days=4000)), Window(None, NOW), never, LAST)

    assert spans[0].train_start is None
