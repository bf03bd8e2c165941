"""How do two models' outputs on the same rows become numbers that can be compared, whatever the label types?

Labels are compared as text in one form: 1, 1.0, True and "1" are the same label, so a model that answers booleans can
be judged on integer labels.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.contracts.profile import Task
from tools.errors import BadInput
from tools.metric_values import FloatArray, IntArray, Metric, Needs, Sample, units
from tools.own_metrics import OWN

AnyArray = npt.NDArray[Any]
MISSING = "(missing)"
PROBA = "proba:"


def label_text(value: Any) -> str:
    """One text a label: whole numbers without a point, booleans as 1 and 0; "" where it is missing."""
    if value is None or type(value).__name__ in ("NAType", "NaTType") or value != value:
        return ""
    plain: Any = value.item() if hasattr(value, "item") else value
    if isinstance(plain, bool):
        return "1" if plain else "0"
    if isinstance(plain, float) and plain.is_integer():
        return str(int(plain))
    text = str(plain)
    return {"True": "1", "False": "0", "1.0": "1", "0.0": "0"}.get(text, text)


class _Numbered(dict[Any, int]):
    """Each key's place in the order of first sight."""

    def __missing__(self, key: Any) -> int:
        self[key] = len(self)
        return self[key]


def coded(values: Any, text: Callable[[Any], str] = label_text) -> tuple[list[str], IntArray]:
    """(distinct texts, each row's place among them): `text` is asked once a distinct value, not once a row."""
    column = np.asarray(values)
    if column.dtype.kind in "iubf":
        found, where = np.unique(column, return_inverse=True)
        distinct: list[Any] = found.tolist()
    else:
        seen = _Numbered()
        where = np.fromiter(map(seen.__getitem__, column.tolist()), dtype=np.int64, count=column.shape[0])
        distinct = list(seen)
    # Two values can have one text: 1 and True.
    texts = _Numbered()
    merged = np.array([texts[text(value)] for value in distinct], dtype=np.int64)
    return list(texts), merged[where]


