"""Who may come in? Every request passes here first: host, rate, key, size. What no rule lets through stays outside."""

import asyncio
import ipaddress
import secrets
import sys
import time
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from agent.entrypoints.server.cut import Told, while_known
from agent.entrypoints.server.limits import Limits, Rates, Slots
from agent.entrypoints.server.problems import broken, of_error, problem
from tools.contracts.access import Caller
from tools.errors import RetrainingError
from tools.ports import Clock

DoorName = Literal["http", "a2a", "mcp"]
ALWAYS_HOSTS: Final = ("localhost",)
"""Names that no stranger's DNS answers for. An address is always right: a rebound name comes as a name."""
HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
"""On every answer that does not say it otherwise."""


class KeyRing(Protocol):
    """Knows keys; `agent.services.keys.Keys` is one."""

    def authenticate(self, token: str, door: DoorName = "http") -> Caller | None:
        """Whoever bears the token; None where it is unknown, revoked or expired."""
        ...

    def list(self) -> Sequence[Any]:
        """The keys that are not revoked."""
        ...


class BodyTooLarge(Exception):
    """More bytes than are read."""


class BodyTooSlow(Exception):
    """Not all of it in the time given."""


class Guard:
    """ASGI middleware around everything.

    Args:
        app: What is guarded.
        keys: Who is known.
        open_paths: Paths that need no key of ours.
        doors: Beginning of a path to the door that it belongs to; `http` where none fits.
        hosts: Names that this server answers to, beside addresses and `localhost`.
        tell: Hears a line a request: method, path, status, who. No query, no header, no body.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: KeyRing,
        clock: Clock,
        limits: Limits,
        open_paths: Collection[str],
        doors: Mapping[str, DoorName],
        hosts: Collection[str],
        tell: Callable[[str], None],
    ) -> None:
        self._app, self._keys, self._limits, self._tell = app, keys, limits, tell
        self._open, self._doors = frozenset(open_paths), doors
        self._hosts = frozenset(name.lower() for name in (*ALWAYS_HOSTS, *hosts))
        self._under_way = Slots(sys.maxsize, limits.at_once_of_caller)
        self._of_key = Rates(clock, limits.calls_a_minute)
        self._of_address = Rates(clock, limits.calls_of_address)
        self._failures = Rates(clock, limits.failures_of_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._http(scope, receive, send)
        else:  # no door speaks over web sockets
            await send({"type": "websocket.close", "code": 1008})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun, gone_out = time.monotonic(), Told()

        async def told(message: Message) -> None:
            gone_out.note(message)
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        scope.setdefault("state", {})["caller"] = None
        try:
            answer = await self._refused(scope)
            caller = scope["state"]["caller"]
            with self._under_way.held("" if caller is None else caller.name) as given:
                if answer is None and not given and caller is not None:
                    answer = _slower(f"more than {self._limits.at_once_of_caller} calls at once with one key")
                if answer is None and caller is None:
                    await self._app(scope, self._bounded(receive), told)
                elif answer is None:
                    answer = await self._answered(scope, receive, told, gone_out)
        except (BodyTooLarge, BodyTooSlow) as error:  # outside of the routes
            answer = await body_refused(None, error)
        except Exception as error:  # noqa: BLE001 (nothing of it may reach the caller)
            answer = self.failed(scope, error)
        if answer is not None and not gone_out.status:
            await answer(scope, receive, told)
        self._log(scope, gone_out.status, time.monotonic() - begun)

    async def _answered(self, scope: Scope, receive: Receive, send: Send, gone_out: Told) -> Response | None:
        """Answered while the bearer's key is good; else the answer to whoever has none."""
        token = _bearer(Headers(scope=scope)) or ""

        async def known() -> bool:
            try:
                return await self._known(token, scope["path"]) is not None
            except RetrainingError:  # a store that is away says nothing about a key
                return True

        if await while_known(self._app, scope, self._bounded(receive), send, known, self._limits.known_seconds):
            return None
        await gone_out.end(send, as_event=scope["state"]["caller"].door == "http")
        return _unknown(token, any_key=True)

    async def _refused(self, scope: Scope) -> Response | None:
        """The answer to whoever may not come in. Sets the caller of who may."""
        headers = Headers(scope=scope)
        foreign = self._foreign(headers)
        if foreign is not None:
            return foreign
        address = scope["client"][0] if scope.get("client") else "local"
        if not self._of_address.take(address):
            return _slower(f"more than {self._limits.calls_of_address} calls a minute from this address")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length[:20]) > self._limits.body_bytes:
            return await body_refused(None, BodyTooLarge())
        if scope["path"] in self._open:
            return None
        token = _bearer(headers)
        try:
            caller = None if token is None else await self._known(token, scope["path"])
            if caller is None:
                if not self._failures.take(address):
                    return _slower(f"more than {self._limits.failures_of_address} calls a minute without a known key")
                return _unknown(token, any_key=bool(await run_in_threadpool(self._keys.list)))
        except RetrainingError as error:
            return of_error(error)
        if not self._of_key.take(caller.name):
            return _slower(f"more than {self._limits.calls_a_minute} calls a minute with the key {caller.name!r}")
        scope["state"]["caller"] = caller
        return None

    async def _known(self, token: str, path: str) -> Caller | None:
        fits: list[DoorName] = [
            door for start, door in self._doors.items() if path == start or path.startswith(start + "/")
        ]
        door: DoorName = fits[0] if fits else "http"
        return await run_in_threadpool(self._keys.authenticate, token, door)

    def _foreign(self, headers: Headers) -> Response | None:
        """A page from elsewhere may make a browser call us under a name of its own: not under ours."""
        host = headers.get("host", "")
        if not self._is_ours(f"//{host}"):
            return problem(
                421,
                "this server does not answer to the host name of the request",
                title="Misdirected request",
                thing="Host",
                value=host,
                remedy="use its address, or start it with --allow-host NAME",
            )
        origin = headers.get("origin")
        if origin is not None and not self._is_ours(origin):
            return problem(
                403,
                "requests from pages of another origin are refused",
                title="NotAllowed",
                thing="Origin",
                value=origin,
                remedy="call from a program, not from a web page",
            )
        return None

    def _is_ours(self, url: str) -> bool:
        try:
            split = urlsplit(url)
            host = split.hostname
        except ValueError:
            return False
        if host is None or "@" in split.netloc:
            return False
        if host.rstrip(".") in self._hosts:
            return True
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        return True

    def _bounded(self, receive: Receive) -> Receive:
        """The body as it comes, no more than may come and no longer than it may take."""
        got, whole, until = 0, False, time.monotonic() + self._limits.body_seconds

        async def bounded() -> Message:
            nonlocal got, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, until - time.monotonic())):
                    message = await receive()
            except TimeoutError:
                raise BodyTooSlow from None
            if message["type"] == "http.request":
                got += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if got > self._limits.body_bytes:
                    raise BodyTooLarge
            return message

        return bounded

    def failed(self, scope: Scope, error: Exception) -> Response:
        """The answer to a request that met a fault of the program; noted once.

        The text of a foreign error may hold anything, so it goes nowhere: where it happened is enough to find it.
        """
        if "incident" not in scope["state"]:
            scope["state"]["incident"] = secrets.token_hex(4)
            frames = traceback.extract_tb(error.__traceback__)
            places = " < ".join(
                f"{frame.filename.rsplit('/', 1)[-1]}:{frame.lineno}" for frame in reversed(frames[-6:])
            )
            self._tell(f"incident {scope['state']['incident']}: {type(error).__name__} at {places}")
        return broken(scope["state"]["incident"])

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        caller = scope["state"]["caller"]
        path = scope.get("raw_path", b"").partition(b"?")[0].decode("ascii", "replace")[:200]
        who = "nobody" if caller is None else caller.name
        self._tell(f"{scope['method']} {path} {status or 'gone'} {seconds:.3f} s {who}")


