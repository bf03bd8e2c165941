"""What do all checks say of the rows that a run has prepared? Each for itself: one that fails to look loses no other.

Within the profile's budget of queries and seconds. A check that could not be done is `could_not_check`, blocking where a failure
of it would block for sure (schema, counts, time leakage, contamination's arithmetic), a warning where it is an estimate.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from agent.deps import Deps
from agent.services import lineage
from agent.state import Run
from tools import contamination, label_noise, leakage, schema_rules, skew, time_leakage, validation, windows
from tools.contracts.evidence import Check, Effort, PreparedData, ValidationReport
from tools.contracts.profile import DataSpec
from tools.contracts.profiling import DataProfile, SchemaRule
from tools.contracts.training import ModelSignature, ModelVersion
from tools.errors import RetrainingError
from tools.group_checks import group_checks
from tools.validation_counts import count_checks

LEAK_ROWS: Final = 3_000
NOISE_ROWS: Final = 3_000
CONTENT_ROWS: Final = 200_000
SKEW_ROWS: Final = 50_000
FEW_JUDGED: Final = 1_000
"""A smaller holdout is looked at for leaks together with the training rows before it."""
_END: Final = datetime(9999, 1, 1, tzinfo=UTC)

Section = Callable[[], Iterable[Check]]


def check(deps: Deps, run: Run, data: PreparedData) -> ValidationReport:
    """Validation of everything that a run looks at, against the champion's training rows."""
    folder = deps.run_dir(run.run_id) / "lineage-read"
    folder.mkdir(exist_ok=True, mode=0o700)
    look = _Look(deps, run, data, folder, _lineage_file(deps, run.champion, "reference", folder))
    limits = run.profile.validation
    sections: list[tuple[str, Literal["block", "warn"], Section]] = [
        ("values", "block", look.values),
        ("counted", "block", look.counts),
        ("groups", "block", look.groups),
        ("pandera", "block", look.schema_file),
        ("duplicates", "warn", look.duplicates),
        ("time_leakage", "block", look.folds_in_time),
        ("time_leakage", "block", look.known_later),
        ("contamination", "block", look.overlap),
        ("contamination", "warn", look.content),
        ("target_leakage", "warn", look.leaks),
        ("label_noise", "warn", look.noise),
        ("skew", "warn", look.skew),
    ]
    found: list[Check] = []
    deps.data.effort()
    with deps.data.budget(queries=limits.max_queries, seconds=limits.max_seconds):
        for name, severity, section in sections:
            found += _guarded(deps, name, severity, section)
    return validation.report(validation.unique(found))


def _guarded(deps: Deps, name: str, severity: Literal["block", "warn"], section: Section) -> list[Check]:
    """The section's checks with what they cost; what went wrong in it is a check that could not be done."""
    try:
        checks = list(section())
    except (RetrainingError, OSError, ValueError, TypeError, ArithmeticError, LookupError, MemoryError) as failure:
        why = failure.message if isinstance(failure, RetrainingError) else f"{type(failure).__name__}: {failure}"
        text = f"{name.replace('_', ' ').capitalize()} could not be checked: {why.splitlines()[0]}."
        checks = [validation.could_not_check(name, text, severity, subject="not done")]
    cost = deps.data.effort()
    if checks and cost != Effort():
        checks[0] = checks[0].model_copy(update={"effort": cost})
    return checks


