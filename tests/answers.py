"""Segment files as the servers write them, and what copies them."""

import json
from pathlib import Path
from typing import Any

from tools.adapters.appended_table import AppendedTable
from tools.adapters.serving.answer_copy import KEY, TIME, AnswerCopy
from tools.contracts.profile import TrafficLogSpec

OPEN = TrafficLogSpec(
    source="answers-table", failed="failed", latency_ms="latency_ms", probability="probability", mirrored="mirrored"
)


def answer(number: int, version: str, **more: Any) -> dict[str, Any]:
    made = {
        "id": f"q{number}",
        "version": version,
        "at": float(number),
        "mirrored": False,
        "failed": False,
        "ms": 1.5,
        "prediction": "good",
        "probability": None,
    }
    return made | more


def written(root: Path, version: str, rows: list[dict[str, Any]], name: str, end: str = "") -> None:
    """Appends to a segment."""
    folder = root / "answers" / version
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / f"{name}.jsonl").open("a") as file:
        file.write("".join(json.dumps(row) + "\n" for row in rows) + end)


def copier(
    root: Path,
    task: Any = "classification",
    *,
    source: str = "answers-table",
    environ: dict[str, str] | None = None,
    kind: type[AppendedTable] = AppendedTable,
) -> AnswerCopy:
    """As another process would make it."""
    table = kind(source, root, environ, key=KEY, thing="target.answers", bounded_by=TIME)
    return AnswerCopy(root / "answers", root / "copied.json", table, task)