def caller_of(scope: Scope) -> Caller:
    """Who asks, as the guard has made sure of.

    Raises:
        AssertionError: the path is open; who serves it must not ask.
    """
    caller = scope["state"]["caller"]
    assert isinstance(caller, Caller)
    return caller


async def body_refused(_: object, error: Exception) -> Response:
    """Handler of `BodyTooLarge` and `BodyTooSlow`. The connection ends: what else comes on it is not read."""
    if isinstance(error, BodyTooLarge):
        return problem(
            413,
            "the body is too large, or does not say its length",
            title="Too large",
            remedy="a request is a few kilobytes; data stays where it is",
            Connection="close",
        )
    return problem(408, "the body did not come in time", title="Too slow", remedy="send it at once", Connection="close")


def _bearer(headers: Headers) -> str | None:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


def _unknown(token: str | None, *, any_key: bool) -> Response:
    what = "no key was given" if token is None else "the key is unknown, revoked or expired"
    remedy = "send Authorization: Bearer KEY"
    if not any_key:
        what += "; this server has none yet, so all its doors are shut"
        remedy = "`retrain keys create NAME --scope read` makes one, on the machine of the server; then " + remedy
    return problem(401, what, title="Unauthorised", thing="Authorization", remedy=remedy, WWW_Authenticate="Bearer")


def _slower(detail: str) -> Response:
    return problem(429, detail, title="Too many requests", remedy="wait a minute", Retry_After="60")
