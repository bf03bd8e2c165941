"""What is offered at every door, and to whom: nothing happens for who may not, and the twin that may gets it done."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.desk import Desk
from tests.graph.desk_world import ALL, asks, caller, desk_over
from tests.graph.world import BETTER, NAME, World, make_world, with_deps
from tools.adapters.capped_scorer import CappedScorer
from tools.adapters.capped_trainer import CappedTrainer
from tools.adapters.memory_training import ScriptedTrainer, trained
from tools.contracts.access import Caller
from tools.contracts.training import TrainingOrder, TrainingResult
from tools.errors import BadInput, Conflict, NotAllowed, NotFound, Unavailable

SECONDS = 60.0
"""Longest that a test waits for a thread; nothing is timed by it."""


class Gate:
    """A training that goes on until it is let go."""

    def __init__(self) -> None:
        self.begun, self.open = threading.Semaphore(0), threading.Event()
        self.now, self.most, self._lock = 0, 0, threading.Lock()

    def __call__(self, order: TrainingOrder) -> TrainingResult:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.begun.release()
        assert self.open.wait(SECONDS)
        with self._lock:
            self.now -= 1
        return trained(BETTER)


def gated(folder: Path, **profile: Any) -> tuple[World, Gate]:
    gate = Gate()
    return with_deps(make_world(folder, **profile), trainers={"project": ScriptedTrainer(gate)}), gate


READS: dict[str, Callable[[Desk, Caller], Any]] = {
    "assess": lambda desk, who: desk.assess(who, asks()),
    "list_runs": lambda desk, who: desk.list_runs(who),
    "list_runs of a model": lambda desk, who: desk.list_runs(who, NAME),
    "get_run": lambda desk, who: desk.get_run(who, "r1"),
    "list_reviews": lambda desk, who: desk.list_reviews(who),
    "get_review": lambda desk, who: desk.get_review(who, 1),
    "history": lambda desk, who: desk.history(who, "prices"),
}
ACTS: dict[str, tuple[str, Callable[[Desk, Caller], Any]]] = {
    "start": ("run", lambda desk, who: desk.start(who, asks())),
    "judge": ("run", lambda desk, who: desk.judge(who, asks(), "1")),
    "roll_back": ("roll_back", lambda desk, who: desk.roll_back(who, asks(), "odd prices", "1")),
    "submit_review": ("review", lambda desk, who: desk.submit_review(who, 1, "approve", "fine")),
}


def test_without_its_scope_nothing_happens_and_with_it_alone_it_does(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="recommend")
    desk = desk_over(world)
    every = {name: ("read", act) for name, act in READS.items()} | ACTS

    for name, (scope, act) in every.items():
        with pytest.raises(NotAllowed, match=f"the scope '{scope}' is missing"):
            act(desk, caller(scopes=ALL - {scope}))
        assert world.store.list_runs() == [], name
    assert not world.touched

    run_id = desk.start(caller(scopes={"run"}), asks())
    desk.wait_for(run_id, SECONDS)
    for name, read in READS.items():
        assert read(desk, caller(scopes={"read"})) is not None, name
    assert desk.get_run(caller(scopes={"read"}), run_id).parked_for == "review"
    assert not world.touched
    answered = desk.submit_review(caller(scopes={"review"}), 1, "approve", "fine")
    assert (answered.answered_by, answered.status) == ("ada", "answered")
    desk.close()
    assert world.moves == [("1", "2")]
    assert world.store.get_run(run_id).status == "finished"

    desk = desk_over(world)
    back = desk.roll_back(caller(scopes={"roll_back"}), asks(), "odd prices")
    desk.close()
    assert world.store.get_run(back).status == "finished"
    assert world.moves == [("1", "2"), ("2", "1")]
    assert world.store.get_run(back).requested_by == "ada"


def test_key_for_some_models_learns_nothing_of_others_and_moves_none(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="recommend")
    desk = desk_over(world)
    mine, theirs = caller(models=frozenset({"prices"})), caller(models=frozenset({"fraud"}))
    run_id = desk.start(mine, asks(NAME))
    desk.wait_for(run_id, SECONDS)

    for act in (
        lambda: desk.start(theirs, asks()),
        lambda: desk.judge(theirs, asks(NAME), "1"),
        lambda: desk.roll_back(theirs, asks(), "odd"),
        lambda: desk.assess(theirs, asks()),
        lambda: desk.history(theirs, "prices"),
        lambda: desk.list_runs(theirs, "prices"),
        lambda: desk.list_reviews(theirs, NAME),
        lambda: desk.start(theirs, asks("no.such")),
    ):
        with pytest.raises(NotAllowed, match="may not touch"):
            act()
    for look in (
        lambda: desk.get_run(theirs, run_id),
        lambda: desk.get_review(theirs, 1),
        lambda: desk.submit_review(theirs, 1, "approve", "fine"),
    ):
        with pytest.raises(NotFound, match="no r"):
            look()
    assert (desk.list_runs(theirs), desk.list_reviews(theirs)) == ([], [])
    assert [run.run_id for run in world.store.list_runs()] == [run_id]
    assert not world.touched
    with pytest.raises(NotFound, match=r"no\.such"):
        desk.start(caller(), asks("no.such"))

    assert [run.run_id for run in desk.list_runs(mine)] == [run_id]
    desk.submit_review(mine, 1, "approve", "fine")
    desk.close()
    assert world.moves == [("1", "2")]


def test_run_that_began_gives_its_id_at_once_and_close_waits_for_it(tmp_path: Path) -> None:
    world, gate = gated(tmp_path)
    desk = desk_over(world)

    run_id = desk.start(caller(), asks())
    assert gate.begun.acquire(timeout=SECONDS)
    assert desk.get_run(caller(), run_id).status == "running"
    with pytest.raises(Conflict, match=f"held by run {run_id}"):
        desk.start(caller(), asks())
    closing = threading.Thread(target=desk.close)
    closing.start()
    assert world.store.get_run(run_id).status == "running"
    assert closing.is_alive()
    gate.open.set()
    closing.join(SECONDS)

    assert not closing.is_alive()
    assert world.store.get_run(run_id).status == "finished"
    assert world.moves == [("1", "2")]


def test_repeated_idempotency_key_is_the_same_run_and_another_request_under_it_a_conflict(tmp_path: Path) -> None:
    world, gate = gated(tmp_path)
    desk = desk_over(world)

    run_id = desk.start(caller(), asks(key="k1"))
    assert gate.begun.acquire(timeout=SECONDS)
    assert desk.start(caller(), asks(key="k1")) == run_id
    assert desk.start(caller("grace"), asks(NAME, key="k1")) == run_id
    for act in (
        lambda: desk.start(caller(), asks(key="k1", dataWindow="30d")),
        lambda: desk.judge(caller(), asks(key="k1"), "1"),
        lambda: desk.roll_back(caller(), asks(key="k1"), "odd"),
    ):
        with pytest.raises(Conflict, match="idempotency key 'k1' was used for another request"):
            act()
    gate.open.set()
    desk.wait_for(run_id, SECONDS)

    assert world.store.get_run(run_id).status == "finished"
    assert desk.start(caller(), asks(key="k1")) == run_id
    assert len(world.store.list_runs()) == 1
    assert world.moves == [("1", "2")]

    back = desk.roll_back(caller(), asks(key="k2"), "odd prices")
    desk.wait_for(back, SECONDS)
    # By now there is nothing to go back to: whoever asks again, because the first answer was lost, is told of the same run.
    assert desk.roll_back(caller(), asks(key="k2"), "odd prices") == back
    desk.close()
    assert world.moves == [("1", "2"), ("2", "1")]


def test_request_that_was_refused_because_its_model_was_busy_is_refused_again_or_goes_on_under_its_key(
    tmp_path: Path,
) -> None:
    """The trap: its run is on record as failed, and whoever asks again is given that one as if it had begun."""
    world, gate = gated(tmp_path)
    desk = desk_over(world)
    first = desk.start(caller(), asks())
    assert gate.begun.acquire(timeout=SECONDS)
    for _ in range(3):
        with pytest.raises(Conflict, match=f"held by run {first}"):
            desk.start(caller(), asks(key="k1"))
    gate.open.set()
    desk.wait_for(first, SECONDS)

    second = desk.start(caller(), asks(key="k1"))
    desk.wait_for(second, SECONDS)
    assert second != first
    assert world.store.get_run(second).status == "finished"
    assert desk.start(caller(), asks(key="k1")) == second
    desk.close()
    assert len(world.store.list_runs()) == 2


def test_repetition_of_a_request_that_is_about_to_be_refused_is_refused_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trap: it is on record as running before it holds its model, and whoever repeats it then is told that it has begun."""
    world, gate = gated(tmp_path)
    desk, asked, go = desk_over(world), threading.Event(), threading.Event()
    first = desk.start(caller(), asks())
    assert gate.begun.acquire(timeout=SECONDS)
    acquire, got = world.store.acquire, list[Any]()

    def slow(*given: Any, **named: Any) -> Any:
        asked.set()
        assert go.wait(SECONDS)
        return acquire(*given, **named)

    def ask() -> None:
        try:
            got.append(desk.start(caller(), asks(key="k1")))
        except Conflict as refused:
            got.append(refused.message)

    monkeypatch.setattr(world.store, "acquire", slow)
    threads = [threading.Thread(target=ask) for _ in range(3)]
    threads[0].start()
    assert asked.wait(SECONDS)
    for thread in threads[1:]:
        thread.start()
    threads[1].join(0.2)
    assert got == []
    go.set()
    for thread in threads:
        thread.join(SECONDS)

    assert all(f"held by run {first}" in each or "goes on in this process" in each for each in got), got
    assert len(got) == 3
    gate.open.set()
    desk.close()
    assert len(world.store.list_runs()) == 2


