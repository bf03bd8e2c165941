"""How much of a conversation is kept, and how much of that is a model given?

Both are bounded: a conversation of a thousand messages costs as much a turn as one of ten. What is cut off are whole turns, so that no
result stands without the call that it answers.
"""

from typing import Any, Final

KEPT: Final = 80
"""Messages; the older ones are forgotten."""
GIVEN: Final = 9000
"""Characters that a model is given of them, the newest."""


def kept(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest, from the beginning of a turn on."""
    return messages if len(messages) <= KEPT else _from_a_turn(messages[-KEPT:])


def recent(messages: list[dict[str, Any]], room: int = GIVEN) -> list[dict[str, Any]]:
    """The newest that fit, from the beginning of a turn on; the latest turn in any case."""
    begin, size = len(messages), 0
    for at in range(len(messages) - 1, -1, -1):
        size += len(messages[at]["content"]) + sum(len(call["arguments"]) for call in messages[at]["calls"])
        if size > room and begin < len(messages):
            break
        if messages[at]["role"] == "user":
            begin = at
    return messages[begin:] or messages[-1:]


def _from_a_turn(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for at, each in enumerate(messages):
        if each["role"] == "user":
            return messages[at:]
    return messages[-1:]
