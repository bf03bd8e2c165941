"""Fits a forest once for the same numbers: most runs of the world in memory look at the same rows.

The validation's forests are pure and seeded, and were two thirds of the cost of such a run. What they answer is not
touched: equal arguments, byte for byte, get the answer that was computed for the first of them.
"""

import copy
import functools
import hashlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tools import label_noise, leakage

FORESTS = ((label_noise, "class_shares"), (label_noise, "misses"), (leakage, "by_trees"))
_ANSWERS: dict[str, Any] = {}


@contextmanager
def forests() -> Iterator[None]:
    """Within it, rules that fit forests remember what they were asked."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in FORESTS:
            patch.setattr(module, name, _remembering(getattr(module, name)))
        yield


def _remembering(asked: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(asked)
    def answer(*args: Any, **kwargs: Any) -> Any:
        key = hashlib.sha256(pickle.dumps((asked.__name__, args, sorted(kwargs.items())), protocol=5)).hexdigest()
        if key not in _ANSWERS:
            _ANSWERS[key] = asked(*args, **kwargs)
        return copy.deepcopy(_ANSWERS[key])  # the caller may write into it

    return answer
