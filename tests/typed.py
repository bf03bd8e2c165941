"""The command line in this process: through its own entry point, with the exit code and the words of the shell.

For commands whose process is not the point. An exception that the door does not turn into a message fails the test.
"""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agent.entrypoints.cli.app import main
from agent.entrypoints.cli.render import SCREEN


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def typed(*arguments: str, folder: Path, given: str = "") -> Result:
    """`retrain ARGUMENTS` in the workspace `folder`, `given` on its standard input."""
    out, err = io.StringIO(), io.StringIO()
    with _fresh_screen(), pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["retrain", *arguments])
        patch.setattr(sys, "stdin", io.StringIO(given))
        patch.chdir(folder)
        with pytest.raises(SystemExit) as ended:
            main()
    assert isinstance(ended.value.code, int)
    return Result(ended.value.code, out.getvalue(), err.getvalue())


@contextmanager
def _fresh_screen() -> Iterator[None]:
    """As a new process finds it, and as it was afterwards."""
    before = SCREEN.json, SCREEN.quiet, SCREEN.workspace
    SCREEN.json, SCREEN.quiet, SCREEN.workspace = False, False, None
    try:
        yield
    finally:
        SCREEN.json, SCREEN.quiet, SCREEN.workspace = before
