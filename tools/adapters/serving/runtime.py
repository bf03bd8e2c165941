# pyright: basic, reportMissingImports=false
"""Stand-alone: an MLServer runtime around one MLflow model. Lies on the server's own path; imports nothing of ours but what lies
beside it. It answers in the V2 protocol, and each answer says which version gave it.

Every answer is appended to a segment file as a line of JSON: request id, version, time, whether it was mirrored, whether it
failed, milliseconds, prediction, probability of the positive class. A request of several rows gives a line a row, with ids
`ID#0`, `ID#1`, … An answer is never refused because its line could not be written: what was lost is counted.
"""

import hashlib
import math
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import Any

import scoring_worker
from answer_log import Segments
from mlserver import MLModel, types
from mlserver.errors import InferenceError, MLServerError

PROBE = "x-retrain-probe"
"""A request with this header is ours: it stands in no log."""
REGISTRY_NOTE = "registered_model_meta"
NUMBERS = ("FP16", "FP32", "FP64")
WHOLE = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")


class ModelFailed(MLServerError):
    """The model raised, or gave no usable answer."""

    def __init__(self, message: str) -> None:
        super().__init__(message, 500)


class Runtime(MLModel):
    """The model, its version, its log."""

    async def load(self) -> bool:
        """Reads the files once for their digest, then loads the model."""
        import mlflow.pyfunc

        given = self.settings.parameters
        self._extra = given.extra or {}
        self._digest = digest_of(Path(given.uri))
        self._model = mlflow.pyfunc.load_model(given.uri)
        self._schema = self._model.metadata.get_input_schema()
        self._log = Segments(Path(self._extra["answers"]), self.version or "")
        with suppress(Exception):  # the first prediction fills caches: better now than for a client
            self._answer(self._model.input_example)
        return True

    async def metadata(self) -> types.MetadataModelResponse:
        """With the digest of the files that were loaded."""
        found = await super().metadata()
        found.versions = [self.version] if self.version else []
        found.platform = "mlflow"
        found.parameters = types.Parameters(digest=self._digest, lost_log_lines=self._log.lost)
        return found

    async def predict(self, payload: types.InferenceRequest) -> types.InferenceResponse:
        """Predicts, logs, answers."""
        headers = (payload.parameters.headers if payload.parameters else None) or {}
        request_id = headers.get("x-request-id") or payload.id or str(uuid.uuid4())
        begun = time.perf_counter()
        frame = frame_of(payload)
        failed: Exception | None = None
        predictions: list = [None] * max(len(frame), 1)
        shares: list | None = None
        classes: list = []
        try:
            predictions, shares, classes = self._answer(frame)
        except Exception as error:  # noqa: BLE001 - the user's code: whatever it raises is a failed answer
            failed = error
        took = (time.perf_counter() - begun) * 1e3
        if PROBE not in headers:
            # Envoy marks the host of a copy; nobody waits for its answer.
            mirrored = headers.get("host", "").rpartition(":")[0].endswith("-shadow") or headers.get(
                "host", ""
            ).endswith("-shadow")
            self._log.append(
                request_id, mirrored, failed is not None, took, predictions, self._positive(shares, classes)
            )
        if failed is not None:
            raise ModelFailed(f"version {self.version} failed: {type(failed).__name__}: {str(failed)[:300]}")
        return self._response(payload, predictions, shares, classes)

    def _answer(self, frame: Any) -> tuple:
        """(predictions, probabilities a row, classes), as plain values."""
        if self._schema is not None and self._schema.has_input_names():
            frame = scoring_worker.as_signed(frame, self._schema)
        parts = list(scoring_worker.batches(frame, self._schema))
        given = scoring_worker.whole([scoring_worker.checked(self._model.predict(part), len(part)) for part in parts])
        task = self._extra.get("task", "")
        out = scoring_worker.read(given, scoring_worker.probabilities(self._model, parts, task, []), task, [])
        names = [name for name in out.columns if name.startswith("proba:")]
        shares = out[names].to_numpy(dtype=float).tolist() if names else None
        return [plain(value) for value in out["prediction"].tolist()], shares, [n.removeprefix("proba:") for n in names]

    def _positive(self, shares: list | None, classes: list) -> list | None:
        if shares is None:
            return None
        wanted = self._extra.get("positive")
        place = classes.index(wanted) if wanted in classes else 1 if len(classes) == 2 else None
        return None if place is None else [plain(row[place]) for row in shares]

    def _response(self, payload: Any, predictions: list, shares: list | None, classes: list) -> Any:
        outputs = [tensor("prediction", predictions, [len(predictions)])]
        if shares is not None:
            flat = [plain(value) for row in shares for value in row]
            outputs.append(tensor("probability", flat, [len(shares), len(classes)], classes=classes))
        return types.InferenceResponse(
            model_name=self.name,
            model_version=self.version,
            id=payload.id,
            outputs=outputs,
            parameters=types.Parameters(headers={"x-model-version": self.version or ""}),
        )


