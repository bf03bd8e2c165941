"""Would somebody who keeps to the older schema be let down by the newer one?

`breaks(old, new)` names every place: a field removed, a type or a value gone, a bound tightened, a field newly required, a field
no longer sent. What is added and optional, and what became wider, is no break. What cannot be told counts as a break.
"""

from typing import Any

Schema = dict[str, Any]

LOWER, UPPER = (
    ("minimum", "exclusiveMinimum", "minLength", "minItems"),
    ("maximum", "exclusiveMaximum", "maxLength", "maxItems"),
)
EXACT = ("pattern", "format", "const", "multipleOf")


def breaks(old: Schema, new: Schema, *, sent: bool = False) -> list[str]:
    """The breaking changes, by path; empty where there are none.

    Args:
        sent: We write the document: then a field that readers could count on must stay required too.
    """
    return _Comparison(old, new, sent).compare(old, new, "", frozenset())


class _Comparison:
    def __init__(self, old: Schema, new: Schema, sent: bool) -> None:
        self._old, self._new, self._sent = old, new, sent

    def compare(self, old: Any, new: Any, path: str, seen: frozenset[tuple[str, str]]) -> list[str]:
        pair = (str(_ref(old)), str(_ref(new)))
        if pair in seen:
            return []
        if pair != ("None", "None"):
            seen |= {pair}
        old, new = _resolve(old, self._old), _resolve(new, self._new)
        if new is True or new == {} or old == new == {}:
            return []
        if old is True or old == {}:
            return [f"{path or '(top)'}: took anything, and is narrower now"]
        before, after = _branches(old), _branches(new)
        if len(before) > 1 or len(after) > 1:
            return self._unions(before, after, path, seen)
        return self._one(old, new, path, seen)

    def _unions(self, before: list[Any], after: list[Any], path: str, seen: frozenset[tuple[str, str]]) -> list[str]:
        """Each old alternative must still be among the new ones."""
        lost = [one for one in before if all(self.compare(one, other, path, seen) for other in after)]
        return [f"{path or '(top)'}: an alternative is gone or narrower"] if lost else []

    def _one(self, old: Schema, new: Schema, path: str, seen: frozenset[tuple[str, str]]) -> list[str]:
        where = path or "(top)"
        found: list[str] = []
        if not _types(old) <= _types(new):
            return [f"{where}: type narrowed from {sorted(_types(old))} to {sorted(_types(new))}"]
        gone = {repr(value) for value in old.get("enum", ())} - {repr(value) for value in new.get("enum", ())}
        if ("enum" in old and "enum" in new and gone) or ("enum" in new and "enum" not in old and "const" not in old):
            found.append(f"{where}: values gone: {', '.join(sorted(gone)) or 'all that are not listed'}")
        found += [f"{where}: {name} tightened" for name in LOWER if _tighter(old.get(name), new.get(name), 1)]
        found += [f"{where}: {name} tightened" for name in UPPER if _tighter(old.get(name), new.get(name), -1)]
        for name in EXACT:
            if name in new and new[name] != old.get(name) and not (name == "const" and old.get("enum") == [new[name]]):
                found.append(f"{where}: {name} changed")
        if new.get("uniqueItems") and not old.get("uniqueItems"):
            found.append(f"{where}: items must be unique now")
        return found + self._fields(old, new, path, seen) + self._insides(old, new, path, seen)

    def _fields(self, old: Schema, new: Schema, path: str, seen: frozenset[tuple[str, str]]) -> list[str]:
        found: list[str] = []
        mine, theirs = old.get("properties", {}), new.get("properties", {})
        for name, schema in mine.items():
            if name not in theirs:
                found.append(f"{path}.{name}: removed")
            else:
                found += self.compare(schema, theirs[name], f"{path}.{name}", seen)
        was, now = set(old.get("required", ())), set(new.get("required", ()))
        found += [f"{path}.{name}: required now" for name in sorted(now - was) if not (self._sent and name in theirs)]
        if self._sent:
            found += [f"{path}.{name}: no longer always there" for name in sorted(was - now)]
        return found

    def _insides(self, old: Schema, new: Schema, path: str, seen: frozenset[tuple[str, str]]) -> list[str]:
        found: list[str] = []
        for name, told in (("items", "[]"), ("additionalProperties", ".*")):
            before, after = old.get(name, True), new.get(name, True)
            if before is False or after is True:
                continue
            if after is False:
                found.append(f"{path}{told}: refused now")
            else:
                found += self.compare(before, after, f"{path}{told}", seen)
        first, second = old.get("prefixItems"), new.get("prefixItems")
        if first is not None and second is not None:
            if len(first) != len(second):
                found.append(f"{path}[]: another number of places")
            for place, (one, other) in enumerate(zip(first, second, strict=False)):
                found += self.compare(one, other, f"{path}[{place}]", seen)
        return found


def _ref(schema: Any) -> str | None:
    return schema.get("$ref") if isinstance(schema, dict) else None


def _resolve(schema: Any, root: Schema) -> Any:
    while isinstance(schema, dict) and "$ref" in schema:
        schema = root["$defs"][schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _branches(schema: Schema) -> list[Any]:
    return list(schema.get("anyOf", schema.get("oneOf", [schema])))


def _types(schema: Schema) -> set[str]:
    told = schema.get("type")
    if told is None:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        names = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
        return {names[type(value)] for value in values} or {"any"}
    found = {told} if isinstance(told, str) else set(told)
    return found | {"integer"} if "number" in found else found


def _tighter(old: float | None, new: float | None, sign: int) -> bool:
    return new is not None and (old is None or sign * (new - old) > 0)