@dataclass(frozen=True)
class PairedRows:
    """A holdout's labels with both models' outputs, row for row, in time order.

    Attributes:
        task: What kind of model.
        y: (n,) class codes into `classes`, or values.
        baseline_prediction: (n,) the same for the champion; NaN where it gave none.
        candidate_prediction: (n,) the same for the candidate.
        baseline_proba: (n, k) probabilities in the order of `classes`; None where the champion gave none.
        candidate_proba: (n, k) the candidate's.
        classes: Label texts; empty for regression.
        slices: Slice column to (n,) texts.
        query: Ranking: (n,) code of each row's group, ascending with the groups' first rows; -1 where a row has none.
        features: Feature to (n,) values, for the search of groups nobody declared; empty where there is none.
        unnamed: Features whose values must not be shown.
        strange: `champion` and `candidate` to the classes that only that model answers, and no label of these rows is.
        baseline_own: User's own metric to (n,) values of the champion's outputs.
        candidate_own: The candidate's.
        unmeasured: Metric to why it could not be measured, as half a sentence.
    """

    task: Task
    y: FloatArray
    baseline_prediction: FloatArray
    candidate_prediction: FloatArray
    baseline_proba: FloatArray | None = None
    candidate_proba: FloatArray | None = None
    classes: tuple[str, ...] = ()
    slices: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    query: IntArray | None = None
    features: Mapping[str, AnyArray] = field(default_factory=dict[str, AnyArray])
    unnamed: frozenset[str] = frozenset()
    strange: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    baseline_own: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    candidate_own: Mapping[str, FloatArray] = field(default_factory=dict[str, FloatArray])
    unmeasured: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        lengths = {
            "baseline_prediction": self.baseline_prediction.shape[0],
            "candidate_prediction": self.candidate_prediction.shape[0],
            **{f"slice {name}": len(column) for name, column in self.slices.items()},
            **{f"feature {name}": len(column) for name, column in self.features.items()},
            **{f"champion's {name}": len(column) for name, column in self.baseline_own.items()},
            **{f"candidate's {name}": len(column) for name, column in self.candidate_own.items()},
        }
        if self.query is not None:
            lengths["group"] = self.query.shape[0]
        for name, proba in (("baseline_proba", self.baseline_proba), ("candidate_proba", self.candidate_proba)):
            if proba is not None:
                lengths[name] = proba.shape[0]
        for name, length in lengths.items():
            if length != self.n:
                raise BadInput(
                    f"{name} has {length} rows, the holdout has {self.n}",
                    thing=name,
                    value=length,
                    remedy="score every holdout row once, in order",
                )

    @classmethod
    def from_columns(
        cls,
        *,
        task: Task,
        y: Any,
        baseline: Mapping[str, Any],
        candidate: Mapping[str, Any],
        slices: Mapping[str, Any] | None = None,
        group: Any = None,
        features: Mapping[str, Any] | None = None,
        unnamed: Iterable[str] = (),
    ) -> "PairedRows":
        """From columns as scored.

        Args:
            task: What kind of model.
            y: (n,) labels of any type.
            baseline: `prediction`, `proba:<class>` a class where the champion gives them, `own:<metric>` where measured.
            candidate: The candidate's.
            slices: Column name to (n,) values of any type; nulls become "(missing)".
            group: Ranking only: (n,) values of any type, equal ones make a group.
            features: Column name to (n,) values; numbers stay numbers, all else becomes text.
            unnamed: Features whose values must not be shown.

        Raises:
            BadInput: No `prediction` column, lengths that differ, a ranking without groups, or values that are no numbers in a
                regression or a ranking.
        """
        for who, columns in (("champion", baseline), ("candidate", candidate)):
            if "prediction" not in columns:
                raise BadInput(
                    f"the {who}'s scores have no column 'prediction'", thing=who, value=", ".join(sorted(columns))
                )
        more: dict[str, Any] = {
            "slices": {name: _slice_texts(column) for name, column in (slices or {}).items()},
            "features": {name: _numbers_or_texts(column) for name, column in (features or {}).items()},
            "unnamed": frozenset(unnamed),
            "baseline_own": _own(baseline),
            "candidate_own": _own(candidate),
        }
        if task == "ranking" and group is None:
            raise BadInput("a ranking's rows need groups", thing="data.group", remedy="name their column in data.group")
        if task != "classification":
            return cls(
                task=task,
                y=_numbers(y, "label" if task == "regression" else "relevance"),
                baseline_prediction=_numbers(baseline["prediction"], "champion's prediction"),
                candidate_prediction=_numbers(candidate["prediction"], "candidate's prediction"),
                query=query_codes(group) if task == "ranking" else None,
                **more,
            )
        columns = [coded(column) for column in (y, baseline["prediction"], candidate["prediction"])]
        labels, theirs, ours = (set(texts) - {""} for texts, _ in columns)
        theirs |= {label_text(name[len(PROBA) :]) for name in _proba_names(baseline)}
        ours |= {label_text(name[len(PROBA) :]) for name in _proba_names(candidate)}
        classes = tuple(sorted((labels | theirs | ours) - {""}, key=_by_value))
        codes = {name: float(code) for code, name in enumerate(classes)} | {"": float("nan")}
        sides = [np.array([codes[text] for text in texts], dtype=np.float64)[where] for texts, where in columns]
        return cls(
            task=task,
            y=sides[0],
            baseline_prediction=sides[1],
            candidate_prediction=sides[2],
            baseline_proba=_proba(baseline, classes, sides[0].shape[0]),
            candidate_proba=_proba(candidate, classes, sides[0].shape[0]),
            classes=classes,
            strange={
                "champion": tuple(sorted(theirs - labels - ours, key=_by_value)),
                "candidate": tuple(sorted(ours - labels - theirs, key=_by_value)),
            },
            **more,
        )

    @property
    def n(self) -> int:
        """Rows."""
        return int(self.y.shape[0])

    def sample(self, which: str, positive: int | None) -> Sample:
        """The `baseline`'s or the `candidate`'s side, for a metric about class `positive`."""
        mine = which == "candidate"
        return Sample(
            y=self.y,
            prediction=self.candidate_prediction if mine else self.baseline_prediction,
            proba=self.candidate_proba if mine else self.baseline_proba,
            classes=len(self.classes),
            positive=positive,
            own=self.candidate_own if mine else self.baseline_own,
            query=self.query,
        )

    def counted(self, metric: Metric) -> tuple[int, int]:
        """(what the metric is a mean over and is resampled by, what is left out): rows, or a ranking's groups."""
        if self.query is None:
            return self.n, 0
        sample = self.sample("baseline", None)
        count = units(metric, sample)
        return count, sample.ranked.groups - count

    def positive_code(self, positive_label: str | None) -> int | None:
        """Code of the positive class: the label given, else "1" of two classes; None where there is none."""
        wanted = "1" if positive_label is None and len(self.classes) == 2 else positive_label
        return None if wanted is None else self._codes.get(label_text(wanted))

    def costs(self, by_label: Mapping[str, Mapping[str, float]]) -> FloatArray:
        """(k, k) in the order of `classes`: true class, predicted class; what is not named costs 0.

        Raises:
            BadInput: A label that is not among the classes.
        """
        table = np.zeros((len(self.classes), len(self.classes)))
        for true, row in by_label.items():
            for told, cost in row.items():
                for label in (true, told):
                    if label not in self._codes:
                        known = ", ".join(self.classes)
                        raise BadInput(
                            f"the cost matrix names class {label!r}, the classes are {known}",
                            thing="metrics.costs",
                            value=label,
                            remedy="write the labels as they stand in the data",
                        )
                table[self._codes[true], self._codes[told]] = cost
        return table

    def rarest_class(self, positive: int | None) -> tuple[int, str]:
        """(rows, description) of the rarer side of class `positive`, or of the rarest class in y."""
        if positive is not None:
            count = int((self.y == positive).sum())
            name = self.classes[positive]
            return (count, f"class {name}") if count <= self.n - count else (self.n - count, f"other than class {name}")
        codes, counts = np.unique(self.y, return_counts=True)
        if codes.shape[0] < 2:
            return 0, "a second class"
        rarest = int(np.argmin(counts))
        return int(counts[rarest]), f"class {self.classes[int(codes[rarest])]}"

    def missing(self, needs: Needs, models: tuple[str, ...]) -> str | None:
        """What is missing or not finite, as half a sentence; None where all is there."""
        labels = int((~np.isfinite(self.y)).sum())
        if labels:
            return f"{labels} of {self.n} labels are missing"
        if self.query is not None:
            below, lone = int((self.y < 0).sum()), int((self.query < 0).sum())
            if below:
                return f"{below} of {self.n} relevances are below 0"
            if lone:
                return f"{lone} of {self.n} rows belong to no group"
        for which in models:
            name = "champion" if which == "baseline" else which
            side = self.sample(which, None)
            absent = int((~np.isfinite(side.prediction)).sum())
            if absent:
                return f"{absent} of the {name}'s {self.n} predictions are missing or not finite"
            if needs == "probabilities":
                if side.proba is None:
                    return f"the {name} gives no probabilities"
                broken = int((~np.isfinite(side.proba) | (side.proba < 0) | (side.proba > 1 + 1e-6)).any(axis=1).sum())
                if broken:
                    return f"the {name}'s probabilities are missing or outside 0 to 1 in {broken} of {self.n} rows"
        return None

    def missing_own(self, name: str, models: tuple[str, ...]) -> str | None:
        """What is missing of a user's own metric, as half a sentence; None where all is there."""
        for which in models:
            who = "champion" if which == "baseline" else which
            values = self.sample(which, None).own.get(name)
            if values is None:
                return f"it was not measured on the {who}'s predictions"
            absent = int((~np.isfinite(values)).sum())
            if absent:
                return f"{absent} of its {self.n} values for the {who} are missing or not finite"
        return None

    def parts(self, column: str, min_rows: int, most: int) -> Iterator[tuple[str, "PairedRows"]]:
        """(value, its rows) for the values of a slice column with at least `min_rows`, largest first, at most `most`.

        Where the rows of a ranking's group have several values, those of one value are that slice's part of the group.

        Raises:
            BadInput: No such slice column.
        """
        if column not in self.slices:
            raise BadInput(
                f"slice column {column!r} is not in the holdout",
                thing="metrics.slices",
                value=column,
                remedy=f"use one of: {', '.join(sorted(self.slices)) or 'none was given'}",
            )
        values, where = coded(self.slices[column], str)
        counts: list[int] = np.bincount(where, minlength=len(values)).tolist()
        for index in sorted(range(len(values)), key=lambda i: (-counts[i], values[i]))[:most]:
            if counts[index] >= min_rows:
                yield values[index], self.at(np.flatnonzero(where == index))

    def at(self, rows: AnyArray) -> "PairedRows":
        """These rows only, without slices and features."""

        def cut(proba: FloatArray | None) -> FloatArray | None:
            return None if proba is None else proba[rows]

        return PairedRows(
            task=self.task,
            y=self.y[rows],
            baseline_prediction=self.baseline_prediction[rows],
            candidate_prediction=self.candidate_prediction[rows],
            baseline_proba=cut(self.baseline_proba),
            candidate_proba=cut(self.candidate_proba),
            classes=self.classes,
            baseline_own={name: column[rows] for name, column in self.baseline_own.items()},
            candidate_own={name: column[rows] for name, column in self.candidate_own.items()},
            unmeasured=self.unmeasured,
            query=None if self.query is None else self.query[rows],
        )

    @cached_property
    def _codes(self) -> dict[str, int]:
        return {name: code for code, name in enumerate(self.classes)}


