# pyright: basic
"""Which files is a data source, and of which kind?"""

import glob
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from tools.errors import BadInput
from tools.masking import masked

FileKind = Literal["parquet", "csv"]


class NotThere(BadInput):
    """The source does not exist, or not yet."""


_ENDINGS: dict[FileKind, tuple[str, ...]] = {
    "parquet": (".parquet", ".pq", ".parq"),
    "csv": (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst"),
}


def find_files(root: Path, source: str) -> tuple[list[Path], FileKind]:
    """The files of a source, sorted, all of one kind. Folders are searched to the bottom; hidden files and those that
    begin with an underscore are passed over, as other engines do.

    Raises:
        BadInput: nothing there (near names are told), not Parquet or CSV, both at once, or only empty files.
    """
    if "://" in source:
        raise _refused(
            source,
            "is an address; only files are read",
            "name a Parquet or CSV file, folder or glob, postgresql://…#SCHEMA.TABLE, or spark:TABLE",
        )
    path = root / source
    if path.is_file():
        found = [path]
    elif path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and _shown(file.relative_to(path)))
    else:
        found = sorted(root / name for name in glob.glob(source, root_dir=root, recursive=True))
        found = [file for file in found if file.is_file()]
    if not found and path.is_dir():
        raise _refused(source, "holds no file", "put a Parquet or CSV file there, or mend data.source", NotThere)
    if not found:
        raise _refused(source, "does not exist", _near(path), NotThere)
    kinds: set[FileKind] = {kind for file in found if (kind := kind_of(file)) is not None}
    known = [file for file in found if kind_of(file) is not None]
    if not kinds:
        raise _refused(source, f"is neither Parquet nor CSV ({found[0].name})", "convert it, or mend data.source")
    if len(kinds) == 2:
        raise _refused(source, "holds both Parquet and CSV files", "name one kind, e.g. FOLDER/*.parquet")
    if not any(file.stat().st_size for file in known):
        raise _refused(source, "is empty (0 bytes)", "write it again", NotThere)
    return known, kinds.pop()


def kind_of(file: Path) -> FileKind | None:
    """By the name's ending; a file without a known one is Parquet if it begins like that."""
    name = file.name.lower()
    for kind, endings in _ENDINGS.items():
        if name.endswith(endings):
            return kind
    with file.open("rb") as content:
        return "parquet" if content.read(4) == b"PAR1" else None


def closest(name: str, names: Iterable[str]) -> str:
    """`did you mean …?`, or nothing."""
    near = get_close_matches(name, list(names), n=3)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else ""


def _shown(relative: Path) -> bool:
    return not any(part.startswith((".", "_")) for part in relative.parts)


def _near(path: Path) -> str:
    beside = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
    return closest(path.name, beside) or "name a Parquet or CSV file, folder or glob, relative to the workspace"


def _refused(source: str, what: str, remedy: str, kind: type[BadInput] = BadInput) -> BadInput:
    shown = masked(source)
    return kind(f"data source {shown} {what}", thing="data.source", value=shown, remedy=remedy)
