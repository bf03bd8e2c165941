"""What can be written about a model before anybody was asked? A profile with the gaps marked.

The registry knows names and columns. It does not know where the rows are, which column is the label, or when a label is
final: those stand as `FILL_IN`, and loading the profile says what each of them wants.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from agent.profile_fields import PLACEHOLDER
from tools.contracts.training import ModelSignature
from tools.errors import Conflict, Unavailable

_HEADER = "How the retraining agent treats this model. See docs/profile.md for every field."
_NOT_ALLOWED_IN_ID = re.compile(r"[^A-Za-z0-9._-]+")
_TEXT_TYPES = frozenset({"string", "boolean", "str", "bool", "object"})
_REAL_TYPES = frozenset({"double", "float", "float32", "float64"})
_STARTING_METRIC = {"classification": "accuracy", "regression": "mean_absolute_error", PLACEHOLDER: PLACEHOLDER}


def profile_id(registered_model: str) -> str:
    """A file name for a registered model: `catalog.schema.model` stays, slashes and spaces become `-`."""
    name = _NOT_ALLOWED_IN_ID.sub("-", registered_model).strip("-.")
    # `defaults` is the file every profile inherits from, so no model can be called that.
    return f"{name or 'model'}-model" if name in ("", "defaults") else name


def draft_profile(
    registered_model: str,
    signature: ModelSignature | None = None,
    champion_alias: str | None = None,
    model_id: str | None = None,
) -> str:
    """YAML text of a first profile in mode `observe`.

    Args:
        registered_model: Name in the registry.
        signature: Gives the features and a guess at the task; without one both are left to be filled in.
        champion_alias: Alias found on the version in production; `champion` is assumed, and said so, where absent.
        model_id: The profile's id; made from the registered name where absent.
    """
    task, task_note = _task(signature)
    named = tuple(column.name for column in signature.inputs) if signature else ()
    assumed = " (assumed: the registry has none on this model)" if champion_alias is None else ""
    data: dict[str, Any] = {
        "id": model_id or profile_id(registered_model),
        "registered_model": registered_model,
        "task": task,
        "mode": "observe",
        "champion": {"by": "alias", "value": champion_alias or "champion"},
        "data": {
            "source": PLACEHOLDER,
            "event_time": PLACEHOLDER,
            "target": PLACEHOLDER,
            "label_maturity": "0d",
            "features": list(named) or [PLACEHOLDER],
        },
        "metrics": {"primary": {"name": _STARTING_METRIC[task], "min_improvement": 0.0}},
        "review": {"approvers": []},
    }
    types = "; ".join(f"{column.name} {column.type}" for column in signature.inputs) if signature else ""
    comments = {
        "task": task_note,
        "mode": "observe: decide and record. Then recommend (ask a person for every effect), then act.",
        "champion.value": f"alias on the version in production{assumed}",
        "data.source": "Parquet or CSV: a file, folder or glob, relative to the workspace",
        "data.event_time": "column with the time of the event; naive times are UTC",
        "data.target": "label column",
        "data.label_maturity": "how long after the event a label counts as final",
        "data.features": f"from the model's signature: {types}" if named else "the columns the model may see",
        "metrics.primary.name": "a starting point: choose what matters to you",
        "metrics.primary.min_improvement": "least gain, in the metric's unit",
        "review.approvers": "OS user names; while empty, nothing doubtful is ever deployed",
    }
    return render_profile(data, comments)


def write_profile(
    path: Path, profile: Mapping[str, Any] | str, comments: Mapping[str, str] | None = None, *, overwrite: bool = False
) -> None:
    """Write a profile, from fields or from text such as `draft_profile`'s.

    Raises:
        Conflict: The file exists and `overwrite` is not set; a person's work is never replaced by a draft.
        Unavailable: The folder cannot be written.
    """
    text = profile if isinstance(profile, str) else render_profile(profile, comments or {})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w" if overwrite else "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(
            f"{path} exists already", thing="profile", value=str(path), remedy="edit it, or remove it first"
        ) from None
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}", thing="profile", value=str(path), remedy="check permissions"
        ) from error


def render_profile(profile: Mapping[str, Any], comments: Mapping[str, str]) -> str:
    """Block YAML in the given order; `comments` maps dotted fields to one line each."""
    lines = [f"# {_HEADER}"]
    _emit(profile, comments, (), lines)
    return "\n".join(lines) + "\n"


def _emit(fields: Mapping[str, Any], comments: Mapping[str, str], path: tuple[str, ...], lines: list[str]) -> None:
    indent = "  " * len(path)
    for name, value in fields.items():
        here = (*path, name)
        note = " ".join(comments.get(".".join(here), "").split())
        key = inline(name)
        if isinstance(value, Mapping) and value:
            if note:
                lines.append(f"{indent}# {note}")
            lines.append(f"{indent}{key}:")
            _emit(cast("Mapping[str, Any]", value), comments, here, lines)
        elif isinstance(value, list | tuple) and len(cast("list[Any]", value)) > 0:
            if note:
                lines.append(f"{indent}# {note}")
            lines.append(f"{indent}{key}:")
            lines.extend(f"{indent}  - {inline(item)}" for item in cast("list[Any]", value))
        else:
            tail = f"  # {note}" if note else ""
            lines.append(f"{indent}{key}: {inline(value)}{tail}")


def inline(value: Any) -> str:
    """One value as YAML in flow style, quoted where it must be: `null`, `[a, b]`, `'7'`."""
    text = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**9, sort_keys=False)
    return text.removesuffix("\n").removesuffix("...").rstrip("\n")


def _task(signature: ModelSignature | None) -> tuple[str, str]:
    kinds = {column.type.lower() for column in signature.outputs} if signature else set[str]()
    if kinds and kinds <= _TEXT_TYPES:
        return "classification", f"from the signature: the output is {', '.join(sorted(kinds))}"
    if kinds and kinds <= _REAL_TYPES:
        return "regression", (
            "a guess from the signature's real-valued output: check, it may be a probability, or a score (ranking, with data.group)"
        )
    # Whole numbers are class codes as often as counts; a wrong guess would choose the wrong metrics.
    return PLACEHOLDER, "classification, regression or ranking (with data.group): the registry does not tell"
