"""What a look says about each signal: harm and its twin, too little, broken rows, labels that come late, a champion that is gone."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tools import canary
from tools.adapters.memory_target import MemoryTrafficLog
from tools.canary import judge
from tools.contracts.rollout import RolloutMetric, SignalName, SignalVerdict
from tools.observations import Observations, no_observations, thinned

N = 6000
ARRAYS = tuple(f.name for f in fields(Observations) if f.name not in ("orphan_labels", "doubled_labels", "cut"))


def answers(n: int = N, *, candidates: float = 0.5, seed: int = 1, **columns: Any) -> Observations:
    """Independent requests in turn; a column may be a function of (ours, generator)."""
    g = np.random.default_rng(seed)
    ours = g.random(n) < candidates
    made: dict[str, Any] = {
        "request_id": np.array([f"q{i}" for i in range(n)], dtype=object),
        "version": np.where(ours, "2", "1").astype(object),
        "at": np.arange(n, dtype=float),
        "mirrored": np.zeros(n, dtype=bool),
        "failed": np.zeros(n, dtype=bool),
        "latency_ms": 5 + g.random(n),
        "prediction": np.where(g.random(n) < 0.3, "yes", "no").astype(object),
        "probability": np.full(n, np.nan),
        "label": np.full(n, None, dtype=object),
        "label_at": np.full(n, np.nan),
    }
    for name, column in columns.items():
        made[name] = column(ours, g) if callable(column) else column
    return Observations(**made)


def one(
    name: SignalName, rows: Observations, *, margin: float = 0.02, task: Any = "classification", **more: Any
) -> SignalVerdict:
    (verdict,) = judge(
        metrics=(RolloutMetric(name=name, margin=margin, **more),),
        observations=rows,
        champion="1",
        candidate="2",
        alpha=0.05,
        task=task,
    )
    return verdict


def share(ours: float, theirs: float) -> Any:
    return lambda mine, g: g.random(len(mine)) < np.where(mine, ours, theirs)


def wrong(ours: float, theirs: float) -> dict[str, Any]:
    """Labels of all answers, known a minute later; these shares of the predictions miss them."""

    def label(mine: np.ndarray, g: np.random.Generator) -> np.ndarray:
        return np.where(g.random(len(mine)) < np.where(mine, ours, theirs), "no", "yes").astype(object)

    return {
        "prediction": lambda mine, _: np.full(len(mine), "yes", dtype=object),
        "label": label,
        "label_at": lambda mine, _: np.arange(len(mine)) + 60.0,
    }


def without(gone: np.ndarray) -> np.ndarray:
    return np.array([None if none else "no" for none in gone], dtype=object)


CASES: dict[SignalName, tuple[dict[str, Any], dict[str, Any], float]] = {
    "errors": ({"failed": share(0.15, 0.02)}, {"failed": share(0.02, 0.02)}, 0.05),
    "missing_values": (
        {"prediction": lambda mine, g: without(g.random(len(mine)) < np.where(mine, 0.15, 0))},
        {},
        0.05,
    ),
    "latency_ms": ({"latency_ms": lambda mine, g: 5 + g.random(len(mine)) + mine * 0.5}, {}, 0.1),
    "prediction_distribution": (
        {"prediction": lambda mine, g: np.where(share(0.6, 0.3)(mine, g), "yes", "no").astype(object)},
        {},
        0.15,
    ),
    "quality": (wrong(0.25, 0.1), wrong(0.1, 0.1), 0.06),
}


@pytest.mark.parametrize("name", CASES)
def test_harm_is_found_and_its_harmless_twin_is_safe(name: SignalName) -> None:
    harm, twin, margin = CASES[name]

    found, clean = one(name, answers(**harm), margin=margin), one(name, answers(n=20_000, **twin), margin=margin)

    assert (found.outcome, clean.outcome) == ("harmful", "safe"), (found.statement, clean.statement)
    assert found.difference is not None
    assert abs(found.difference) > margin


def test_disagreement_is_counted_on_requests_that_both_answered() -> None:
    def mirrored(differ: float) -> Observations:
        twice = np.repeat([f"q{i}" for i in range(N // 2)], 2).astype(object)
        ours = np.arange(N) % 2 == 1
        flip = np.random.default_rng(3).random(N) < differ
        return answers(
            request_id=twice,
            version=np.where(ours, "2", "1").astype(object),
            mirrored=ours,
            prediction=np.where(ours & flip, "yes", "no").astype(object),
        )

    assert one("disagreement", mirrored(0.4), margin=0.2).outcome == "harmful"
    assert one("disagreement", mirrored(0.05), margin=0.2).outcome == "safe"
    assert one("disagreement", answers(), margin=0.2).outcome == "no_data"


def test_numbers_are_judged_by_spread_and_error() -> None:
    def numbers(shift: float) -> Observations:
        return answers(
            n=20_000,
            prediction=lambda mine, g: (g.normal(size=len(mine)) + mine * shift).astype(object),
            label=lambda mine, g: np.zeros(len(mine)).astype(object),
            label_at=lambda mine, g: np.arange(len(mine), dtype=float),
        )

    assert one("prediction_distribution", numbers(1.0), margin=0.1, task="regression").outcome == "harmful"
    assert one("quality", numbers(1.0), margin=0.1, task="regression").outcome == "harmful"
    assert one("quality", numbers(0.0), margin=0.1, task="regression").outcome == "safe"


@pytest.mark.parametrize("name", [*CASES, "disagreement", "estimated_quality"])
def test_nothing_to_go_by_is_no_data_and_never_good_news(name: SignalName) -> None:
    only_ours = answers(candidates=1.0)
    for rows in (no_observations(), answers(n=100), only_ours):
        assert one(name, rows).outcome == "no_data"


def test_broken_rows_are_left_out_and_judged_by_the_signals_that_know_them() -> None:
    rows = answers(
        n=20_000,
        latency_ms=lambda mine, g: np.where(
            g.random(len(mine)) < 0.1, np.nan, np.where(g.random(len(mine)) < 0.1, np.inf, 5.0)
        ),
        probability=np.full(20_000, 7.0),
        prediction=lambda mine, g: np.where(g.random(len(mine)) < 0.1, np.nan, 1.0).astype(object),
    )

    assert one("latency_ms", rows).outcome in ("safe", "inconclusive")
    assert one("estimated_quality", rows).outcome == "no_data"
    assert one("missing_values", rows, margin=0.05).outcome == "safe"


def test_own_word_of_a_version_warns_and_never_clears() -> None:
    unsure = answers(n=20_000, probability=lambda mine, g: np.where(mine, 0.55, 0.95))
    sure = answers(n=20_000, probability=lambda mine, g: np.where(mine, 0.999, 0.9))

    assert one("estimated_quality", unsure).outcome == "harmful"
    assert one("estimated_quality", sure).outcome == "inconclusive"


def test_candidate_alone_is_held_against_what_the_champion_did() -> None:
    def then_all(ours: float) -> Observations:
        first = answers(n=8000, failed=share(0.02, 0.02))
        alone = answers(n=8000, candidates=1.0, seed=2, failed=share(ours, 0.0), at=np.arange(8000) + 8000.0)
        joined: dict[str, Any] = {name: np.concatenate([getattr(first, name), getattr(alone, name)]) for name in ARRAYS}
        return Observations(**joined)

    assert one("errors", then_all(0.2)).outcome == "harmful"
    assert one("errors", then_all(0.02)).outcome != "harmful"


def after(first: Observations, then: Observations) -> Observations:
    """One log of both, `then` an hour and more later."""
    late = then.of(np.ones(len(then), dtype=bool))
    late.at[:] += float(first.at.max()) + 3600
    joined: dict[str, Any] = {name: np.concatenate([getattr(first, name), getattr(late, name)]) for name in ARRAYS}
    return Observations(**joined)


@pytest.mark.parametrize("candidates", [0.5, 1.0])
def test_version_that_breaks_after_a_long_healthy_time_is_caught_alone_or_beside_the_champion(
    candidates: float,
) -> None:
    healthy = answers(n=40_000, failed=share(0.01, 0.01))
    broken = answers(n=800, candidates=candidates, seed=2, failed=share(1.0, 0.01))
    fine = answers(n=800, candidates=candidates, seed=2, failed=share(0.01, 0.01))

    assert one("errors", healthy).outcome == "safe"
    assert one("errors", after(healthy, broken)).outcome == "harmful"
    assert one("errors", after(healthy, fine)).outcome == "safe"


@pytest.mark.parametrize("name", CASES)
def test_harm_that_was_found_stays_found_at_every_later_look(name: SignalName) -> None:
    harm, _, margin = CASES[name]
    rows = answers(n=12_000, **harm)
    if name == "prediction_distribution":
        rows.prediction[6_000:6_200] = "never seen before"
    looks = [one(name, rows.of(np.arange(len(rows)) < n), margin=margin).outcome for n in range(500, 12_001, 500)]

    first = looks.index("harmful")
    assert set(looks[first:]) == {"harmful"}
    assert not {"harmful", "safe"} & set(looks[:first])


def test_labelled_answers_to_one_request_are_compared_with_each_other() -> None:
    """A tenth is mirrored, and both say the same: surely no worse, where arms compared as wholes could not tell."""
    g = np.random.default_rng(8)
    n, every = 20_000, 10
    wrong = np.where(g.random(n) < 0.3, "no", "yes").astype(object)
    champion = answers(
        n=n, candidates=0.0, label=wrong, label_at=np.arange(n) + 60.0, prediction=np.full(n, "yes", dtype=object)
    )
    mirrored = champion.of(np.arange(n) % every == 0)
    mirrored.version[:], mirrored.mirrored[:] = "2", True
    both: dict[str, Any] = {name: np.concatenate([getattr(champion, name), getattr(mirrored, name)]) for name in ARRAYS}
    rows = Observations(**both)
    apart: dict[str, Any] = both | {"request_id": np.arange(len(rows)).astype(object)}
    strangers = Observations(**apart)

    assert one("quality", rows, margin=0.01).outcome == "safe"
    assert one("quality", strangers, margin=0.01).outcome == "inconclusive"


def test_numbers_that_are_none_leave_disagreement_without_data() -> None:
    twice = np.repeat([f"q{i}" for i in range(N // 2)], 2).astype(object)
    rows = answers(request_id=twice, version=np.where(np.arange(N) % 2 == 1, "2", "1").astype(object))
    assert one("disagreement", rows, task="regression").outcome == "no_data"


def test_several_critical_signals_share_alpha_and_the_others_cost_nothing() -> None:
    rows = answers(n=3000, failed=share(0.05, 0.03), seed=7)
    errors = RolloutMetric(name="errors", margin=0.0, min_samples=50)
    names: tuple[SignalName, ...] = ("missing_values", "latency_ms", "quality")
    others = [RolloutMetric(name=name, margin=0.5) for name in names]
    silent = [metric.model_copy(update={"critical": False}) for metric in others]

    def outcome(alpha: float, *metrics: RolloutMetric) -> str:
        found = judge(
            metrics=metrics, observations=rows, champion="1", candidate="2", alpha=alpha, task="classification"
        )
        return found[0].outcome

    alphas = np.geomspace(1e-4, 0.5, 25)
    alone = [outcome(alpha, errors) for alpha in alphas]
    assert len(set(alone)) > 1
    assert [outcome(alpha, errors, *silent) for alpha in alphas] == alone
    shared = [outcome(4 * alpha, errors, *others) == "harmful" for alpha in alphas if 4 * alpha < 1]
    assert shared == [found == "harmful" for found, alpha in zip(alone, alphas, strict=True) if 4 * alpha < 1]


def test_look_at_two_hundred_thousand_answers_gives_the_same_twice() -> None:
    rows = answers(n=100_000, failed=share(0.02, 0.02))
    assert one("errors", rows) == one("errors", rows)


def test_classes_that_two_tables_write_differently_are_the_same() -> None:
    said = np.array([1, 1, "1", "yes", True, None, 2, "1.0"], dtype=object)
    true = np.array([1, 1.0, 1, "yes", 1, None, 1, 1], dtype=object)

    assert canary._same_each(said, true).tolist() == [True] * 6 + [False, True]  # pyright: ignore[reportPrivateUsage]


# --- more answers than a look reads


def look(rows: Observations, until: int, limit: int) -> SignalVerdict:
    start, end = (datetime.fromtimestamp(at, UTC) for at in (0, until))
    return one("errors", MemoryTrafficLog(rows).observations(["1", "2"], start, end, limit))


def test_what_was_shown_stays_shown_when_there_are_more_answers_than_a_look_reads():
    n = 40_000
    early = np.where(np.arange(n) < 3000, 0.2, 0.02)
    rows = answers(n, failed=lambda mine, g: g.random(n) < np.where(mine, early, 0.02))
    outcomes = [look(rows, until, 1500).outcome for until in (3000, 10_000, 20_000, 40_000)]
    assert outcomes == ["harmful"] * 4


def test_harm_that_begins_after_many_answers_is_found_in_the_part_that_is_read_and_the_verdict_says_so():
    n = 40_000
    late = np.where(np.arange(n) > 30_000, 0.8, 0.02)
    rows = answers(n, failed=lambda mine, g: g.random(n) < np.where(mine, late, 0.02))
    assert look(rows, 30_000, 1500).outcome != "harmful"
    found = look(rows, n, 1500)
    assert (found.outcome, "a part was read" in found.statement) == ("harmful", True)
    assert found.champion_n + found.candidate_n < 10_000
    assert "a part was read" not in look(rows, 2000, 1500).statement


def test_part_that_is_read_halves_with_each_doubling():
    kept = thinned([f"q{i}" for i in range(64_000)], 1000)
    parts = [kept[start:end].mean() for start, end in pairwise([0, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000])]
    assert parts == pytest.approx([1, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64], rel=0.2)
    assert thinned([], 5).tolist() == []


def test_labels_that_did_not_count_stand_in_the_verdict_on_quality_alone():
    rows = replace(answers(**wrong(0.1, 0.1)), orphan_labels=3, doubled_labels=2)
    assert one("quality", rows).statement.endswith("Labels that did not count: 3 match no request, 2 came again.")
    assert "Labels" not in one("errors", rows).statement
    assert "Labels" not in one("quality", replace(rows, orphan_labels=0, doubled_labels=0)).statement
