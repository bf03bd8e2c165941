"""Everything that can go wrong, in three branches, and the one table that maps it.

    RetrainingError
    ├── BadInput                 the caller can mend it
    │   ├── NotFound             the thing named does not exist
    │   ├── Conflict             somebody else holds it, or it is already done
    │   │   └── Busy             a run that goes on just now holds it; passes by itself
    │   └── NotAllowed           this person or mode may not do that
    ├── Unavailable              a dependency did not answer, or answered badly; may pass
    │   ├── TimedOut             it did not answer in the time it was given
    │   └── ModelUnavailable     the language model gave no answer that can be used; the decision never hangs on it
    └── BrokenInvariant          our own promise failed; nothing was moved, please report

A model that fails its guardrail is a result, not an exception: it never appears here.
"""

from dataclasses import dataclass
from typing import Final, Literal


class RetrainingError(Exception):
    """Base of all. `thing` and `value` say what was wrong, `remedy` what to do about it."""

    def __init__(
        self, message: str, *, thing: str | None = None, value: object = None, remedy: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.thing = thing
        self.value = value
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}\n  remedy: {self.remedy}"


class BadInput(RetrainingError):
    """The caller's request, profile or file is at fault."""


class NotFound(BadInput):
    """The model, version, run, review or file named does not exist."""


class Conflict(BadInput):
    """The model is busy, the review is answered, the run is finished."""


class Busy(Conflict):
    """Another run has the model just now; the same request goes through once that has ended."""


class NotAllowed(BadInput):
    """The person is no approver, or the profile's mode forbids the effect."""


class Unavailable(RetrainingError):
    """A server, engine or file system did not do its part; trying again may help."""


class TimedOut(Unavailable):
    """No answer within the limit."""


ModelFault = Literal[
    "off",
    "slow",
    "denied",
    "error",
    "unsupported",
    "garbage",
    "refused",
    "empty",
    "cut_off",
    "not_json",
    "wrong_schema",
    "budget",
    "left_alone",
]
"""What was wrong with the answer of a language model's endpoint."""


class ModelUnavailable(Unavailable):
    """`kind` is the fault; `said` the model's own words where it said any, which are data and never a message of ours."""

    def __init__(self, message: str, *, kind: ModelFault, said: str | None = None, remedy: str | None = None) -> None:
        super().__init__(message, thing="language model", remedy=remedy)
        self.kind: ModelFault = kind
        self.said = said


class BrokenInvariant(RetrainingError):
    """Something that must never happen did. Nothing further is moved."""


@dataclass(frozen=True)
class Outcome:
    """How one branch shows itself at each door."""

    exit_code: int
    http_status: int
    retry: bool


TABLE: Final[dict[type[RetrainingError], Outcome]] = {
    BadInput: Outcome(exit_code=2, http_status=422, retry=False),
    NotFound: Outcome(exit_code=3, http_status=404, retry=False),
    Conflict: Outcome(exit_code=4, http_status=409, retry=False),
    Busy: Outcome(exit_code=4, http_status=409, retry=True),
    NotAllowed: Outcome(exit_code=5, http_status=403, retry=False),
    Unavailable: Outcome(exit_code=6, http_status=503, retry=True),
    TimedOut: Outcome(exit_code=7, http_status=504, retry=True),
    BrokenInvariant: Outcome(exit_code=70, http_status=500, retry=False),
}
"""Exit codes: 0 the command did its job, whatever was decided; 1 is left to crashes; see README."""

DECISION_EXIT_CODES: Final[dict[str, int]] = {"deploy": 0, "canary": 0, "reject": 10, "manual_review": 11}
"""Used by `retrain run|judge --exit-code`, for scripts that branch on the decision."""


def outcome_of(error: RetrainingError) -> Outcome:
    """The row of the nearest class in the tree; every error of ours has one."""
    for kind in type(error).__mro__:
        if kind in TABLE:
            return TABLE[kind]
    raise AssertionError(f"{type(error).__name__} is missing from the table")  # pragma: no cover


def chain_of(error: BaseException) -> list[BaseException]:
    """The error, what it came of, and so on to the first."""
    found: list[BaseException] = []
    nearest: BaseException | None = error
    while nearest is not None and nearest not in found:
        found.append(nearest)
        nearest = nearest.__cause__ or nearest.__context__
    return found
