"""Which rows does this run look at, and may they train and judge a model?"""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from agent.deps import Deps
from agent.services.champion import find_champion
from agent.services.validation_report import check
from agent.state import Run
from tools import validation, windows
from tools.contracts.evidence import DatasetRef, Fold, PreparedData, ValidationReport
from tools.contracts.profile import DataSpec
from tools.contracts.request import RunOrder
from tools.errors import BadInput

RECENT_ROWS = 200_000
"""Rows of the window that validation looks at; a larger window is sampled evenly."""
ALL_ROWS = 10**12
"""No sample: whether a group reaches beyond a cut is known from all its rows."""


def validate(deps: Deps, run: Run) -> dict[str, Any]:
    """Writes the folds' data sets and the recent window once, and checks them against the champion's training rows."""
    gone = validation.missing_columns(run.profile.data, deps.data.columns(run.profile.data))
    if gone is not None:
        deps.progress("data validation: fail")
        return {"validation": gone.to_state()}
    data = prepare(deps, run)
    report = check(deps, run, data)
    deps.progress(f"data validation: {report.verdict}")
    return {"data": data.to_state(), "validation": report.to_state()}


def prepare(deps: Deps, run: Run) -> PreparedData:
    """The data sets of the run, on disk. No training row is later than its holdout's start, nor is its label.

    Raises:
        BadInput: the window or strategy is unreadable, or has no labelled rows.
    """
    deps.data.effort()
    profile, config, folder = run.profile, run.order.request.retraining_config, deps.run_dir(run.run_id)
    spec, as_of = profile.data, run.order.as_of
    window = windows.parse_window(config.data_window or profile.data_window, as_of)
    strategy = windows.parse_strategy(config.validation_strategy or profile.validation_strategy)
    labelled = deps.data.labelled_range(spec, window.start, window.end, as_of)
    if labelled is None:
        raise _no_rows(deps, spec, window, as_of)
    columns = _extra(deps, run)
    fixed = _fixed(deps, run, strategy, columns, folder)
    spans = windows.fold_boundaries(
        strategy,
        window,
        lambda share: deps.data.time_at_share(spec, window.start, window.end, as_of, share),
        labelled[1],
        fixed_start=None if fixed is None else fixed.start,
    )
    folds: list[Fold] = []
    late = 0
    for number, span in enumerate(spans, start=1):
        start = span.holdout_start
        training = deps.data.write_labelled(
            spec, span.train_start, start, start, folder / f"training-{number}.parquet", columns
        )
        holdout = fixed or deps.data.write_labelled(
            spec, start, span.holdout_end, as_of, folder / f"holdout-{number}.parquet", columns
        )
        if spec.group is not None and holdout.rows:
            outside = _outside(deps, spec, span, as_of, folder / f"outside-{number}")
            holdout = _whole_groups(holdout, outside, spec, spec.group)
        if training.rows == 0 or holdout.rows == 0:
            empty = "training set" if training.rows == 0 else "holdout"
            raise BadInput(
                f"the {empty} of fold {number} has no labelled rows (holdout starts {start:%Y-%m-%d %H:%M} UTC)",
                thing="validationStrategy",
                value=config.validation_strategy or profile.validation_strategy,
                remedy="take a longer dataWindow or a shorter holdout",
            )
        late = deps.data.count(spec, span.train_start, start, as_of)[1] - training.rows
        folds.append(Fold(training=training, holdout=holdout, holdout_start=start))
    rows, with_label = deps.data.count(spec, window.start, window.end, as_of)
    recent = deps.data.write_window(
        spec, window.start, window.end, folder / "window.parquet", RECENT_ROWS, known_by=as_of
    )
    return PreparedData(
        folds=tuple(folds),
        recent=recent,
        unlabelled=rows - with_label,
        late_labels=max(late, 0),
        effort=deps.data.effort(),
    )


def examine(deps: Deps, order: RunOrder) -> ValidationReport:
    """All of validation without a run: nothing is trained, recorded or moved."""
    profile = deps.load_profile(order.request.model_id)
    run = Run(f"validation-{deps.new_id()}", order, profile, "", find_champion(deps, profile))
    return ValidationReport.model_validate(validate(deps, run)["validation"])


def _outside(deps: Deps, spec: DataSpec, span: windows.FoldSpan, as_of: datetime, folder: Path) -> list[str]:
    """Every row before a holdout, and behind it up to as-of, labelled or not: files of the group column and little else."""
    slim = spec.model_copy(update={"features": (), "key": (), "label_time": None})
    reach = [("before", span.train_start, span.holdout_start), ("behind", span.holdout_end, as_of)]
    return [
        deps.data.write_window(slim, start, end, folder / f"{name}.parquet", ALL_ROWS).path
        for name, start, end in (reach[:1] if span.fixed_path is not None else reach)
    ]


def _whole_groups(holdout: DatasetRef, outside: Sequence[str], spec: DataSpec, group: str) -> DatasetRef:
    """A ranking's holdout without the groups that the cut tore.

    Raises:
        BadInput: nothing is left, since every group has rows outside of the holdout, or no row names one.
    """
    from tools.adapters import group_rows

    whole = group_rows.keep_whole(holdout, outside, group=group, target=spec.target, event_time=spec.event_time)
    if whole.rows == 0 and whole.groups is not None:
        left_out = whole.groups
        raise BadInput(
            f"no whole group is left in the holdout: {left_out.torn:,} groups have rows outside of it too, and "
            f"{left_out.rows_without_group:,} rows have no {group}",
            thing="data.group",
            value=group,
            remedy="name a column whose values stand for one query or session each, not for a user or a text that comes again",
        )
    return whole


def _extra(deps: Deps, run: Run) -> tuple[str, ...]:
    """Slice columns that are not features are carried along, for the comparison only."""
    own = {*run.profile.data.features, *run.profile.data.key, run.profile.data.event_time, run.profile.data.target}
    return tuple(name for name in run.profile.metrics.columns if name not in own)


def _fixed(deps: Deps, run: Run, strategy: Any, columns: tuple[str, ...], folder: Path) -> DatasetRef | None:
    """The holdout of a `fixed:FILE` strategy: every labelled row of that file up to as-of."""
    if not isinstance(strategy, windows.Fixed):
        return None
    spec = run.profile.data.model_copy(update={"source": str(strategy.path)})
    return deps.data.write_labelled(
        spec, None, run.order.as_of, run.order.as_of, folder / "holdout-fixed.parquet", columns
    )


def _no_rows(deps: Deps, spec: DataSpec, window: Any, as_of: datetime) -> BadInput:
    reach = deps.data.time_range(spec, datetime.max.replace(tzinfo=as_of.tzinfo))
    there = (
        "the source has no rows at all"
        if reach is None
        else f"the source reaches from {reach[0]:%Y-%m-%d} to {reach[1]:%Y-%m-%d}"
    )
    start = "the beginning" if window.start is None else f"{window.start:%Y-%m-%d %H:%M}"
    return BadInput(
        f"no labelled rows from {start} to {window.end:%Y-%m-%d %H:%M} UTC in {spec.source}; {there}",
        thing="dataWindow",
        value=f"{start}/{window.end:%Y-%m-%d}",
        remedy="name the 'now' of these data with --as-of (asOf), or take another dataWindow",
    )
