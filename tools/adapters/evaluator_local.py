# pyright: basic
"""What does scikit-learn itself say about one model's predictions? The model-evaluator, in process.

A second opinion on `tools.comparison`: it shares the metric names and the form of labels, not the arithmetic.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.adapters import evaluator_extras as extras
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.peers import Envelope, EvaluationReply, EvaluationRequest, SliceSpec
from tools.errors import BadInput
from tools.metrics import Metric, find_metric
from tools.paired_rows import MISSING, PROBA, label_text
from tools.ports import Clock

Table = Any
"""A pandas DataFrame; pandas' own types call every column a frame or a column."""
Column = Any
"""A pandas Series."""

SENDER = "model-evaluator"
MAX_SLICE_VALUES = 100
"""Values of a slice column measured where the request names none: the largest."""


class LocalModelEvaluator:
    """Reads predictions from a file and measures them; satisfies `ModelEvaluator`.

    A ranking is measured group by group, over the groups that `tools.ranked` counts: `ndcg` (with a cut too) by `ndcg_score`,
    `mean_average_precision` by `average_precision_score` where no scores of a group tie; scikit-learn has no other.

    The file is Parquet (or CSV) with the target column, the prediction column and, for metrics of probabilities, one
    `proba:<class>` column a class. The positive class is `businessContext.positiveLabel`, else 1 of two classes.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def evaluate(self, request: Envelope[EvaluationRequest]) -> Envelope[EvaluationReply]:
        """Metrics, slices and a confusion matrix. What cannot be measured is left out and named in recommendations."""
        return Envelope[EvaluationReply](
            schema_version=SCHEMA_VERSION,
            run_id=request.run_id,
            model_id=request.model_id,
            model_version=request.model_version,
            data_window_digest=request.data_window_digest,
            request_id=request.request_id,
            sent_at=self._clock(),
            sender=SENDER,
            payload=self._reply(request.payload),
        )

    def _reply(self, asked: EvaluationRequest) -> EvaluationReply:
        try:
            table = _read(asked.test_data_path)
            _check_columns(table, asked)
        except BadInput as error:
            return EvaluationReply(success=False, recommendations=(error.message,))
        notes: list[str] = []
        kept = _complete(table, asked, notes)
        overall = _measure(kept, asked, asked.evaluation_config.metrics, notes)
        slices = {
            spec.column: values
            for spec in asked.evaluation_config.slices
            if (values := _slice(kept, asked, spec, notes)) is not None
        }
        more = _of_classes(kept, asked, notes) if asked.task_type == "classification" and len(kept) else {}
        analysis = {**(_thresholds(asked, overall) or {}), **more.pop("thresholds", {})}
        errors = _errors(kept, asked) if len(kept) else None
        if errors is not None and (found := more.pop("patterns", [])):
            errors["errorPatterns"] = found
        return EvaluationReply(
            success=bool(overall),
            overall_metrics=overall,
            threshold_analysis=analysis or None,
            slice_metrics=slices,
            error_analysis=errors,
            **more,
            recommendations=tuple(dict.fromkeys(notes)),
        )


def _read(path: str) -> Table:
    import pandas as pd

    try:
        return pd.read_csv(path) if Path(path).suffix == ".csv" else pd.read_parquet(path)
    except (OSError, ValueError, UnicodeDecodeError) as error:  # pyarrow's errors are ValueErrors
        first_line = str(error).partition("\n")[0]
        raise BadInput(f"testDataPath cannot be read: {first_line}", thing="testDataPath", value=path) from error


def _check_columns(table: Table, asked: EvaluationRequest) -> None:
    if asked.task_type == "ranking" and asked.group_column is None:
        raise BadInput("a ranking needs a groupColumn", thing="groupColumn")
    for name in filter(None, (asked.target_column, asked.prediction_column, asked.group_column)):
        if name not in table.columns:
            known = ", ".join(map(str, table.columns))
            raise BadInput(f"column {name!r} is not in the test data; there are: {known}", thing="column", value=name)


def _complete(table: Table, asked: EvaluationRequest, notes: list[str]) -> Table:
    """Without rows that lack a label; nothing at all where a prediction is missing, since the rest would flatter."""
    labelled = table[table[asked.target_column].notna()]
    if len(labelled) < len(table):
        notes.append(f"{len(table) - len(labelled)} rows without a label were left out")
    missing = int(labelled[asked.prediction_column].isna().sum())
    if missing:
        notes.append(f"{missing} of {len(labelled)} predictions are missing: nothing was measured")
        return labelled.iloc[:0]
    return labelled


def _of_classes(rows: Table, asked: EvaluationRequest, notes: list[str]) -> dict[str, Any]:
    """What only classifiers have: gaps between groups, thresholds, costs, where the errors are."""
    truth, told, proba, classes = _columns(rows, asked)
    try:
        positive = _positive(asked, classes)
        costs = extras.costs_of(asked, classes, positive)
    except (BadInput, ValueError, TypeError) as error:
        notes.append(f"neither gaps nor costs were measured: {error}")
        return {}
    found: dict[str, Any] = {
        "fairness_metrics": extras.fairness(rows, asked, truth, told, positive, notes),
        "business_impact": extras.impact(asked, truth, told, costs),
        "patterns": extras.patterns(rows, asked, truth, told),
    }
    if positive in proba and len(classes) == 2:
        negative = next(name for name in classes if name != positive)
        found["thresholds"] = extras.thresholds(truth, proba[positive], positive, costs, negative)
    return found


def _columns(rows: Table, asked: EvaluationRequest) -> tuple[list[str], list[str], dict[str, Column], list[str]]:
    """(labels, predictions, class to probabilities, classes), as texts."""
    truth, told = _texts(rows[asked.target_column]), _texts(rows[asked.prediction_column])
    proba = {label_text(name[len(PROBA) :]): rows[name] for name in map(str, rows.columns) if name.startswith(PROBA)}
    return truth, told, proba, sorted({*truth, *told, *proba})


def _measure(rows: Table, asked: EvaluationRequest, names: tuple[str, ...], notes: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in names:
        try:
            value = _value(rows, asked, find_metric(name, asked.task_type))
        except (BadInput, ValueError) as error:  # scikit-learn refuses with ValueError
            notes.append(f"{name} was not measured: {str(error).partition(chr(10))[0]}")
            continue
        if math.isfinite(value):
            found[name] = value
        else:
            notes.append(f"{name} was not measured: it is undefined on these rows")
    return found


def _value(rows: Table, asked: EvaluationRequest, metric: Metric) -> float:
    if not len(rows):
        raise BadInput("there are no rows")
    if metric.task == "ranking":
        return _ranking(metric, rows, asked)
    if "@" in metric.name and not metric.name.startswith("mean_pinball_loss"):
        raise BadInput("scikit-learn has no such metric")
    if metric.task == "regression":
        return _regression(metric.name, rows[asked.target_column], rows[asked.prediction_column])
    truth, told, proba, classes = _columns(rows, asked)
    positive = _positive(asked, classes)
    if metric.name == "mean_cost":
        return _cost(asked, truth, told, classes, positive)
    if metric.needs == "labels":
        return _of_labels(metric.name, truth, told, positive, len(classes))
    if not proba:
        raise BadInput(f"there are no {PROBA}<class> columns")
    return _of_probabilities(metric.name, truth, proba, positive, classes)


def _texts(column: Column) -> list[str]:
    return [label_text(value) for value in column]


def _positive(asked: EvaluationRequest, classes: list[str]) -> str | None:
    given = (asked.business_context or {}).get("positiveLabel")
    wanted = label_text(given) if given is not None else "1" if len(classes) == 2 else None
    if wanted is not None and given is not None and wanted not in classes:
        raise BadInput(f"the positive label {wanted!r} is not among {', '.join(classes)}")
    return wanted if wanted in classes else None


def _regression(name: str, truth: Column, told: Column) -> float:
    from sklearn import metrics as sk

    functions: dict[str, Callable[..., Any]] = {
        "mean_absolute_error": sk.mean_absolute_error,
        "mean_squared_error": sk.mean_squared_error,
        "root_mean_squared_error": sk.root_mean_squared_error,
        "mean_absolute_percentage_error": sk.mean_absolute_percentage_error,
        "median_absolute_error": sk.median_absolute_error,
        "r2": sk.r2_score,
    }
    if name == "r2" and len(truth) < 2:
        raise BadInput("it needs two rows")
    _, at, quantile = name.partition("@")
    if at:
        return float(
            sk.mean_pinball_loss(truth.to_numpy(dtype=float), told.to_numpy(dtype=float), alpha=float(quantile))
        )
    return float(functions[name](truth.to_numpy(dtype=float), told.to_numpy(dtype=float)))


def _ranking(metric: Metric, rows: Table, asked: EvaluationRequest) -> float:
    """Mean over the groups in which one order is worth more than another; groups of a size are measured at once."""
    import numpy as np
    from sklearn import metrics as sk

    base, _, cut = metric.name.partition("@")
    if base != "ndcg" and metric.name != "mean_average_precision":
        raise BadInput("scikit-learn has no such metric")
    truth = rows[asked.target_column].to_numpy(dtype=float)
    told = rows[asked.prediction_column].to_numpy(dtype=float)
    by_size: dict[int, list[Any]] = {}
    for places in rows.reset_index(drop=True).groupby(asked.group_column, sort=False).indices.values():
        relevance = truth[places] if base == "ndcg" else truth[places] > 0
        if len(np.unique(relevance)) > 1:
            by_size.setdefault(len(places), []).append(places)
    total, count = 0.0, 0
    for groups in by_size.values():
        y, score = truth[np.array(groups)], told[np.array(groups)]
        if base == "ndcg":
            total += float(sk.ndcg_score(y, score, k=int(cut) if cut else None)) * len(groups)
        elif any(len(np.unique(one)) < len(one) for one in score):
            raise BadInput("scores of a group tie, and scikit-learn takes no mean over the orders of tied rows")
        else:
            total += sum(float(sk.average_precision_score(a > 0, b)) for a, b in zip(y, score, strict=True))
        count += len(groups)
    return total / count if count else math.nan


def _cost(
    asked: EvaluationRequest, truth: list[str], told: list[str], classes: list[str], positive: str | None
) -> float:
    paid = extras.impact(asked, truth, told, extras.costs_of(asked, classes, positive))
    if paid is None:
        raise BadInput("businessContext names no costs")
    return paid["expectedCost"] / len(truth)


def _of_labels(name: str, truth: list[str], told: list[str], positive: str | None, classes: int) -> float:
    from sklearn import metrics as sk

    functions: dict[str, Callable[..., Any]] = {
        "precision": sk.precision_score,
        "recall": sk.recall_score,
        "f1": sk.f1_score,
    }
    if name == "accuracy":
        return float(sk.accuracy_score(truth, told))
    if name == "matthews_corrcoef":
        return float(sk.matthews_corrcoef(truth, told))
    if name == "balanced_accuracy":
        present = sorted(set(truth))
        return float(functions["recall"](truth, told, labels=present, average="macro", zero_division=0))
    kind, _, average = name.partition("_")
    if average:
        return float(functions[kind](truth, told, average=average, zero_division=0))
    if positive is None and classes == 2:
        raise BadInput("which of the two classes is positive is unknown; set businessContext.positiveLabel")
    if positive is None:
        return float(functions[kind](truth, told, average="macro", zero_division=0))
    one = [text == positive for text in truth]
    return float(functions[kind](one, [text == positive for text in told], zero_division=math.nan))


def _of_probabilities(
    name: str, truth: list[str], proba: dict[str, Column], positive: str | None, classes: list[str]
) -> float:
    import numpy as np
    from sklearn import metrics as sk

    table = np.column_stack([proba[c].to_numpy(dtype=float) if c in proba else np.zeros(len(truth)) for c in classes])
    actual = np.array([[text == c for c in classes] for text in truth], dtype=int)
    if name == "log_loss":
        own = np.clip((table * actual).sum(axis=1), np.finfo(float).eps, 1 - np.finfo(float).eps)
        return float(-np.log(own).mean())
    if name == "brier_score_loss":
        total = float(((table - actual) ** 2).sum(axis=1).mean())
        return total / 2 if len(classes) == 2 else total
    if positive is None and len(classes) == 2:
        raise BadInput("which of the two classes is positive is unknown; set businessContext.positiveLabel")
    if name == "expected_calibration_error":
        return _calibration_error(table, actual, None if positive is None else classes.index(positive))
    function = sk.roc_auc_score if name == "roc_auc" else sk.average_precision_score
    columns = range(len(classes)) if positive is None else (classes.index(positive),)
    if any(len(set(actual[:, column].tolist())) < 2 for column in columns):
        raise BadInput("the rows hold one class only")
    return float(np.mean([function(actual[:, column], table[:, column]) for column in columns]))


def _calibration_error(table: Any, actual: Any, positive: int | None) -> float:
    """Gap of labels and probabilities in ten bins of equally many rows, by the bins' sizes."""
    import numpy as np

    if positive is None:
        stated = table.max(axis=1)
        right = actual[np.arange(len(table)), table.argmax(axis=1)]
    else:
        stated, right = table[:, positive], actual[:, positive]
    edges = np.unique(np.quantile(stated, np.arange(1, 10) / 10))
    where = np.searchsorted(edges, stated)
    return float(np.abs(np.bincount(where, weights=right - stated)).sum() / len(stated))


