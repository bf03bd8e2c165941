"""`retrain watch` over the world in memory: what fires, once, and what never does."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.services import holds, pausing
from agent.services.train import KEY_TAG
from agent.services.triggers import explain
from tests.graph.desk_world import caller
from tests.graph.watch_world import NotedRuns, Tower, edit, fresh, profile_triggers, stale, unknown
from tests.graph.world import World, add_version, by, make_world, with_deps
from tools.adapters.memory_notifier import MemoryNotifier
from tools.contracts.triggers import Claim, Firing
from tools.errors import BadInput, Conflict, NotFound, Unavailable

NIGHTLY: dict[str, Any] = {"scheduled": {"cron": "0 3 * * *"}}
HOURLY: dict[str, Any] = {"check": {"cron": "0 * * * *"}, "checks_a_year": 8760}
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
TOWERS: list[Tower] = []


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    for tower in TOWERS:
        tower.loop.end()
    TOWERS.clear()


def tower(folder: Path, world: World | None = None, *, dry_run: bool = False, **triggers: Any) -> Tower:
    """At noon of 1 July 2026."""
    made = Tower(world or make_world(folder, champion=False, triggers=profile_triggers(**triggers)), dry_run=dry_run)
    TOWERS.append(made)
    return made


def after(watched: Tower, holder: str = "test:2:2") -> Tower:
    watched.world.store.beat_watching(watched.holder, watched.world.now[0], ended=True)
    TOWERS.append(watched.again(holder))
    return TOWERS[-1]


def claims(kind: Any = "drift", source: Any = "signed", **more: Any) -> Claim:
    return Claim(source=source, kind=kind, first_at=more["at"], last_at=more.pop("at"), **more)


# --- schedules -------------------------------------------------------------------------------------------------------


def test_schedule_starts_a_run_at_its_hour_and_not_before(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(14 * HOUR + 50 * MINUTE)
    assert watched.runs.started == []
    watched.pass_time(10 * MINUTE)
    assert watched.runs.started == ["trigger/prices/scheduled/cron/20260702T030000Z"]
    (fired,) = watched.world.store.firings()
    assert (fired.status, fired.run_id, fired.trigger) == ("started", "run-1", "scheduled")
    watched.pass_time(2 * DAY, step=HOUR)
    assert len(watched.runs.started) == 3


def test_hours_at_which_nobody_watched_are_made_up_once(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(MINUTE)
    watched.world.pass_time(5 * DAY)
    later = after(watched)
    later.loop.tick()
    assert later.runs.started == ["trigger/prices/scheduled/cron/20260706T030000Z"]
    (found,) = later.world.store.evaluations("prices")
    assert found.evidence == {"missed": 5}
    later.pass_time(2 * HOUR)
    assert len(later.runs.started) == 1


def test_clock_that_is_set_back_fires_nothing_twice_and_goes_on(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(DAY, step=HOUR)
    assert len(watched.runs.started) == 1
    watched.world.now[0] -= 12 * HOUR  # before the hour that has fired
    watched.pass_time(11 * HOUR, step=HOUR)
    assert len(watched.runs.started) == 1
    watched.pass_time(DAY, step=HOUR)
    assert watched.runs.started[1:] == ["trigger/prices/scheduled/cron/20260703T030000Z"]


def test_clock_that_was_a_year_ahead_does_not_silence_a_schedule_for_a_year(tmp_path: Path) -> None:
    world = make_world(tmp_path, champion=False, triggers=profile_triggers(**NIGHTLY))
    right = world.now[0]
    world.now[0] += timedelta(days=365)
    watched = tower(tmp_path, world)
    watched.pass_time(DAY, step=HOUR)
    world.now[0] = right
    watched.pass_time(DAY, step=HOUR)
    assert watched.runs.started[-1] == "trigger/prices/scheduled/cron/20260702T030000Z"


def test_schedule_that_is_edited_while_due_begins_anew_and_says_so(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(MINUTE)
    watched.world.pass_time(20 * HOUR)
    edit(watched.world, watched, scheduled={"cron": "0 23 * * *"})
    watched.loop.tick()
    assert (watched.codes(), watched.runs.started) == (["schedule_changed"], [])
    watched.pass_time(DAY, step=HOUR)
    assert watched.runs.started == ["trigger/prices/scheduled/cron/20260702T230000Z"]


def test_profile_that_is_deleted_while_due_starts_nothing_and_one_that_stays_does(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(MINUTE)
    watched.runs.failure = Unavailable("the registry is down")
    watched.pass_time(16 * HOUR, step=HOUR)
    (waits,) = watched.world.store.firings()
    assert (waits.status, waits.told) == ("waiting", "the registry is down")
    del watched.stamps["prices"]
    watched.runs.failure = None
    watched.pass_time(2 * HOUR)
    assert watched.runs.started == []
    assert [each.status for each in watched.world.store.firings()] == ["refused"]
    assert watched.codes()[-1] == "profile_gone"
    watched.stamps["prices"] = "back"
    watched.pass_time(DAY, step=HOUR)
    assert len(watched.runs.started) == 1


def test_profile_that_breaks_is_told_once_and_the_others_go_on(tmp_path: Path) -> None:
    world = make_world(tmp_path, champion=False, triggers=profile_triggers(**NIGHTLY))

    def load(model_id: str) -> Any:
        if model_id == "broken":
            raise BadInput("profile 'broken' has 1 problem:\n  triggers.scheduled.cron never fires", thing="profile")
        return world.deps.load_profile("prices")

    watched = Tower(world, {"prices": "1", "broken": "1"}, load=load)
    TOWERS.append(watched)
    watched.pass_time(2 * DAY, step=HOUR)
    assert watched.codes("broken") == ["profile_broken"]
    assert len(watched.runs.started) == 2
    watched.stamps["broken"] = "2"
    watched.pass_time(HOUR)
    assert watched.codes("broken") == ["profile_broken"] * 2
    alerts = [each for each in watched.alerts if each.model_id == "broken"]
    assert len(alerts) == 1


def test_scheduled_hour_of_quiet_hours_comes_at_their_end(tmp_path: Path) -> None:
    quiet = {"start": "22:00", "end": "06:00"}
    watched = tower(tmp_path, **NIGHTLY, quiet_hours=quiet)
    watched.pass_time(DAY, step=30 * MINUTE)
    assert watched.fired_at == [datetime(2026, 7, 2, 6, tzinfo=UTC)]
    assert watched.codes() == ["quiet_hours", "fires"]


def test_budget_of_none_starts_nothing_and_the_next_month_begins_with_a_new_one(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY, budget={"runs": 0})
    watched.pass_time(2 * DAY, step=HOUR)
    assert (watched.runs.started, watched.codes()) == ([], ["budget_runs"])
    edit(watched.world, watched, budget={"runs": 2})
    watched.pass_time(33 * DAY, step=6 * HOUR)
    days = [each.day for each in watched.fired_at]
    assert days == [4, 5, 1, 2]  # the first two of what is left of July, and of August


def test_budget_of_money_counts_what_a_retraining_costs(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY, budget={"money": 25, "cost_a_run": 10})
    watched.pass_time(5 * DAY, step=HOUR)
    assert len(watched.runs.started) == 2
    assert watched.codes()[-1] == "budget_money"


# --- looks -----------------------------------------------------------------------------------------------------------


def test_stale_model_is_retrained_once_for_as_long_as_the_finding_stands(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY)
    watched.seen = stale
    watched.pass_time(5 * HOUR)
    assert len(watched.runs.started) == 1
    assert watched.runs.started[0].startswith("trigger/prices/drift/check/20260701T13")
    assert watched.codes() == ["fires", *["not_rearmed"] * 4]


def test_fresh_model_is_not(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY)
    watched.pass_time(5 * HOUR)
    assert (watched.runs.started, watched.codes()) == ([], ["fresh"] * 5)


def test_source_that_is_down_for_a_day_starts_nothing_and_raises_one_alert(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY, violations={"needed": 2, "of": 2})
    watched.seen = stale
    watched.pass_time(HOUR)
    watched.seen = unknown
    watched.pass_time(DAY)
    assert watched.runs.started == []
    assert watched.codes() == ["not_enough", "no_evidence"]
    told = [each for each in watched.alerts if "could not be measured" in each.statement]
    assert len(told) == 1
    watched.seen = stale
    watched.pass_time(HOUR)
    assert len(watched.runs.started) == 1
    again = [each.statement for each in watched.alerts if "measured again" in each.statement]
    assert len(again) == 1


def test_ten_alerts_are_one_look_and_one_run(tmp_path: Path) -> None:
    watched = tower(tmp_path)
    watched.seen = stale
    watched.loop.tick()
    for number in range(10):
        at = watched.world.now[0] + timedelta(seconds=number)
        watched.world.store.note_claim("prices", claims(at=at, source="alertmanager"))
    watched.pass_time(HOUR)
    assert (watched.looks, len(watched.runs.started)) == (1, 1)
    (found,) = watched.world.store.evaluations("prices")
    assert found.evidence["claims"][0]["count"] == 10


def test_alert_that_our_own_look_does_not_confirm_starts_nothing(tmp_path: Path) -> None:
    watched = tower(tmp_path)
    watched.loop.tick()
    watched.world.store.note_claim("prices", claims(at=watched.world.now[0]))
    watched.pass_time(HOUR)
    assert (watched.looks, watched.runs.started, watched.codes()) == (1, [], ["fresh"])


def test_alert_that_cannot_be_looked_into_is_kept_for_a_day_and_no_longer(tmp_path: Path) -> None:
    watched = tower(tmp_path)
    watched.seen = unknown
    watched.loop.tick()
    watched.world.store.note_claim("prices", claims(at=watched.world.now[0]))
    watched.pass_time(23 * HOUR, step=HOUR)
    assert len(watched.world.store.claims("prices")) == 1
    watched.pass_time(2 * HOUR, step=HOUR)
    assert len(watched.world.store.claims("prices")) == 0
    looks = watched.looks
    watched.pass_time(5 * HOUR, step=HOUR)
    assert watched.looks == looks
    assert watched.runs.started == []


def test_finding_that_waits_out_the_quiet_hours_is_looked_at_again_and_fires_then(tmp_path: Path) -> None:
    watched = tower(tmp_path, check={"cron": "0 23 * * *"}, quiet_hours={"start": "22:00", "end": "06:00"})
    watched.seen = stale
    watched.pass_time(20 * HOUR, step=30 * MINUTE)
    assert watched.fired_at == [datetime(2026, 7, 2, 6, tzinfo=UTC)]
    assert watched.looks == 2


def test_finding_that_is_gone_when_the_quiet_hours_end_fires_nothing(tmp_path: Path) -> None:
    watched = tower(tmp_path, check={"cron": "0 23 * * *"}, quiet_hours={"start": "22:00", "end": "06:00"})
    watched.seen = stale
    watched.pass_time(12 * HOUR, step=30 * MINUTE)
    watched.seen = fresh
    watched.pass_time(10 * HOUR, step=30 * MINUTE)
    assert (watched.runs.started, watched.codes()) == ([], ["quiet_hours", "fresh"])


def test_cool_down_counts_from_the_last_run_that_ended(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY, cool_down="PT6H")
    watched.seen = stale
    watched.pass_time(HOUR)
    watched.seen = fresh
    watched.pass_time(HOUR)
    watched.seen = stale
    watched.pass_time(8 * HOUR)
    assert [each.hour for each in watched.fired_at] == [13, 19]
    assert "cool_down" in watched.codes()


def test_while_a_run_is_under_way_no_other_one_is_started(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY, **NIGHTLY, rearm_after="PT1H")
    watched.runs.leaves = "parked"
    watched.seen = stale
    watched.pass_time(DAY, step=HOUR)
    assert len(watched.runs.started) == 1
    assert watched.looks > 20  # it may still be found to need a page
    assert watched.codes()[-1] == "busy"


def test_dry_run_says_what_it_would_have_done_and_does_nothing(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY, dry_run=True)
    watched.pass_time(DAY, step=HOUR)
    assert (watched.codes(), watched.runs.started, list(watched.world.store.firings())) == (["would_fire"], [], [])


# --- people ----------------------------------------------------------------------------------------------------------


def test_paused_model_is_neither_started_nor_looked_at_until_an_approver_lets_it_go_on(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY, **NIGHTLY)
    watched.seen = stale
    deps = watched.world.deps
    pausing.pause(deps, caller("bob"), "prices", "we move house")
    watched.pass_time(DAY, step=HOUR)
    assert (watched.looks, watched.runs.started) == (0, [])
    found = explain(deps, deps.load_profile("prices"), at="03:00")
    assert found.answer.startswith("It did not fire: paused at 2026-07-0")
    assert "by bob since 2026-07-01 12:00 UTC, we move house" in found.answer
    with pytest.raises(BadInput, match="'eve' may not release"):
        pausing.resume(deps, caller("eve"), "prices", "there", approvers=["ada"])
    with pytest.raises(BadInput, match="is an agent"):
        pausing.resume(deps, caller("ada", kind="agent"), "prices", "there", approvers=["ada"])
    pausing.resume(deps, caller("ada"), "prices", "there", approvers=["ada"])
    watched.pass_time(HOUR)
    assert len(watched.runs.started) == 1


def test_pause_of_all_triggers_leaves_people_their_runs(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    deps = watched.world.deps
    pausing.pause(deps, caller("bob"), None, "holidays")
    watched.pass_time(DAY, step=HOUR)
    assert (watched.runs.started, watched.codes()) == ([], ["paused"])
    assert pausing.resume(deps, caller("bob"), None, "back", approvers=[]).released_by == "bob"  # as he has paused them
    assert watched.world.run()["status"] == "finished"


def test_held_model_is_looked_at_and_not_retrained(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY)
    watched.seen = stale
    holds.put(watched.world.deps, "model:prices.eu.hourly", "rolled back", by="ada")
    watched.pass_time(2 * HOUR)
    assert (watched.looks, watched.runs.started, set(watched.codes())) == (2, [], {"held"})


def test_only_lost_performance_and_broken_data_page_and_the_rest_comes_once_a_day(tmp_path: Path) -> None:
    notifier = MemoryNotifier(("1:mail", "escalation-1:boss"))
    world = with_deps(
        make_world(tmp_path, champion=False, triggers=profile_triggers(**HOURLY)), notifier_of=lambda _: notifier
    )
    watched = tower(tmp_path, world)
    watched.seen = lambda: stale(level="ticket")
    watched.pass_time(3 * HOUR)
    assert notifier.sent == []
    watched.seen = lambda: stale("performance", "page", "accuracy fell by 0.08.")
    watched.pass_time(3 * HOUR)
    assert [(channel, notice.event) for channel, notice in notifier.sent] == [("1:mail", "trigger_page")]
    assert "accuracy fell by 0.08." in notifier.sent[0][1].body
    watched.pass_time(DAY)
    assert [notice.event for _, notice in notifier.sent] == ["trigger_page", "trigger_digest"]
    assert "It drifted." in notifier.sent[1][1].body
    watched.pass_time(2 * DAY)
    assert len(notifier.sent) == 2


def test_page_that_does_not_leave_is_tried_again_and_each_channel_hears_once(tmp_path: Path) -> None:
    notifier = MemoryNotifier(("1:mail", "2:chat"))
    notifier.failures["2:chat"] = Unavailable("no connection", thing="notify")
    world = with_deps(
        make_world(tmp_path, champion=False, triggers=profile_triggers(**HOURLY)), notifier_of=lambda _: notifier
    )
    watched = tower(tmp_path, world)
    watched.seen = lambda: stale("performance", "page", "accuracy fell.")
    watched.pass_time(HOUR)
    assert [channel for channel, _ in notifier.sent] == ["1:mail"]
    notifier.failures.clear()
    watched.pass_time(20 * MINUTE)
    assert [channel for channel, _ in notifier.sent] == ["1:mail", "2:chat"]


# --- versions --------------------------------------------------------------------------------------------------------


def test_new_version_is_judged_once_where_the_profile_asks_for_it(tmp_path: Path) -> None:
    watched = tower(tmp_path, new_version=True)
    watched.loop.tick()
    for _ in range(2):
        watched.world.store.note_claim("prices", claims("new_version", "mlflow", at=watched.world.now[0], version="7"))
    watched.pass_time(HOUR)
    (fired,) = watched.world.store.firings()
    assert (fired.kind, fired.version, fired.key) == ("judge", "7", "trigger/prices/judge/7")
    assert watched.looks == 0


def test_new_version_is_left_alone_where_the_profile_does_not(tmp_path: Path) -> None:
    watched = tower(tmp_path)
    watched.loop.tick()
    watched.world.store.note_claim("prices", claims("new_version", "mlflow", at=watched.world.now[0], version="7"))
    watched.pass_time(HOUR)
    assert (watched.codes(), watched.runs.started) == (["not_wanted"], [])


def test_version_that_no_webhook_told_of_is_found_when_the_model_is_looked_at(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY, new_version=True)
    add_version(watched.world, by("a"))
    watched.pass_time(2 * HOUR)
    assert watched.runs.started == []  # it was there before anybody watched
    add_version(watched.world, by("b"), **{KEY_TAG: "r1"})
    watched.pass_time(2 * HOUR)
    assert watched.runs.started == []  # a run of ours has made it
    add_version(watched.world, by("b"))
    watched.pass_time(2 * HOUR)
    assert watched.runs.started == ["trigger/prices/judge/3"]


# --- crashes ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """As a signal 9 does: nothing after it runs."""


@pytest.mark.parametrize("method", ["settle_watch", "claim_firings", "create_run", "settle_firing"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_kill_around_any_write_loses_no_run_and_doubles_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str, when: str
) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(MINUTE)
    watched.world.pass_time(16 * HOUR)
    watched.world.store.beat_watching(watched.holder, watched.world.now[0])
    real, killed = getattr(watched.world.store, method), []

    def dies(*args: Any, **named: Any) -> Any:
        if killed:
            return real(*args, **named)
        killed.append(method)
        if when == "after":
            real(*args, **named)
        raise Killed

    monkeypatch.setattr(watched.world.store, method, dies)
    with pytest.raises(Killed):
        watched.loop.tick()
    later = after(watched)
    later.pass_time(HOUR, step=MINUTE)
    assert killed
    runs = [each for each in later.world.store.list_runs() if each.idempotency_key]
    assert [each.idempotency_key for each in runs] == ["trigger/prices/scheduled/cron/20260702T030000Z"]
    assert [each.status for each in runs] == ["finished"]
    assert [(each.status, each.run_id) for each in later.world.store.firings()] == [("started", runs[0].run_id)]


def test_run_whose_process_is_gone_is_gone_on_with_and_a_persons_own_is_not(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.runs.leaves = "running"
    watched.pass_time(15 * HOUR + MINUTE, step=HOUR)
    mine = watched.runs.started
    watched.pass_time(MINUTE, step=MINUTE)
    assert (len(mine), watched.runs.resumed) == (1, ["run-1"])
    other = NotedRuns(watched.world, leaves="running")
    other.started = ["x", "y"]
    now = watched.world.now[0]
    other.start(
        Firing(
            key="by-hand", model_id="prices", kind="retrain", trigger="manual", source="cron", due=now, at=now, why=""
        )
    )
    watched.pass_time(HOUR)
    assert watched.runs.resumed == ["run-1"]


def test_run_that_cannot_be_started_is_tried_again_and_refused_after_a_day_or_for_good(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.runs.failure = Conflict("held by run r9", thing="model")
    watched.pass_time(16 * HOUR, step=HOUR)
    assert [each.status for each in watched.world.store.firings()] == ["waiting"]
    watched.runs.failure = NotFound("no such version", thing="version")
    watched.pass_time(10 * MINUTE)
    (refused,) = watched.world.store.firings()
    assert (refused.status, refused.told) == ("refused", "no such version")
    assert any("was refused" in each.statement for each in watched.alerts)


def test_run_that_fails_is_told_once(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.runs.leaves = "failed"
    watched.pass_time(20 * HOUR, step=HOUR)
    assert len([each for each in watched.alerts if "run run-1 failed" in each.statement]) == 1


def test_crash_of_one_evaluation_is_its_own_and_is_tried_again(tmp_path: Path) -> None:
    watched = tower(tmp_path, **HOURLY)

    def crashes() -> Any:
        raise ZeroDivisionError("oh")

    watched.seen = crashes
    watched.pass_time(HOUR)
    assert watched.codes() == ["no_evidence"]
    watched.seen = stale
    watched.pass_time(2 * HOUR)
    assert len(watched.runs.started) == 1


# --- why not ---------------------------------------------------------------------------------------------------------


def test_explain_says_when_nobody_watched(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(HOUR)
    watched.world.store.beat_watching(watched.holder, watched.world.now[0], ended=True)
    watched.world.pass_time(DAY)
    profile = watched.world.deps.load_profile("prices")
    found = explain(watched.world.deps, profile, at="last night")
    assert found.answer == (
        "Nobody watched between 2026-07-01 18:00 UTC and 2026-07-02 08:00 UTC: no trigger was evaluated."
    )


def test_explain_says_that_nothing_was_due_and_what_comes_next(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(3 * HOUR)
    found = explain(watched.world.deps, watched.world.deps.load_profile("prices"), since="2h")
    assert "Nothing was due" in found.answer
    assert "evaluated next at 2026-07-02 03:00 UTC" in found.answer


def test_explain_tells_the_run_that_came_of_it(tmp_path: Path) -> None:
    watched = tower(tmp_path, **NIGHTLY)
    watched.pass_time(16 * HOUR, step=HOUR)
    found = explain(watched.world.deps, watched.world.deps.load_profile("prices"), at="today 03:00")
    assert found.answer.startswith("It fired at 2026-07-02 03:00 UTC by scheduled (cron): The schedule's hour")
    assert found.answer.endswith("→ run run-1")
