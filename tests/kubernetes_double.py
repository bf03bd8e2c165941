# pyright: basic
"""A Kubernetes API server for custom resources over HTTP on loopback, and a double of Seldon's controller.

The server does what was recorded of a real one: resourceVersion and 409 on a stale one, 422 from the CRD's schema, unknown fields
pruned, generation raised by a change of the spec only, status by its subresource only, finalizers before an object goes, a 404 that
names the object it is about, and watches: every change after the version given, in order, and 410 Gone as an event for one too old.
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
from types import MappingProxyType
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qs

import jsonschema
import yaml

from tools.adapters.seldon.answers import one_retry

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

    def __init__(self, code: int, reason: str, message: str, **more: Any) -> None:
        super().__init__(message)
        self.code = code
        self.body = {
            "kind": "Status",
            "apiVersion": "v1",
            "status": "Failure",
            "reason": reason,
            "message": message,
            "code": code,
            **more,
        }


class Page(NamedTuple):
    """What something that is no API server answers in its place."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({"content-type": "text/html"})


class FakeApi:
    """Objects of one API group. `interfere` is called before every replace, with the stored object, and may change it as another
    client would; `refuse` makes every call answer that status, `page` answers every call in its place; `log` is what arrived. `cut`
    is called at every write of a client that is not the controller; where it says `before` or `after`, the write fails, not done or
    done all the same.

    `plays` are how the next watches go, one each; what is not played is true. `gone` is the event 410, `bookmark` one bookmark and
    the end, `ended` a time-out at once, `dropped` a connection that breaks, `garbage` half an event, `held back` nothing for ever,
    `forbidden` 403, `busy` 429, `late` a change of long ago before the true ones; `watches` counts them.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.schemas = crd_schemas() or _SMALL
        self.revision = 100
        self.oldest = 100
        """Watches from before it are too late."""
        self.interfere: Callable[[str, dict[str, Any]], bool] | None = None
        self.refuse: int | None = None
        self.cut: Callable[[], str | None] | None = None
        self.page: Page | None = None
        self.log: list[tuple[str, str, Any]] = []
        self.events: list[tuple[int, str, str, dict[str, Any]]] = []
        self.plays: list[str] = []
        self.watches: list[str] = []
        self.changed = threading.Condition(self.lock)
        self.stopped = False
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                ours = self.headers["user-agent"] != CONTROLLER
                if api.page is not None and ours:
                    self._send(api.page.status, api.page.headers, api.page.body)
                    return
                path, _, query = self.path.partition("?")
                asked = {key: values[-1] for key, values in parse_qs(query).items()}
                try:
                    if asked.get("watch", "").lower() == "true":
                        self._watch(path, asked)
                        return
                    write = self.command != "GET" and ours
                    cut = api.cut() if write and api.cut is not None else None
                    if cut == "before":
                        raise Refused(500, "Cut", "cut before it was done")
                    code, content = api.handle(self.command, path, body, asked.get("fieldSelector"))
                    if cut == "after":
                        raise Refused(500, "Cut", "cut after it was done")
                except Refused as refused:
                    code, content = refused.code, refused.body
                self._send(code, {"content-type": "application/json"}, json.dumps(content).encode())

            def _send(self, code: int, headers: Mapping[str, str], data: bytes) -> None:
                self.send_response(code)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _watch(self, path: str, asked: dict[str, str]) -> None:
                played = api.watch_begins(path)
                if played == "held back":
                    api.wait_for_the_end(float(asked["timeoutSeconds"]))
                    self.close_connection = True
                    return
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                self.wfile.flush()
                with suppress(BrokenPipeError, ConnectionResetError):
                    for event in api.stream(path, asked, played):
                        data = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
                        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
                        self.wfile.flush()
                    if played in ("dropped", "garbage"):
                        self.close_connection = True  # in the middle of the answer
                    else:
                        self.wfile.write(b"0\r\n\r\n")

            do_GET = do_POST = do_PUT = do_DELETE = _answer

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def watch_begins(self, path: str) -> str:
        """How this watch goes."""
        with self.lock:
            if self.refuse is not None:
                raise Refused(self.refuse, "Refused", f"refused with {self.refuse}")
            played = self.plays.pop(0) if self.plays else "true"
            self.watches.append(played)
        if played == "forbidden":
            raise Refused(403, "Forbidden", 'User "u" cannot watch resource "models"')
        if played == "busy":
            raise Refused(429, "TooManyRequests", "too many requests, please try again later")
        return played

    def wait_for_the_end(self, seconds: float) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.stopped, seconds)

    def stream(self, path: str, asked: Mapping[str, str], played: str) -> Iterator[dict[str, Any] | bytes]:
        """The events of one watch."""
        namespace, plural, _, _ = self._parts(path)
        since = int(asked.get("resourceVersion") or 0)
        if played == "gone" or 0 < since < self.oldest:
            message = f"too old resource version: {since} ({self.revision})"
            status = Refused(410, "Expired", message).body
            yield {"type": "ERROR", "object": status}
            return
        if played == "bookmark":
            yield {"type": "BOOKMARK", "object": {"kind": "Model", "metadata": {"resourceVersion": str(self.revision)}}}
        if played == "garbage":
            yield b'{"type":"MODIFIED","obj'
        if played == "late":
            name = str(asked.get("fieldSelector")).partition("=")[2]
            old = {
                "metadata": {"name": name, "generation": 1, "resourceVersion": "1"},
                "status": {"observedGeneration": 99},
            }
            yield {"type": "DELETED", "object": old}
        if played in ("bookmark", "garbage", "ended", "dropped"):
            return
        deadline = time.monotonic() + float(asked.get("timeoutSeconds", 1800))
        while not self.stopped:
            with self.changed:
                new = [each for each in self.events if each[0] > since]
                if not new and not self.changed.wait(max(0.0, deadline - time.monotonic())):
                    return
            for revision, kind, where, found in new:
                since = revision
                if where == f"{namespace}/{plural}" and _selected(found, asked.get("fieldSelector")):
                    yield {"type": kind, "object": found}

    def _parts(self, path: str) -> tuple[str, str, str | None, str | None]:
        found = re.fullmatch(
            r"/apis/mlops\.seldon\.io/v1alpha1/namespaces/([^/]+)/(models|experiments)(?:/([^/]+)(/status)?)?", path
        )
        if found is None:
            raise Refused(404, "NotFound", "404 page not found")
        return cast("tuple[str, str, str | None, str | None]", found.groups())

    def handle(self, method: str, path: str, body: Any, selector: str | None = None) -> tuple[int, Any]:
        namespace, plural, name, sub = self._parts(path)
        with self.lock:
            self.log.append((method, path, copy.deepcopy(body)))
            if self.refuse is not None:
                raise Refused(self.refuse, "Refused", f"refused with {self.refuse}")
            if name is None:
                return (
                    self._list(namespace, plural, selector)
                    if method == "GET"
                    else (201, self._create(namespace, plural, body))
                )
            there = self.objects.get((namespace, plural, name))
            if there is None:
                about = {"name": name, "group": "mlops.seldon.io", "kind": plural}
                raise Refused(404, "NotFound", f'{plural}.mlops.seldon.io "{name}" not found', details=about)
            if method == "GET":
                return 200, copy.deepcopy(there)
            if method == "PUT":
                return 200, self._replace(namespace, plural, name, body, sub is not None)
            return 200, self._delete(namespace, plural, name, body)

    def _list(self, namespace: str, plural: str, selector: str | None) -> tuple[int, Any]:
        mine = [each for key, each in sorted(self.objects.items()) if key[:2] == (namespace, plural)]
        items = [copy.deepcopy(each) for each in mine if _selected(each, selector)]
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
        if there["metadata"].get("deletionTimestamp") and not there["metadata"].get("finalizers"):
            self._go(namespace, plural, name)  # one event, not two
            return copy.deepcopy(there)
        return self._stored(there)

    def _delete(self, namespace: str, plural: str, name: str, body: Any) -> dict[str, Any]:
        there = self.objects[namespace, plural, name]
        wanted = ((body or {}).get("preconditions") or {}).get("uid")
        if wanted not in (None, there["metadata"]["uid"]):
            raise Refused(409, "Conflict", f"Precondition failed: UID in precondition: {wanted}")
        if not there["metadata"].get("finalizers"):
            self._go(namespace, plural, name)
            return copy.deepcopy(there)
        if "deletionTimestamp" not in there["metadata"]:
            there["metadata"] |= {"deletionTimestamp": _now(), "generation": there["metadata"]["generation"] + 1}
        return self._stored(there)

    def _go(self, namespace: str, plural: str, name: str) -> None:
        self._happened("DELETED", self.objects.pop((namespace, plural, name)))

    def _stored(self, found: dict[str, Any]) -> dict[str, Any]:
        new = "resourceVersion" not in found["metadata"]
        self._happened("ADDED" if new else "MODIFIED", found)
        return copy.deepcopy(found)

    def _happened(self, what: str, found: dict[str, Any]) -> None:
        self.revision += 1
        found["metadata"]["resourceVersion"] = str(self.revision)
        where = f"{found['metadata']['namespace']}/{found['kind'].lower()}s"
        self.events.append((self.revision, what, where, copy.deepcopy(found)))
        self.changed.notify_all()

    def _validate(self, plural: str, name: str, body: Any) -> None:
        errors = sorted(jsonschema.Draft7Validator(self.schemas[plural]).iter_errors(body), key=lambda e: list(e.path))
        if "spec" not in body or errors:
            why = errors[0].message if errors else "spec: Required value"
            raise Refused(422, "Invalid", f'{plural}.mlops.seldon.io "{name}" is invalid: {why}')

    def _pruned(self, plural: str, body: dict[str, Any]) -> dict[str, Any]:
        body["spec"] = _prune(body["spec"], self.schemas[plural]["properties"]["spec"])
        return body


def _selected(found: Mapping[str, Any], selector: str | None) -> bool:
    """By the one field selector that custom resources know and we use."""
    return selector is None or selector == f"metadata.name={found['metadata']['name']}"


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
    return client.ApiClient(one_retry(settings))


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
        with api.changed:
            api.stopped = True
            api.changed.notify_all()
        for each in (ours, theirs):
            each.rest_client.pool_manager.clear()
        api.server.shutdown()
        api.server.server_close()
        thread.join(timeout=10)
