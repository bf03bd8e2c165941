# pyright: basic
"""Questions to the language model as MLflow traces, one span each, without secrets and without people's addresses."""

import os
import threading
import time
from typing import Any, Final

from tools.adapters.mlflow_client import client_for, experiment_id
from tools.contracts.language import ModelCall
from tools.masking import private

EXPERIMENT: Final = "retraining-language"
_FOR_MLFLOW: Final = threading.Lock()
"""MLflow sends a trace to the tracking server of the whole process, so that is ours for a moment and nobody else's."""
_VARIABLE: Final = "MLFLOW_TRACKING_URI"


class MlflowTrace:
    """See `ModelTrace`. What cannot be kept is dropped; after a failure nothing is tried again in this process."""

    def __init__(self, tracking_uri: str) -> None:
        self._uri = tracking_uri
        self._client: Any = None
        self._experiment = ""
        self._gave_up = False

    def record(self, call: ModelCall) -> None:
        """See `ModelTrace.record`."""
        if self._gave_up:
            return
        try:
            self._record(call)
        except Exception:  # noqa: BLE001 - a trace is beside the matter, whatever its server does
            self._gave_up = True

    def _record(self, call: ModelCall) -> None:
        if self._client is None:
            self._client = client_for(self._uri)
            self._experiment = experiment_id(self._client, self._uri, EXPERIMENT)
        asked = [{"role": each.role, "content": private(each.content)} for each in call.messages]
        calls = [{"name": each.name, "arguments": private(each.arguments)} for each in call.calls]
        usage = {name: value for name, value in call.usage.to_state().items() if value is not None}
        about = {"model": call.model, "mode": call.mode or "", "reused": str(call.reused), **usage}
        began = time.time_ns() - int(call.seconds * 1e9)
        with _FOR_MLFLOW:
            import mlflow

            before, waits = os.environ.get(_VARIABLE), os.environ.get("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING")
            os.environ["MLFLOW_ENABLE_ASYNC_TRACE_LOGGING"] = "false"
            mlflow.set_tracking_uri(self._uri)
            try:
                span = self._client.start_trace(
                    call.purpose,
                    span_type="LLM",
                    inputs={"messages": asked},
                    attributes=about,
                    experiment_id=self._experiment,
                    start_time_ns=began,
                )
                self._client.end_trace(
                    span.trace_id,
                    outputs={"answer": private(call.answer or ""), "calls": calls, "fault": call.fault or ""},
                    status="OK" if call.fault is None else "ERROR",
                )
            finally:
                mlflow.set_tracking_uri(None)  # pyright: ignore[reportArgumentType] forgets it
                _restore(_VARIABLE, before)
                _restore("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", waits)


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
