"""What `retrain doctor` found, one thing at a time."""

from typing import Literal

from tools.contracts.base import Contract


class Finding(Contract):
    """One thing looked at."""

    result: Literal["ok", "missing", "unknown"]
    about: str
    statement: str
    remedy: str = ""
