"""How do people and machines read the command line? Results on stdout, progress and errors on stderr."""

import json
import re
import shlex
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

from tools.errors import RetrainingError, outcome_of


class Screen:
    """Where this process prints. `--json` is remembered so that an error is JSON too, `--workspace` for its hints."""

    json = False
    quiet = False
    workspace: Path | None = None

    def result(self, content: Any, lines: Iterable[str] | None = None) -> None:
        """Print `content` as JSON under --json, else `lines` for people."""
        if self.json or lines is None:
            sys.stdout.write(json.dumps(content, indent=None if self.json else 2, ensure_ascii=False) + "\n")
        else:
            sys.stdout.write("".join(f"{harmless(line)}\n" for line in lines))
        sys.stdout.flush()

    def progress(self, text: str) -> None:
        """One line of progress, on stderr."""
        if not self.quiet:
            sys.stderr.write(f"  · {harmless(pointed(text))}\n")
            sys.stderr.flush()

    def error(self, error: RetrainingError) -> int:
        """Print the error where it belongs; returns the exit code."""
        outcome = outcome_of(error)
        if self.json:
            self.result(error_body(error))
        sys.stderr.write(f"error: {harmless(pointed(str(error)))}\n")
        return outcome.exit_code


SCREEN = Screen()


def error_body(error: RetrainingError) -> dict[str, Any]:
    """The error as JSON says it; what is absent is omitted."""
    outcome = outcome_of(error)
    body = {
        "error": type(error).__name__,
        "message": pointed(error.message),
        "thing": error.thing,
        "value": None if error.value is None else str(error.value),
        "remedy": None if error.remedy is None else pointed(error.remedy),
        "exitCode": outcome.exit_code,
        "retry": outcome.retry,
    }
    return {key: value for key, value in body.items() if value is not None}


_COMMAND: Final = re.compile(r"`(retrain (?!demo|schema|init`)[^`]+)`")
"""A command to type, in backticks; those left out take no workspace or make one here."""


def hint(command: str) -> str:
    """`retrain COMMAND` for the workspace that this process was told."""
    where = "" if SCREEN.workspace is None else f" -w {shlex.quote(str(SCREEN.workspace))}"
    return f"retrain {command}{where}"


def pointed(text: str) -> str:
    """The text with this process's workspace in every command that it names in backticks."""

    def with_workspace(found: re.Match[str]) -> str:
        command = found[1]
        return f"`{command if ' -w ' in command else hint(command.removeprefix('retrain '))}`"

    return text if SCREEN.workspace is None else _COMMAND.sub(with_workspace, text)


