"""A bounded sample of rows as arrays: what leakage and label noise are estimated on.

Numbers, flags and times are floats with NaN for a null; all else is coded by value. Rows stand in time order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.contracts.profile import Task
from tools.paired_rows import label_text

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

MOST_CLASSES = 8
FEWEST_OF_A_CLASS = 20
CUTS = (0.25, 0.5, 0.75, 0.9)
"""A regression's target is looked at above each of these quantiles."""


@dataclass(frozen=True)
class SampledRows:
    """Labelled rows only, in time order."""

    features: Mapping[str, FloatArray]
    categorical: frozenset[str]
    labels: FloatArray
    """Numbers of a regression or a ranking; codes of the classes otherwise."""
    task: Task

    @classmethod
    def from_frame(
        cls, frame: Any, *, features: Sequence[str], target: str, event_time: str, task: Task, newest: int
    ) -> "SampledRows":
        """The newest labelled rows of a pandas frame; features that are not there are left out."""
        known = frame[frame[target].notna()].sort_values(event_time, kind="stable").tail(newest)
        there = [name for name in features if name in known.columns]
        coded = {name: numbers(known[name]) for name in there}
        labels = numbers(known[target])[0] if task != "classification" else _codes(known[target].map(label_text))
        if task != "classification":
            finite = np.isfinite(labels)
            known, labels = known[finite], labels[finite]
            coded = {name: (values[finite], is_code) for name, (values, is_code) in coded.items()}
        return cls(
            features={name: values for name, (values, _) in coded.items()},
            categorical=frozenset(name for name, (_, is_code) in coded.items() if is_code),
            labels=labels,
            task=task,
        )

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def graded(self) -> bool:
        """Whether the labels are a ranking's few grades: classes in an order."""
        return self.task == "ranking" and len(np.unique(self.labels)) <= MOST_CLASSES

    def events(self) -> list[BoolArray]:
        """The yes-or-no questions that the target answers: one class against the rest, above a grade, or above a quantile."""
        if self.graded:
            found = [self.labels > grade for grade in np.unique(self.labels)[:-1]]
        elif self.task != "classification":
            found = [self.labels > np.quantile(self.labels, cut) for cut in CUTS] if len(self) else []
        else:
            classes, counts = np.unique(self.labels, return_counts=True)
            frequent = classes[np.argsort(-counts)][:MOST_CLASSES]
            asked = frequent[:1] if len(classes) == 2 else frequent
            found = [self.labels == one for one in asked]
        least = FEWEST_OF_A_CLASS
        return [event for event in found if least <= int(event.sum()) <= len(event) - least]

    def newest(self, rows: int) -> "SampledRows":
        """At most so many of the latest rows."""
        return SampledRows(
            {name: values[-rows:] for name, values in self.features.items()},
            self.categorical,
            self.labels[-rows:],
            self.task,
        )


def numbers(column: Any) -> tuple[FloatArray, bool]:
    """(values, whether they are codes)."""
    kind = getattr(column.dtype, "kind", "O")
    if kind in "mM":
        whole = column.astype("int64").to_numpy().astype(float)
        return np.where(column.isna().to_numpy(), np.nan, whole), False
    if kind in "fiub":
        values = column.to_numpy(dtype=float, na_value=np.nan)
        return np.where(np.isfinite(values), values, np.nan), False
    return _codes(column.astype("string")), True


def _codes(column: Any) -> FloatArray:
    codes = column.factorize()[0].astype(float)
    return np.where(codes < 0, np.nan, codes)
