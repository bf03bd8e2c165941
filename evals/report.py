"""How does every eval say what it measured, on what, and whether the target was met?

All evals share `--json FILE` and `--quick`, print one Markdown table, and write
`{"machine", "commit", "rows": [{"name", "value", "low", "high", "n", "target", "met"}]}`.
"""

import argparse
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scipy import stats


@dataclass(frozen=True)
class Row:
    """One measured number.

    `low` and `high` are a 95 % interval; `met` is None without a target, or where n is too small to tell.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    target: str = ""
    met: bool | None = None


def arguments(description: str) -> argparse.ArgumentParser:
    """The parser every eval starts from."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, commit and rows to FILE")
    parser.add_argument("--quick", action="store_true", help="few repetitions: shows that it runs, not what is true")
    return parser


def wilson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share; (0, 1) for n = 0."""
    if n == 0:
        return 0.0, 1.0
    interval = stats.binomtest(hits, n).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def share(name: str, hits: int, n: int, target: str = "", met: bool | None = None) -> Row:
    """A share with its Wilson interval."""
    low, high = wilson(hits, n)
    return Row(name=name, value=hits / n if n else float("nan"), low=low, high=high, n=n, target=target, met=met)


def at_most(name: str, hits: int, n: int, most: float) -> Row:
    """A share that should not exceed `most`: met or missed only where the whole interval says so."""
    low, high = wilson(hits, n)
    return share(name, hits, n, f"at most {most:.0%}", True if high <= most else False if low > most else None)


def at_least(name: str, hits: int, n: int, least: float) -> Row:
    """A share that should reach `least`: met or missed only where the whole interval says so."""
    low, high = wilson(hits, n)
    return share(name, hits, n, f"at least {least:.0%}", True if low >= least else False if high < least else None)


def machine() -> str:
    """Processor kind, cores, system and interpreter; no names of hosts or users."""
    return f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, Python {platform.python_version()}"


def commit() -> str:
    """Commit that was measured, with `+` when the tree differs from it; `unknown` outside git."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=True).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def publish(rows: Sequence[Row], to: Path | None, **more: Any) -> None:
    """Prints the table; writes JSON where asked (NaN becomes null)."""
    print(f"{machine()}, commit {commit()}\n")
    print("| what | value | 95 % interval | n | target | met |\n|---|---|---|---|---|---|")
    for row in rows:
        interval = "" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f}"
        met = {True: "yes", False: "**no**", None: "cannot tell" if row.target else ""}[row.met]
        print(f"| {row.name} | {row.value:.3f} | {interval} | {row.n or ''} | {row.target} | {met} |")
    if to is not None:
        content = {"machine": machine(), "commit": commit(), "rows": [_plain(row) for row in rows], **more}
        to.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _plain(row: Row) -> dict[str, Any]:
    return {key: None if value != value else value for key, value in asdict(row).items()}
