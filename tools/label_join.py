"""Which label belongs to which answer? By request id, whatever the delay; a label that comes again does not count."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.observations import Observations


@dataclass(frozen=True, eq=False)
class Labels:
    """Arrays of one length, in the order in which the labels were written."""

    request_id: NDArray[np.object_]
    label: NDArray[np.object_]
    at: NDArray[np.float64]
    """Seconds since 1970 at which each became known; NaN where nobody knows."""

    def __len__(self) -> int:
        return len(self.request_id)


def no_labels() -> Labels:
    """None arrived."""
    nothing: NDArray[np.object_] = np.array([], dtype=object)
    return Labels(nothing, nothing, np.array([], dtype=np.float64))


def with_labels(
    answers: Observations, labels: Labels, until: float, requests: Iterable[object] | None = None
) -> Observations:
    """The answers with the labels that were known at `until`.

    The label that became known first counts, and of those known at one time the one written first. A label goes to every
    answer that its request got, served and mirrored. Rows without a request id, a label or a time are no labels. Answers
    that have a label already keep it.

    Args:
        answers: What the versions answered; rows without a request id get no label.
        labels: What arrived, in any order.
        until: Seconds since 1970; what became known later is hidden.
        requests: Every request that was ever answered, where `answers` are only some: a label of another request is no
            orphan. The answers' own where absent.
    """
    first: dict[str, tuple[Any, float]] = {}
    doubled = 0
    known = answers.request_id.tolist() if requests is None else requests
    ever = {str(each) for each in known if not _missing(each)}
    orphans: set[str] = set()
    for place in np.argsort(labels.at, kind="stable"):
        request, label, at = labels.request_id[place], labels.label[place], float(labels.at[place])
        if _missing(request) or _missing(label) or not at <= until:  # NaN is not
            continue
        name = str(request)
        if name in first:
            doubled += 1
            continue
        first[name] = (label, at)
        if name not in ever:
            orphans.add(name)
    joined, joined_at = answers.label.copy(), answers.label_at.copy()
    for row, request in enumerate(answers.request_id):
        if _missing(request) or not _missing(joined[row]):
            continue
        found = first.get(str(request))
        if found is not None:
            joined[row], joined_at[row] = found
    return replace(
        answers,
        label=joined,
        label_at=joined_at,
        orphan_labels=answers.orphan_labels + len(orphans),
        doubled_labels=answers.doubled_labels + doubled,
    )


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)
