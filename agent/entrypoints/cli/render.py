"""How do people and machines read the command line? Results on stdout, progress and errors on stderr."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from tools.errors import RetrainingError, outcome_of


class Screen:
    """Where this process prints. `--json` is remembered so that an error is JSON too."""

    json = False
    quiet = False

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
            sys.stderr.write(f"  · {harmless(text)}\n")
            sys.stderr.flush()

    def error(self, error: RetrainingError) -> int:
        """Print the error where it belongs; returns the exit code."""
        outcome = outcome_of(error)
        if self.json:
            body = {
                "error": type(error).__name__,
                "message": error.message,
                "thing": error.thing,
                "value": None if error.value is None else str(error.value),
                "remedy": error.remedy,
                "exitCode": outcome.exit_code,
                "retry": outcome.retry,
            }
            self.result({key: value for key, value in body.items() if value is not None})
        sys.stderr.write(f"error: {harmless(str(error))}\n")
        return outcome.exit_code


SCREEN = Screen()


def harmless(text: str) -> str:
    """Without control characters: a pipeline's log line must not steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "�" for c in text)


def table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Plain aligned columns: they survive a pipe, a log and a narrow terminal."""
    cells = [[("" if cell is None else str(cell)) for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def run_lines(output: dict[str, Any], *, ask: bool = True) -> list[str]:
    """A run's public JSON for a person: decision first, then why, then what happened and (`ask`) what to do."""
    decision, training = output["deploymentDecision"], output["retrainingResult"]
    rollout, rolled_back = output.get("rollout", {}), output.get("kind") == "rollback"
    lines = ["", f"  {_headline(output, decision, rollout)}", "", *wrapped(decision["rationale"]), ""]
    lines += [
        f"  run        {output['runId']} ({output['status']})",
        f"  training   {training['status']}"
        + (f", version {training['newModelVersion']}" if "newModelVersion" in training else ""),
    ][: 1 if rolled_back else 2]
    if training.get("logTail"):
        lines += wrapped(training["statement"], indent=13)
        lines += [f"    | {line}" for line in training["logTail"].splitlines()]
    comparison = output.get("comparison")
    if comparison:
        lines += ["", *(f"  {line}" for line in _comparison_table(comparison)), ""]
    lines.append(
        f"  rollout    {rollout.get('phase', 'not_started')}"
        + (f", {rollout['proof']}" if "proof" in rollout else "")
        + (f"; champion is version {rollout['championVersion']}" if "championVersion" in rollout else "")
    )
    if rollout.get("statement") and not rolled_back:
        lines += wrapped(rollout["statement"], indent=13)
    lines += [f"  note       {warning}" for warning in output.get("warnings", [])]
    review = decision.get("reviewId")
    if not ask:
        return lines
    if review is not None:
        lines += [
            "",
            "  A person is asked:",
            f"    retrain review show {review}",
            f'    retrain review approve {review} --reason "…"    (or: reject; `show` lists what is allowed)',
        ]
    elif output["status"] == "parked":
        lines += ["", f"  Parked until {rollout.get('wakeAt', 'woken')}: retrain run --resume {output['runId']}"]
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
    width = max(40, min(shutil.get_terminal_size((100, 24)).columns, 110))
    first, rest = " " * indent, " " * (indent + hanging)
    lines: list[str] = []
    for paragraph in text.strip().splitlines():
        lines += textwrap.wrap(paragraph, width, initial_indent=first, subsequent_indent=rest) or [""]
    return lines


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
    return table(["metric", "champion", "candidate", "gain", "interval", "verdict"], rows)
