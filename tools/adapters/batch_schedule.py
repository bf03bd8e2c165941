# pyright: basic
"""Who scores what, in a file of the workspace, changed by one process at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from tools.adapters.file_locks import take
from tools.batch import Schedule
from tools.errors import Unavailable


class ScheduleFile:
    """A batch target's schedule. What stands in the file appears whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "schedule.json"

    def read(self) -> Schedule:
        """As it stands; empty before the first change.

        Raises:
            Unavailable: It cannot be read.
        """
        try:
            return Schedule.model_validate_json(self._path.read_text())
        except FileNotFoundError:
            return Schedule()
        except (OSError, ValidationError) as error:
            raise Unavailable(
                f"the schedule of the batch target cannot be read: {str(error).splitlines()[0]}",
                thing="target",
                value=str(self._path),
                remedy="restore the file; without it nobody knows which version writes",
            ) from error

    def change(self, by: Callable[[Schedule], Schedule]) -> Schedule:
        """Changes it while nobody else does."""
        with self.held():
            before = self.read()
            after = by(before)
            if after != before:
                part = self._path.with_name(".schedule.json.part")
                try:
                    part.write_text(after.model_dump_json(indent=2))
                    part.replace(self._path)
                except OSError as error:
                    part.unlink(missing_ok=True)
                    raise Unavailable(
                        f"the schedule of the batch target could not be written: {error}",
                        thing="target",
                        value=str(self._path),
                        remedy="make room on the disk; nothing was moved",
                    ) from error
            return after

    @contextmanager
    def held(self) -> Iterator[None]:
        """While this lasts, nobody else changes the schedule."""
        with self._lock("schedule.lock", wait=True):
            yield

    @contextmanager
    def scoring(self, *, wait: bool) -> Iterator[bool]:
        """Whether it is this process's to score; another may be at it already."""
        with self._lock("scoring.lock", wait=wait) as mine:
            yield mine

    @contextmanager
    def _lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / name).open("a") as file:  # the system frees it when the process ends, however it ends
            yield take(file, wait=wait)
