"""How often does a year of nightly checks wake somebody for nothing, and how soon for something?

A model's rows are a stream's in random order, so that nothing ever changes; as many arrive each night. A champion is trained on other
rows; baseline rows with its outputs are on record. Every night the last 28 are checked by the whole rule (columns, predictions,
labels, performance on mature labels; `tools.staleness.assess`, `tools.alerts.severity`), labels being known two nights later.
An alert that stays is one until a night without it. The twin: from night `BREAKS` on a share of the labels is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import stats
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from evals.decisions.staleness_estimates import criteria_of, numbers
from evals.decisions.staleness_streams import Asked, Stream, on_all_cores
from evals.report import Row, share
from tools import alerts, drift, drift_reply, staleness
from tools.adapters.drift_columns import MATURE, PREDICTION, PROBA, Windows
from tools.contracts.comparison import Criteria
from tools.contracts.peers import PerformanceClaim
from tools.contracts.profile import DriftTrigger, PerformanceTrigger, TriggersSpec
from tools.performance_loss import performance_evidence, performance_signal
from tools.scored_rows import ScoredRows

MODELS, NIGHTS, WINDOW, DELAY = 40, 365, 28, 2
TWINS, BREAKS, WRONG, SOON = 10, 180, 0.3, 60
TRAIN, BASELINE, REFERENCE = 1_500, 1_000, 1_500
LEAST_A_NIGHT, MOST_A_NIGHT = 3, 36
MOST_COLUMNS: Final = 6
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
TRIGGERS: Final = TriggersSpec(drift=DriftTrigger(), performance=PerformanceTrigger(max_loss=0.03))
_STATS: Any = stats


@dataclass(frozen=True)
class Year:
    """One model's nights on which it had an alert, by level."""

    pages: tuple[int, ...]
    tickets: tuple[int, ...]

    @staticmethod
    def episodes(nights: Sequence[int]) -> tuple[int, ...]:
        """First nights of the runs of consecutive nights."""
        return tuple(night for i, night in enumerate(nights) if i == 0 or nights[i - 1] != night - 1)


def rows(asked: Asked) -> list[Row]:
    """Pages and tickets of a year in all; the twin's detections. Streams too short for a year are named."""
    long_enough = [stream for stream in asked.streams if _a_night(stream) >= LEAST_A_NIGHT]
    needed = TRAIN + BASELINE + REFERENCE + LEAST_A_NIGHT * (NIGHTS + WINDOW)
    short = [
        Row(f"{s.name}: a year of nights not measured: {len(s.frame):,} rows, {needed:,} are needed", float("nan"), n=0)
        for s in asked.streams
        if s not in long_enough
    ]
    return [*(_measured(long_enough, quick=asked.quick) if long_enough else []), *short]


