"""Is a broken pipeline told from a changed world of the same size?

A champion, its baseline rows and the rows of now are drawn at random from one part of a stream, so that nothing differs until something
is planted. A pipeline breaks in the column that matters most: nulls, another unit, one value stuck, or values that belong to
other rows (shuffled). Its twin is a changed world: the same column moves by half a standard deviation, and the labels follow another
rule in a part of its range, so large that the champion loses as much as by the breakage. Where that is less than `LEAST` there is
nothing to retrain for, and no twin.

Both go the whole way of the product: columns, predictions and labels compared (`tools.drift`, `tools.drift_reply`), performance
on labels (`tools.performance_loss`), `tools.staleness.assess`, `tools.when.decide_when`, `tools.triggers.judge_trigger`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from evals.decisions.staleness_estimates import criteria_of, numbers
from evals.decisions.staleness_streams import PARTS, Stream
from evals.report import Row, at_least
from tools import drift, drift_reply, staleness, triggers, when
from tools.adapters.drift_columns import MATURE, PREDICTION, PROBA, Windows
from tools.contracts.evidence import StalenessReport, TriggerVerdict
from tools.contracts.peers import PerformanceClaim
from tools.contracts.profile import DriftTrigger, PerformanceTrigger, TriggersSpec
from tools.contracts.when import LossCell, LossHistory, WhenSpec, WhenVerdict
from tools.performance_loss import performance_evidence, performance_signal
from tools.scored_rows import ScoredRows

CASES: Final = 10
"""Of each kind, a stream."""
MOST_ROWS: Final = 12_000
"""Half of them train, a quarter is the baseline, a quarter the rows of now."""
LEAST: Final = 0.05
BLOCKS: Final = 8
NOW: Final = datetime(2026, 6, 1, tzinfo=UTC)
TRIGGERS: Final = TriggersSpec(drift=DriftTrigger(), performance=PerformanceTrigger(max_loss=0.03))

Break = Callable[[Any, np.random.Generator], Any]


def _nulls(x: Any, g: np.random.Generator) -> Any:
    return np.where(g.random(len(x)) < g.uniform(0.3, 1.0), np.nan, x)


def _unit(x: Any, g: np.random.Generator) -> Any:
    return x * float(g.choice([0.001, 0.01, 10.0, 100.0, 1000.0]))


def _stuck(x: Any, g: np.random.Generator) -> Any:
    return np.full_like(x, g.choice(x[np.isfinite(x)]))


def _shuffled(x: Any, g: np.random.Generator) -> Any:
    return g.permutation(x)


BREAKS: Final[dict[str, Break]] = {
    "nulls": _nulls,
    "another unit": _unit,
    "one value stuck": _stuck,
    "rows shuffled": _shuffled,
}


@dataclass(frozen=True)
class _Case:
    """A champion and its rows, coded as numbers."""

    stream: Stream
    x: Any
    y: Any
    model: Any
    column: int
    """The one that matters most of those that are numbers."""

    @property
    def trained(self) -> slice:
        return slice(0, len(self.y) // 2)

    @property
    def kept(self) -> slice:
        return slice(len(self.y) // 2, 3 * len(self.y) // 4)

    @property
    def now(self) -> slice:
        return slice(3 * len(self.y) // 4, len(self.y))


def rows(streams: tuple[Stream, ...], *, quick: bool) -> list[Row]:
    """Every kind of breakage and its twin, over all streams that classify."""
    cases = 2 if quick else CASES
    broken: dict[str, list[bool]] = {name: [] for name in BREAKS}
    changed: list[bool] = []
    for stream in streams:
        if stream.task != "classification":
            continue
        for seed in range(cases):
            for kind, (name, change) in enumerate(BREAKS.items()):
                g = np.random.default_rng([seed, kind])
                case = _case(stream, g)
                now = case.x[case.now].copy()
                now[:, case.column] = change(now[:, case.column], g)
                y = case.y[case.now]
                _, said, trigger = judged(case, now, y)
                broken[name].append(said.action == "fix_data" and not trigger.proceed)
                lost = _right(case, case.x[case.now], y) - _right(case, now, y)
                if lost >= LEAST:
                    world, labels = _changed(case, lost, g)
                    _, said, trigger = judged(case, world, labels)
                    changed.append(said.action == "retrain" and trigger.proceed)
    found = [at_least(f"pipeline broken, {name}: fix the data", sum(h), len(h), 0.95) for name, h in broken.items()]
    every = [hit for hits in broken.values() for hit in hits]
    return [
        at_least("pipeline broken, all kinds: fix the data, and no training", sum(every), len(every), 0.95),
        *found,
        at_least("world changed by the same size: retrained", sum(changed), len(changed), 0.95),
    ]


def _case(stream: Stream, g: np.random.Generator) -> _Case:
    from sklearn.ensemble import HistGradientBoostingClassifier

    size = len(stream.frame) // PARTS
    part = int(g.integers(0, PARTS))
    wanted = min(MOST_ROWS, size)
    frame = stream.frame.iloc[part * size + g.choice(size, wanted, replace=False)]
    x = np.column_stack([numbers(frame[name]) for name in stream.features])
    y = pd.factorize(frame[stream.target], sort=True)[0]
    model = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(x[: wanted // 2], y[: wanted // 2])
    return _Case(stream, x, y, model, _matters(stream, frame, model, x, y, g))


def _matters(stream: Stream, frame: Any, model: Any, x: Any, y: Any, g: np.random.Generator) -> int:
    """The number whose shuffling costs the champion most on its baseline rows."""
    rows = slice(len(y) // 2, 3 * len(y) // 4)
    losses = np.full(x.shape[1], -1.0)
    for k, name in enumerate(stream.features):
        if pd.api.types.is_numeric_dtype(frame[name]) and len(np.unique(x[rows, k])) > 20:
            other = x[rows].copy()
            other[:, k] = g.permutation(other[:, k])
            losses[k] = float((model.predict(x[rows]) == y[rows]).mean() - (model.predict(other) == y[rows]).mean())
    return int(losses.argmax())


def _right(case: _Case, x: Any, y: Any) -> float:
    return float((case.model.predict(x) == y).mean())


def _changed(case: _Case, size: float, g: np.random.Generator) -> tuple[Any, Any]:
    """Rows of a world in which the column moved and a part of its range has other labels: the champion loses `size`."""
    world, labels = case.x[case.now].copy(), case.y[case.now].copy()
    before = _right(case, world, labels)
    column = world[:, case.column]
    world[:, case.column] = column + 0.5 * np.nanstd(column)
    order = np.argsort(np.nan_to_num(column, nan=np.inf), kind="stable")
    if g.random() < 0.5:
        order = order[::-1]
    classes = int(case.y.max()) + 1
    right = case.model.predict(world) == labels
    gone = before - float(right.mean())
    for row in order:
        if gone >= size:
            break
        labels[row] = (labels[row] + 1) % classes
        gone += (1 if right[row] else -1) / len(labels)
    return world, labels


def judged(case: _Case, now: Any, y: Any) -> tuple[StalenessReport, WhenVerdict, TriggerVerdict]:
    """What the product says of these rows of now."""
    then, reference = (
        _table(case, case.x[case.kept], case.y[case.kept]),
        _table(case, case.x[case.trained], case.y[case.trained]),
    )
    current = _table(case, now, y)
    criteria = criteria_of(case.stream, "accuracy")
    kept, recent = _scored(case, case.x[case.kept], case.y[case.kept]), _scored(case, now, y)
    least, looks = DriftTrigger().min_effect, TRIGGERS.checks_a_year
    windows, sides = Windows(reference, current), Windows(then, current)
    columns = drift.correct([windows.feature(name, least) for name in case.stream.features], least, looks=looks)
    columns = windows.detached(columns)
    predictions, labels = drift.correct(
        [sides.predictions("classification", least), sides.labels("__label", "classification", least)],
        least,
        looks=looks,
    )
    lost = performance_evidence(
        criteria=criteria, baseline=kept.value(criteria), baseline_n=kept.n, baseline_rows=kept, recent=recent
    )
    claim = None
    if lost is not None:
        signal = performance_signal(lost, 0.03, looks)
        claim = PerformanceClaim(metric=signal.subject, outcome=signal.outcome, statement=signal.statement)
    report = staleness.assess(
        profile_triggers=TRIGGERS,
        trained_until=NOW - 2 * BLOCKS * timedelta(days=7),
        newest_row=NOW,
        as_of=NOW,
        drift=drift_reply.reply(
            columns=columns,
            predictions=predictions,
            labels=labels,
            performance=claim,
            share=DriftTrigger().share_of_columns,
        ),
        drift_failure=None,
        performance=lost,
        performance_failure=None,
        primary="accuracy",
        target=case.stream.target,
    )
    history = _history(case, now, y)
    said = when.decide_when(spec=WhenSpec(), history=history, now=NOW, staleness=report)
    report = staleness.with_verdict(report, said, history.cells)
    verdict = triggers.judge_trigger(
        trigger="performance", report=report, triggers=TRIGGERS, last_finished=None, now=NOW
    )
    return report, said, verdict


def _history(case: _Case, now: Any, y: Any) -> LossHistory:
    """The champion's losses: the baseline rows in blocks, then the rows of now in as many."""
    week, trained = timedelta(days=7), NOW - 2 * BLOCKS * timedelta(days=7)
    wrong = [
        case.model.predict(case.x[case.kept]) != case.y[case.kept],
        case.model.predict(now) != y,
    ]
    parts = [part for side in wrong for part in np.array_split(side, BLOCKS)]
    cells = tuple(
        LossCell(
            version="1",
            trained_until=trained,
            start=trained + k * week,
            end=trained + (k + 1) * week,
            loss=float(part.mean()),
            n=len(part),
        )
        for k, part in enumerate(parts)
    )
    return LossHistory(
        metric="accuracy", block=week, version="1", trained_until=trained, labelled_until=NOW, cells=cells
    )


def _scored(case: _Case, x: Any, y: Any) -> ScoredRows:
    outputs = {"prediction": case.model.predict(x)}
    proba = case.model.predict_proba(x)
    outputs |= {f"proba:{name}": proba[:, code] for code, name in enumerate(case.model.classes_)}
    hours = np.arange(len(y), dtype=np.float64) * 3_600
    return ScoredRows.from_columns(task="classification", y=y, outputs=outputs, time=hours)


def _table(case: _Case, x: Any, y: Any) -> pa.Table:
    columns: dict[str, Any] = {name: pa.array(x[:, k], from_pandas=True) for k, name in enumerate(case.stream.features)}
    proba = case.model.predict_proba(x)
    columns |= {PREDICTION: case.model.predict(x), "__label": y, MATURE: np.ones(len(y), bool)}
    columns |= {f"{PROBA}{name}": proba[:, code] for code, name in enumerate(case.model.classes_)}
    return pa.table(columns)
