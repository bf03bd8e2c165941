"""How does a fault of ours look to an A2A client? An error of the protocol, with the remedy, and never a traceback."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidParamsError,
    InvalidRequestError,
    TaskNotFoundError,
    UnsupportedOperationError,
)

from tools.errors import (
    BadInput,
    Conflict,
    NotAllowed,
    NotFound,
    RetrainingError,
    outcome_of,
)

_LOG: Final = logging.getLogger(__name__)
_KINDS: Final[tuple[tuple[type[RetrainingError], type[A2AError]], ...]] = (
    # The protocol has no code for "may not"; the reason stands in the error's data.
    (NotAllowed, InvalidRequestError),
    (Conflict, UnsupportedOperationError),
    (BadInput, InvalidParamsError),
)


def as_a2a(error: RetrainingError) -> A2AError:
    """The protocol's error of the nearest kind. Its data says which of ours it was, and whether asking again may help."""
    outcome = outcome_of(error)
    data = {
        "kind": type(error).__name__,
        "thing": error.thing,
        "remedy": error.remedy,
        "httpStatus": str(outcome.http_status),
        "retry": "true" if outcome.retry else "false",
    }
    known = {name: text for name, text in data.items() if text is not None}
    if isinstance(error, NotFound) and error.thing == "run":
        return TaskNotFoundError(str(error), known)
    kind = next((theirs for ours, theirs in _KINDS if isinstance(error, ours)), InternalError)
    return kind(str(error), known)


@contextmanager
def refusals() -> Generator[None]:
    """Around all that a client may ask: whatever goes wrong inside leaves as an error of the protocol.

    What nobody has foreseen is logged here and not told: its text was not written for whoever asks.
    """
    try:
        yield
    except A2AError:
        raise
    except RetrainingError as error:
        raise as_a2a(error) from None
    except Exception as error:  # noqa: BLE001 (logged, and said)
        _LOG.exception("a request at the A2A door failed")
        raise InternalError(
            f"the request could not be answered ({type(error).__name__})\n"
            "  remedy: ask again; if it goes on, whoever runs this server finds the reason in its log"
        ) from None
