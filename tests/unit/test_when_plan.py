"""The cheapest plan of retrainings, what rules are tuned on, and the eval that replays them."""

from itertools import product

import numpy as np
import pytest

from evals.decisions import when_excess, when_synthetic
from evals.decisions.when_matrices import Matrix, coded
from evals.decisions.when_policies import OURS, POLICIES, Replay
from tools import when_rules
from tools.when_decay import decay
from tools.when_expected import weigh
from tools.when_history import Known
from tools.when_matrix import dense
from tools.when_plan import best_plan, cost_of
from tools.when_rules import NEVER


def losses(blocks: int, seed: int = 0, rate: float = 0.02) -> np.ndarray:
    g = np.random.default_rng(seed)
    s, t = np.meshgrid(range(blocks), range(blocks), indexing="ij")
    found = 0.2 + rate * (t - s) + g.normal(0, 0.05, blocks)[None, :] + g.normal(0, 0.02, (blocks, blocks))
    return np.where(t > s, found, np.nan)


@pytest.mark.parametrize(("lag", "cost"), list(product((0, 1, 3), (0.0, 0.01, 0.1, 1.0))))
def test_the_plan_costs_what_the_best_of_all_plans_costs(lag: int, cost: float) -> None:
    matrix, start, end = losses(13, seed=lag), 5, 13

    def of(trained: tuple[bool, ...]) -> float:
        wants = dict(zip(range(start, end), trained, strict=True))
        return cost_of(
            matrix, lambda _, t: wants[t], current=start - 1 - lag, start=start, end=end, lag=lag, cost=cost
        )[0]

    plan = best_plan(matrix, current=start - 1 - lag, start=start, end=end, lag=lag, cost=cost)

    every = {trained: of(trained) for trained in product((False, True), repeat=end - start)}
    assert plan.total == pytest.approx(min(every.values()))
    assert of(tuple(t in plan.trainings for t in range(start, end))) == pytest.approx(plan.total)
    assert plan.wait == pytest.approx(min(cost for trained, cost in every.items() if not trained[0]))


def known(matrix: np.ndarray, **changes: object) -> Known:
    s, t = np.triu_indices(len(matrix), 1)
    blocks = len(matrix)
    given = {
        "s": s.astype(float),
        "t": t.astype(float),
        "loss": matrix[s, t],
        "n": np.full(len(s), 2_000.0),
        "current": float(blocks - 4),
        "coming": float(blocks),
        "fresh": float(blocks - 1),
        "cost": 0.05,
        "horizon": blocks,
    }
    return Known(**(given | changes))  # type: ignore[arg-type]


def test_decay_is_learned_whatever_the_difficulty_of_blocks_and_never_negative() -> None:
    falling = decay(known(losses(14)))
    rising = decay(known(losses(14, rate=-0.02)))
    ages = falling.loss(np.array([0.0, 8.0]), np.array([13.0, 13.0]))

    assert ages[0] - ages[1] == pytest.approx(0.16, abs=0.06)
    assert (rising.weights >= 0).all()


def test_a_changed_world_is_told_from_a_hard_month_by_what_trainings_saved() -> None:
    """Both times the champion's latest losses are higher; once younger versions were spared such a rise before."""
    s, t = np.meshgrid(range(16), range(16), indexing="ij")
    changed = np.where(t > s, 0.2 + 0.1 * ((s < 8) & (t >= 8)), np.nan)
    hard = np.where(t > s, 0.2 + 0.1 * (t >= 8), np.nan)

    assert decay(known(changed)).share > 0.5 > 0.1 > decay(known(hard)).share


def test_a_rise_that_was_never_seen_before_is_worth_a_training() -> None:
    flat = np.where(np.isfinite(losses(14)), 0.2, np.nan)
    jumped = flat.copy()
    jumped[10, 13] = 0.4

    assert not weigh(known(flat)).retrain
    assert weigh(known(jumped)).retrain


def test_nothing_is_trained_on_labels_that_are_not_there() -> None:
    assert not weigh(known(losses(14), fresh=10.0, current=10.0, cost=0.0)).retrain


