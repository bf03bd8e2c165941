# pyright: basic
"""A Kubernetes API server for custom resources over HTTP on loopback, and a double of Seldon's controller.

The server does what was recorded of a real one: resourceVersion and 409 on a stale one, 422 from the CRD's schema, unknown fields
pruned, generation raised by a change of the spec only, status by its subresource only, finalizers before an object goes.
The controller speaks HTTP like any client, so it works on a real server too.
"""

import copy
import json
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import jsonschema
import yaml

CRDS = Path(__file__).parents[2] / "shared" / "kubernetes-crds" / "seldon-core-2"
CONTROLLER = "controller-double"
FINALIZER = "seldon.finalizer.of.the.double"

_SMALL: dict[str, dict[str, Any]] = {
    "models": {
        "properties": {
            "spec": {
                "type": "object",
                "required": ["storageUri"],
                "properties": {
                    "storageUri": {"type": "string"},
                    "memory": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                    "requirements": {"type": "array", "items": {"type": "string"}},
                    "replicas": {"type": "integer"},
                },
            }
        }
    },
    "experiments": {
        "properties": {
            "spec": {
                "type": "object",
                "required": ["candidates"],
                "properties": {
                    "default": {"type": "string"},
                    "candidates": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["name", "weight"],
                            "properties": {"name": {"type": "string"}, "weight": {"type": "integer"}},
                        },
                    },
                    "mirror": {
                        "type": "object",
                        "required": ["name", "percent"],
                        "properties": {"name": {"type": "string"}, "percent": {"type": "integer"}},
                    },
                },
            }
        }
    },
}
"""The part of the CRDs that we write into, for checkouts that have no ../shared beside them."""


def crd_schemas() -> dict[str, dict[str, Any]]:
    """Plural to openAPIV3Schema, of the real CRDs."""
    found: dict[str, dict[str, Any]] = {}
    for path in CRDS.glob("*.yaml"):
        crd = yaml.safe_load(path.read_text(encoding="utf-8"))
        found[crd["spec"]["names"]["plural"]] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found


