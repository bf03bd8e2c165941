"""What does one of our own peers answer to a message from elsewhere? Rows come in the message or from a folder it was shown."""

import hashlib
import json
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar, cast

from pydantic import ValidationError

from agent.deps import Deps
from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.peer_settings import Role
from tools.contracts.peers import DeploymentReply, DeploymentRequest, DriftRequest, Envelope, EvaluationRequest
from tools.errors import BadInput, NotAllowed
from tools.ports import Clock, DriftDetective, ModelEvaluator

ATTACHED: Final = "attached:"
"""In place of a path: the file of this name in the message."""
REMEMBERED: Final = 256
"""Answers kept for who asks the same again."""
ACTIONS: Final[Mapping[Role, tuple[str, ...]]] = {
    "drift-detective": ("detect",),
    "model-evaluator": ("evaluate",),
    "deployment-engineer": ("apply", "status", "undo"),
}
_DATA_FIELDS: Final = ("reference_data", "current_data_window", "baseline_data")

Question = TypeVar("Question", DriftRequest, EvaluationRequest, DeploymentRequest)
Answer = Callable[[str, Mapping[str, Any], Mapping[str, bytes]], dict[str, Any]]
"""Action, envelope as JSON and files by name to the reply as JSON."""


@dataclass(frozen=True)
class Rows:
    """Where a message's rows may come from."""

    folders: Sequence[Path] = ()
    """Folders that may be read, as the operator said; without any, only what a message brings along."""

    def resolve(self, named: str, files: Mapping[str, bytes], own: Path) -> str:
        """A file of our own for what the message names.

        Raises:
            BadInput: It names a file that is not in the message.
            NotAllowed: It names a path outside the folders; whether it exists is not told.
        """
        if named.startswith(ATTACHED):
            name = named.removeprefix(ATTACHED)
            content = files.get(name)
            if content is None:
                raise BadInput("a file that the message names is not in it", thing="files", remedy="attach it")
            # The sender's name never becomes a path.
            path = own / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.parquet"
            path.write_bytes(content)
            return str(path)
        path = Path(named).resolve()
        if not any(path.is_relative_to(folder.resolve()) for folder in self.folders):
            raise NotAllowed(
                "the path is in no folder that this peer shares",
                thing="path",
                remedy="attach the rows, or start the peer with --shared-folder",
            )
        return str(path)


class Remembered:
    """The same question, by its id, is answered once; asked again, the answer is repeated. An id is good for one question."""

    def __init__(self, answer: Answer, most: int = REMEMBERED) -> None:
        self._answer, self._most = answer, most
        self._known: OrderedDict[str, tuple[str, dict[str, Any]]] = OrderedDict()
        self._lock, self._busy = threading.Lock(), dict[str, threading.Lock]()

    def __call__(self, action: str, message: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
        number = message.get("requestId")
        if not isinstance(number, str) or not 0 < len(number) <= 100:
            return self._answer(action, message, files)
        lasting = {name: value for name, value in message.items() if name != "sentAt"}
        parts = [json.dumps([action, lasting], sort_keys=True, default=str).encode(), *files.values()]
        digest = hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()
        with self._lock:
            mine = self._busy.setdefault(number, threading.Lock())
        with mine:
            with self._lock:
                known = self._known.get(number)
            if known is not None:
                if known[0] != digest:
                    raise BadInput("the request id was used for another question", thing="requestId")
                return known[1]
            found = self._answer(action, message, files)
            with self._lock:
                self._known[number] = (digest, found)
                while len(self._known) > self._most:
                    self._busy.pop(self._known.popitem(last=False)[0], None)
            return found


def detective(peer: DriftDetective, rows: Rows) -> Answer:
    """A drift-detective that answers messages."""

    def answer(action: str, message: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
        asked = _read(message, Envelope[DriftRequest])
        with tempfile.TemporaryDirectory(prefix="drift-detective-") as folder:
            config = asked.payload.monitoring_config
            changes = {
                name: rows.resolve(named, files, Path(folder))
                for name in _DATA_FIELDS
                if (named := cast("str | None", getattr(config, name))) is not None
            }
            payload = asked.payload.model_copy(update={"monitoring_config": config.model_copy(update=changes)})
            reply = peer.detect(asked.model_copy(update={"payload": payload}), Path(folder))
            # The page lies in a folder that is about to go.
            bare = reply.payload.model_copy(update={"report_path": None})
            return reply.model_copy(update={"payload": bare}).to_json_dict()

    return answer


def evaluator(peer: ModelEvaluator, rows: Rows) -> Answer:
    """A model-evaluator that answers messages."""

    def answer(action: str, message: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
        asked = _read(message, Envelope[EvaluationRequest])
        with tempfile.TemporaryDirectory(prefix="model-evaluator-") as folder:
            path = rows.resolve(asked.payload.test_data_path, files, Path(folder))
            payload = asked.payload.model_copy(update={"test_data_path": path})
            return peer.evaluate(asked.model_copy(update={"payload": payload})).to_json_dict()

    return answer


def engineer(deps: Deps) -> Answer:
    """A deployment-engineer that answers messages: the targets of this workspace's profiles. It moves no alias."""

    def answer(action: str, message: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
        asked = _read(message, Envelope[DeploymentRequest])
        profile = deps.load_profile(asked.model_id)
        request = asked.payload
        if request.model_artifact.path != f"models:/{profile.registered_model}/{request.model_artifact.version}":
            raise NotAllowed(
                "the artifact is no version of the model's own registered model",
                thing="modelArtifact.path",
                remedy=f"name models:/{profile.registered_model}/VERSION",
            )
        target = deps.target_of(profile)
        act: Literal["apply", "status", "undo"] = cast("Any", action)
        done = {"apply": target.apply, "status": target.status, "undo": target.undo}[act](request)
        return _reply(asked, done, deps.clock).to_json_dict()

    return answer


def _reply(asked: Envelope[Any], payload: DeploymentReply, clock: Clock) -> Envelope[DeploymentReply]:
    return Envelope[DeploymentReply](
        schema_version=SCHEMA_VERSION,
        run_id=asked.run_id,
        model_id=asked.model_id,
        model_version=asked.model_version,
        data_window_digest=asked.data_window_digest,
        request_id=asked.request_id,
        sent_at=clock(),
        sender="deployment-engineer",
        payload=payload,
    )


def _read(message: Mapping[str, Any], kind: type[Envelope[Question]]) -> Envelope[Question]:
    if str(message.get("schemaVersion", "")).partition(".")[0] != SCHEMA_VERSION.partition(".")[0]:
        raise BadInput(
            f"the message is in no version that is spoken here; it is {SCHEMA_VERSION}",
            thing="schemaVersion",
            remedy=f"send version {SCHEMA_VERSION}",
        )
    try:
        return kind.model_validate(message)
    except ValidationError as error:
        places = sorted({".".join(map(str, each["loc"])) or "the message" for each in error.errors()})[:5]
        raise BadInput(f"the message is not as agreed at {', '.join(places)}"[:500], thing="message") from error