@dataclass
class _Look:
    """The sections, over one run's data."""

    deps: Deps
    run: Run
    data: PreparedData
    folder: Path
    reference: Path | None

    def __post_init__(self) -> None:
        self.profile, self.spec = self.run.profile, self.run.profile.data
        config = self.run.order.request.retraining_config
        self.window = windows.parse_window(config.data_window or self.profile.data_window, self.run.order.as_of)
        self._reference_profile: DataProfile | None = None
        self._leaks: dict[str, leakage.Strength] = {}

    def values(self) -> Iterable[Check]:
        """Columns of bounded samples against the reference."""
        deps, holdout = self.deps, self.data.folds[-1].holdout
        return validation.profile_checks(
            reference=self._profiled(),
            window=deps.data.profile(Path(self.data.recent.path), self.spec),
            holdout=deps.data.profile(Path(holdout.path), self.spec),
            spec=self.profile.validation,
            data=self.spec,
            task=self.profile.task,
            labelled_rows=self.data.folds[-1].training.rows,
            signature=_signature(deps, self.run.champion),
            columns=deps.data.columns(self.spec),
        )

    def counts(self) -> Iterable[Check]:
        """The whole window, exactly."""
        columns = (*self.spec.features, self.spec.target)
        as_of = self.run.order.as_of
        return count_checks(
            summary=self.deps.data.summary(self.spec, self.window.start, self.window.end, as_of, columns),
            reference=self._profiled(),
            data=self.spec,
            spec=self.profile.validation,
            as_of=as_of,
            max_lag=self.profile.triggers.max_data_lag,
            sampled=self.data.recent.rows,
        )

    def groups(self) -> Iterator[Check]:
        """The groups of a ranking's holdouts."""
        several = len(self.data.folds) > 1
        for number, fold in enumerate(self.data.folds, start=1):
            found, group = fold.holdout.groups, self.spec.group
            if found is not None and group is not None:
                yield from group_checks(
                    fold=f"holdout {number}" if several else "holdout",
                    groups=found,
                    rows=fold.holdout.rows,
                    group=group,
                    target=self.spec.target,
                    spec=self.profile.validation,
                )

    def schema_file(self) -> Iterable[Check]:
        """The profile's Pandera schema over the whole window."""
        from tools.adapters.pandera_schema import read_rules

        file = self.profile.validation.schema_file
        if file is None:
            return ()
        rules = read_rules(self.deps.root / file)
        return schema_rules.rule_checks(
            self.deps.data.check_schema(self.spec, self.window.start, self.window.end, rules), file=file
        )

    def duplicates(self) -> Iterator[Check]:
        """Whole rows again under another key."""
        from tools.adapters import validation_rows

        if not self.spec.key:
            return
        content = _by_content(self.spec)
        path = self.folder.parent / "window-content.parquet"
        key = [name for name in self.spec.key if name not in content.key]
        self.deps.data.write_window(
            content, self.window.start, self.window.end, path, CONTENT_ROWS, extra_columns=tuple(key)
        )
        rows, repeated = validation_rows.repeated_rows(path, self.spec.key)
        usual = (None, None)
        if self.reference is not None:
            usual = validation_rows.repeated_in_reference(self.reference, self.spec)
        yield contamination.duplicate_check(
            rows=rows,
            repeated=repeated,
            reference_rows=usual[0],
            reference_repeated=usual[1],
            spec=self.profile.validation,
        )

    def folds_in_time(self) -> Iterator[Check]:
        """Training rows and their labels against the holdout's start; rows from the future."""
        from tools.adapters import validation_rows

        deps, spec = self.deps, self.spec
        for number, fold in enumerate(self.data.folds, start=1):
            start, training = fold.holdout_start, fold.training
            known = deps.data.count(spec, self.window.start, start, start)[1]
            late = training.end is not None and training.end >= start
            after = validation_rows.rows_from(training.path, spec.event_time, start) if late else 0
            yield from time_leakage.fold_checks(
                number=number,
                rows=training.rows,
                after_start=after,
                late_labels=max(training.rows - known - after, 0),
                start=start,
            )
        now = max(self.run.order.as_of, deps.clock())
        yield time_leakage.future_check(rows=deps.data.count(spec, now, _END, now)[0], now=now)

    def known_later(self) -> Iterator[Check]:
        """Features that became known, or lie, after the event."""
        types = self.deps.data.columns(self.spec)
        dated = [
            name for name in self.spec.features if types.get(name, "").lstrip("!").startswith(("timestamp", "date"))
        ]
        columns = tuple(dict.fromkeys((*self.spec.available_at.values(), *dated)))
        if not columns:
            return
        rules = [SchemaRule(column=name, check="not_after") for name in columns]
        counts = self.deps.data.check_schema(self.spec, self.window.start, self.window.end, rules)
        yield from time_leakage.later_than_event(
            {count.rule.column: count for count in counts}, declared=self.spec.available_at
        )

    def overlap(self) -> Iterator[Check]:
        """Every holdout against what the candidate and the champion were trained on."""
        judged, limits = self.run.order.kind == "judge", self.profile.validation
        candidate = self._judged_hashes() if judged else None
        champion = _lineage_file(self.deps, self.run.champion, "row_hashes", self.folder)
        for number, fold in enumerate(self.data.folds, start=1):
            holdout = Path(fold.holdout.path)
            for who, rows in (
                ("candidate", candidate if judged else Path(fold.training.path)),
                ("champion", champion),
            ):
                if who == "champion" and self.run.champion is None:
                    continue
                yield contamination.overlap_check(
                    who=who,
                    fold=number,
                    overlap=None if rows is None else self.deps.data.overlap(holdout, rows),
                    spec=limits,
                    why="its training rows are not on record",
                )

    def content(self) -> Iterator[Check]:
        """The last holdout against its training rows by what they say, whatever their keys."""
        from tools.adapters import validation_rows

        fold, number, spec = self.data.folds[-1], len(self.data.folds), _by_content(self.spec)
        start, end = fold.holdout_start, (fold.holdout.end or fold.holdout_start) + timedelta(microseconds=1)
        judged, trained = (self.folder.parent / f"{side}-content.parquet" for side in ("holdout", "training"))
        as_of = self.run.order.as_of
        kept = [
            self.deps.data.write_labelled(spec, self.window.start, start, start, trained, (), CONTENT_ROWS),
            self.deps.data.write_labelled(self._judging(spec), start, end, as_of, judged, (), CONTENT_ROWS),
        ]
        sampled = any(ref.sampled_from is not None for ref in kept)
        found = validation_rows.repeated_content(judged, trained, self.spec.event_time, sampled=sampled)
        yield contamination.content_check(
            fold=number,
            rows=found.rows,
            repeated=found.repeated,
            natural_rows=found.natural_rows,
            natural_repeated=found.natural_repeated,
            examples=found.examples,
        )

    def leaks(self) -> Iterator[Check]:
        """Features that give the target away, and those that wait for it."""
        from tools.adapters import validation_rows

        fold, limits = self.data.folds[-1], self.profile.validation
        files = [fold.holdout.path] if fold.holdout.rows >= FEW_JUDGED else [fold.training.path, fold.holdout.path]
        rows = validation_rows.labelled(files, self.spec, self.profile.task, LEAK_ROWS)
        now = leakage.strengths(rows, least=limits.leak_auc)
        near = [one.name for one in now.values() if one.own is not None]
        then = None
        if self.reference is not None and near:
            before = validation_rows.labelled([self.reference], self.spec, self.profile.task, LEAK_ROWS)
            then = leakage.strengths(before, least=1.0, also=near)
        yield from leakage.leak_checks(now=now, then=then, rows=len(rows), spec=limits)
        fresh = validation_rows.newest_without_label(self.data.recent.path, self.spec)
        yield from leakage.late_feature_checks(mature=fresh.mature, newest=fresh.newest, now=now, spec=limits)

    def noise(self) -> Iterator[Check]:
        """The estimate of wrong labels, on as many rows of the window as of the reference."""
        from tools.adapters import validation_rows

        fold, task = self.data.folds[-1], self.profile.task
        now = validation_rows.labelled([fold.training.path, fold.holdout.path], self.spec, task, NOISE_ROWS)
        then = None
        if self.reference is not None:
            before = validation_rows.labelled([self.reference], self.spec, task, NOISE_ROWS)
            rows = min(len(now), len(before))
            now, then = now.newest(rows), label_noise.estimate_noise(before.newest(rows))
        yield label_noise.noise_check(
            now=label_noise.estimate_noise(now) if then is not None or self.reference is None else None,
            then=then,
            target=self.spec.target,
            spec=self.profile.validation,
        )

    def skew(self) -> Iterable[Check]:
        """Rows as served against rows as stored, where serving was logged."""
        from tools.adapters import validation_rows

        log = self.spec.prediction_log
        if log is None:
            return ()
        if not self.spec.key:
            why = "The prediction log cannot be joined to the data: data.key is not declared."
            return (validation.could_not_check("skew", why, "warn", subject="prediction log"),)
        served = self.spec.model_copy(
            update={"source": log.source, "event_time": log.event_time or self.spec.event_time, "label_time": None}
        )
        gone = [name for name in self.spec.key if name not in self.deps.data.columns(served)]
        if gone:
            why = f"The prediction log has no column {', '.join(gone)}, which data.key names."
            return (validation.could_not_check("skew", why, "warn", subject="prediction log"),)
        paths = [self.folder.parent / f"{side}.parquet" for side in ("served", "stored")]
        refs = [  # samples of the same keys, not of groups
            self.deps.data.write_window(
                spec.model_copy(update={"group": None}), self.window.start, self.window.end, path, SKEW_ROWS
            )
            for spec, path in zip((served, self.spec), paths, strict=True)
        ]
        sampled = any(ref.sampled_from is not None for ref in refs)
        counts = validation_rows.skew(paths[0], paths[1], self.spec, sampled=sampled)
        return skew.skew_checks(counts, self.profile.validation)

    def _profiled(self) -> DataProfile | None:
        if self._reference_profile is None and self.reference is not None:
            self._reference_profile = self.deps.data.profile(self.reference, self.spec)
        return self._reference_profile

    def _judging(self, spec: DataSpec) -> DataSpec:
        """Where the holdout's rows come from: the data, or the file of a `fixed` strategy."""
        given = self.run.order.request.retraining_config.validation_strategy or self.profile.validation_strategy
        strategy = windows.parse_strategy(given)
        return spec.model_copy(update={"source": strategy.path}) if isinstance(strategy, windows.Fixed) else spec

    def _judged_hashes(self) -> Path | None:
        version = self.run.order.candidate_version
        if version is None:
            return None
        found = self.deps.registry.get_version(self.profile.registered_model, version)
        return _lineage_file(self.deps, found, "row_hashes", self.folder)


def _by_content(spec: DataSpec) -> DataSpec:
    """Rows known by features and target, whatever their time, key or group; samples hold the smallest hashes of these."""
    return spec.model_copy(update={"key": (*spec.features, spec.target), "group": None})


def _lineage_file(deps: Deps, version: ModelVersion | None, name: str, folder: Path) -> Path | None:
    """None where nothing is on record, or it cannot be read."""
    if version is None:
        return None
    try:
        return lineage.fetch(deps, version, name, folder)
    except RetrainingError as failure:
        deps.progress(f"{name} of version {version.version} cannot be read: {failure.message}")
        return None


def _signature(deps: Deps, champion: ModelVersion | None) -> ModelSignature | None:
    return None if champion is None else deps.registry.signature(champion.model_uri)
