"""Does looking all the time cry wolf, and how soon is real harm found?

`python -m evals.decisions.canary`: streams of two arms, harmless and with harm beside it: independent answers, answers that depend on
those before them (AR(1) under a threshold, each arm by itself), and requests that come several times. False alarms at any look, and
the median of the requests an arm until harm is found, for our rule and five others. Then whole looks with labels that come late, and
whole rollouts over all weights, in which harm begins early, late or never.
`--stream FILE --time COL --target COL` takes 0/1 answers of your own in their order and plants the harm in them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from scipy.stats import norm

from evals.decisions.canary_rollouts import HARMS, whole_rollouts
from evals.decisions.canary_rules import ALPHA, RULES
from evals.decisions.simulated import series
from evals.report import Row, arguments, publish, share
from tools.canary import judge
from tools.contracts.rollout import RolloutMetric
from tools.observations import Observations

LENGTH = 20_000
"""Requests an arm."""
NOTED = {(0.10, 0.12): 3_550, (0.10, 0.15): 638, (0.01, 0.02): 1_938}
"""Median requests to detect of the better of a mixture and a betting e-process, as measured before this was built."""
SPREAD = 1.05
HARM = ((0.10, 0.12), (0.10, 0.15), (0.01, 0.02))
DELAYS = (0, 1_000, 10_000)


@dataclass(frozen=True)
class Stream:
    """How answers come."""

    name: str
    rho: float = 0.0
    repeats: int = 1

    def draw(self, p: float, n: int, g: np.random.Generator) -> np.ndarray:
        """`n` answers of one arm, bad ones with a probability of `p`."""
        distinct = -(-n // self.repeats)
        uniform = g.random(distinct) if self.rho == 0 else norm.cdf(series(distinct, self.rho, g))
        return np.repeat(uniform < p, self.repeats)[:n]


STREAMS = (
    Stream("independent"),
    Stream("neighbours correlated 0.6", rho=0.6),
    Stream("neighbours correlated 0.9", rho=0.9),
    Stream("each request five times", repeats=5),
)

Draw = Callable[[float, np.random.Generator], np.ndarray]


def false_alarms(name: str, draw: Draw, p: float, repeats: int) -> Iterator[Row]:
    """Share of harmless canaries that a rule calls harmful."""
    alarms = dict.fromkeys(RULES, 0)
    for seed in range(repeats):
        g = np.random.default_rng((seed, 1))
        champion, candidate = draw(p, g), draw(p, g)
        for rule, judged in RULES.items():
            alarms[rule] += judged(champion, candidate) is not None
    most = ALPHA + 2 * (ALPHA * (1 - ALPHA) / repeats) ** 0.5
    for rule, count in alarms.items():
        row = share(f"false alarms, {name}, p {p:g}: {rule}", count, repeats)
        asked = (f"at most {most:.3f}", row.value <= most) if rule == "ours" else ("", None)
        yield Row(row.name, row.value, row.low, row.high, repeats, *asked)


def delays(stream: Stream, before: float, after: float, repeats: int) -> Iterator[Row]:
    """Median requests an arm until harm is found; what is never found counts as `LENGTH`, and how much was found."""
    found: dict[str, list[int | None]] = {rule: [] for rule in RULES}
    for seed in range(repeats):
        g = np.random.default_rng((seed, 2))
        champion, candidate = stream.draw(before, LENGTH, g), stream.draw(after, LENGTH, g)
        for rule, judged in RULES.items():
            found[rule].append(judged(champion, candidate))
    for rule, each in found.items():
        requests = np.array([LENGTH if n is None else n for n in each], dtype=float)
        told = f"{stream.name}, {before:g} to {after:g}: {rule}"
        most = SPREAD * NOTED[before, after]
        asked = (
            (f"at most {most:.0f}", bool(np.median(requests) <= most))
            if rule == "ours" and stream.name == "independent"
            else ("", None)
        )
        yield Row(
            f"requests to detect, {told}", float(np.median(requests)), *_median_interval(requests), repeats, *asked
        )
        hits = sum(n is not None for n in each)
        if rule == "ours":
            yield share(f"harm found within {LENGTH:,}, {told}", hits, repeats)


def late_labels(delay: int, repeats: int, look_every: int = 500) -> Iterator[Row]:
    """Whole looks of the product at labelled answers, harm of 0.10 to 0.15 in the loss, and its harmless twin."""
    metric = RolloutMetric(name="quality", margin=0.0)
    alarms, found = 0, list[float]()
    n = 4_000 + delay
    for seed in range(repeats):
        g = np.random.default_rng((seed, 3))
        for harm in (False, True):
            rows = _labelled(n, 0.10, 0.15 if harm else 0.10, delay, g)
            hit = next((at for at in range(look_every, n + 1, look_every) if _harmful(rows, metric, at)), None)
            if harm:
                found.append(n if hit is None else hit)
            else:
                alarms += hit is not None
    requests = np.array(found)
    yield Row(
        f"requests to detect, labels {delay:,} requests late, 0.1 to 0.15, a look each {look_every}",
        float(np.median(requests)),
        *_median_interval(requests),
        repeats,
    )
    most = ALPHA + 2 * (ALPHA * (1 - ALPHA) / repeats) ** 0.5
    row = share(f"false alarms, labels {delay:,} requests late", alarms, repeats)
    yield Row(row.name, row.value, row.low, row.high, repeats, f"at most {most:.3f}", row.value <= most)


def _labelled(n: int, before: float, after: float, delay: int, g: np.random.Generator) -> Observations:
    """Two arms in turn, a second a request of each; a label is known `delay` requests later."""
    count = 2 * n
    ours = np.arange(count) % 2 == 1
    wrong = g.random(count) < np.where(ours, after, before)
    at = np.arange(count) / 2.0
    return Observations(
        request_id=np.array([str(i) for i in range(count)], dtype=object),
        version=np.where(ours, "2", "1").astype(object),
        at=at,
        mirrored=np.zeros(count, dtype=bool),
        failed=np.zeros(count, dtype=bool),
        latency_ms=np.full(count, np.nan),
        prediction=np.where(wrong, 0, 1).astype(object),
        probability=np.full(count, np.nan),
        label=np.ones(count, dtype=object),
        label_at=at + delay,
    )


def _harmful(rows: Observations, metric: RolloutMetric, at: int) -> bool:
    """What the look after `at` requests an arm says; labels of later are hidden, as a log hides them."""
    seen = rows.of(rows.at < at)
    late = seen.label_at >= at
    seen.label[late], seen.label_at[late] = None, np.nan
    (verdict,) = judge(
        metrics=(metric,), observations=seen, champion="1", candidate="2", alpha=ALPHA, task="classification"
    )
    return verdict.outcome == "harmful"


def _median_interval(values: np.ndarray) -> tuple[float, float]:
    """Of the median, by order statistics."""
    n, ordered = len(values), np.sort(values)
    half = 1.96 * np.sqrt(n) / 2
    return float(ordered[max(0, int(n / 2 - half))]), float(ordered[min(n - 1, int(np.ceil(n / 2 + half)))])


def own_stream(file: Path, time: str, target: str, repeats: int) -> list[Row]:
    """Answers of your own, cut into two halves that take turns by blocks of a hundred; harm turns some of the good ones bad."""
    import pandas as pd

    frame = pd.read_parquet(file) if file.suffix == ".parquet" else pd.read_csv(file)
    missing = [column for column in (time, target) if column not in frame]
    if missing:
        raise SystemExit(f"{file}: no column {missing[0]!r}; there are {', '.join(map(str, frame.columns))}")
    answers = frame.sort_values(time, kind="stable")[target].dropna()
    values = sorted(answers.unique())
    if len(values) != 2:
        raise SystemExit(f"{file}: {target!r} has {len(values)} values; two are needed, the larger one is bad")
    bad = (answers == values[1]).to_numpy()
    rows: list[Row] = []
    alarms, found = dict.fromkeys(RULES, 0), {rule: list[float]() for rule in RULES}
    for seed in range(repeats):
        g = np.random.default_rng((seed, 4))
        turns = np.repeat(g.random(len(bad) // 100) < 0.5, 100)
        size = min(turns.sum(), (~turns).sum())
        champion, candidate = bad[: len(turns)][~turns][:size], bad[: len(turns)][turns][:size]
        harmed = candidate | (g.random(size) < 0.05)
        for rule, judged in RULES.items():
            alarms[rule] += judged(champion, candidate) is not None
            hit = judged(champion, harmed)
            found[rule].append(float(size if hit is None else hit))
    for rule in RULES:
        rows.append(share(f"false alarms, {file.name}: {rule}", alarms[rule], repeats))
        requests = np.array(found[rule])
        told = f"requests to detect, {file.name}, 5 % of the good ones turned bad: {rule}"
        rows.append(Row(told, float(np.median(requests)), *_median_interval(requests), repeats))
    return rows


def rows(repeats: int, streams: Sequence[Stream] = STREAMS, rates: Sequence[float] = (0.10, 0.01)) -> list[Row]:
    """Everything on simulated streams."""
    found: list[Row] = []
    for stream in streams:
        for p in rates:

            def draw(p: float, g: np.random.Generator, stream: Stream = stream) -> np.ndarray:
                return stream.draw(p, LENGTH, g)

            found += false_alarms(stream.name, draw, p, repeats)
        for before, after in HARM:
            found += delays(stream, before, after, max(2, repeats // 2))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 1 when a target is missed."""
    parser = arguments(__doc__ or "")
    parser.add_argument("--repeats", type=int, default=1000, help="streams drawn for each rate of false alarms")
    parser.add_argument("--stream", type=Path, help="Parquet or CSV of your own, with --time and --target")
    parser.add_argument("--time", default="time")
    parser.add_argument("--target", default="target")
    asked = parser.parse_args(argv)
    began = datetime.now(UTC)
    if asked.stream is not None:
        found = own_stream(asked.stream, asked.time, asked.target, 5 if asked.quick else 200)
    elif asked.quick:
        found = [*rows(6, STREAMS[:2], (0.10,)), *late_labels(1_000, 2), *whole_rollouts(2, HARMS[2:3])]
    else:
        late = [row for delay in DELAYS for row in late_labels(delay, max(2, asked.repeats // 10))]
        found = [*rows(asked.repeats), *late, *whole_rollouts(max(2, asked.repeats // 4))]
    publish(found, asked.json, quick=asked.quick, seconds=(datetime.now(UTC) - began).seconds)
    return 0 if asked.quick or all(row.met is not False for row in found) else 1


if __name__ == "__main__":
    raise SystemExit(main())
