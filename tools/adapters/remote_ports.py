# pyright: basic
"""The three peers where they answer elsewhere: our ports over `RemotePeer`.

A peer gets rows, not paths: the columns that it needs, as Parquet in the message. Only where the settings say that it sees the
same folders does it get their paths. A reply is read and checked by `tools.peer_replies`; a stranger's sentences stay outside.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from tools.adapters.remote_peer import RemotePeer
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.peers import (
    DeploymentReply,
    DeploymentRequest,
    DriftReply,
    DriftRequest,
    Envelope,
    EvaluationReply,
    EvaluationRequest,
)
from tools.errors import RetrainingError, Unavailable
from tools.peer_replies import deployment_fault, read, request_id, without_texts
from tools.ports import Clock, DeploymentTarget, NewId, TargetAbilities

ATTACHED: Final = "attached:"
"""In place of a path: the file of this name in the message."""
SENDER: Final = "retraining-orchestrator"

Reply = TypeVar("Reply", DriftReply, EvaluationReply, DeploymentReply)


def exchange(
    peer: RemotePeer,
    action: str,
    request: Envelope[Any],
    kind: type[Envelope[Reply]],
    files: Mapping[str, bytes],
    *,
    again: str | None = None,
) -> tuple[Envelope[Any], Envelope[Reply]]:
    """(the question as sent, the reply as read).

    Args:
        again: Makes the question another one each time, where its answer changes.

    Raises:
        Unavailable: No reply, or none that can be read.
    """
    content = request.to_json_dict()
    number = again or request_id(content, *files.values())
    sent = request.model_copy(update={"request_id": number})
    found = read(peer.ask(action, sent.to_json_dict(), files, number), kind)
    if isinstance(found, str):
        raise Unavailable(f"the {peer.role}'s reply cannot be used: {found}", thing=peer.role)
    if found.request_id is not None and found.request_id != number:
        raise Unavailable(f"the {peer.role} answered another request than this one", thing=peer.role)
    return sent, found


class RemoteDriftDetective:
    """Port `DriftDetective`. Windows are bounded and spread evenly, as in process."""

    def __init__(self, peer: RemotePeer) -> None:
        self._peer = peer

    def detect(self, request: Envelope[DriftRequest], report_folder: Path) -> Envelope[DriftReply]:
        """The reply without its sentences and its page, which lies on another machine."""
        config = request.payload.monitoring_config
        files: dict[str, bytes] = {}
        if not self._peer.spec.shared_files:
            from tools.adapters.drift_local import MAX_ROWS, wanted

            changes: dict[str, str] = {}
            for field in ("reference_data", "current_data_window", "baseline_data"):
                path = getattr(config, field)
                if path is not None:
                    name = f"{field}.parquet"
                    files[name] = _rows(self._peer, path, MAX_ROWS, lambda column: wanted(column, config))
                    changes[field] = ATTACHED + name
            payload = request.payload.model_copy(update={"monitoring_config": config.model_copy(update=changes)})
            request = request.model_copy(update={"payload": payload})
        _, reply = exchange(self._peer, "detect", request, Envelope[DriftReply], files)
        return _as_asked(reply, without_texts(reply.payload))


class RemoteModelEvaluator:
    """Port `ModelEvaluator`."""

    def __init__(self, peer: RemotePeer) -> None:
        self._peer = peer

    def evaluate(self, request: Envelope[EvaluationRequest]) -> Envelope[EvaluationReply]:
        """The reply as it came; what is used of it are numbers."""
        asked, files = request.payload, dict[str, bytes]()
        if not self._peer.spec.shared_files:
            config = asked.evaluation_config
            needed = {asked.target_column, asked.prediction_column, asked.group_column}
            needed |= {one.column for one in (*config.slices, *config.fairness)}
            files["rows.parquet"] = _rows(
                self._peer, asked.test_data_path, None, lambda name: name in needed or name.startswith("proba:")
            )
            payload = asked.model_copy(update={"test_data_path": f"{ATTACHED}rows.parquet"})
            request = request.model_copy(update={"payload": payload})
        _, reply = exchange(self._peer, "evaluate", request, Envelope[EvaluationReply], files)
        return _as_asked(reply, reply.payload)


class _Abilities:
    """A target's, less what only its own process can do."""

    def __init__(self, inner: TargetAbilities) -> None:
        self.can_split, self.can_prove, self.can_mirror = inner.can_split, inner.can_prove, inner.can_mirror
        self.can_load = False


