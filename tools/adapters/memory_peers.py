# pyright: basic
"""Peers that answer from a script: for tests, demos and rehearsing what a peer might say.

Each call takes the next answer; the last one is repeated. An answer is a payload, put into an envelope that matches
the request, a whole envelope (to rehearse one that does not match), or an error of ours, which is raised.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

from tools.contracts.base import SCHEMA_VERSION
from tools.contracts.peers import DriftReply, DriftRequest, Envelope, EvaluationReply, EvaluationRequest
from tools.errors import BadInput, RetrainingError

Reply = TypeVar("Reply")
Request = TypeVar("Request")


class _Script(Generic[Request, Reply]):
    def __init__(self, sender: str, answers: Sequence[Any], wrap: Callable[..., Envelope[Reply]]) -> None:
        if not answers:
            raise BadInput(
                "a scripted peer needs at least one answer", thing=sender, remedy="give it a reply or an error"
            )
        self._sender = sender
        self._answers = tuple(answers)
        self._wrap = wrap
        self.requests: list[Envelope[Request]] = []

    def next(self, request: Envelope[Request]) -> Envelope[Reply]:
        answer = self._answers[min(len(self.requests), len(self._answers) - 1)]
        self.requests.append(request)
        if isinstance(answer, RetrainingError):
            raise answer
        if isinstance(answer, Envelope):
            return answer
        return self._wrap(
            schema_version=SCHEMA_VERSION,
            run_id=request.run_id,
            model_id=request.model_id,
            model_version=request.model_version,
            data_window_digest=request.data_window_digest,
            request_id=request.request_id,
            sent_at=request.sent_at,
            sender=self._sender,
            payload=answer,
        )


class ScriptedDriftDetective:
    """Port `DriftDetective`; `requests` holds what it was asked."""

    def __init__(self, *answers: DriftReply | Envelope[DriftReply] | RetrainingError) -> None:
        self._script = _Script[DriftRequest, DriftReply]("drift-detective (scripted)", answers, Envelope[DriftReply])

    @property
    def requests(self) -> list[Envelope[DriftRequest]]:
        """In the order they came."""
        return self._script.requests

    def detect(self, request: Envelope[DriftRequest], report_folder: Path) -> Envelope[DriftReply]:
        """The next answer."""
        return self._script.next(request)


class ScriptedModelEvaluator:
    """Port `ModelEvaluator`; `requests` holds what it was asked."""

    def __init__(self, *answers: EvaluationReply | Envelope[EvaluationReply] | RetrainingError) -> None:
        self._script = _Script[EvaluationRequest, EvaluationReply](
            "model-evaluator (scripted)", answers, Envelope[EvaluationReply]
        )

    @property
    def requests(self) -> list[Envelope[EvaluationRequest]]:
        """In the order they came."""
        return self._script.requests

    def evaluate(self, request: Envelope[EvaluationRequest]) -> Envelope[EvaluationReply]:
        """The next answer."""
        return self._script.next(request)
