"""Does data validation find what was planted, and leave alone what was not?

Leaks (`staleness_leaks`), overlap of the holdout with training rows, wrong labels, and features that are served otherwise than they
are stored; beside everything planted stand as many untouched windows.
"""

import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from evals.decisions import staleness_leaks
from evals.decisions.staleness_cuts import SPEC, Cut, cuts, few, sample
from evals.decisions.staleness_streams import Asked, Stream
from evals.report import Row, at_least, share
from tools.adapters import validation_rows
from tools.adapters.memory_data import MemoryData
from tools.adapters.row_digest import ROW_HASH
from tools.contamination import content_check, overlap_check
from tools.contracts.evidence import Check
from tools.contracts.profile import DataSpec
from tools.label_noise import estimate_noise, noise_check
from tools.skew import skew_checks

TIMES: Final = 100


def rows(asked: Asked) -> list[Row]:
    """All sections."""
    random, times = np.random.default_rng(20261125), 6 if asked.quick else TIMES
    return [
        *staleness_leaks.rows(asked.streams, times, random),
        *_overlap(asked.streams, times, random),
        *_noise(asked.streams, 1 if asked.quick else 8, random),
        *_skew(asked.streams, times, random),
    ]


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
        few("untouched holdout called contaminated", counts["key, none"], times),
        share("1 % of the holdout in the training rows under another time: found by content", counts["content"], times),
        few("untouched holdout called contaminated by content", counts["content, none"], times),
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
    now, then = (sample(frame, stream, stream.features) for frame in (noisy, cut.reference))
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
        few("untouched log called skewed", wrong, times),
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