def test_many_who_repeat_one_request_at_once_begin_one_run(tmp_path: Path) -> None:
    world, gate = gated(tmp_path)
    desk = desk_over(world)
    gate.open.set()
    got: list[str] = []

    def ask() -> None:
        got.append(desk.start(caller(), asks(key="k1")))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    desk.close()

    assert (len(got), len(set(got)), len(world.store.list_runs())) == (8, 1, 1)
    assert world.store.get_run(got[0]).status == "finished"
    assert world.moves == [("1", "2")]


def test_agent_asks_and_never_answers(tmp_path: Path) -> None:
    world = make_world(tmp_path, mode="recommend")
    desk = desk_over(world)
    desk.wait_for(desk.start(caller("bot", "agent"), asks()), SECONDS)

    with pytest.raises(NotAllowed, match="its answer is no person's"):
        desk.submit_review(caller("ada", "agent"), 1, "approve", "fine")
    with pytest.raises(Conflict, match="something else than what was shown"):
        desk.submit_review(caller(), 1, "approve", "fine", seen="0" * 64)
    assert not world.touched

    desk.submit_review(caller(), 1, "approve", "fine", seen=desk.get_review(caller(), 1).digest)
    desk.close()
    assert world.moves == [("1", "2")]


def test_who_comes_when_all_places_are_taken_is_told_to_come_again(tmp_path: Path) -> None:
    world, gate = gated(tmp_path)
    desk = desk_over(world, most_runs=1)
    run_id = desk.start(caller(), asks())
    assert gate.begun.acquire(timeout=SECONDS)

    with pytest.raises(Unavailable, match="1 runs go on"):
        desk.start(caller(), asks())
    with pytest.raises(BadInput, match="needs a reason"):
        desk.roll_back(caller(), asks(), " ")

    gate.open.set()
    desk.close()
    assert world.store.get_run(run_id).status == "finished"


