# pyright: basic
"""The groups of a ranking in files: a holdout with whole groups only, and what its groups are like."""

from pathlib import Path
from typing import Any

from tools.adapters.row_digest import ROW_HASH, set_digest
from tools.contracts.evidence import DatasetRef, HoldoutGroups


def keep_whole(holdout: DatasetRef, training: DatasetRef, *, group: str, target: str, event_time: str) -> DatasetRef:
    """The holdout, in its file, without groups that have rows in the training set, and without rows of no group.

    What was left out, and what the others are like, stands in the reference's `groups`. The file is replaced whole or not at all;
    done again on what is left, nothing more is left out.
    """
    import pandas as pd

    rows: Any = pd.read_parquet(holdout.path)
    lone = rows[group].isna()
    trained = pd.read_parquet(training.path, columns=[group])[group].dropna()
    torn = ~lone & rows[group].isin(trained.unique())
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

    relevance: Any = pd.to_numeric(rows[target], errors="coerce").astype(float)
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
