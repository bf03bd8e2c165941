# pyright: basic
"""The groups of a ranking in files: a holdout with whole groups only, and what its groups are like."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tools.adapters.row_digest import ROW_HASH, set_digest
from tools.contracts.evidence import DatasetRef, HoldoutGroups

GROUP_HASH = "__group_hash"
"""Column that a sample of whole groups is drawn by; in no file that is kept."""


def without_last_group(path: Path) -> None:
    """See `whole_groups`, in a file."""
    import pyarrow.parquet as pq

    part = path.with_name(path.name + ".part")
    pq.write_table(whole_groups(pq.read_table(path)), part)
    part.replace(path)


def whole_groups(rows: Any) -> Any:
    """Rows with the smallest group hashes, without the largest hash's: its group may have been cut off. One group alone stays."""
    from pyarrow.compute import field

    hashes = rows[GROUP_HASH].to_pylist()
    kept = rows.filter(field(GROUP_HASH) != max(hashes)) if len(set(hashes)) > 1 else rows
    return kept.drop_columns([GROUP_HASH])


def keep_whole(holdout: DatasetRef, outside: Sequence[str], *, group: str, target: str, event_time: str) -> DatasetRef:
    """The holdout, in its file, without groups that have rows outside of it, and without rows of no group.

    What was left out, and what the others are like, stands in the reference's `groups`. The file is replaced whole or not at all;
    done again on what is left, nothing more is left out.

    Args:
        holdout: as cut by time.
        outside: files of the rows before and behind it.
        group: column of the groups.
        target: column of the relevances.
        event_time: column of the times.
    """
    import pandas as pd

    rows: Any = pd.read_parquet(holdout.path)
    lone = rows[group].isna()
    others = [pd.read_parquet(path, columns=[group])[group].dropna().unique() for path in outside]
    torn = ~lone & rows[group].isin([name for names in others for name in names.tolist()])
    kept = rows[~(lone | torn)]
    if len(kept) < len(rows):
        path = Path(holdout.path)
        part = path.with_name(path.name + ".part")
        kept.to_parquet(part, index=False)
        part.replace(path)
    times = pd.to_datetime(kept[event_time], utc=True)
    return holdout.model_copy(
        update={
            "rows": len(kept),
            "digest": set_digest(sorted(kept[ROW_HASH])) if len(kept) < len(rows) else holdout.digest,
            "start": times.min().to_pydatetime() if len(kept) else None,
            "end": times.max().to_pydatetime() if len(kept) else None,
            "groups": _groups(kept, group, target).model_copy(
                update={
                    "rows_without_group": int(lone.sum()),
                    "torn": int(rows.loc[torn, group].nunique()),
                    "torn_rows": int(torn.sum()),
                }
            ),
        }
    )


def _groups(rows: Any, group: str, target: str) -> HoldoutGroups:
    import pandas as pd

    numbers: Any = pd.to_numeric(rows[target], errors="coerce")
    relevance = numbers.astype(float)
    each = relevance.groupby(rows[group].to_numpy())
    sizes, least, most = each.size(), each.min(), each.max()
    several = sizes > 1
    return HoldoutGroups(
        groups=len(sizes),
        telling=int((several & (most > least)).sum()),
        single=int((~several).sum()),
        irrelevant=int((several & (most == 0)).sum()),
        negative_rows=int((relevance < 0).sum()),
        not_numbers=int((relevance.isna() & rows[target].notna()).sum()) + int(relevance.isin([float("inf")]).sum()),
    )
