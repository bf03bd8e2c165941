"""When is a cron expression due? Lost and doubled hours, and what a profile refuses."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from tools.contracts.profile import TriggersSpec
from tools.contracts.triggers import QuietHours, Schedule
from tools.errors import BadInput
from tools.schedules import delay, latest_due, month_start, next_due, next_month, quiet_until
from tools.spoken_times import spoken
from tools.trigger_times import come

BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def hours(schedule: Schedule, start: str, count: int) -> list[str]:
    found, at = [], utc(start)
    for _ in range(count):
        at = next_due(schedule, at)
        found.append(f"{at:%m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"cron": "0 0 31 2 *"}, "'0 0 31 2 *' never fires"),
        ({"cron": "0 0 30 2 *"}, "never fires"),
        ({"cron": "0 0 31 4,6,9,11 *"}, "never fires"),
        ({"cron": "61 * * * *"}, "the minute of '61 * * * *' cannot be read"),
        ({"cron": "0 0 1 FOO *"}, "the month of"),
        ({"cron": "* * * *"}, "has not five fields"),
        ({"cron": "*/5 * * * * *"}, "has not five fields"),
        ({"cron": "0 3 * * *", "zone": "Mars/Olympus"}, "'Mars/Olympus' is no time zone"),
        ({"cron": "0 3 * * *", "zone": "../../etc/passwd"}, "is no time zone"),
        ({"cron": "*/5 * * * *", "jitter": timedelta(minutes=5)}, "jitter 0:05:00 is not shorter than"),
        ({"cron": "0,1 3 * * *", "jitter": timedelta(minutes=2)}, "two firings, 0:01:00"),
    ],
)
def test_schedule_that_cannot_be_meant_is_refused_with_the_reason(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match="refused") as refused:
        Schedule(**given)
    assert told in str(refused.value)


@pytest.mark.parametrize(
    "cron", ["0 3 * * *", "*/7 1-5 * * MON-FRI", "0 0 29 2 *", "0 0 L * *", "0 0 30 2 MON", "15 4 * * 7"]
)
def test_schedule_that_fires_is_taken(cron: str) -> None:
    assert next_due(Schedule(cron=cron), utc("2026-01-01")) > utc("2026-01-01")


def test_hour_that_the_zone_loses_is_due_once_right_after() -> None:
    nightly = Schedule(cron="30 2 * * *", zone="Europe/Berlin")
    assert hours(nightly, "2026-03-28T00:00", 3) == ["03-28 01:30", "03-29 01:00", "03-30 00:30"]
    twice_in_it = Schedule(cron="15,45 2 * * *", zone="Europe/Berlin")
    assert hours(twice_in_it, "2026-03-28T12:00", 2) == ["03-29 01:00", "03-30 00:15"]


def test_hour_that_comes_twice_is_due_once() -> None:
    nightly = Schedule(cron="30 2 * * *", zone="Europe/Berlin")
    assert hours(nightly, "2026-10-24T12:00", 2) == ["10-25 00:30", "10-26 01:30"]
    # Asked in the second of the two hours, the first is over.
    assert hours(nightly, "2026-10-25T01:10", 1) == ["10-26 01:30"]


def test_schedule_of_minutes_follows_the_time_that_passes() -> None:
    often = Schedule(cron="*/30 * * * *", zone="Europe/Berlin")
    assert hours(often, "2026-10-25T00:00", 4) == ["10-25 00:30", "10-25 01:00", "10-25 01:30", "10-25 02:00"]


def test_missed_hours_come_as_the_latest_one() -> None:
    nightly = Schedule(cron="0 3 * * *")
    assert latest_due(nightly, utc("2026-01-02T03:00"), utc("2026-01-05T12:00")) == (utc("2026-01-05T03:00"), 4)
    each_minute = Schedule(cron="* * * * *")
    due, count = latest_due(each_minute, utc("2026-01-02T03:00"), utc("2026-04-05T12:00:30"))
    assert (due, count) == (utc("2026-04-05T12:00"), 1000)


def test_jitter_is_the_same_everywhere_differs_between_models_and_stays_within_bounds() -> None:
    spread = Schedule(cron="0 3 * * *", jitter=timedelta(hours=1))
    due = utc("2026-01-02T03:00")
    found = [delay(spread, f"model-{n}", due) for n in range(200)]
    assert found == [delay(spread, f"model-{n}", due) for n in range(200)]
    assert all(timedelta(0) <= each < timedelta(hours=1) for each in found)
    assert len({each // timedelta(minutes=6) for each in found}) == 10  # every tenth of the hour is used


def test_hour_whose_jitter_is_not_over_has_not_come() -> None:
    spread, due = Schedule(cron="0 3 * * *", jitter=timedelta(hours=1)), utc("2026-01-02T03:00")
    late = delay(spread, "a", due)
    assert come(spread, due, "a", due + late - timedelta(seconds=1)) is None
    hour = come(spread, due, "a", due + late)
    assert hour is not None
    assert hour.at == due


def test_look_that_is_due_more_often_than_significance_counts_is_refused() -> None:
    with pytest.raises(ValidationError, match="write checks_a_year: 8760"):
        TriggersSpec(check=Schedule(cron="0 * * * *"))
    assert TriggersSpec(check=Schedule(cron="0 * * * *"), checks_a_year=8760).checks_a_year == 8760


def test_quiet_hours_over_midnight_end_on_the_next_day() -> None:
    quiet = QuietHours(start="22:00", end="06:00", zone="Europe/Berlin", days=("fri",))
    friday = datetime(2026, 1, 2, 23, tzinfo=BERLIN)
    assert quiet_until(quiet, friday.astimezone(UTC)) == utc("2026-01-03T05:00")
    assert quiet_until(quiet, (friday + timedelta(hours=4)).astimezone(UTC)) == utc("2026-01-03T05:00")
    assert quiet_until(quiet, (friday + timedelta(hours=8)).astimezone(UTC)) is None
    assert quiet_until(quiet, (friday + timedelta(days=1)).astimezone(UTC)) is None  # Saturday's night is loud


def test_month_begins_in_its_zone() -> None:
    now = utc("2026-02-28T23:30")
    assert month_start("Europe/Berlin", now) == utc("2026-02-28T23:00")
    assert month_start("UTC", now) == utc("2026-02-01T00:00")
    assert next_month("Europe/Berlin", now) == utc("2026-03-31T22:00")


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("yesterday 02:00", "2026-06-09T00:00", "2026-06-09T00:00"),
        ("today 14:30", "2026-06-10T12:30", "2026-06-10T12:30"),
        ("02:00", "2026-06-10T00:00", "2026-06-10T00:00"),
        ("last night", "2026-06-09T16:00", "2026-06-10T06:00"),
        ("yesterday", "2026-06-08T22:00", "2026-06-09T22:00"),
        ("2026-06-01", "2026-05-31T22:00", "2026-06-01T22:00"),
        ("2026-06-01 02:00", "2026-06-01T00:00", "2026-06-01T00:00"),
        ("2026-06-01T02:00Z", "2026-06-01T02:00", "2026-06-01T02:00"),
        ("12h", "2026-06-10T00:00", "2026-06-10T12:00"),
    ],
)
def test_time_is_read_as_people_say_it_in_the_zone_of_the_schedule(text: str, start: str, end: str) -> None:
    assert spoken(text, "Europe/Berlin", utc("2026-06-10T12:00")) == (utc(start), utc(end))


@pytest.mark.parametrize("text", ["", "sometime", "yesterday 25:00", "99:99", "2026-13-01", "-3h"])
def test_time_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no time"):
        spoken(text, "UTC", utc("2026-06-10T12:00"))
