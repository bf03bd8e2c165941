# pyright: basic
"""The servers' answers, copied from their segment files into a table that the profile names.

The segment files stay the journal: they are on this machine's disk, and need nobody to be up. What was copied stands in a file of
offsets, written after each append; a copy that is killed between the two reads those lines again, and the table takes each request
of a version once. Times play no part in what was copied, so that a clock that jumps costs nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tools.adapters.appended_table import AppendedTable
from tools.adapters.file_locks import take
from tools.adapters.serving import layout
from tools.adapters.serving.segments import parsed
from tools.contracts.profile import Task
from tools.errors import RetrainingError, Unavailable
from tools.observations import Observations
from tools.paired_rows import label_text
from tools.ports import TrafficLog

KEY = ("request_id", "version")
TIME = "at"
AT_ONCE = 2_000_000
"""Bytes of a segment that are copied together."""


@dataclass(frozen=True)
class Copied:
    """What one copy did."""

    added: int = 0
    known: int = 0
    """Answers that were there already: read again after a kill, or a request id that came again."""
    odd: int = 0
    """Predictions of a regression that are no number: their rows have none."""
    gaps: tuple[str, ...] = ()
    """Versions whose oldest segments went before they were copied to the end."""
    busy: bool = False
    """Another process was at it."""


class AnswerCopy:
    """Copies what is new.

    Args:
        answers: The folder with a folder of segments a version.
        offsets: The file that says how far each segment was copied; its lock lies beside it.
        table: Where they go; its key is the request and the version.
        task: Classes become text, all else numbers.
    """

    def __init__(self, answers: Path, offsets: Path, table: AppendedTable, task: Task) -> None:
        self._answers, self._offsets, self._table, self._task = answers, offsets, table, task

    def copy(self, *, wait: bool) -> Copied:
        """Raises `Unavailable` or `BadInput` where the table does not take the rows; they are copied by the next copy that can.

        Args:
            wait: Whether to wait for another process that copies.
        """
        with self._alone(wait=wait) as mine:
            if not mine:
                return Copied(busy=True)
            done = Copied()
            state: dict[str, dict[str, int]] = layout.read(self._offsets)
            for folder in sorted(path for path in self._answers.glob("*") if path.is_dir()):
                done = self._version(folder, state, done)
            return done

    def waiting(self) -> int:
        """Bytes of whole segments that are not copied yet."""
        state: dict[str, dict[str, int]] = layout.read(self._offsets)
        total = 0
        for path in self._answers.glob("*/*.jsonl"):
            total += max(0, path.stat().st_size - state.get(path.parent.name, {}).get(path.name, 0))
        return total

    def _version(self, folder: Path, state: dict[str, dict[str, int]], done: Copied) -> Copied:
        files = sorted(folder.glob("*.jsonl"))
        before = state.get(folder.name, {})
        if before and not any(path.name in before for path in files):
            done = replace(done, gaps=(*done.gaps, folder.name))
        # Those that were dropped are forgotten.
        now = state[folder.name] = {path.name: before.get(path.name, 0) for path in files}
        for path in files:
            for lines, end in _pieces(path, now[path.name]):
                rows, odd = self._rows(lines)
                added = 0 if rows is None else self._table.append(rows)
                count = len(list(parsed(lines)))
                now[path.name] = end
                layout.replace(self._offsets, state)
                done = replace(done, added=done.added + added, known=done.known + count - added, odd=done.odd + odd)
        return done

    def _rows(self, lines: Sequence[bytes]) -> tuple[Any | None, int]:
        """The rows of these lines, each request of a version once, and how many predictions are of no use."""
        import pyarrow as pa

        found: dict[tuple[str, str], Mapping[str, Any]] = {}
        for row in parsed(lines):
            found.setdefault((_text(row["id"]), _text(row["version"])), row)
        if not found:
            return None, 0
        rows = list(found.values())
        classes = self._task == "classification"
        predictions = [_class(row.get("prediction")) if classes else _number(row.get("prediction")) for row in rows]
        odd = sum(
            row.get("prediction") is not None and made is None for row, made in zip(rows, predictions, strict=True)
        )
        stamp = pa.timestamp("us", "UTC")
        table = pa.table(
            {
                "request_id": pa.array([name for name, _ in found], pa.string()),
                "version": pa.array([version for _, version in found], pa.string()),
                "at": pa.array([datetime.fromtimestamp(row["at"], UTC) for row in rows], stamp),
                "mirrored": pa.array([bool(row.get("mirrored")) for row in rows], pa.bool_()),
                "failed": pa.array([bool(row.get("failed")) for row in rows], pa.bool_()),
                "latency_ms": pa.array([_number(row.get("ms")) for row in rows], pa.float64()),
                "prediction": pa.array(predictions, pa.string() if classes else pa.float64()),
                "probability": pa.array([_number(row.get("probability")) for row in rows], pa.float64()),
            }
        )
        return table, odd

    @contextmanager
    def _alone(self, *, wait: bool) -> Iterator[bool]:
        try:
            self._offsets.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file = self._offsets.with_name(f"{self._offsets.name}.lock").open("a")
        except OSError as error:
            raise layout.unwritten(self._offsets, error) from error
        with file:
            yield take(file, wait=wait)


class CopiedLog:
    """Port `TrafficLog`: another log, before each of whose looks the answers are copied.

    A table that cannot be written to stops no rollout: it is told, and the answers wait in their segments.
    """

    def __init__(self, log: TrafficLog, copies: AnswerCopy, tell: Any) -> None:
        self._log, self._copies, self._tell = log, copies, tell

    def observations(self, versions: Sequence[str], since: datetime, until: datetime, limit: int) -> Observations:
        """See the port."""
        try:
            done = self._copies.copy(wait=False)
        except RetrainingError as failure:
            self._tell(f"answers were not copied, they wait in the servers' own log: {failure.message}")
        else:
            for note in notes(done):
                self._tell(note)
        return self._log.observations(versions, since, until, limit)


def notes(done: Copied) -> tuple[str, ...]:
    """What of a copy a person should know."""
    told = [f"answers of version {version} were dropped before they were copied" for version in done.gaps]
    if done.odd:
        told.append(f"{done.odd:,} predictions are no numbers: their rows in the table have none")
    return tuple(told)


def _pieces(path: Path, begin: int) -> Iterator[tuple[list[bytes], int]]:
    """(whole lines, the offset behind them), a few at a time; the last line may be under way."""
    try:
        with path.open("rb") as file:
            file.seek(begin)
            while lines := [line for line in file.readlines(AT_ONCE) if line.endswith(b"\n")]:
                begin += sum(map(len, lines))
                yield lines, begin
    except FileNotFoundError:
        return  # dropped meanwhile
    except OSError as error:
        raise Unavailable(
            f"the log of answers cannot be read: {error}", thing="serving log", value=str(path)
        ) from error


def _text(value: Any) -> str:
    """As every engine takes it: a client may put anything into its request's id."""
    return str(value).replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _class(value: Any) -> str | None:
    return None if value is None else _text(label_text(value))


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
