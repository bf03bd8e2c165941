# pyright: basic
"""A real kube-apiserver on Debian's etcd, on loopback, with Seldon's CRDs; ended by its own process ids."""

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.kubernetes.world import NAMESPACE
from tests.kubernetes_double import CRDS

FOLDER = Path(os.environ.get("KUBERNETES_BIN", Path(__file__).parents[2] / ".kubernetes"))
START_SECONDS = 120


def missing() -> str | None:
    """Why it cannot be started."""
    for name in ("kube-apiserver", "etcd"):
        if not (FOLDER / name).is_file():
            return f"no {name}: `make kubernetes` builds it"
    return None if CRDS.is_dir() else "../shared/kubernetes-crds is not beside this checkout"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in opened]


@contextmanager
def _process(argv: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen(argv, stdout=out, stderr=out, cwd=log.parent, start_new_session=True)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def running(folder: Path) -> Iterator[Any]:
    """A function that makes clients, of the user `admin` or of `plain`, who may do nothing yet."""
    from kubernetes import client

    peer, etcd, port = _free_ports(3)
    key = folder / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    tokens = {name: secrets.token_hex(16) for name in ("admin", "plain")}
    lines = [f'{tokens["admin"]},admin,admin,"system:masters"', f"{tokens['plain']},plain,plain"]
    (folder / "tokens.csv").write_text("\n".join(lines) + "\n")
    (folder / "tokens.csv").chmod(0o600)
    stores = [
        str(FOLDER / "etcd"),
        f"--data-dir={folder / 'etcd'}",
        "--unsafe-no-fsync",
        f"--listen-client-urls=http://127.0.0.1:{etcd}",
        f"--advertise-client-urls=http://127.0.0.1:{etcd}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-cluster=default=http://127.0.0.1:{peer}",
    ]
    serves = [
        str(FOLDER / "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
    ]
    made: list[Any] = []

    def connect(name: str = "admin") -> Any:
        settings = client.Configuration()
        settings.host = f"https://127.0.0.1:{port}"
        settings.ssl_ca_cert = str(folder / "certs" / "apiserver.crt")
        settings.api_key = {"authorization": f"Bearer {tokens[name]}"}
        made.append(client.ApiClient(settings))
        return made[-1]

    try:
        with _process(stores, folder / "etcd.log"), _process(serves, folder / "apiserver.log") as server:
            _until_ready(server, folder, connect)
            _install(connect())
            yield connect
    finally:
        for each in made:
            each.rest_client.pool_manager.clear()


def _until_ready(server: subprocess.Popen[bytes], folder: Path, connect: Any) -> None:
    from kubernetes import client
    from urllib3.exceptions import HTTPError

    deadline, last = time.monotonic() + START_SECONDS, "nothing"
    while time.monotonic() < deadline and server.poll() is None:
        if (folder / "certs" / "apiserver.crt").is_file():
            try:
                client.CoreV1Api(connect()).read_namespace("default", _request_timeout=5)
                return
            except (client.ApiException, HTTPError, OSError) as error:
                last = type(error).__name__
        time.sleep(0.3)
    said = (folder / "apiserver.log").read_text(errors="replace")[-2000:]
    raise AssertionError(f"kube-apiserver did not become ready (last {last}, exit {server.poll()}):\n{said}")


def _install(api: Any) -> None:
    from kubernetes import client

    namespace: Any = {"metadata": {"name": NAMESPACE}}
    client.CoreV1Api(api).create_namespace(namespace)
    definitions, objects = client.ApiextensionsV1Api(api), client.CustomObjectsApi(api)
    for path in CRDS.glob("*.yaml"):
        crd = yaml.safe_load(path.read_text(encoding="utf-8"))
        crd["metadata"].pop("creationTimestamp", None)
        definitions.create_custom_resource_definition(crd)
    deadline = time.monotonic() + 60
    for plural in ("models", "experiments"):
        while True:
            try:
                objects.list_namespaced_custom_object("mlops.seldon.io", "v1alpha1", NAMESPACE, plural)
                break
            except client.ApiException:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
