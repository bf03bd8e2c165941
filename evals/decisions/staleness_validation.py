"""Does data validation find what was planted, and leave alone what was not?

Windows are drawn from the streams in time order: a reference of 3,000 rows, later a window of 600, 1,500 or 3,000 rows. Leaks of
AUC 0.75 and above are planted as a noisy copy of the label, as a column that is filled after the event, and as the mean label of
small groups. `clean in the reference`: the leak takes an existing column's place, with that column's own values in the leak's
order, so that its distribution tells nothing. `in both`: a new column, there already when the champion was trained. Caught is
an accusation of that column, blocking or not; how many block stands in a row of its own. Beside everything planted stand as many
untouched windows.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from scipy.stats import norm, rankdata

from evals.decisions.staleness_streams import Asked, Stream
from evals.report import Row, at_least, at_most, share
from tools.adapters import validation_rows
from tools.adapters.memory_data import MemoryData
from tools.adapters.row_digest import ROW_HASH
from tools.contamination import content_check, overlap_check
from tools.contracts.evidence import Check
from tools.contracts.profile import DataSpec, ValidationSpec
from tools.label_noise import estimate_noise, noise_check
from tools.leakage import leak_checks, strengths
from tools.out_of_fold import auc
from tools.sampled_rows import SampledRows
from tools.skew import skew_checks

SPEC: Final = ValidationSpec()
REFERENCE: Final = 3_000
SIZES: Final = (600, 1_500, 3_000)
STRENGTHS: Final = (0.76, 0.8, 0.9, 0.98)
"""AUC a leak is planted with; the window's own is a little off, and one below 0.75 is planted again."""
TIMES: Final = 100


def rows(asked: Asked) -> list[Row]:
    """All sections."""
    random, times = np.random.default_rng(20261125), 6 if asked.quick else TIMES
    return [
        *_leaks(asked.streams, times, random),
        *_overlap(asked.streams, times, random),
        *_noise(asked.streams, 1 if asked.quick else 8, random),
        *_skew(asked.streams, times, random),
    ]


# --- windows


@dataclass(frozen=True)
class Cut:
    """A window and the reference before it."""

    stream: Stream
    reference: Any
    window: Any