def _a_night(stream: Stream) -> int:
    """Rows that arrive a night."""
    return min(MOST_A_NIGHT, (len(stream.frame) - TRAIN - BASELINE - REFERENCE) // (NIGHTS + WINDOW))


def _measured(streams: Sequence[Stream], *, quick: bool) -> list[Row]:
    models, twins, nights = (2, 1, 40) if quick else (MODELS, TWINS, NIGHTS)
    breaks = 20 if quick else BREAKS
    jobs: list[tuple[Stream, int, int, int | None]] = []
    jobs += [(streams[k % len(streams)], k, nights, None) for k in range(models)]
    jobs += [(streams[k % len(streams)], 1_000 + k, nights, breaks) for k in range(twins)]
    years = on_all_cores(_year, jobs, quick=quick)
    quiet, broken = years[:models], years[models:]
    what = f"{models} undrifted models × {nights} nights"
    found = [
        _count(f"{what}: {level}", sum(len(Year.episodes(getattr(year, level))) for year in quiet), 52)
        for level in ("pages", "tickets")
    ]
    # A page that was up before the break tells nothing about it.
    firsts = [min((night for night in Year.episodes(year.pages) if night >= breaks), default=None) for year in broken]
    soon = [first - breaks for first in firsts if first is not None and first - breaks <= SOON]
    found.append(share(f"{WRONG:.0%} of the labels wrong: paged within {SOON} nights", len(soon), len(broken)))
    if soon:
        found.append(Row("the same: nights until the page, median", float(np.median(soon)), n=len(soon)))
    return found


def _count(name: str, count: int, most: int) -> Row:
    """A count of a year with Poisson's exact interval."""
    low = float(_STATS.chi2.ppf(0.025, 2 * count)) / 2 if count else 0.0
    high = float(_STATS.chi2.ppf(0.975, 2 * count + 2)) / 2
    met = True if high <= most else False if low > most else None
    return Row(f"{name} in all", float(count), low, high, 1, f"at most {most}", met)


def _year(job: tuple[Stream, int, int, int | None]) -> Year:
    """One model (stream, seed, nights, night from which labels are wrong)."""
    stream, seed, nights, breaks = job
    g = np.random.default_rng(seed)
    frame = stream.frame.iloc[g.permutation(len(stream.frame))].reset_index(drop=True)
    fixed = TRAIN + BASELINE + REFERENCE
    a_night = _a_night(stream)
    frame = frame.head(fixed + a_night * (NIGHTS + WINDOW))
    table, scored = _table(stream, frame, breaks, fixed, a_night, g)
    criteria = criteria_of(stream, "accuracy" if stream.task == "classification" else "mean_absolute_error")
    parts = {"baseline": slice(TRAIN, TRAIN + BASELINE), "reference": slice(TRAIN + BASELINE, fixed)}
    baseline, reference = (table[part.start : part.stop] for part in (parts["baseline"], parts["reference"]))
    then = scored.at(parts["baseline"])
    pages: list[int] = []
    tickets: list[int] = []
    for night in range(nights):
        first = fixed + a_night * night
        last = first + a_night * WINDOW
        current = table[first:last].set_column(
            table.column_names.index(MATURE), MATURE, pa.array(np.arange(last - first) < a_night * (WINDOW - DELAY))
        )
        recent = scored.at(slice(first, last - a_night * DELAY))
        level = _level(stream, reference, baseline, current, then, recent, criteria)
        if level == "page":
            pages.append(night)
        elif level == "ticket":
            tickets.append(night)
    return Year(tuple(pages), tuple(tickets))


def _table(
    stream: Stream, frame: Any, breaks: int | None, fixed: int, a_night: int, g: np.random.Generator
) -> tuple[pa.Table, ScoredRows]:
    """All rows of a model with its champion's outputs, as Arrow and as scored rows."""
    names = list(stream.features[:MOST_COLUMNS])
    x = np.column_stack([numbers(frame[name]) for name in stream.features])
    if stream.task == "regression":
        y: Any = frame[stream.target].to_numpy(dtype=float)
        model: Any = HistGradientBoostingRegressor(max_iter=40, random_state=0).fit(x[:TRAIN], y[:TRAIN])
    else:
        y = pd.factorize(frame[stream.target], sort=True)[0]
        model = HistGradientBoostingClassifier(max_iter=40, random_state=0).fit(x[:TRAIN], y[:TRAIN])
    if breaks is not None:
        late = np.arange(len(y)) >= fixed + a_night * (breaks + WINDOW)
        y = np.where(late & (g.random(len(y)) < WRONG), _others(y, g), y)
    outputs = {"prediction": model.predict(x)}
    columns: dict[str, Any] = {name: pa.Array.from_pandas(frame[name]) for name in names}
    if stream.task == "classification":
        proba = model.predict_proba(x)
        outputs |= {f"proba:{name}": proba[:, code] for code, name in enumerate(model.classes_)}
    columns |= {PREDICTION: outputs["prediction"], "__label": y, MATURE: np.ones(len(y), bool)}
    columns |= {PROBA + n.removeprefix("proba:"): v for n, v in outputs.items() if n.startswith("proba:")}
    hours = np.arange(len(y), dtype=np.float64) * (24.0 * 3_600 / a_night)
    return pa.table(columns), ScoredRows.from_columns(task=stream.task, y=y, outputs=outputs, time=hours)


def _others(y: Any, g: np.random.Generator) -> Any:
    """Wrong labels: another class each, or other rows' values."""
    if y.dtype.kind == "f":
        return g.permutation(y)
    classes = int(y.max()) + 1
    return (y + g.integers(1, max(classes, 2), len(y))) % classes


def _level(
    stream: Stream,
    reference: pa.Table,
    baseline: pa.Table,
    current: pa.Table,
    then: ScoredRows,
    recent: ScoredRows,
    criteria: Criteria,
) -> str:
    """The night's alert, by the product's own rules."""
    least = DriftTrigger().min_effect
    windows, sides = Windows(reference, current), Windows(baseline, current)
    names = [name for name in reference.column_names if not name.startswith("__")]
    looks = TRIGGERS.checks_a_year
    columns = drift.correct([windows.feature(name, least) for name in names], least, looks=looks)
    predictions, labels = drift.correct(
        [sides.predictions(stream.task, least), sides.labels("__label", stream.task, least)], least, looks=looks
    )
    lost = performance_evidence(
        criteria=criteria, baseline=then.value(criteria), baseline_n=then.n, baseline_rows=then, recent=recent
    )
    claim = None
    if lost is not None:
        signal = performance_signal(lost, 0.03, looks)
        claim = PerformanceClaim(metric=signal.subject, outcome=signal.outcome, statement=signal.statement)
    reply = drift_reply.reply(
        columns=columns,
        predictions=predictions,
        labels=labels,
        performance=claim,
        share=DriftTrigger().share_of_columns,
    )
    now = START + timedelta(days=NIGHTS)
    report = staleness.assess(
        profile_triggers=TRIGGERS,
        trained_until=START,
        newest_row=now,
        as_of=now,
        drift=reply,
        drift_failure=None,
        performance=lost,
        performance_failure=None,
        primary=criteria.primary.metric,
        target=stream.target,
    )
    return alerts.severity(report).level
