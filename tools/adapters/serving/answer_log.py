# pyright: basic
"""Stand-alone: the segment files that a server appends its answers to. Lies beside the runtime on the server's own path and
imports nothing but Python's own library.

An answer is never refused because its line could not be written: what was lost is counted, and told by the server's metadata.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

SEGMENT_BYTES = 8_000_000
SEGMENTS_KEPT = 64


class Segments:
    """Append-only files of one server, closed at a size; the oldest go."""

    def __init__(self, folder: Path, version: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder, self._version, self._file, self._written = folder, version, -1, SEGMENT_BYTES
        self.lost = 0
        """Lines that could not be written."""

    def append(
        self, request_id: str, mirrored: bool, failed: bool, took: float, predictions: list, shares: Any
    ) -> None:
        """One write an answer: whole lines, at once in the file."""
        at, many = time.time(), len(predictions) > 1
        lines = [
            json.dumps(
                {
                    "id": f"{request_id}#{row}" if many else request_id,
                    "version": self._version,
                    "at": at,
                    "mirrored": mirrored,
                    "failed": failed,
                    "ms": round(took, 3),
                    "prediction": value,
                    "probability": None if shares is None else shares[row],
                }
            )
            for row, value in enumerate(predictions)
        ]
        content = ("\n".join(lines) + "\n").encode()
        written = 0
        try:
            written = self._write(content)
        except OSError as error:
            print(f"answers could not be logged: {error}", file=sys.stderr)  # noqa: T201 - the server's own log
        self.lost += len(lines) - content[:written].count(b"\n")

    def _write(self, content: bytes) -> int:
        """Bytes that are in the file; less than given where the disk is full."""
        if self._written >= SEGMENT_BYTES:
            self._next()
        written = self._put(content)
        self._written += written
        if written != len(content):
            self._written = SEGMENT_BYTES  # half a line: the next one starts a file of its own
            print(f"answers could not be logged: {written} of {len(content)} bytes written", file=sys.stderr)  # noqa: T201
        return written

    def _put(self, content: bytes) -> int:
        return os.write(self._file, content)

    def _next(self) -> None:
        """Another file. Its name sorts behind all others, also after the clock was put back: the oldest go first."""
        there = sorted(self._folder.glob("*.jsonl"))
        latest = max((number_of(path) for path in there), default=0)
        name = self._folder / f"{max(time.time_ns(), latest + 1):020d}-{os.getpid()}.jsonl"
        opened = os.open(name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if self._file >= 0:
            os.close(self._file)
        self._file, self._written = opened, 0
        for old in [*there, name][:-SEGMENTS_KEPT]:
            old.unlink(missing_ok=True)


def number_of(path: Path) -> int:
    """The number that a segment's name begins with; 0 for a name that we did not give."""
    number = path.name.partition("-")[0]
    return int(number) if number.isdecimal() else 0
