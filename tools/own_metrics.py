"""What is a user's own metric?

A function in a Python file of the workspace, named `FILE.py:FUNCTION` where a metric's name is asked for:

    def profit(rows: pd.DataFrame) -> Sequence[float]: ...

`rows` are the holdout's, in time order, with the profile's features, the target, the model's `prediction` and, where it
gives them, `proba:<class>`. The function gives one number a row; the metric is their mean. One number a row and not one for
all: only so can the change between two models be given an interval, with rows that resemble their neighbours kept together.
Which way is better must be said, for nobody else can know. It runs in a subprocess, never here (`tools.ports.Scorer.measure`).
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

import numpy as np

from tools.contracts.request import Direction
from tools.errors import BadInput
from tools.metric_values import FloatArray, Sample, SumMetric, mean

OWN: Final = "own:"
"""Before the metric's name: the column of a model's scored rows that holds its values."""
_NAME: Final = re.compile(r"(?P<file>[^:\s\\][^:\\]*\.py):(?P<function>[A-Za-z_]\w*)")


def is_own(name: str) -> bool:
    """Whether a metric's name is meant as a function in a file; `own_metric` says whether it is well formed."""
    return ".py" in name


def parts_of(name: str) -> tuple[str, str]:
    """(file, function) of an own metric's name.

    Raises:
        BadInput: It is not written `FILE.py:FUNCTION`, or the file is not below the workspace.
    """
    found = _NAME.fullmatch(name)
    if found is None:
        raise BadInput(
            f"metric {name!r} is not written FILE.py:FUNCTION",
            thing="metric",
            value=name,
            remedy="write the file, from the workspace, and the function in it: metrics/value.py:profit",
        )
    path = PurePosixPath(found["file"])
    if path.is_absolute() or ".." in path.parts:
        raise BadInput(
            f"metric {name!r} lies outside of the workspace",
            thing="metric",
            value=name,
            remedy="put the file into the workspace and name it from there: metrics/value.py:profit",
        )
    return found["file"], found["function"]


def own_metric(name: str, direction: Direction | None) -> SumMetric:
    """The metric behind `FILE.py:FUNCTION`: the mean of its numbers over rows, for any task.

    Raises:
        BadInput: The name is not well formed, or the direction is not said.
    """
    parts_of(name)
    if direction is None:
        raise BadInput(
            f"metric {name!r} needs a direction",
            thing="direction",
            value=name,
            remedy="write direction: higher or direction: lower beside it: of a function of your own nobody else can know",
        )

    def columns(sample: Sample) -> Iterator[FloatArray]:
        yield np.ones_like(sample.y)
        yield sample.own[name]

    return SumMetric(name, direction, None, "own", columns, mean)