def tensor(name: str, values: list, shape: list, **more: Any) -> Any:
    """An output tensor of the type that fits all values."""
    known = [value for value in values if value is not None]
    if known and all(isinstance(value, bool) for value in known):
        kind = "BOOL"
    elif known and all(isinstance(value, int) for value in known):
        kind = "INT64"
    elif all(isinstance(value, int | float) for value in known):
        kind = "FP64"
    else:
        kind, values = "BYTES", [None if value is None else str(value) for value in values]
    parameters = types.Parameters(content_type="str" if kind == "BYTES" else "np", **more)
    return types.ResponseOutput(
        name=name, shape=shape, datatype=kind, data=types.TensorData(root=values), parameters=parameters
    )


def frame_of(payload: types.InferenceRequest) -> Any:
    """Rows of a request: a tensor a column, or one tensor of several columns.

    Raises:
        InferenceError: Not a table; the client is told, and no version is blamed.
    """
    import pandas as pd

    columns: dict = {}
    for given in payload.inputs:
        data = given.data.root if hasattr(given.data, "root") else given.data
        flat = flattened(data)
        size = math.prod(given.shape) if given.shape else len(flat)
        if len(flat) != size:
            raise InferenceError(f"{given.name}: {len(flat)} values for shape {given.shape}")
        width = math.prod(given.shape[1:]) if len(given.shape) > 1 else 1
        try:
            column = typed(flat, given.datatype)
        except (TypeError, ValueError, OverflowError) as error:
            raise InferenceError(f"{given.name}: {str(error)[:200]}") from error
        if width == 1:
            columns[given.name] = column
        else:
            columns |= {f"{given.name}_{n}" if len(payload.inputs) > 1 else n: column[n::width] for n in range(width)}
    if len({len(column) for column in columns.values()}) > 1:
        raise InferenceError("the inputs have different numbers of rows")
    return pd.DataFrame(columns)


def typed(values: list, kind: str) -> Any:
    """A column in its declared type; a gap is NaN, or None in text."""
    import pandas as pd

    if kind in NUMBERS:
        wanted = "float32" if kind == "FP32" else "float64"
        return pd.Series([math.nan if value is None else float(value) for value in values], dtype=wanted).array
    if kind in WHOLE:
        gaps = any(value is None for value in values)
        return pd.Series(values, dtype="float64" if gaps else kind.lower()).array
    if kind == "BOOL":
        return pd.Series(values, dtype="object" if any(value is None for value in values) else "bool").array
    return pd.Series([v.decode() if isinstance(v, bytes) else v for v in values], dtype="object").array


def flattened(data: Any) -> list:
    """Nested lists as one."""
    if not isinstance(data, list):
        return [data]
    return [value for item in data for value in flattened(item)] if any(isinstance(x, list) for x in data) else data


def plain(value: Any) -> Any:
    """A value that JSON knows: what is not finite is None."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, int | str | bool) else str(value)


def digest_of(model: Path) -> str:
    """As the orchestrator computes it: sha256 over the files' names and contents, in name order."""
    total = hashlib.sha256()
    files = {path.relative_to(model).as_posix(): path for path in model.rglob("*") if path.is_file()}
    for name in sorted(files):
        if name != REGISTRY_NOTE:
            total.update(name.encode() + b"\0" + hashlib.sha256(files[name].read_bytes()).digest())
    return total.hexdigest()