def _thresholds(asked: EvaluationRequest, overall: dict[str, float]) -> dict[str, Any] | None:
    """Whether each threshold is met in the metric's own direction; absent metrics are not met and not judged."""
    wanted = asked.evaluation_config.thresholds
    if not wanted:
        return None
    result: dict[str, Any] = {}
    for name, bar in wanted.items():
        value = overall.get(name)
        if value is None:
            result[name] = {"threshold": bar, "met": "could_not_measure"}
            continue
        higher = find_metric(name).direction == "higher"
        result[name] = {"threshold": bar, "value": value, "met": value >= bar if higher else value <= bar}
    return result


def _slice(
    rows: Table, asked: EvaluationRequest, spec: SliceSpec, notes: list[str]
) -> dict[str, dict[str, float]] | None:
    if spec.column not in rows.columns:
        notes.append(f"slice column {spec.column!r} is not in the test data")
        return None
    texts = rows[spec.column].map(lambda value: label_text(value) or MISSING)
    counts = texts.value_counts()
    wanted = [label_text(value) for value in spec.values] or list(counts.index[:MAX_SLICE_VALUES])
    found: dict[str, dict[str, float]] = {}
    for value in wanted:
        if value not in counts.index:
            notes.append(f"slice {spec.column}={value} has no rows")
            continue
        unsaid: list[str] = []
        part = _measure(rows[texts == value], asked, asked.evaluation_config.metrics, unsaid)
        notes.extend(f"slice {spec.column}={value}: {note}" for note in unsaid)
        found[str(value)] = {**part, "count": float(counts[value])}
    return found


def _errors(rows: Table, asked: EvaluationRequest) -> dict[str, Any]:
    """Confusion matrix (rows are true classes), or quantiles of the absolute error; of a ranking, of the groups' sizes."""
    import numpy as np
    from sklearn.metrics import confusion_matrix

    if asked.task_type == "classification":
        truth, told = _texts(rows[asked.target_column]), _texts(rows[asked.prediction_column])
        labels = sorted({*truth, *told})
        return {"labels": labels, "confusionMatrix": confusion_matrix(truth, told, labels=labels).tolist()}
    shares = (0.5, 0.9, 0.99, 1.0)
    if asked.task_type == "ranking":
        sizes = rows.groupby(asked.group_column).size().to_numpy(dtype=float)
        return {
            "groups": len(sizes),
            "groupSizeQuantiles": {f"{share:g}": float(np.quantile(sizes, share)) for share in shares},
        }
    gaps = np.abs(rows[asked.target_column].to_numpy(dtype=float) - rows[asked.prediction_column].to_numpy(dtype=float))
    return {"absoluteErrorQuantiles": {f"{share:g}": float(np.quantile(gaps, share)) for share in shares}}
