"""What does a chat say without a language model? What it needs, and the command that would do what was probably meant.

It only offers: nothing that a pattern has guessed is done.
"""

import re
import shlex
from collections.abc import Iterator
from typing import Final

from tools.contracts.access import AT_HOME, Caller
from tools.errors import BadInput
from tools.moments import data_window

NEEDS: Final = (
    "no language model is configured: set RETRAIN_LLM_MODEL (the model's name), OPENAI_BASE_URL (any OpenAI-compatible endpoint;"
    " OpenAI's own where absent) and OPENAI_API_KEY (where it asks for one)"
)
_REASON: Final = re.compile(r"\b(?:because|since|as|reason:?)\s+(.+)$", re.IGNORECASE | re.DOTALL)
_WINDOW: Final = re.compile(r"\b((?:last|past) [\w ]*?(?:days?|weeks?|months?|hours?)|\d+d)\b", re.IGNORECASE)
_REVIEW: Final = re.compile(r"\b(approve|reject|canary)\b\D{0,20}(\d+)", re.IGNORECASE)
_VERSION: Final = re.compile(r"\b(?:version |v)(\d+)\b", re.IGNORECASE)
_RUN: Final = re.compile(r"\br\d{8}-\d{6}-[0-9a-f]{8}\b")


def answer(message: str, about: str | None, caller: Caller) -> Iterator[str]:
    """Lines for somebody who has said this."""
    yield NEEDS
    if caller.door not in AT_HOME:
        yield "until then: /v1/runs, /v1/reviews, /v1/history, /v1/checks, /v1/rollbacks (see /openapi.json)"
        return
    found = offered(message, about)
    if found is None:
        yield "until then: `retrain --help` lists the commands; check, runs list, review list and history look at how things stand"
    else:
        yield f"the command for that is probably: {found}"


def offered(message: str, about: str | None) -> str | None:
    """The command that would do what was said; None where nothing is recognised."""
    text = " ".join(message.split())
    low = text.lower()
    model = about or _named(text) or "MODEL"
    reason = _REASON.search(text)
    why = shlex.quote(reason[1].strip()) if reason else '"…"'
    review = _REVIEW.search(text)
    if review is not None:
        return f"retrain review {review[1].lower()} {review[2]} --reason {why}"
    run = _RUN.search(text)
    if run is not None:
        return f"retrain runs show {run[0]}"
    if re.search(r"\broll(?:ing)? ?(?:it )?back|\brollback\b", low):
        version = _VERSION.search(text)
        return f"retrain rollback {model}{f' --to {version[1]}' if version else ''} --reason {why}"
    if re.search(r"\breviews?\b", low):
        number = re.search(r"\breview (\d+)", low)
        return f"retrain review show {number[1]}" if number else "retrain review list"
    if re.search(r"^(please )?(re-?train|train)\b", low):
        window = _WINDOW.search(text)
        return f"retrain run {model}{_window(window[1]) if window else ''}"
    if re.search(r"\bpause\b", low):
        return f"retrain pause --all --reason {why}"
    if re.search(r"\b(release|unpause)\b", low):
        return f"retrain release {model} --reason {why}"
    if re.search(r"\b(stale|drift|drifted|check|fresh|degraded)\b", low):
        return f"retrain check {model}"
    if re.search(r"\b(why|explain|rejected)\b", low):
        version = _VERSION.search(text)
        return f"retrain explain {model}{f' --version {version[1]}' if version else ''}"
    if re.search(r"\b(changed|history|champion|production|happened)\b", low):
        return f"retrain history {model}"
    if re.search(r"\b(runs?)\b", low):
        return f"retrain runs list {model}"
    return None


def _window(said: str) -> str:
    from datetime import UTC, datetime

    try:
        return f" --data-window {data_window(said, datetime.now(UTC))}"
    except BadInput:
        return ""


def _named(text: str) -> str | None:
    """A model named behind the verb; only a guess, and shown as one."""
    found = re.search(
        r"\b(?:re-?train|check|back|release|is|of|for)\s+(?!the\b|me\b|it\b|to\b|on\b)([\w.-]+)", text, re.IGNORECASE
    )
    return found[1] if found else None
