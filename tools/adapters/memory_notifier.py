"""People in memory: what they were told, for tests and rehearsals."""

from collections.abc import Sequence

from tools.contracts.incident import Notice
from tools.errors import RetrainingError


class MemoryNotifier:
    """Port `Notifier`. `failures` holds what a channel raises instead of taking a message."""

    def __init__(self, channels: Sequence[str] = ("1:memory",)) -> None:
        self._channels = tuple(channels)
        self.sent: list[tuple[str, Notice]] = []
        self.failures: dict[str, RetrainingError] = {}

    def channels(self) -> Sequence[str]:
        """As given."""
        return self._channels

    def send(self, channel: str, notice: Notice) -> None:
        """Keeps it."""
        if channel in self.failures:
            raise self.failures[channel]
        self.sent.append((channel, notice))
