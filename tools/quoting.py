"""How does text from outside stand in a sentence of ours? As a quotation, which cannot be taken for our own words."""

import unicodedata
from typing import Final

_SHOWN: Final = 60
SAID: Final = 200
"""Letters of a line that somebody's program said; of a name fewer do."""


def quoted(name: str, longest: int = _SHOWN) -> str:
    """A name as data: one line, bounded, in backticks, without brackets, control characters and marks that turn text around."""
    plain = "".join(char for char in " ".join(name.split()) if char.isprintable())
    plain = plain.replace("`", "'").replace("[", "(").replace("]", ")")
    plain = plain if len(plain) <= longest else plain[: longest - 1] + "…"
    if any(unicodedata.bidirectional(char) in ("R", "AL", "AN") for char in plain):
        plain = f"\u2068{plain}\u2069"  # its direction ends with it
    return f"`{plain}`"
