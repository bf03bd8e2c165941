"""How does a conversation look? Every line of a model's words begins with a bar, whatever it holds; no line of ours does.

The terminal must not fold a line by itself: what it folds would begin without the bar, and could look like a question of ours.
"""

import shutil
import sys
from typing import TYPE_CHECKING, Final

from agent.entrypoints.cli.render import harmless, pointed, wrapped

if TYPE_CHECKING:
    from agent.entrypoints.chat.events import Event
    from tools.confirmation import Action

BAR: Final = "│ "
_DIM, _BOLD, _OFF = "\x1b[2m", "\x1b[1m", "\x1b[0m"


class Barred:
    """A stream of words, folded here, each line behind a bar."""

    def __init__(self, width: int) -> None:
        self._room = max(20, width - len(BAR) - 1)
        self._at, self._word = 0, ""
        self.began = False

    def take(self, piece: str) -> str:
        """What is to be written for this piece."""
        out = ""
        for char in harmless(piece.replace("\t", " ")):
            if char in " \n":
                out += self._place() + (self._new() if char == "\n" else self._space())
            else:
                self._word += char
                if _cells(self._word) >= self._room:
                    out += self._place()
        return out

    def end(self) -> str:
        """The rest, and the end of the line."""
        out = self._place()
        return f"{out}\n" if self.began else ""

    def _place(self) -> str:
        word, self._word = self._word, ""
        if not word:
            return ""
        out = "" if self.began else BAR
        self.began = True
        if self._at + _cells(word) > self._room and self._at:
            out += self._new()
        self._at += _cells(word)
        return out + word

    def _space(self) -> str:
        if self._at == 0 or self._at >= self._room:
            return ""
        self._at += 1
        return " "

    def _new(self) -> str:
        if not self.began:
            return ""
        self._at = 0
        return f"\n{BAR}"


class Talk:
    """A conversation on stdout.

    Args:
        typed: A person sits before it, who can say yes.
    """

    def __init__(self, *, typed: bool) -> None:
        self._typed, self._model = typed, None
        self._colour = sys.stdout.isatty()

    def show(self, event: "Event") -> None:
        """One event of a turn."""
        from agent.entrypoints.chat.events import Answered, Piece, Result
        from tools.confirmation import Action

        if isinstance(event, Piece):
            if self._model is None:
                self._model = Barred(shutil.get_terminal_size((100, 24)).columns)
            self._write(self._model.take(event.text))
            return
        self.end()
        if isinstance(event, Action):
            self._confirmation(event)
        elif isinstance(event, Result):
            self.say(f"[{event.tool}] {'cannot be done' if event.failed else ''}".rstrip())
            for line in event.lines:
                self._lines(line, 4)
        elif isinstance(event, Answered):
            for line in event.lines:
                self._lines(f"done: {line}", 2)
        else:
            self.say(event.text)

    def say(self, text: str) -> None:
        """A line of ours."""
        self.end()
        self._lines(text, 2)

    def end(self) -> None:
        """The model has said what it says."""
        if self._model is not None:
            self._write(self._model.end())
            self._model = None

    def _confirmation(self, action: "Action") -> None:
        first, *rest = action.lines
        rule = "═" * min(72, shutil.get_terminal_size((100, 24)).columns - 4)
        self._write(f"\n  {rule}\n")
        for line in wrapped(f"TO BE CONFIRMED: {first}", hanging=17):
            self._write(f"{_BOLD if self._colour else ''}{harmless(line)}{_OFF if self._colour else ''}\n")
        for line in rest:
            self._lines(line, 4, hanging=13)
        ask = "type yes to do exactly this" if self._typed else "nothing is done before a person confirms exactly this"
        self._lines(f"{ask} (until {action.expires_at:%H:%M} UTC); anything else drops it", 2)
        self._write(f"  {rule}\n\n")

    def _lines(self, text: str, indent: int, hanging: int = 2) -> None:
        for line in wrapped(pointed(text), indent=indent, hanging=hanging) or [""]:
            self._write(f"{harmless(line)}\n")

    def _write(self, text: str) -> None:
        if text:
            sys.stdout.write(text)
            sys.stdout.flush()


def _cells(text: str) -> int:
    from rich.cells import cell_len

    return cell_len(text)