def cuts(streams: tuple[Stream, ...], times: int, random: np.random.Generator) -> Iterator[Cut]:
    """So many windows, streams and sizes in turn."""
    for number in range(times):
        stream = streams[number % len(streams)]
        frame = stream.frame
        size = min(SIZES[number // len(streams) % len(SIZES)], len(frame) // 3)
        before = min(REFERENCE, len(frame) // 3)
        start = int(random.integers(before, len(frame) - size + 1))
        first = int(random.integers(0, start - before + 1))
        yield Cut(stream, frame.iloc[first : first + before], frame.iloc[start : start + size].reset_index(drop=True))


def _sample(frame: Any, stream: Stream, features: tuple[str, ...]) -> SampledRows:
    return SampledRows.from_frame(
        frame, features=features, target=stream.target, event_time=stream.time, task=stream.task, newest=3_000
    )


def _event(frame: Any, stream: Stream) -> Any:
    values = frame[stream.target]
    return (values > values.median() if stream.task == "regression" else values == values.mode()[0]).to_numpy(bool)


# --- leaks


def _copy(event: Any, wanted: float, random: np.random.Generator) -> Any:
    return event * float(norm.ppf(wanted)) * 2**0.5 + random.normal(size=len(event))


def _afterwards(event: Any, wanted: float, random: np.random.Generator) -> Any:
    """An amount that is booked after the event: mostly where it happened, now and then where it did not."""
    seldom = min(0.1, 1 - (2 * wanted - 1))
    booked = random.random(len(event)) < np.where(event, 2 * wanted - 1 + seldom, seldom)
    return np.where(booked, random.lognormal(3, 1, len(event)), 0.0)


def _encoded(event: Any, wanted: float, random: np.random.Generator) -> Any:
    """Mean label of small groups, the row itself among them: the size of group that comes nearest to the AUC wanted."""
    tries = []
    for size in range(1, 9):
        group = random.permutation(len(event)) // size
        mean = np.bincount(group, weights=event) / np.bincount(group)
        tries.append(mean[group] + random.normal(size=len(event)) * 1e-6)
    fit = [one for one in tries if auc(one, event) >= SPEC.leak_auc]
    return min(fit, key=lambda one: abs(auc(one, event) - wanted))


KINDS: Final[dict[str, Callable[[Any, float, np.random.Generator], Any]]] = {
    "noisy copy": _copy,
    "filled after the event": _afterwards,
    "mean label of groups": _encoded,
}


def plant(frame: Any, stream: Stream, kind: str, wanted: float, random: np.random.Generator) -> Any:
    """Values of a leak with an AUC of at least 0.75 in these rows."""
    event = _event(frame, stream)
    for _ in range(100):
        values = KINDS[kind](event, wanted, random)
        if auc(values, event) >= SPEC.leak_auc:
            return values
    raise AssertionError(f"{kind} of {wanted} does not reach {SPEC.leak_auc}")  # pragma: no cover


def accusations(window: Any, reference: Any, stream: Stream, features: tuple[str, ...]) -> tuple[Check, ...]:
    """Leak checks that accuse, as a run makes them."""
    now = strengths(_sample(window, stream, features), least=SPEC.leak_auc)
    near = [one.name for one in now.values() if one.own is not None]
    then = strengths(_sample(reference, stream, features), least=1.0, also=near)
    checks = leak_checks(now=now, then=then, rows=len(window), spec=SPEC)
    return tuple(check for check in checks if check.result == "fail")


def _leaks(streams: tuple[Stream, ...], times: int, random: np.random.Generator) -> list[Row]:
    found: list[Row] = []
    each = -(-times // len(KINDS))
    for where in ("clean in the reference", "in both"):
        caught = blocked = planted = 0
        for kind in KINDS:
            hits = 0
            for number, cut in enumerate(cuts(streams, each, random)):
                wanted = STRENGTHS[number % len(STRENGTHS)]
                accused = _accused_leak(cut, where, kind, wanted, random)
                hits += bool(accused)
                blocked += any(check.severity == "block" for check in accused)
            found.append(share(f"leak caught, {where}: {kind}", hits, each))
            caught, planted = caught + hits, planted + each
        found.append(at_least(f"leak of AUC 0.75 and above caught, {where}", caught, planted, 0.95))
        found.append(share(f"leak blocks, {where}", blocked, planted))
    wrong = blocking = 0
    for cut in cuts(streams, times, random):
        accused = accusations(cut.window, cut.reference, cut.stream, cut.stream.features)
        wrong += bool(accused)
        blocking += any(check.severity == "block" for check in accused)
    found.append(_few("untouched window with a feature accused", wrong, times))
    found.append(_few("untouched window with a feature accused so that it blocks", blocking, times))
    return found


def _few(name: str, hits: int, n: int) -> Row:
    """Met as the issue states it: at most 2 of 100."""
    row = at_most(name, hits, n, 0.02)
    return Row(row.name, row.value, row.low, row.high, row.n, "at most 2 of 100", hits <= 0.02 * n)


def _accused_leak(cut: Cut, where: str, kind: str, wanted: float, random: np.random.Generator) -> tuple[Check, ...]:
    stream, window, reference = cut.stream, cut.window, cut.reference
    leak = plant(window, stream, kind, wanted, random)
    if where == "in both":
        old = plant(reference, stream, kind, wanted, random)
        window, reference = window.assign(leak__=leak), reference.assign(leak__=old)
        name, features = "leak__", (*stream.features, "leak__")
    else:
        numbers = [
            one for one in stream.features if pd.api.types.is_numeric_dtype(window[one]) and window[one].nunique() > 8
        ]
        if not numbers:
            return _accused_leak(cut, "in both", kind, wanted, random)
        name, features = str(random.choice(numbers)), stream.features
        known = np.sort(window[name].dropna().to_numpy(float))
        place = (rankdata(leak, "ordinal") - 1) * len(known) // len(leak)
        window = window.assign(**{name: known[place]})
    return tuple(check for check in accusations(window, reference, stream, features) if check.subject == name)


# --- overlap


def _overlap(streams: tuple[Stream, ...], times: int, random: np.random.Generator) -> list[Row]:
    counts = dict.fromkeys(("key", "key, none", "content", "content, none"), 0)
    with tempfile.TemporaryDirectory() as folder:
        for cut in cuts(streams, times, random):
            for planted in (True, False):
                key, content = _contaminated(cut, Path(folder), planted=planted, random=random)
                counts["key" if planted else "key, none"] += key.result == "fail"
                counts["content" if planted else "content, none"] += content.result == "fail"
    return [
        _all("1 % of the holdout in the training rows: found", counts["key"], times),
        _few("untouched holdout called contaminated", counts["key, none"], times),
        share("1 % of the holdout in the training rows under another time: found by content", counts["content"], times),
        _few("untouched holdout called contaminated by content", counts["content, none"], times),
    ]


def _all(name: str, hits: int, n: int) -> Row:
    """Met as the issue states it: each and every one."""
    row = share(name, hits, n)
    return Row(row.name, row.value, row.low, row.high, row.n, "100 of 100", hits == n)


def _contaminated(cut: Cut, folder: Path, *, planted: bool, random: np.random.Generator) -> tuple[Check, Check]:
    """(check by row hash, check by content) of a holdout of which 1 % stands in the training rows."""
    stream, holdout = cut.stream, cut.window
    training = cut.reference
    copied = holdout.sample(max(1, len(holdout) // 100), random_state=int(random.integers(2**31))) if planted else None
    by_key = training if copied is None else pd.concat([training, copied])
    again = (
        None if copied is None else copied.assign(**{stream.time: training[stream.time].iloc[: len(copied)].to_numpy()})
    )
    by_content = training if again is None else pd.concat([training, again])
    data = MemoryData({"holdout": holdout, "key": by_key, "content": by_content})
    plain = DataSpec(source="holdout", event_time=stream.time, target=stream.target, features=stream.features)
    content = plain.model_copy(update={"key": (*stream.features, stream.target)})

    def written(spec: DataSpec, source: str) -> Path:
        path = folder / f"{source}-{len(spec.key)}.parquet"
        end = datetime(2200, 1, 1, tzinfo=UTC)
        data.write_window(spec.model_copy(update={"source": source}), None, end, path, 200_000)
        return path

    overlap = data.overlap(written(plain, "holdout"), written(plain, "key"))
    found = validation_rows.repeated_content(
        written(content, "holdout"), written(content, "content"), stream.time, sampled=False
    )
    return (
        overlap_check(who="champion", fold=1, overlap=overlap, spec=SPEC),
        content_check(
            fold=1,
            rows=found.rows,
            repeated=found.repeated,
            natural_rows=found.natural_rows,
            natural_repeated=found.natural_repeated,
        ),
    )


# --- label noise


def _noise(streams: tuple[Stream, ...], times: int, random: np.random.Generator) -> list[Row]:
    found: list[Row] = []
    for stream in (one for one in streams if one.task == "classification"):
        for flipped in (0.0, 0.05, 0.1, 0.2, 0.3):
            rises: list[float] = []
            warned = 0
            for cut in cuts((stream,), times, random):
                check = _noise_check(cut, flipped, random)
                if check.value is not None:
                    rises.append(check.value)
                    warned += check.result == "fail"
            name = f"label noise, {stream.name}: {flipped:.0%} of the labels made wrong"
            middle = float(np.mean(rises)) if rises else float("nan")
            error = 1.96 * float(np.std(rises)) / max(len(rises), 1) ** 0.5 if rises else float("nan")
            found.append(Row(f"{name}, rise estimated", middle, middle - error, middle + error, len(rises)))
            found.append(share(f"{name}, warned", warned, len(rises)))
    return found


def _noise_check(cut: Cut, flipped: float, random: np.random.Generator) -> Check:
    stream, window = cut.stream, cut.window
    wrong = random.random(len(window)) < flipped
    others = window[stream.target].sample(frac=1, random_state=int(random.integers(2**31))).to_numpy()
    classes = window[stream.target].unique()
    if len(classes) == 2:
        others = np.where(window[stream.target] == classes[0], classes[1], classes[0])
    noisy = window.assign(**{stream.target: np.where(wrong, others, window[stream.target])})
    now, then = (_sample(frame, stream, stream.features) for frame in (noisy, cut.reference))
    n = min(len(now), len(then))
    return noise_check(
        now=estimate_noise(now.newest(n)), then=estimate_noise(then.newest(n)), target=stream.target, spec=SPEC
    )


# --- skew


def _skew(streams: tuple[Stream, ...], times: int, random: np.random.Generator) -> list[Row]:
    caught = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for cut in cuts(streams, times, random):
            caught += _skewed(cut, Path(folder), 0.02, random)
            wrong += _skewed(cut, Path(folder), 0.0, random)
    return [
        at_least("a feature served otherwise in 2 % of the rows: found", caught, times, 0.95),
        _few("untouched log called skewed", wrong, times),
    ]


def _skewed(cut: Cut, folder: Path, changed: float, random: np.random.Generator) -> bool:
    stream = cut.stream
    data = cut.window.assign(**{ROW_HASH: [f"{number:032x}" for number in range(len(cut.window))]})
    # A column that is the same nearly everywhere cannot be served otherwise in 2 % of the rows.
    varied = [one for one in stream.features if data[one].value_counts(normalize=True, dropna=False).iloc[0] < 0.9]
    name = str(random.choice(varied))
    log = data.sample(frac=0.8, random_state=int(random.integers(2**31)))
    other = log[name].sample(frac=1, random_state=1).to_numpy()
    picked = np.zeros(len(log), bool)
    differs = log[name].astype(str).to_numpy() != other.astype(str)
    picked[np.flatnonzero(differs)[: round(changed * len(log))]] = True
    served = log[name].astype(object).where(~picked, other)
    paths = folder / "log.parquet", folder / "data.parquet"
    log.assign(**{name: served.infer_objects().astype(log[name].dtype)}).to_parquet(paths[0])
    data.to_parquet(paths[1])
    spec = DataSpec(source="x", event_time=stream.time, target=stream.target, features=stream.features)
    checks = skew_checks(validation_rows.skew(paths[0], paths[1], spec, sampled=False), SPEC)
    return any(check.result == "fail" and (not changed or check.subject == name) for check in checks)
