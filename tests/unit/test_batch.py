"""Whose turn is which partition, and which are due?"""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools import batch
from tools.batch import Due, Schedule, Written

DAY = timedelta(days=1)


def day(number: float) -> datetime:
    return datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=number)


def written(**versions: str) -> list[Written]:
    """`d4="7"`: day 4 was written by version 7."""
    return [Written(day(int(name[1:])), version, 5) for name, version in versions.items()]


def turns(*pairs: tuple[str, float]) -> Schedule:
    made = Schedule()
    for version, since in pairs:
        made = batch.promoted(made, version, day(since))
    return made


@given(st.integers(-(10**9), 10**10), st.integers(1, 10**6))
def test_every_moment_lies_in_exactly_one_partition(moment: int, seconds: int):
    at, length = day(0) + timedelta(seconds=moment), timedelta(seconds=seconds)
    start = batch.floor(at, length)
    assert start <= at < start + length
    assert batch.floor(start, length) == start


@pytest.mark.parametrize(
    ("newest", "now", "closed"),
    [
        (day(5.5), day(5.6), day(4)),  # a later row is there
        (day(4.9), day(5.6), day(3)),  # over, but rows may still come
        (day(4.9), day(6.0), day(4)),  # over for its own length
        (day(4.9), day(900), day(4)),  # old data: all of it
        (day(5.0), day(5.0), day(4)),
    ],
)
def test_a_partition_is_closed_by_a_later_row_or_by_its_own_length_of_time(
    newest: datetime, now: datetime, closed: datetime
):
    assert batch.last_closed(newest, now, DAY) == closed


def test_a_new_turn_begins_behind_every_row_and_every_partition_written():
    assert batch.boundary(day(5.5), written(d3="6"), day(5.6), DAY) == day(6)
    assert batch.boundary(day(2.5), written(d7="6"), day(9), DAY) == day(8)
    assert batch.boundary(None, [], day(9.5), DAY) == day(10)


def test_the_first_turn_is_of_all_partitions_and_a_promotion_of_those_that_follow():
    schedule = turns(("6", 0), ("7", 5))
    assert [batch.writer_of(schedule, day(each)) for each in (-900, 4, 5, 9)] == ["6", "6", "7", "7"]


def test_promotion_twice_keeps_its_boundary():
    assert batch.promoted(turns(("6", 0), ("7", 5)), "7", day(9)) == turns(("6", 0), ("7", 5))


def test_going_back_takes_the_bad_versions_partitions_away():
    back = batch.gone_back(turns(("6", 0), ("7", 5)), "6")
    bad = batch.wrong(back, written(d4="6", d5="7", d6="7"))
    assert [each.start for each in bad] == [day(5), day(6)]
    assert batch.gone_back(back, "6") == back


def test_going_back_to_a_version_that_never_wrote_gives_it_the_latest_turn_only():
    back = batch.gone_back(turns(("6", 0), ("7", 5)), "5")
    assert [batch.writer_of(back, day(each)) for each in (4, 5)] == ["6", "5"]


def test_a_turn_that_never_began_leaves_nothing_behind():
    schedule = batch.promoted(turns(("6", 0), ("7", 5)), "8", day(5))
    assert [(turn.version) for turn in schedule.turns] == ["6", "8"]


def test_gaps_wrong_versions_and_late_rows_are_due_and_nothing_else_is():
    found = batch.due(
        batch.gone_back(turns(("6", 0), ("7", 3)), "6"),
        output=written(d1="6", d3="7", d4="6"),
        shadow=(),
        closed=day(5),
        length=DAY,
        late=[day(4)],
    )
    assert found == (
        Due(day(2), "6", "new"),
        Due(day(3), "6", "wrong_version"),
        Due(day(4), "6", "late_rows"),
        Due(day(5), "6", "new"),
    )


def test_the_shadow_scores_from_its_start_on_beside_the_writer():
    schedule = batch.shadowed(turns(("6", 0)), "7", day(2))
    found = batch.due(
        schedule, output=written(d1="6", d2="6"), shadow=written(d1="7", d2="5"), closed=day(3), length=DAY
    )
    assert found == (Due(day(2), "7", "new", True), Due(day(3), "6", "new"), Due(day(3), "7", "new", True))


def test_nothing_is_due_without_rows_or_without_a_version():
    assert batch.due(turns(("6", 0)), output=(), shadow=(), closed=None, length=DAY) == ()
    assert batch.due(Schedule(), output=(), shadow=(), closed=day(3), length=DAY) == ()


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ({}, None),
        ({"d4": "6"}, None),
        ({"d4": "6", "d5": "7"}, {"7": 100}),
        ({"d4": "6", "d5": "6"}, {"6": 100}),
    ],
)
def test_what_serves_is_what_wrote_the_latest_partition_of_its_turn(output: dict[str, str], told: object):
    assert batch.served(turns(("6", 0), ("7", 5)), written(**output)) == told


def test_health_is_unknown_until_enough_was_scored_and_false_where_it_failed():
    schedule = batch.shadowed(turns(("6", 0)), "7", day(2))

    def of(schedule: Schedule, **shadow: str) -> bool | None:
        return batch.health(schedule, "7", output=(), shadow=written(**shadow), partitions=2, now=day(4), length=DAY)

    assert of(schedule) is None
    assert of(schedule, d1="7", d2="7") is None, "day 1 is of before"
    assert of(schedule, d2="7", d3="7") is True
    fault = batch.Fault(start=day(3), statement="no")
    assert of(schedule.model_copy(update={"faults": {"7": fault}}), d2="7", d3="7") is False


@pytest.mark.parametrize(("now", "healthy"), [(5, True), (7, True), (7.1, None), (30, None)])
def test_a_version_that_wrote_nothing_since_its_next_partition_was_due_is_not_known_to_be_healthy(
    now: float, healthy: bool | None
):
    found = batch.health(
        turns(("6", 0), ("7", 4)),
        "7",
        output=written(d3="6", d4="7"),
        shadow=(),
        partitions=2,
        now=day(now),
        length=DAY,
    )
    assert found is healthy