def query_codes(values: Any) -> IntArray:
    """(n,) 0, 1, … in the order in which the values first come; -1 for a null."""
    texts, places = coded(values)
    present, first, where = np.unique(places, return_index=True, return_inverse=True)
    absent = np.array([texts[place] == "" for place in present.tolist()], dtype=np.bool_)
    codes = np.empty(present.shape[0], dtype=np.int64)
    codes[np.argsort(np.where(absent, places.shape[0], first))] = np.arange(present.shape[0])
    codes[absent] = -1
    return codes[where]


def _by_value(text: str) -> tuple[int, float, str]:
    """Numbers by value, before words by letter."""
    try:
        return 0, float(text), text
    except ValueError:
        return 1, 0.0, text


def _slice_texts(values: Any) -> AnyArray:
    texts, where = coded(values)
    return np.array([text or MISSING for text in texts], dtype=object)[where]


def _numbers_or_texts(values: Any) -> AnyArray:
    """Numbers (times too, as seconds) as floats, NaN where missing; all else as text."""
    column: Any = np.asarray(values)
    if column.dtype.kind in "iuf":
        return column.astype(np.float64)
    if column.dtype.kind == "M":
        return np.where(np.isnat(column), np.nan, column.astype("datetime64[s]").astype(np.int64).astype(np.float64))
    return _slice_texts(values)


def _numbers(values: Any, what: str) -> FloatArray:
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(f"the {what} is not a number everywhere: {error}", thing=what) from error


def _own(columns: Mapping[str, Any]) -> dict[str, FloatArray]:
    return {name[len(OWN) :]: _numbers(columns[name], f"column {name}") for name in columns if name.startswith(OWN)}


def _proba_names(columns: Mapping[str, Any]) -> list[str]:
    return [name for name in columns if name.startswith(PROBA)]


def _proba(columns: Mapping[str, Any], classes: tuple[str, ...], n: int) -> FloatArray | None:
    """(n, k) in the order of `classes`; a class the model does not know has probability 0."""
    names = _proba_names(columns)
    if not names:
        return None
    table = np.zeros((n, len(classes)))
    for name in names:
        column = _numbers(columns[name], f"column {name}")
        if column.shape[0] != n:
            raise BadInput(f"column {name} has {column.shape[0]} rows, the holdout has {n}", thing=name)
        table[:, classes.index(label_text(name[len(PROBA) :]))] = column
    return table