@pytest.mark.parametrize("strategy", ["periodic", "threshold", "cumulative_loss", "forecast"])
def test_tuning_on_a_history_without_decay_never_trains_and_on_one_with_decay_does(
    strategy: when_rules.SimpleStrategy,
) -> None:
    steady = np.where(np.isfinite(losses(14)), 0.2, np.nan)

    assert when_rules.tuned(strategy, steady, lag=0, cost=0.05) == NEVER
    assert when_rules.tuned(strategy, losses(14, rate=0.05), lag=0, cost=0.01) != NEVER


def test_a_history_with_holes_is_filled_by_what_decay_expects() -> None:
    whole = known(losses(12))
    kept = (whole.s % 3 == 0) | (whole.s == 8)
    holes = Known(**{**vars(whole), **{k: getattr(whole, k)[kept] for k in ("s", "t", "loss", "n")}})

    filled = dense(holes)

    cells = np.triu_indices(12, 1)
    assert np.isfinite(filled[cells]).all()
    assert float(np.abs(filled[cells] - losses(12)[cells]).mean()) < 0.04


# --- the eval


def matrix_of(error: np.ndarray) -> Matrix:
    blocks = len(error)
    return Matrix("made", 0, error, np.zeros((blocks, blocks, 2_000), np.float32), np.ones((blocks, blocks)))


def test_the_eval_asks_the_products_rule_and_nothing_else() -> None:
    replay = Replay(matrix_of(losses(20)), 8, 1)
    wants = POLICIES[OURS](replay, 0.05)

    got = [wants(6, block) for block in range(8, 20)]

    assert got == [weigh(replay.known([6], block, 0.05)).retrain for block in range(8, 20)]
    assert any(got)


def test_no_policy_sees_the_future() -> None:
    """Whatever comes from the block that is decided on, decisions are the same."""
    error = losses(20)
    other = error.copy()
    other[:, 12:] = np.random.default_rng(9).random((20, 8))
    for name, policy in POLICIES.items():
        made = [policy(Replay(matrix_of(e), 8, 1), 0.02)(6, 12) for e in (error, other)]
        assert made[0] == made[1], name


def test_every_policy_costs_at_least_the_oracle_and_intervals_hold_the_excess() -> None:
    spent = when_excess.spend([matrix_of(losses(20))], costs=(0.01, 0.1), offsets=(0, 1), lags=(0, 2), detectors=False)

    for name in POLICIES:
        low, high = when_excess.interval(spent, name)
        assert when_excess.excess(spent, name) >= 0
        assert low <= when_excess.excess(spent, name) <= high
    assert when_excess.interval(spent, OURS, less=OURS) == (0.0, 0.0)
    assert when_excess.beyond(spent, OURS, OURS) == (0.0, 0.0, 0.0)
    value, low, high = when_excess.beyond(spent, "every block", "never")
    assert value != 0
    assert low <= value <= high


def test_detectors_fire_on_errors_that_rise_and_not_on_steady_ones() -> None:
    from evals.decisions import when_detectors

    g = np.random.default_rng(0)
    rows = np.full((8, 8, 300), np.nan, np.float32)
    for s in range(8):
        for t in range(s + 1, 8):
            rows[s, t] = g.random(300) < (0.7 if t >= 5 else 0.1)
    made = Matrix("made", 0, losses(8), rows, np.ones((8, 8)))

    for name, touchiest in (("ADWIN", 0), ("DDM", 3), ("Page-Hinkley", 1)):
        assert when_detectors.first_alarms(made, name)[touchiest, 0] == 5, name


def test_any_column_becomes_numbers() -> None:
    import pandas as pd

    stream = when_synthetic.stream("no decay", 0, 4)
    frame = stream.frame.assign(
        when=pd.date_range("2020", periods=len(stream.frame), tz="UTC").where(stream.frame["x0"] > 0),
        kind=pd.Categorical(np.where(stream.frame["x1"] > 0, "a", "b")),
        flag=pd.array(stream.frame["x2"] > 0, dtype="boolean"),
        took=pd.to_timedelta(stream.frame["x3"], unit="h"),
        text=stream.frame["x4"].round(1).astype(str).where(stream.frame["x5"] > 0),
    )
    made = type(stream)("mixed", frame, "time", "y", "classification", ("when", "kind", "flag", "took", "text"))

    x, y = coded(made, 4)

    assert x.shape == (len(frame), 5)
    assert np.isfinite(x).any(axis=0).all()
    assert set(np.unique(y)) == {0, 1}
