"""What does a "yes" in a chat stand for? For one action that was shown, whole, and for nothing else.

The digest covers who is asked, in which conversation, the tool and all of its checked arguments, and the lines that were shown.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from tools.contracts.base import Contract, UtcDatetime

GOOD_FOR: Final = timedelta(minutes=10)
"""A "yes" that comes later is about something that the person may no longer have in mind."""
_YES: Final = frozenset({"yes", "y", "confirm", "confirmed", "yes please", "yes confirm", "yes do it"})
_NAYS: Final = frozenset({"no", "n", "nope", "cancel", "stop", "wait", "don", "dont", "never", "forget", "not"})
_NO: Final = _NAYS | {"t", "do", "mind", "it", "that", "this", "now", "yet", "thanks", "thank", "you"}

Standing = Literal["open", "used", "cancelled"]


class Action(Contract):
    """Something that is going to be done once a person says so."""

    id: str
    conversation: str
    owner: str
    """Who was asked, and whose yes counts."""
    tool: str
    args: dict[str, Any]
    """As checked; nothing else is done."""
    lines: tuple[str, ...]
    """What was shown: made by code from the arguments and what is so, no word of them a language model's."""
    digest: str
    expires_at: UtcDatetime


def seal(id_: str, conversation: str, owner: str, tool: str, args: Mapping[str, Any], lines: Sequence[str]) -> str:
    """sha256 of all that a yes counts for."""
    whole = [id_, conversation, owner, tool, dict(args), list(lines)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()


def is_whole(action: Action) -> bool:
    """Whether it is still what was shown."""
    parts = (action.id, action.conversation, action.owner, action.tool, action.args, action.lines)
    return seal(*parts) == action.digest


def has_expired(action: Action, now: datetime) -> bool:
    """Whether a yes comes too late."""
    return now >= action.expires_at


def says_yes(text: str) -> bool:
    """Whether a message is a yes and nothing else: "yes, but …" is none."""
    plain = "".join(char if char.isalnum() else " " for char in text.lower())
    return " ".join(plain.split()) in _YES


def says_no(text: str) -> bool:
    """Whether a message only turns down what was asked: nothing else is to be made of it."""
    words = "".join(char if char.isalnum() else " " for char in text.lower()).split()
    return bool(_NAYS & set(words)) and _NO.issuperset(words)
