"""Do the messages stay readable for who built on version 1.0, and does the check itself see what would break them?

`released/` holds the schemas of 1.0. They change with a new major version and at no other time.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from agent.schemas import SCHEMAS, json_schema
from tests.contracts.compatibility import breaks
from tools.contracts.base import SCHEMA_VERSION

RELEASED = Path(__file__).parent / "released"
NAMES = sorted(file.name.removesuffix(".schema.json") for file in RELEASED.glob("*.schema.json"))


def released(name: str) -> dict[str, Any]:
    return json.loads((RELEASED / f"{name}.schema.json").read_text(encoding="utf-8"))


def test_every_message_of_peers_and_agent_is_released() -> None:
    peers = [name for name in SCHEMAS if name.partition(".")[2] in ("input", "output")]

    assert set(NAMES) == {"input", "output", "envelope", *peers}
    assert SCHEMA_VERSION.startswith("1."), "a new major version: replace what is released"


@pytest.mark.parametrize("name", NAMES)
def test_a_message_keeps_to_what_was_released(name: str) -> None:
    assert breaks(released(name), json_schema(name), sent=name == "output") == []


OLD: dict[str, Any] = {
    "type": "object",
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "maxLength": 50},
        "kind": {"enum": ["a", "b"], "type": "string"},
        "share": {"type": "number", "minimum": 0},
        "notes": {"type": "array", "items": {"type": "string"}},
        "free": {"type": "object", "additionalProperties": True},
        "inner": {"$ref": "#/$defs/Inner"},
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
    },
    "$defs": {"Inner": {"type": "object", "properties": {"at": {"type": "string"}}}},
}


def changed(path: str, **changes: Any) -> dict[str, Any]:
    """OLD with the schema at `path` changed; None takes an entry away."""
    new = json.loads(json.dumps(OLD))
    place = new
    for part in path.split("/") if path else ():
        place = place[part]
    for name, value in changes.items():
        if value is None:
            place.pop(name)
        else:
            place[name] = value
    return new


@pytest.mark.parametrize(
    ("new", "told"),
    [
        (changed("properties", kind=None), ".kind: removed"),
        (changed("$defs/Inner/properties", at=None), ".inner.at: removed"),
        (changed("properties/kind", enum=["a"]), "'b'"),
        (changed("properties/share", minimum=1), "minimum tightened"),
        (changed("properties/share", maximum=10), "maximum tightened"),
        (changed("properties/id", maxLength=20), "maxLength tightened"),
        (changed("properties/id", pattern="[a-z]+"), "pattern changed"),
        (changed("properties/share", type="integer"), "type narrowed"),
        (changed("properties/notes/items", type="integer"), "type narrowed"),
        (changed("properties/id", enum=["x"]), "values gone"),
        (changed("", required=["id", "kind"]), ".kind: required now"),
        (changed("properties/free", additionalProperties=False), "refused now"),
        (changed("properties/free", additionalProperties={"type": "string"}), "narrower"),
        (changed("properties/either", anyOf=[{"type": "string"}]), "alternative"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_check_sees_what_breaks(new: dict[str, Any], told: str) -> None:
    found = breaks(OLD, new)

    assert found
    assert any(told in each for each in found), found


@pytest.mark.parametrize(
    "new",
    [
        OLD,
        changed("properties", more={"type": "string"}),
        changed("$defs/Inner/properties", more={"type": "integer"}),
        changed("properties/kind", enum=["a", "b", "c"]),
        changed("properties/share", minimum=-1),
        changed("properties/share", minimum=None),
        changed("properties/id", maxLength=80),
        changed("properties/either", anyOf=[{"type": "integer"}, {"type": "string"}, {"type": "boolean"}]),
        changed("", required=[]),
        changed("properties/id", description="said better"),
    ],
    ids=["same", "added", "added inside", "value", "bound", "no bound", "length", "alternative", "optional", "prose"],
)
def test_the_check_lets_pass_what_only_adds_or_widens(new: dict[str, Any]) -> None:
    assert breaks(OLD, new) == []


def test_what_we_send_must_stay_there_for_its_readers() -> None:
    assert breaks(OLD, changed("", required=[]), sent=True) == [".id: no longer always there"]
    assert breaks(OLD, changed("", required=["id", "kind"]), sent=True) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_field_taken_from_a_real_message_is_seen(name: str) -> None:
    schema = json_schema(name)
    for field in schema["properties"]:
        less = {**schema, "properties": {n: s for n, s in schema["properties"].items() if n != field}}
        assert f".{field}: removed" in breaks(released(name), less)
