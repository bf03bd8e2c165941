"""What did one model say on rows in time order, and what is known of the truth?

The labels of some rows may be missing: NaN in `sample.y`. Labels, predictions and probabilities are coded once for all
rows, so parts of them can be compared.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.contracts.comparison import Criteria
from tools.contracts.profile import Task
from tools.errors import BadInput
from tools.metrics import FloatArray, Sample, measure, metric_named
from tools.paired_rows import PairedRows

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ScoredRows:
    """One model's outputs, row for row.

    Attributes:
        task: What kind of model.
        sample: Outputs in numbers; `y` is NaN where no mature label is known.
        time: (n,) event times in seconds since 1970, ascending.
        features: (n, k) numbers, NaN where missing; None where they were not asked for.
    """

    task: Task
    sample: Sample
    time: FloatArray
    features: FloatArray | None = None

    @classmethod
    def from_columns(
        cls,
        *,
        task: Task,
        y: Any,
        outputs: Mapping[str, Any],
        time: FloatArray,
        features: FloatArray | None = None,
        positive_label: str | None = None,
        costs: Mapping[str, Mapping[str, float]] | None = None,
    ) -> "ScoredRows":
        """From columns as scored: `prediction`, and `proba:<class>` a class where there are. Missing labels are null; rows
        are in time order.

        Raises:
            BadInput: No predictions, values that are no numbers in a regression, or costs of an unknown class.
        """
        rows = PairedRows.from_columns(task=task, y=y, baseline=outputs, candidate=outputs)
        sample = rows.sample("candidate", rows.positive_code(positive_label))
        if costs:
            sample = replace(sample, costs=rows.costs(costs))
        return cls(task, sample, time, features)

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.time.shape[0])

    @property
    def labelled(self) -> Mask:
        """Which rows have a label."""
        return np.isfinite(self.sample.y)

    def at(self, rows: Any) -> "ScoredRows":
        """These rows only: a mask, a slice or positions."""
        s = self.sample
        return ScoredRows(
            self.task,
            replace(s, y=s.y[rows], prediction=s.prediction[rows], proba=None if s.proba is None else s.proba[rows]),
            self.time[rows],
            None if self.features is None else self.features[rows],
        )

    def and_also(self, other: "ScoredRows") -> "ScoredRows":
        """Both, in time order. They must be coded alike."""
        a, b = self.sample, other.sample
        proba = None if a.proba is None or b.proba is None else np.concatenate([a.proba, b.proba])
        features = None
        if self.features is not None and other.features is not None:
            features = np.concatenate([self.features, other.features])
        time = np.concatenate([self.time, other.time])
        prediction = np.concatenate([a.prediction, b.prediction])
        sample = replace(a, y=np.concatenate([a.y, b.y]), prediction=prediction, proba=proba)
        return ScoredRows(self.task, sample, time, features).at(np.argsort(time, kind="stable"))

    def unusable(self, criteria: Criteria) -> str | None:
        """Why the outputs do not serve the primary metric, as half a sentence; None where they do."""
        metric = metric_named(criteria.primary.metric, criteria.primary.direction)
        if metric.needs == "own":
            return f"{metric.name} is a function of the user's own, which is called in a comparison only"
        absent = int((~np.isfinite(self.sample.prediction)).sum())
        if absent:
            return f"{absent:,} of {self.n:,} predictions are missing or not finite"
        if metric.needs != "probabilities":
            return None
        proba = self.sample.proba
        if proba is None:
            return f"{metric.name} needs probabilities and the model gives none"
        broken = int((~np.isfinite(proba) | (proba < 0) | (proba > 1 + 1e-6)).any(axis=1).sum())
        return f"the probabilities are missing or outside 0 to 1 in {broken:,} of {self.n:,} rows" if broken else None

    def value(self, criteria: Criteria) -> float:
        """The primary metric over all rows, which must be labelled; NaN where undefined."""
        if not self.n:
            return float("nan")
        if not self.labelled.all():
            raise BadInput("a metric was asked for on rows without labels", thing="rows", value=self.n)
        return float(measure(metric_named(criteria.primary.metric, criteria.primary.direction), self.sample))
