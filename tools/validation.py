"""May these rows train and judge a model? The table of contents, and how findings become a verdict.

- `validation_columns`: values of bounded samples against the champion's training rows;
- `validation_counts`: the whole window, counted exactly: infinities, nulls, undated rows, freshness, duplicates;
- `validation_types`: types against the champion's signature;
- `schema_rules`: the Pandera schema that `retrain validation init` drafted;
- `leakage`: features that give the target away; `time_leakage`: what was known too late;
- `contamination`: holdout rows that a model was trained on; `skew`: rows as served against rows as stored;
- `label_noise`: how many labels seem wrong.

A failure that blocks refuses the data; a blocking check that could not be done asks a person; warnings are told. Without a
reference the comparing checks are `could_not_check` as warnings: there is nothing to protect yet.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from tools import validation_columns as columns_of
from tools.contracts.evidence import Check, ValidationReport
from tools.contracts.profile import DataSpec, Task, ValidationSpec
from tools.contracts.profiling import DataProfile
from tools.contracts.training import ModelSignature
from tools.validation_types import type_checks


def validate(
    *,
    reference: DataProfile | None,
    window: DataProfile,
    holdout: DataProfile,
    spec: ValidationSpec,
    data: DataSpec,
    task: Task,
    labelled_rows: int,
    signature: ModelSignature | None = None,
    columns: Mapping[str, str],
) -> ValidationReport:
    """The checks on profiles alone, as one report. See `profile_checks`."""
    return report(
        profile_checks(
            reference=reference,
            window=window,
            holdout=holdout,
            spec=spec,
            data=data,
            task=task,
            labelled_rows=labelled_rows,
            signature=signature,
            columns=columns,
        )
    )


def profile_checks(
    *,
    reference: DataProfile | None,
    window: DataProfile,
    holdout: DataProfile,
    spec: ValidationSpec,
    data: DataSpec,
    task: Task,
    labelled_rows: int,
    signature: ModelSignature | None = None,
    columns: Mapping[str, str],
) -> tuple[Check, ...]:
    """Schema, volume, duplicates, labels and columns.

    Args:
        reference: the champion's training rows; None where nothing is on record.
        window: the window's rows (a bounded sample).
        holdout: the rows that will judge.
        labelled_rows: rows that would train.
        signature: the champion's input columns.
        columns: the source's columns and types, as they are now.
    """
    checks = [
        *_schema(data, columns, signature),
        *_volume(spec, window, labelled_rows),
        *_duplicates(spec, window),
        *columns_of.labels(data, task, holdout),
        *columns_of.label_change(data, task, reference, window, spec, "window"),
        *columns_of.label_change(data, task, reference, holdout, spec, "holdout"),
    ]
    for name in data.features:
        checks += columns_of.column(name, reference, window, spec, "window")
        checks += columns_of.column(name, reference, holdout, spec, "holdout")
    return unique(checks)


def missing_columns(data: DataSpec, columns: Mapping[str, str]) -> ValidationReport | None:
    """The report of a source that lacks a declared column: nothing else can be looked at. None where all are there."""
    checks = tuple(_schema(data, columns, None))
    return report(checks) if any(check.result == "fail" for check in checks) else None


def validate_signature(signature: ModelSignature, columns: Mapping[str, str]) -> tuple[Check, ...]:
    """Are the columns that the model asks for in the source?"""
    return tuple(
        Check(
            name="schema",
            subject=column.name,
            result="pass" if column.name in columns or not column.required else "fail",
            statement=f"{column.name}, an input of the champion ({column.type}), is "
            + ("in the source." if column.name in columns else "not in the source."),
        )
        for column in signature.inputs
    )


def could_not_check(name: str, why: str, severity: Literal["block", "warn"], subject: str = "data set") -> Check:
    """A check that was not done, and why."""
    return Check(name=name, subject=subject, result="could_not_check", severity=severity, statement=why)


def unique(checks: Iterable[Check]) -> tuple[Check, ...]:
    """One check a name and subject: the worst of those that share them."""
    ranks: dict[str, int] = {"fail": 0, "could_not_check": 1, "pass": 2}

    def rank(check: Check) -> tuple[int, bool]:
        return ranks[check.result], check.severity != "block"

    kept: dict[tuple[str, str], Check] = {}
    for check in checks:
        key = (check.name, check.subject)
        if key not in kept or rank(check) < rank(kept[key]):
            kept[key] = check
    return tuple(kept.values())


def report(checks: tuple[Check, ...]) -> ValidationReport:
    """Blocking failures refuse; blocking checks that were not done ask a person; all else passes."""
    failed = [check for check in checks if check.result == "fail" and check.severity == "block"]
    unknown = [check for check in checks if check.result == "could_not_check" and check.severity == "block"]
    verdict: Literal["pass", "fail", "could_not_check"] = "fail" if failed else "could_not_check" if unknown else "pass"
    statement = (
        " ".join(check.statement for check in failed[:5])
        if failed
        else "Some checks could not be done: " + " ".join(check.statement for check in unknown[:5])
        if unknown
        else f"{len(checks)} checks, none of them blocks."
    )
    return ValidationReport(verdict=verdict, checks=checks, statement=statement)


def _schema(data: DataSpec, columns: Mapping[str, str], signature: ModelSignature | None) -> Iterator[Check]:
    for name in (*data.features, data.target, data.event_time, *([] if data.group is None else [data.group])):
        there = name in columns
        yield Check(
            name="schema",
            subject=name,
            result="pass" if there else "fail",
            statement=f"{name} is {columns[name]}."
            if there
            else f"{name} is gone; the source has {', '.join(sorted(columns))}.",
        )
    if signature is not None:
        yield from (check for check in validate_signature(signature, columns) if check.result == "fail")
        yield from type_checks(signature, columns)


def _volume(spec: ValidationSpec, window: DataProfile, labelled: int) -> Iterator[Check]:
    enough = labelled >= spec.min_rows
    yield Check(
        name="volume",
        result="pass" if enough else "fail",
        value=float(labelled),
        threshold=float(spec.min_rows),
        n=window.rows,
        counts={"labelled": labelled},
        statement=f"{labelled:,} labelled rows would train; at least {spec.min_rows:,} are asked.",
    )


def _duplicates(spec: ValidationSpec, window: DataProfile) -> Iterator[Check]:
    share = window.duplicate_share
    if share is None:
        why = "Rows have no key to tell duplicates by."
        yield could_not_check("duplicates", why, "warn")
        return
    yield Check(
        name="duplicates",
        result="pass" if share <= spec.max_duplicates else "fail",
        value=share,
        threshold=spec.max_duplicates,
        n=window.rows,
        counts={"rows": window.rows, "repeated": round(share * window.rows)},
        statement=f"{share:.2%} of the rows repeat another row's key; up to {spec.max_duplicates:.2%} is accepted.",
    )
