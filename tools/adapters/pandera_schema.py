# pyright: basic
"""Pandera schemas in YAML: read as rules that queries can count, and drafted.

Pandera itself reads the file, so that what it refuses is refused, and names its checks; the rules are counted by
`tools.adapters.rule_counts`, never by Pandera, which ignores a column's `unique` on some engines and brings every bad row into
memory. What it reads and silently ignores (a misspelt field) is refused here, with the line.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tools.contracts.profiling import SchemaRule
from tools.errors import BadInput, NotFound

_COLUMN_FIELDS = {
    "name", "title", "description", "dtype", "nullable", "checks", "unique", "coerce", "required", "regex", "metadata",
    "default", "report_duplicates", "drop_invalid_rows", "parsers",
}  # fmt: skip
_SCHEMA_FIELDS = {
    "schema_type", "api", "version", "columns", "checks", "index", "dtype", "coerce", "strict", "name", "ordered", "unique",
    "report_duplicates", "unique_column_names", "add_missing_columns", "title", "description", "metadata",
    "dataframe_library", "on_missing_columns", "drop_invalid_rows", "multiindex",
}  # fmt: skip


def read_rules(path: Path) -> tuple[SchemaRule, ...]:
    """The file's rules.

    Raises:
        NotFound: there is no such file. BadInput: it is no YAML, or no Pandera schema; names file, line and remedy.
    """
    lines, content, text = _parsed(path)
    for name in content:
        if name not in _SCHEMA_FIELDS:
            raise _bad(path, lines.get((name,), 1), f"{name!r} is no field of a Pandera schema", name)
    columns = content.get("columns")
    if not isinstance(columns, Mapping) or not columns:
        raise _bad(path, lines.get(("columns",), 1), "there are no columns", "columns")
    for name, fields in columns.items():
        _known_fields(path, name, fields, lines)
    schema = _deserialized(path, text, content, lines)
    return tuple(_rules(schema))


def dump(schema: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """A drafted schema as YAML; `comments` go behind the columns' names."""
    import yaml

    lines: list[str] = []
    inside = False
    for line in yaml.safe_dump(dict(schema), sort_keys=False, allow_unicode=True, width=110).splitlines():
        if line and not line.startswith((" ", "-")):
            inside = line == "columns:"
        name = yaml.safe_load(line[2:]) if inside and line.startswith("  ") and line[2] not in " -" else None
        column = next(iter(name)) if isinstance(name, dict) else None
        note = comments.get(str(column))
        lines.append(line if note is None else f"{line}  # {note}")
    return "\n".join(lines) + "\n"


def _parsed(path: Path) -> tuple[dict[tuple[str, ...], int], dict[str, Any], str]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        node, content = yaml.compose(text, Loader=yaml.SafeLoader), yaml.safe_load(text)
    except FileNotFoundError:
        raise NotFound(
            f"there is no schema file {path}",
            thing="validation.schema_file",
            value=str(path),
            remedy="`retrain validation init MODEL` drafts one",
        ) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _bad(path, mark.line + 1 if mark else 1, f"not readable as YAML: {error.problem}", None) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise _bad(path, 1, f"cannot be read: {str(error).splitlines()[0]}", None) from error
    if not isinstance(content, dict):
        raise _bad(path, 1, "is no mapping of fields to values", None)
    return dict(_lines(node, ())), content, text


def _lines(node: Any, at: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    import yaml

    if isinstance(node, yaml.MappingNode) and len(at) < 4:
        for key, value in node.value:
            here = (*at, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _lines(value, here)


def _known_fields(path: Path, name: Any, fields: Any, lines: Mapping[tuple[str, ...], int]) -> None:
    from pandera.api.checks import Check

    at = ("columns", str(name))
    if fields is not None and not isinstance(fields, Mapping):
        raise _bad(path, lines.get(at, 1), f"column {name!r} is no mapping of fields to values", name)
    for field in fields or {}:
        if field not in _COLUMN_FIELDS and not hasattr(Check, str(field)):
            where = lines.get((*at, str(field)), lines.get(at, 1))
            raise _bad(path, where, f"column {name!r}: {field!r} is neither a field of a column nor a check", field)


def _deserialized(path: Path, text: str, content: dict[str, Any], lines: Mapping[tuple[str, ...], int]) -> Any:
    import pandera.pandas  # noqa: F401 - registers the checks
    import yaml
    from pandera.io.pandas_io import from_yaml

    try:
        return from_yaml(text)
    except Exception as error:
        for name, fields in content["columns"].items():
            try:
                from_yaml(yaml.safe_dump({"schema_type": "dataframe", "columns": {name: fields}}))
            except Exception as fault:
                why = f"column {name!r}: {_first_line(fault)}"
                raise _bad(path, lines.get(("columns", str(name)), 1), why, name) from fault
        raise _bad(path, 1, _first_line(error), None) from error


def _rules(schema: Any) -> Iterator[SchemaRule]:
    for name, column in schema.columns.items():
        name = str(name)
        if column.regex:
            yield SchemaRule(column=name, check="regex")
            continue
        if column.required:
            yield SchemaRule(column=name, check="required")
        if column.dtype is not None:
            yield SchemaRule(column=name, check="dtype", arguments={"dtype": str(column.dtype)})
        if not column.nullable:
            yield SchemaRule(column=name, check="not_null")
        if column.unique:
            yield SchemaRule(column=name, check="unique", arguments={"columns": [name]})
        for check in column.checks:
            yield _rule(name, check)
    for check in schema.checks or []:
        yield _rule("(whole rows)", check)
    if schema.unique:
        yield SchemaRule(column=str(schema.unique[0]), check="unique", arguments={"columns": list(schema.unique)})
    if schema.strict:
        yield SchemaRule(
            column="(columns)", check="strict", arguments={"allowed": [str(name) for name in schema.columns]}
        )


def _rule(column: str, check: Any) -> SchemaRule:
    arguments = {str(name): _plain(value) for name, value in (check.statistics or {}).items()}
    return SchemaRule(
        column=column, check=str(check.name), arguments=arguments, warns=bool(getattr(check, "raise_warning", False))
    )


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if hasattr(value, "item"):
        value = value.item()
    return value if isinstance(value, str | int | float | bool | None) else str(getattr(value, "pattern", value))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200]


def _bad(path: Path, line: int, what: str, value: Any) -> BadInput:
    return BadInput(
        f"{path}:{line}: {what}",
        thing="validation.schema_file",
        value=value if value is not None else str(path),
        remedy="mend the line; `retrain validation init MODEL` shows how a schema is written",
    )