class Refused(Exception):
    """A Status object instead of the one asked for."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": reason,
            "message": message,
            "code": code,
        }


class FakeApi:
    """Objects of one API group. `interfere` is called before every replace, with the stored object, and may change it as another
    client would; `refuse` makes every call answer that status; `log` is what arrived. `cut` is called at every write of a client
    that is not the controller; where it says `before` or `after`, the write fails, not done or done all the same."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.schemas = crd_schemas() or _SMALL
        self.revision = 100
        self.interfere: Callable[[str, dict[str, Any]], bool] | None = None
        self.refuse: int | None = None
        self.cut: Callable[[], str | None] | None = None
        self.log: list[tuple[str, str, Any]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                try:
                    write = self.command != "GET" and self.headers["user-agent"] != CONTROLLER
                    cut = api.cut() if write and api.cut is not None else None
                    if cut == "before":
                        raise Refused(500, "Cut", "cut before it was done")
                    code, content = api.handle(self.command, self.path.partition("?")[0], body)
                    if cut == "after":
                        raise Refused(500, "Cut", "cut after it was done")
                except Refused as refused:
                    code, content = refused.code, refused.body
                data = json.dumps(content).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_DELETE = _answer

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def handle(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        found = re.fullmatch(
            r"/apis/mlops\.seldon\.io/v1alpha1/namespaces/([^/]+)/(models|experiments)(?:/([^/]+)(/status)?)?", path
        )
        if found is None:
            raise Refused(404, "NotFound", "404 page not found")
        namespace, plural, name, sub = found.groups()
        with self.lock:
            self.log.append((method, path, copy.deepcopy(body)))
            if self.refuse is not None:
                raise Refused(self.refuse, "Refused", f"refused with {self.refuse}")
            if name is None:
                return (
                    self._list(namespace, plural) if method == "GET" else (201, self._create(namespace, plural, body))
                )
            there = self.objects.get((namespace, plural, name))
            if there is None:
                raise Refused(404, "NotFound", f'{plural}.mlops.seldon.io "{name}" not found')
            if method == "GET":
                return 200, copy.deepcopy(there)
            if method == "PUT":
                return 200, self._replace(namespace, plural, name, body, sub is not None)
            return 200, self._delete(namespace, plural, name, body)

    def _list(self, namespace: str, plural: str) -> tuple[int, Any]:
        items = [copy.deepcopy(each) for key, each in sorted(self.objects.items()) if key[:2] == (namespace, plural)]
        kind = "ModelList" if plural == "models" else "ExperimentList"
        metadata = {"resourceVersion": str(self.revision)}
        return 200, {"apiVersion": "mlops.seldon.io/v1alpha1", "kind": kind, "metadata": metadata, "items": items}

    def _create(self, namespace: str, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        name = body["metadata"]["name"]
        if (namespace, plural, name) in self.objects:
            raise Refused(409, "AlreadyExists", f'{plural}.mlops.seldon.io "{name}" already exists')
        self._validate(plural, name, body)
        created = self._pruned(plural, copy.deepcopy(body))
        created.pop("status", None)
        created["metadata"] |= {
            "namespace": namespace,
            "uid": str(uuid.uuid4()),
            "generation": 1,
            "creationTimestamp": _now(),
        }
        self.objects[namespace, plural, name] = created
        return self._stored(created)

    def _replace(self, namespace: str, plural: str, name: str, body: dict[str, Any], status: bool) -> dict[str, Any]:
        there = self.objects[namespace, plural, name]
        if not status and self.interfere is not None and self.interfere(plural, there):
            self._stored(there)
        given = body["metadata"].get("resourceVersion")
        if not given:
            raise Refused(422, "Invalid", f'{plural} "{name}" is invalid: metadata.resourceVersion: must be specified')
        if given != there["metadata"]["resourceVersion"]:
            message = (
                f'Operation cannot be fulfilled on {plural}.mlops.seldon.io "{name}": the object has been modified'
            )
            raise Refused(409, "Conflict", f"{message}; please apply your changes to the latest version and try again")
        self._validate(plural, name, body)
        if status:
            there["status"] = copy.deepcopy(body.get("status"))
            return self._stored(there)
        wanted = self._pruned(plural, copy.deepcopy(body))
        for key in ("labels", "annotations", "finalizers"):
            there["metadata"].pop(key, None)
            if wanted["metadata"].get(key):
                there["metadata"][key] = wanted["metadata"][key]
        if wanted["spec"] != there["spec"]:
            there["spec"] = wanted["spec"]
            there["metadata"]["generation"] += 1
        stored = self._stored(there)
        self._go(namespace, plural, name)
        return stored

    def _delete(self, namespace: str, plural: str, name: str, body: Any) -> dict[str, Any]:
        there = self.objects[namespace, plural, name]
        wanted = ((body or {}).get("preconditions") or {}).get("uid")
        if wanted not in (None, there["metadata"]["uid"]):
            raise Refused(409, "Conflict", f"Precondition failed: UID in precondition: {wanted}")
        if "deletionTimestamp" not in there["metadata"]:
            there["metadata"] |= {"deletionTimestamp": _now(), "generation": there["metadata"]["generation"] + 1}
        stored = self._stored(there)
        self._go(namespace, plural, name)
        return stored

    def _go(self, namespace: str, plural: str, name: str) -> None:
        metadata = self.objects[namespace, plural, name]["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            del self.objects[namespace, plural, name]

    def _stored(self, found: dict[str, Any]) -> dict[str, Any]:
        self.revision += 1
        found["metadata"]["resourceVersion"] = str(self.revision)
        return copy.deepcopy(found)

    def _validate(self, plural: str, name: str, body: Any) -> None:
        errors = sorted(jsonschema.Draft7Validator(self.schemas[plural]).iter_errors(body), key=lambda e: list(e.path))
        if "spec" not in body or errors:
            why = errors[0].message if errors else "spec: Required value"
            raise Refused(422, "Invalid", f'{plural}.mlops.seldon.io "{name}" is invalid: {why}')

    def _pruned(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        body["spec"] = _prune(body["spec"], self.schemas[plural]["properties"]["spec"])
        return body


def _prune(value: Any, schema: Mapping[str, Any]) -> Any:
    if isinstance(value, dict) and "properties" in schema:
        known = schema["properties"]
        return {key: _prune(each, known[key]) for key, each in value.items() if key in known}
    if isinstance(value, list):
        return [_prune(each, schema.get("items", {})) for each in value]
    return value


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class ControllerDouble:
    """Writes what Seldon's controller would into the status, through the API; the one thing that is not real on a real server.

    Attributes:
        delay: Seconds between seeing a generation and calling it ready.
        fails: Object, e.g. `Model prices`, to the message with which it fails.
        never: Objects that never become ready.
        keeps: Objects whose finalizer is not taken away.
        stale: Objects whose conditions keep speaking of the generation before.
    """

    def __init__(self, api_client: Any, namespace: str) -> None:
        from kubernetes import client

        api_client.user_agent = CONTROLLER
        self.objects = client.CustomObjectsApi(api_client)
        self.namespace = namespace
        self.delay = 0.0
        self.fails: dict[str, str] = {}
        self.never: set[str] = set()
        self.keeps: set[str] = set()
        self.stale: set[str] = set()
        self._seen: dict[tuple[str, str, int], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(timeout=10)

    def _where(self, plural: str) -> dict[str, Any]:
        return {"group": "mlops.seldon.io", "version": "v1alpha1", "namespace": self.namespace, "plural": plural}

    def _run(self) -> None:
        from kubernetes.client import ApiException

        while not self._stop.wait(0.01):
            for plural in ("models", "experiments"):
                with suppress(ApiException):
                    found: Any = self.objects.list_namespaced_custom_object(**self._where(plural))
                    for each in found["items"]:
                        with suppress(ApiException):  # 409 and 404: it is looked at again at once
                            self._reconcile(plural, each)

    def _reconcile(self, plural: str, found: dict[str, Any]) -> None:
        metadata = found["metadata"]
        name: str = metadata["name"]
        who = f"{found['kind']} {name}"
        at: dict[str, Any] = {**self._where(plural), "name": name}
        finalizers = metadata.get("finalizers") or []
        if metadata.get("deletionTimestamp"):
            if FINALIZER in finalizers and who not in self.keeps:
                metadata["finalizers"] = [each for each in finalizers if each != FINALIZER]
                self.objects.replace_namespaced_custom_object(**at, body=found)
            return
        if FINALIZER not in finalizers:
            metadata["finalizers"] = [*finalizers, FINALIZER]
            found = cast("dict[str, Any]", self.objects.replace_namespaced_custom_object(**at, body=found))
        wanted = self._status(plural, found)
        if wanted is not None and wanted != found.get("status"):
            self.objects.replace_namespaced_custom_object_status(**at, body={**found, "status": wanted})

    def _status(self, plural: str, found: dict[str, Any]) -> dict[str, Any] | None:
        metadata = found["metadata"]
        who, generation = f"{found['kind']} {metadata['name']}", metadata["generation"]
        if who in self.stale:
            return None
        since = self._seen.setdefault((metadata["uid"], plural, generation), time.monotonic())
        early = time.monotonic() - since < self.delay
        kind = "ModelReady" if plural == "models" else "ExperimentReady"
        if who in self.fails and not early:
            said = {"reason": "ModelFailed", "message": self.fails[who]}
            # On a scheduler's error it is ModelReady that stands on the Experiment too.
            conditions = [_condition("ModelReady", "False", **said), _condition("Ready", "False", **said)]
        elif early or who in self.never:
            # A model that is being loaded is False already, with a reason that says so; an Experiment has nothing yet.
            said = {"reason": "ModelProgressing"}
            both = [_condition(kind, "False", **said), _condition("Ready", "False", **said)]
            conditions = both if plural == "models" else [_condition("Ready", "Unknown")]
        else:
            conditions = [_condition(kind, "True"), _condition("Ready", "True")]
            if plural == "experiments":
                conditions.insert(0, _condition("CandidatesReady", "True"))
                if found["spec"].get("mirror"):
                    conditions.insert(1, _condition("MirrorReady", "True"))
        status = {"conditions": conditions, "observedGeneration": generation}
        return status | {"replicas": 1} if plural == "models" else status


def _condition(kind: str, status: str, **more: str) -> dict[str, str]:
    return {"type": kind, "status": status, **more}


def api_client(url: str) -> Any:
    """The official client, without any kubeconfig."""
    from kubernetes import client

    settings = client.Configuration()
    settings.host = url
    return client.ApiClient(settings)


@contextmanager
def running() -> Iterator[tuple[FakeApi, ControllerDouble, Any]]:
    """Server, controller and a client; all ended afterwards."""
    api = FakeApi()
    thread = threading.Thread(target=api.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    ours, theirs = api_client(api.url), api_client(api.url)
    controller = ControllerDouble(theirs, "models")
    controller.start()
    try:
        yield api, controller, ours
    finally:
        controller.stop()
        for each in (ours, theirs):
            each.rest_client.pool_manager.clear()
        api.server.shutdown()
        api.server.server_close()
        thread.join(timeout=10)