def test_of_many_who_come_at_once_nobody_waits_unseen_for_a_place(tmp_path: Path) -> None:
    """The trap: places counted once runs are on record, so that all who come at once find one and then wait for a thread."""
    world, gate = gated(tmp_path)
    desk = desk_over(world, most_runs=1)
    got: list[Any] = []

    def ask(key: str) -> None:
        try:
            got.append(desk.start(caller(), asks(key=key)))
        except Unavailable as refused:
            got.append(refused)

    threads = [threading.Thread(target=ask, args=(f"k{number}",)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    refused = [each for each in got if isinstance(each, Unavailable)]
    assert (len(got), len(refused)) == (5, 4)

    gate.open.set()
    (run_id,) = (each for each in got if isinstance(each, str))
    desk.wait_for(run_id, SECONDS)
    assert desk.start(caller(), asks(key="k9")) not in got
    desk.close()


def test_no_more_models_are_open_than_places_and_each_is_scored() -> None:
    open_now, most, lock, scored = 0, 0, threading.Lock(), list[Any]()
    together = threading.Barrier(2, timeout=SECONDS)

    class Inner:
        def score(self, job: Any) -> Any:
            nonlocal open_now, most
            with lock:
                open_now += 1
                most = max(most, open_now)
            together.wait()
            with lock:
                open_now -= 1
            return job

    inner: Any = Inner()
    capped = CappedScorer(inner, 2)
    threads = [threading.Thread(target=lambda n=n: scored.append(capped.score(n))) for n in range(6)]  # type: ignore[arg-type]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)

    assert (most, sorted(scored)) == (2, [0, 1, 2, 3, 4, 5])


def test_no_more_trainings_than_places_go_on_and_who_waits_says_so() -> None:
    gate, told, results = Gate(), [], []
    order: Any = None
    capped = CappedTrainer(_Plain(gate), 2)

    def train() -> None:
        results.append(capped.train(order, told.append))

    threads = [threading.Thread(target=train) for _ in range(5)]
    for thread in threads:
        thread.start()
    for _ in range(2):
        assert gate.begun.acquire(timeout=SECONDS)
    gate.open.set()
    for thread in threads:
        thread.join(SECONDS)

    assert (len(results), gate.most) == (5, 2)
    assert set(told) <= {"waiting to train: 2 trainings go on, as many as this machine has cores for"}


def test_place_is_free_again_after_a_training_that_failed() -> None:
    def fails(_: TrainingOrder) -> TrainingResult:
        raise Unavailable("gone", thing="trainer")

    order: Any = None
    told: list[str] = []
    for _ in range(3):
        with pytest.raises(Unavailable):
            (capped := CappedTrainer(_Plain(fails), 1)).train(order, told.append)
        with pytest.raises(Unavailable):
            capped.train(order, told.append)
    assert told == []


class _Plain:
    """Port `Trainer`: a function."""

    def __init__(self, step: Callable[[TrainingOrder], TrainingResult]) -> None:
        self._step = step

    def train(self, order: TrainingOrder, progress: Callable[[str], None]) -> TrainingResult:
        return self._step(order)