def harmless(text: str) -> str:
    """Without control characters: a pipeline's log line must not steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "�" for c in text)


def screen_width() -> int:
    """Columns of the terminal, 100 where there is none, at most 110: longer lines are hard to read."""
    return max(40, min(shutil.get_terminal_size((100, 24)).columns, 110))


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]], *, indent: int = 0) -> list[str]:
    """Plain aligned columns: they survive a pipe, a log and a narrow terminal.

    What is too wide is folded inside its column, the last one first; words, such as run ids, are never cut.
    """
    cells = [[("" if cell is None else str(cell)) for cell in row] for row in (headers, *rows)]
    widths = _fitted(cells, screen_width() - indent - 2 * (len(headers) - 1))
    head, *body = ([" " * indent + line for line in _folded(row, widths)] for row in cells)
    return [*head, " " * indent + "  ".join("-" * width for width in widths), *(line for row in body for line in row)]


def _fitted(cells: Sequence[Sequence[str]], room: int) -> list[int]:
    columns = list(zip(*cells, strict=True))
    widths = [max(len(line) for cell in column for line in cell.splitlines() or [""]) for column in columns]
    longest = [max((len(word) for cell in column for word in cell.split()), default=0) for column in columns]
    by_width = sorted(range(len(columns) - 1), key=lambda column: -widths[column])
    # First no column below a readable width, then whatever it takes.
    for floor in (30, 0):
        for column in (len(columns) - 1, *by_width):
            least = max(longest[column], min(floor, widths[column]))
            widths[column] -= max(0, min(sum(widths) - room, widths[column] - least))
    return widths


def _folded(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """One row as lines; what was folded goes on below itself."""
    columns = [
        [part for line in cell.splitlines() for part in _fold(line, width)]
        for cell, width in zip(row, widths, strict=True)
    ]
    lines = zip_longest(*columns, fillvalue="")
    padded = ("  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)) for line in lines)
    return [line.rstrip() for line in padded] or [""]


def _fold(text: str, width: int, first: str = "", rest: str = "") -> list[str]:
    # Ids, paths and options must stay in one piece, or they cannot be copied.
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_long_words=False, break_on_hyphens=False
    ) or [""]


def run_lines(output: dict[str, Any], *, ask: bool = True, status: str | None = None) -> list[str]:
    """A run's public JSON for a person: decision first, then why, then what happened and (`ask`) what to do.

    Args:
        output: What was said at the run's last pause, or at its end.
        ask: Say which answer is waited for; only while the run is parked.
        status: The run's status now, where it is known to be newer than the output.
    """
    decision, training = output["deploymentDecision"], output["retrainingResult"]
    rollout, rolled_back = output.get("rollout", {}), output.get("kind") == "rollback"
    status = status or output["status"]
    headline = _headline(output, decision, rollout) + ("" if status in ("parked", "finished") else f" ({status})")
    lines = ["", f"  {headline}", "", *wrapped(decision["rationale"]), ""]
    lines += [
        f"  run        {output['runId']} ({status})",
        f"  training   {training['status']}"
        + (f", version {training['newModelVersion']}" if "newModelVersion" in training else ""),
    ][: 1 if rolled_back else 2]
    if training.get("logTail"):
        lines += wrapped(training["statement"], indent=13)
        lines += [f"    | {line}" for line in training["logTail"].splitlines()]
    comparison = output.get("comparison")
    if comparison:
        lines += ["", *_comparison_table(comparison), ""]
    lines.append(
        f"  rollout    {rollout.get('phase', 'not_started')}"
        + (f", {rollout['proof']}" if "proof" in rollout else "")
        + (f"; champion is version {rollout['championVersion']}" if "championVersion" in rollout else "")
    )
    if rollout.get("statement") and not rolled_back:
        lines += wrapped(rollout["statement"], indent=13)
    if output.get("report"):
        lines.append(f"  report     {output['report']}")
    for warning in output.get("warnings", []):
        lines += labelled("  note       ", warning)
    review = decision.get("reviewId")
    if not ask or status != "parked":
        return lines
    if review is not None:
        approve = hint(f'review approve {review} --reason "…"')
        lines += [
            "",
            "  A person is asked:",
            f"    {hint(f'review show {review}')}",
            f"    {approve}    (or: reject; `show` lists what is allowed)",
        ]
    else:
        resume = hint(f"run --resume {output['runId']}")
        lines += ["", f"  Parked until {rollout.get('wakeAt', 'woken')}: {resume}"]
    return lines


def _headline(output: dict[str, Any], decision: dict[str, Any], rollout: dict[str, Any]) -> str:
    if output.get("kind") == "rollback":
        done = rollout.get("phase") == "rolled_back"
        what = f"ROLLED BACK to version {rollout.get('championVersion')}" if done else "NOT ROLLED BACK"
        return f"{output['modelId']}: {what}, as {decision['decidedBy']} asked"
    certainty = f" ({decision['certainty']})" if "certainty" in decision else ""
    return f"{output['modelId']}: {decision['decision'].upper()}{certainty}, decided by {decision['decidedBy']}"


def wrapped(text: str, *, indent: int = 2, hanging: int = 0) -> list[str]:
    """Paragraphs folded to the terminal, at most 110 columns; all lines but the first go in by `hanging` more."""
    lines: list[str] = []
    for paragraph in pointed(text).strip().splitlines():
        own = len(paragraph) - len(paragraph.lstrip())
        first, rest = " " * (indent + own), " " * (indent + own + hanging)
        lines += _fold(paragraph.strip(), screen_width(), first, rest)
    return lines


def labelled(label: str, text: str) -> list[str]:
    """Paragraphs folded to the terminal, all of them to the right of the label."""
    lines = wrapped(text, indent=len(label)) or [label]
    return [(label + lines[0][len(label) :]).rstrip(), *lines[1:]]


def shortened(text: str, width: int = 60) -> str:
    """One table cell's worth of it."""
    return text if len(text) <= width else text[: width - 1] + "…"


def _comparison_table(comparison: dict[str, Any]) -> list[str]:
    rows: list[list[str]] = []
    for name, verdict in comparison.get("verdicts", {}).items():
        low, high = comparison.get("intervals", {}).get(name, (None, None))

        def number(side: str, metric: str = name) -> str:
            value = comparison.get(side, {}).get(metric)
            return "–" if value is None else f"{value:.4f}"

        change = comparison.get("improvement", {}).get(name)
        rows.append(
            [
                name,
                number("baselineMetrics"),
                number("newModelMetrics"),
                "–" if change is None else f"{change:+.4f}",
                "–" if low is None or high is None else f"[{low:+.4f}, {high:+.4f}]",
                verdict,
            ]
        )
    return table(["metric", "champion", "candidate", "gain", "interval", "verdict"], rows, indent=2)
