"""What comes out of a turn? A model's words are `Piece` and nothing else: no door can take them for a question of ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tools.confirmation import Action


@dataclass(frozen=True)
class Piece:
    """A piece of what the model says. Its own words, checked by nobody."""

    text: str


@dataclass(frozen=True)
class Result:
    """What a tool found, in the program's words."""

    tool: str
    arguments: Mapping[str, Any]
    lines: tuple[str, ...]
    failed: bool = False


@dataclass(frozen=True)
class Answered:
    """What was confirmed is done."""

    action: str
    lines: tuple[str, ...]
    run_id: str | None = None


@dataclass(frozen=True)
class Note:
    """Something that the program says of the conversation itself."""

    text: str


@dataclass(frozen=True)
class Failed:
    """The model gave no answer."""

    text: str


Event = Piece | Result | Action | Answered | Note | Failed


def as_json(event: Event) -> tuple[str, dict[str, Any]]:
    """Name and data of an event, for doors that speak JSON."""
    match event:
        case Piece():
            return "text", {"text": event.text}
        case Result():
            return "result", {
                "tool": event.tool,
                "arguments": dict(event.arguments),
                "lines": list(event.lines),
                "failed": event.failed,
            }
        case Answered():
            done = {"actionId": event.action, "lines": list(event.lines)}
            return "done", done | ({} if event.run_id is None else {"runId": event.run_id})
        case Note():
            return "note", {"text": event.text}
        case Failed():
            return "fault", {"text": event.text}
        case Action():
            return "confirmation", {
                "actionId": event.id,
                "digest": event.digest,
                "tool": event.tool,
                "arguments": {name: value for name, value in event.args.items() if value is not None},
                "lines": list(event.lines),
                "expiresAt": event.expires_at.isoformat(),
            }
