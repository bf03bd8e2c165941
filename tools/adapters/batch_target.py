# pyright: basic
"""A target without traffic: partitions of the data are scored, by the version whose turn they are into the output, and by a
candidate into a shadow that nobody reads.

Partitions that are due are scored by each look and by `score_due`; both may run at once, one of them does the work. What the
output says of itself is the proof of what serves: nothing is believed because it was asked for.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from tools import batch
from tools.adapters.alias_target import whole_weight
from tools.adapters.batch_log import BatchLog
from tools.adapters.batch_rows import prediction_rows
from tools.adapters.batch_schedule import ScheduleFile
from tools.adapters.batch_tables import partition_table
from tools.adapters.command_target import command_environment, run_command
from tools.adapters.plain_target import NothingToLoad
from tools.batch import Due, Fault, Schedule, Written
from tools.contracts.peers import DeploymentReply, DeploymentRequest
from tools.contracts.profile import BatchTarget, Profile
from tools.contracts.training import ScoringJob, ScoringResult
from tools.errors import BadInput, Unavailable
from tools.ports import Clock, DataSource, Scorer

ALL_ROWS = 2_000_000_000
A_LOOK = 8
"""Partitions that one look scores at most; the rest waits for the next."""
_ITS_OWN = ("timed_out", "out_of_memory", "environment_does_not_fit", "digest_differs")


class Scored(NamedTuple):
    """What one round did."""

    done: tuple[Due, ...]
    faults: tuple[tuple[Due, str], ...]
    """Partitions that a version could not score, and why."""
    busy: bool = False
    """Another process was at it."""


class BatchTargetAdapter(NothingToLoad):
    """Port `DeploymentTarget` over partitions.

    Args:
        profile: Of the model; its target is of kind `batch`.
        data: Where the rows come from.
        scorer: What predicts, in a subprocess.
        root: Relative folders start here, and the rescoring command runs here.
        work_dir: Where the schedule is kept.
        clock: Tells which partitions are over.
        environ: Where `${NAME}` in a source is looked up.
        digest_of: The recorded digest of a version's files, None where there is none: altered files are not run.
    """

    can_split = False
    can_prove = True
    can_mirror = True

    def __init__(
        self,
        profile: Profile,
        *,
        data: DataSource,
        scorer: Scorer,
        root: Path,
        work_dir: Path,
        clock: Clock,
        environ: Mapping[str, str] | None = None,
        digest_of: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        spec = profile.target
        if not isinstance(spec, BatchTarget):
            raise BadInput("the profile's target is no batch target", thing="target.kind", value=spec.kind)
        if not profile.data.key:
            raise BadInput(
                "a batch target needs data.key: its columns tell which prediction is of which row",
                thing="data.key",
                remedy="name the columns that identify a row",
            )
        self._profile, self._spec, self._data, self._scorer = profile, spec, data, scorer
        self._root, self._clock, self._digest_of = root, clock, digest_of
        self._folder = work_dir / "batch" / quote(profile.id, safe=" ").replace(".", "%2E")
        self._file = ScheduleFile(self._folder)
        given = dict(environ or {})
        self._output = partition_table(spec.output, root, given, by_version=False)
        self._shadow = partition_table(spec.shadow, root, given, by_version=True)
        self._log = BatchLog(profile, spec, data, root, given)

    @property
    def abilities(self) -> "BatchTargetAdapter":
        """Whole versions only; a shadow beside them; the output proves."""
        return self

    @property
    def log(self) -> BatchLog:
        """Both tables, with the labels that the data's own rows got since."""
        return self._log

    def apply(self, request: DeploymentRequest) -> DeploymentReply:
        """At 100 the version writes from the next partition on; at 0 another does, and a mirror makes it the shadow.

        Raises:
            BadInput: A split was asked for.
            Unavailable: Rows, tables or the schedule cannot be reached.
        """
        weight, version = whole_weight(request, "batch"), request.model_artifact.version
        mirror = 0 if request.traffic_config is None else request.traffic_config.mirror_percent or 0
        newest, now = self._newest(), self._clock()
        output = self._output.written()
        length = self._spec.partition
        begin = batch.boundary(newest, output, now, length)
        latest = max((each.start for each in output), default=None)
        beside = begin if newest is None else batch.last_closed(newest, now, length)

        def moved(schedule: Schedule) -> Schedule:
            schedule = self._begun(schedule, request.previous_version if weight < 100 else None)
            if weight == 100:
                return batch.promoted(self._begun(schedule, request.previous_version), version, begin)
            if batch.writer(schedule) == version and request.previous_version is not None:
                schedule = batch.gone_back(schedule, request.previous_version)
            if mirror:
                return batch.shadowed(schedule, version, beside if latest is None else latest + length)
            return batch.unread(schedule, version)

        after = self._file.change(moved)
        if weight == 0:
            self._mend(request, after)
        return self.status(request)

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """What the output says, after what is due has been scored."""
        self.score_due(limit=A_LOOK, wait=False)
        schedule, output, shadow = self._file.read(), self._output.written(), self._shadow.written()
        version = request.model_artifact.version
        beside = schedule.shadow is not None and schedule.shadow.version == version
        return DeploymentReply(
            deployment_config={"strategy": {"type": "batch"}},
            traffic_config=request.traffic_config,
            monitoring=_monitoring(schedule, output, version),
            observed_weights=batch.served(schedule, output),
            observed_mirror=100 if beside else 0,
            healthy=batch.health(
                schedule,
                version,
                output=output,
                shadow=shadow,
                partitions=self._spec.partitions,
                now=self._clock(),
                length=self._spec.partition,
            ),
        )

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """The version writes again; what another wrote in its place is scored anew, by the profile's command or here.

        Raises:
            Unavailable: The command failed, or a partition could not be written; asked again, only the rest is done.
        """
        version = request.model_artifact.version
        after = self._file.change(lambda schedule: batch.gone_back(schedule, version))
        self._mend(request, after)
        return self.status(request)

    def begin(self, version: str) -> None:
        """The version writes, where nobody does yet."""
        self._file.change(lambda schedule: self._begun(schedule, version))

    def writer(self) -> str | None:
        """The version that writes from now on."""
        return batch.writer(self._file.read())

    def score_due(self, *, until: datetime | None = None, limit: int | None = None, wait: bool = True) -> Scored:
        """Scores what is due. A version that cannot score a partition is remembered; the next round tries again.

        Args:
            until: As of when; now where absent.
            limit: Partitions at most.
            wait: Whether to wait for another process that is at it.

        Raises:
            Unavailable: Rows or tables cannot be reached, or scoring failed by no fault of the version.
        """
        with self._file.scoring(wait=wait) as mine:
            if not mine:
                return Scored((), (), busy=True)
            now = self._clock() if until is None else until
            done: list[Due] = []
            faults: list[tuple[Due, str]] = []
            failed: set[str] = set()
            for each in self._due(now)[:limit]:
                if each.version in failed:
                    continue
                fault = self._score(each)
                if fault is None:
                    done.append(each)
                else:
                    failed.add(each.version)
                    faults.append((each, fault))
            return Scored(tuple(done), tuple(faults))

    # --- what is due ---------------------------------------------------------------------------------------------

    def _newest(self, now: datetime | None = None) -> datetime | None:
        found = self._data.time_range(self._profile.data, self._clock() if now is None else now)
        return None if found is None else found[1]

    def _due(self, now: datetime) -> tuple[Due, ...]:
        newest, schedule = self._newest(now), self._file.read()
        output, shadow = self._output.written(), self._shadow.written()
        found = batch.due(
            schedule,
            output=output,
            shadow=shadow,
            closed=None if newest is None else batch.last_closed(newest, now, self._spec.partition),
            length=self._spec.partition,
            late=self._late(output),
        )
        # What a bad version wrote is the rescoring command's, where there is one.
        return tuple(each for each in found if not (each.why == "wrong_version" and self._spec.rescore))

    def _late(self, output: Sequence[Written]) -> list[datetime]:
        """The newest partitions are looked at again: rows arrive late."""
        newest = sorted(output, key=lambda each: each.start)[-self._spec.partitions :]
        return [each.start for each in newest if self._rows(each.start) > each.rows]

    def _rows(self, start: datetime) -> int:
        return self._data.count(self._profile.data, start, start + self._spec.partition, start)[0]

    def _begun(self, schedule: Schedule, version: str | None) -> Schedule:
        if schedule.turns or version is None:
            return schedule
        return batch.promoted(schedule, version, batch.floor(self._clock(), self._spec.partition))

    # --- scoring -------------------------------------------------------------------------------------------------

    def _score(self, due: Due) -> str | None:
        """None where the partition stands in its table now, or has no rows; else why the version could not."""
        profile, spec = self._profile, self._spec
        end = due.start + spec.partition
        with tempfile.TemporaryDirectory(prefix="retraining-batch-") as name:
            rows, out = Path(name) / "rows.parquet", Path(name) / "predictions.parquet"
            try:
                found = self._data.write_window(profile.data, due.start, end, rows, ALL_ROWS)
                if found.rows == 0:
                    return None
                result = self._scorer.score(
                    ScoringJob(
                        model_uri=f"models:/{profile.registered_model}/{due.version}",
                        rows=str(rows),
                        features=profile.data.features,
                        output=str(out),
                        task=profile.task,
                        time_limit=spec.time_limit,
                        memory_limit_mb=profile.scoring.memory_limit_mb,
                        environment=profile.scoring.environment,
                        expected_digest=self._digest_of(due.version),
                    )
                )
                fault = self._fault(result, found.rows)
                if fault is None:
                    made = prediction_rows(
                        profile, rows, out, version=due.version, start=due.start, at=self._clock(), mirrored=due.shadow
                    )
            except OSError as error:
                raise Unavailable(
                    f"partition {due.start.isoformat()} could not be scored: {error}",
                    thing="target",
                    value=name,
                    remedy="make room on the disk; nothing was written",
                ) from error
        if fault is not None:
            told = f"Version {due.version} could not score partition {due.start.isoformat()}: {fault}"
            self._remember(due.version, Fault(start=due.start, statement=told))
            return told
        self._publish(due, made)
        self._remember(due.version, None)
        return None

    def _fault(self, result: ScoringResult, rows: int) -> str | None:
        """What is to be held against the version. Raises `Unavailable` for what is not its own."""
        if result.status == "scored":
            return None if result.rows == rows else f"it gave {result.rows:,} predictions for {rows:,} rows"
        if result.by_model or result.status in _ITS_OWN:
            return result.statement
        raise Unavailable(result.statement, thing="scoring", remedy="the next look tries again")

    def _publish(self, due: Due, made: Any) -> None:
        """Unless it became another version's turn meanwhile."""
        with self._file.held():
            now = self._file.read()
            beside = now.shadow is not None and now.shadow.version == due.version
            if due.shadow and beside:
                self._shadow.write(due.start, due.version, made)
            elif not due.shadow and batch.writer_of(now, due.start) == due.version:
                self._output.write(due.start, due.version, made)

    def _remember(self, version: str, fault: Fault | None) -> None:
        def told(schedule: Schedule) -> Schedule:
            others = {name: each for name, each in schedule.faults.items() if name != version}
            return schedule.model_copy(update={"faults": others if fault is None else others | {version: fault}})

        self._file.change(told)

    # --- going back ----------------------------------------------------------------------------------------------

    def _mend(self, request: DeploymentRequest, schedule: Schedule) -> None:
        """Scores anew what another version wrote than the one whose turn it was."""
        bad = batch.wrong(schedule, self._output.written())
        if not bad:
            return
        if not self._spec.rescore:
            with self._file.scoring(wait=True):
                for each in bad:
                    right = batch.writer_of(self._file.read(), each.start)
                    fault = None if right is None else self._score(Due(each.start, right, "wrong_version"))
                    if fault is not None:
                        raise Unavailable(fault, thing="target", remedy="asked again, only the rest is scored")
            return
        order = rescoring_order(self._profile, self._spec, schedule, bad, request.idempotency_key)
        key = str(order["idempotencyKey"])
        if key in schedule.rescored:
            return
        environment = command_environment(os.environ, "rescore", request, None)
        environment["RETRAINING_IDEMPOTENCY_KEY"] = key
        run_command(
            "rescore",
            self._spec.rescore,
            cwd=self._root,
            environment=environment,
            content=json.dumps(order).encode(),
            seconds=self._spec.time_limit.total_seconds(),
        )
        self._file.change(lambda now: now.model_copy(update={"rescored": (*now.rescored[-99:], key)}))


def rescoring_order(
    profile: Profile, spec: BatchTarget, schedule: Schedule, bad: Sequence[Written], key: str | None
) -> dict[str, Any]:
    """What the rescoring command gets on standard input. The same partitions under the same key have the same key here."""
    partitions = [
        {
            "start": each.start.isoformat(),
            "end": (each.start + spec.partition).isoformat(),
            "badVersion": each.version,
            "version": batch.writer_of(schedule, each.start),
            "rows": each.rows,
        }
        for each in bad
    ]
    listed = hashlib.sha256(json.dumps(partitions, sort_keys=True).encode()).hexdigest()[:16]
    return {
        "registeredModel": profile.registered_model,
        "output": spec.output,
        "partitions": partitions,
        "idempotencyKey": f"{key or 'rescore'}/{listed}",
    }


def _monitoring(schedule: Schedule, output: Sequence[Written], version: str) -> dict[str, Any]:
    """What people want to know, absent where there is nothing to tell."""
    told: dict[str, Any] = {}
    if version in schedule.faults:
        told["fault"] = schedule.faults[version].statement
    bad = batch.wrong(schedule, output)
    if bad:
        told["toRescore"] = [each.start.isoformat() for each in bad]
    return told
