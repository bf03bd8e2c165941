"""Are the traps that Evidently's defaults miss, or die of, caught and named?

Each is a pair of windows of one made-up column; beside them stand undrifted tables in which nothing may be called bad.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from evals.decisions.staleness_false_alarms import checked
from evals.decisions.staleness_streams import Asked
from evals.report import Row, share
from tools.adapters.memory_data import MemoryData
from tools.contracts.profile import DataSpec, ValidationSpec
from tools.validation_counts import count_checks

COLUMNS: Final = 20


def rows(asked: Asked) -> list[Row]:
    """Each trap caught and named, and silence where there is none."""
    made = {name: trap() for name, trap in _traps().items()}
    quiet = {f"seed {seed}": _quiet(seed) for seed in range(6 if asked.quick else 100)}
    return [
        _every("traps caught and named", made),
        _every("1,100 × 80 rows of 20 undrifted columns: nothing called bad", quiet),
    ]


def _every(name: str, made: dict[str, bool]) -> Row:
    missed = ", ".join(one for one, right in made.items() if not right)
    told = f"{name} (missed: {missed})" if missed else name
    return share(told, sum(made.values()), len(made), "every one", not missed)


def _trap(reference: Any, current: Any, wanted: str, says: str = "") -> bool:
    """Whether the column is bad, called so, and (where asked) told in these words."""
    tables = [pa.table({"x": side} if side is not None else {"y": pa.nulls(500)}) for side in (reference, current)]
    found = checked(*tables)[0]
    return (found.outcome, found.drift_type) == ("bad", wanted) and says in found.statement


def _traps() -> dict[str, Callable[[], bool]]:
    g = np.random.default_rng(1)
    before, after = g.normal(50, 5, 5_000), g.normal(50, 5, 500)
    hidden = np.append(g.normal(55, 5, 499), 1e6)
    halves = pa.array([None if i % 2 else float(v) for i, v in enumerate(after)])
    one_infinite = np.append(g.normal(55, 5, 499), np.inf)
    return {
        "an outlier of 1e6 hides no shift of one sd": lambda: _trap(before, hidden, "data_drift"),
        "half of the values null": lambda: _trap(before, halves, "null_share"),
        "the column gone": lambda: _trap(before, None, "vanished"),
        "one infinity hides no shift": lambda: _trap(before, one_infinite, "data_drift"),
        "infinities in a tenth": lambda: _trap(before, np.where(np.arange(500) % 10, after, np.inf), "infinite"),
        "all null": lambda: _trap(before, pa.nulls(500, pa.float64()), "null_share"),
        "all null, and without a type": lambda: _trap(before, pa.nulls(500), "null_share"),
        "another type": lambda: _trap(before, [str(v) for v in after], "type_change"),
        "a swapped unit": lambda: _trap(before, after * 1_000, "unit"),
        "one infinity counted by data validation": lambda: _infinity_counted(one_infinite),
    }


def _infinity_counted(values: Any) -> bool:
    """Too little for a drift, and yet named: data validation counts the whole window."""
    frame = pd.DataFrame({"x": values, "y": 0, "at": pd.date_range("2026-01-01", periods=len(values), freq="min")})
    data = DataSpec(source="window", event_time="at", target="y", features=("x",))
    end = datetime(2027, 1, 1, tzinfo=UTC)
    checks = count_checks(
        summary=MemoryData({"window": frame}).summary(data, None, end, end, ("x", "y")),
        reference=None,
        data=data,
        spec=ValidationSpec(),
        as_of=end,
        max_lag=None,
        sampled=0,
    )
    failed = [check for check in checks if check.result == "fail" and check.subject == "x"]
    return [check.counts["failing"] for check in failed] == [1]


def _quiet(seed: int) -> bool:
    g = np.random.default_rng(seed)
    found = checked(*(pa.table({f"c{i}": g.normal(size=n) for i in range(COLUMNS)}) for n in (1_100, 80)))
    return not any(c.outcome == "bad" for c in found)