class RemoteTarget:
    """Port `DeploymentTarget` at a deployment-engineer elsewhere. Never moves an alias: that stays with us.

    Args:
        inner: The profile's own target: what it can do, where it logs, and what it sees served. It is never told to do anything.
    """

    def __init__(self, peer: RemotePeer, model_id: str, inner: DeploymentTarget, clock: Clock, new_id: NewId) -> None:
        self._peer, self._model_id, self._inner = peer, model_id, inner
        self._clock, self._new_id = clock, new_id

    @property
    def abilities(self) -> TargetAbilities:
        """Whether it can split, mirror and prove is the profile's target's to say; it cannot be loaded into from here."""
        return _Abilities(self._inner.abilities)

    def apply(self, request: DeploymentRequest) -> DeploymentReply:
        """Asked again after a lost answer, the target does it once: both are told the same key."""
        return self._ask("apply", request)

    def status(self, request: DeploymentRequest) -> DeploymentReply:
        """What is served now. Where the endpoint can be seen from here too, the peer's word is held against it.

        Raises:
            Unavailable: no answer, or another one than the endpoint's own.
        """
        told, ours = self._ask("status", request), self._seen(request)
        seen = ours.observed_weights
        if seen and told.observed_weights is not None and told.observed_weights != seen:
            raise Unavailable(
                f"the {self._peer.role} says that {_shares(told.observed_weights)} is served, the endpoint itself reports "
                f"{_shares(seen)}: neither is believed",
                thing=self._peer.role,
                remedy="look at the endpoint, and at who answers for the peer",
            )
        return told.model_copy(update={"healthy": False}) if ours.healthy is False else told

    def undo(self, request: DeploymentRequest) -> DeploymentReply:
        """All traffic to the version in `model_artifact`."""
        return self._ask("undo", request)

    def prepare(self, request: DeploymentRequest) -> None:
        """Nothing: whoever applies loads."""

    def ask(self, version: str, rows: Path) -> None:
        """It cannot be asked from here."""

    def release(self, version: str) -> None:
        """Nothing."""

    @property
    def log(self) -> Any:
        """The log that the profile's own target would keep."""
        return self._inner.log

    def _seen(self, request: DeploymentRequest) -> DeploymentReply:
        """What the profile's own target reports here; nothing, where what is served is out of its sight."""
        try:
            return self._inner.status(request)
        except RetrainingError:
            return DeploymentReply()

    def _ask(self, action: str, request: DeploymentRequest) -> DeploymentReply:
        sent_at = self._clock()
        asked = Envelope[DeploymentRequest](
            schema_version=SCHEMA_VERSION,
            run_id=(request.idempotency_key or action).partition("/")[0],
            model_id=self._model_id,
            model_version=request.model_artifact.version,
            sent_at=sent_at,
            sender=SENDER,
            payload=request,
        )
        # What is served changes: a repeated question wants a new answer. Effects are repeated safely by their own key.
        sent, reply = exchange(self._peer, action, asked, Envelope[DeploymentReply], {}, again=self._new_id())
        fault = deployment_fault(sent, reply, now=self._clock())
        if fault is not None:
            raise Unavailable(fault, thing=self._peer.role)
        return reply.payload


def _as_asked(reply: Envelope[Any], payload: Any) -> Envelope[Any]:
    """Held against its request already; the one who asked knows of no id."""
    return reply.model_copy(update={"payload": payload, "request_id": None})


def _shares(weights: Mapping[str, int]) -> str:
    return ", ".join(f"version {version} at {percent} %" for version, percent in sorted(weights.items()))


def _rows(peer: RemotePeer, path: str, limit: int | None, wanted: Any) -> bytes:
    """The wanted columns as Parquet, at most `limit` rows."""
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    from tools.adapters.parquet_rows import count, even, names

    try:
        columns: Sequence[str] = [name for name in names(path) if wanted(name)]
        table = even(path, columns, limit or count(path))
    except (OSError, pa.ArrowException) as error:
        raise Unavailable(f"the rows for the {peer.role} cannot be read: {error}", thing=peer.role) from error
    out = io.BytesIO()
    pq.write_table(table, out, compression="zstd")
    return out.getvalue()
