# pyright: basic
"""One question to one peer over Agent2Agent, with the protocol's own client.

Only the address of the settings is called: no redirect is followed, and a card that names another host is refused. What comes
is read up to a bound, a question has one deadline with all its retries, and a peer that failed several times in a row is left
alone for a while. Whatever goes wrong is `Unavailable`, in our own words.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from tools.adapters.breaker import Breaker
from tools.contracts.peer_settings import PeerSpec, Role
from tools.errors import TimedOut, Unavailable, chain_of

if TYPE_CHECKING:
    import httpx

MAX_REPLY: Final = 8_000_000
"""Bytes of one answer; more is not read."""
_PAUSE: Final = 0.2
"""Seconds before the first retry; twice as long before each further one, and between looks at a task that goes on."""
_LONGEST_PAUSE: Final = 5.0


class RemotePeer:
    """A peer at an address.

    Args:
        role: Which one; stands in messages in place of the address.
        spec: Where it answers, and how patient we are.
        monotonic: Seconds that only grow.
        pause: Waits so many seconds.
    """

    def __init__(
        self,
        role: Role,
        spec: PeerSpec,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        max_reply: int = MAX_REPLY,
    ) -> None:
        self.role, self.spec = role, spec
        self._monotonic, self._pause, self._max_reply = monotonic, pause, max_reply
        self._breaker = Breaker(monotonic)

    def ask(
        self, action: str, message: Mapping[str, Any], files: Mapping[str, bytes], request_id: str
    ) -> Mapping[str, Any]:
        """The content of the reply, unchecked.

        Args:
            action: What is asked for, as in `retrain serve --role`.
            message: The envelope as JSON.
            files: Name to bytes of what the payload speaks of.
            request_id: The same for the same question: asked again, it does nothing again.

        Raises:
            Unavailable: No answer, or none that can be read; `TimedOut` where the time was up.
        """
        size = sum(map(len, files.values()))
        if size > self.spec.max_upload_mb * 1e6:
            raise Unavailable(
                f"the {self.role} was not asked: the rows have {size / 1e6:.0f} MB",
                thing=self.role,
                remedy="raise its max_upload_mb, or share the work folder with it and set shared_files",
            )
        self._breaker.require(self.role)
        deadline = self._monotonic() + self.spec.timeout_seconds
        try:
            reply = self._with_retries(action, message, files, request_id, deadline)
        except BaseException:
            self._breaker.told(answered=False)
            raise
        self._breaker.told(answered=True)
        return reply

    def _with_retries(
        self,
        action: str,
        message: Mapping[str, Any],
        files: Mapping[str, bytes],
        request_id: str,
        deadline: float,
    ) -> Mapping[str, Any]:
        for attempt in range(self.spec.retries + 1):
            left = deadline - self._monotonic()
            try:
                if left <= 0:
                    raise TimedOut(f"the {self.role} did not answer within {self.spec.timeout_seconds:g} s")
                return _in_a_loop(lambda left=left: self._once(action, message, files, request_id, left))
            except Exception as error:
                failure = _told(self.role, error, self.spec.timeout_seconds)
                wait = min(_PAUSE * 2**attempt, _LONGEST_PAUSE)
                if attempt == self.spec.retries or not _passes(error) or deadline - self._monotonic() <= wait:
                    raise failure from error
                self._pause(wait)
        raise AssertionError("there is always a first attempt")  # pragma: no cover

    async def _once(
        self, action: str, message: Mapping[str, Any], files: Mapping[str, bytes], request_id: str, left: float
    ) -> Mapping[str, Any]:
        async with asyncio.timeout(left):
            async with self._http(left) as http:
                client = await self._client(http)
                return await self._exchange(client, action, message, files, request_id)

    def _http(self, left: float) -> "httpx.AsyncClient":
        import httpx
        from a2a.utils.constants import PROTOCOL_VERSION_CURRENT, VERSION_HEADER

        from tools.adapters.bounded_http import BoundedTransport

        headers = {VERSION_HEADER: PROTOCOL_VERSION_CURRENT, "Accept-Encoding": "identity"}
        if self.spec.token is not None:
            headers["Authorization"] = f"Bearer {self.spec.token}"
        return httpx.AsyncClient(
            transport=BoundedTransport(self._max_reply),
            headers=headers,
            timeout=left,
            follow_redirects=False,
            trust_env=False,
        )

    async def _client(self, http: "httpx.AsyncClient") -> Any:
        """A client of the card's JSON-RPC address, where that is the host and port of the settings."""
        from a2a.client.card_resolver import A2ACardResolver
        from a2a.client.client import ClientConfig
        from a2a.client.client_factory import ClientFactory
        from a2a.utils.constants import TransportProtocol

        card = await A2ACardResolver(http, self.spec.url).get_agent_card()
        kept = [
            each
            for each in card.supported_interfaces
            if each.protocol_binding == TransportProtocol.JSONRPC.value and _origin(each.url) == _origin(self.spec.url)
        ]
        if not kept:
            raise Refused("its card names no JSON-RPC address at its own host and port")
        del card.supported_interfaces[:]
        card.supported_interfaces.append(kept[0])
        config = ClientConfig(streaming=False, httpx_client=http, supported_protocol_bindings=["JSONRPC"])
        return ClientFactory(config).create(card)

    async def _exchange(
        self, client: Any, action: str, message: Mapping[str, Any], files: Mapping[str, bytes], request_id: str
    ) -> Mapping[str, Any]:
        from a2a.helpers.proto_helpers import new_data_part, new_raw_part
        from a2a.types.a2a_pb2 import GetTaskRequest, Message, SendMessageConfiguration, SendMessageRequest, TaskState
        from a2a.types.a2a_pb2 import Role as Speaker

        parts = [new_data_part(dict(message), media_type="application/json")]
        parts += [new_raw_part(content, "application/vnd.apache.parquet", name) for name, content in files.items()]
        asked = Message(message_id=request_id, role=Speaker.ROLE_USER, parts=parts)
        asked.metadata.update({"action": action})
        found: Any = None
        config = SendMessageConfiguration(history_length=0)  # our own rows need not come back
        async for event in client.send_message(SendMessageRequest(message=asked, configuration=config)):
            found = event
        if found is not None and found.HasField("message"):
            return _content([*found.message.parts])
        if found is None or not found.HasField("task"):
            raise Refused("it answered with neither a task nor a message")
        task, wait = found.task, _PAUSE
        while task.status.state in (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING):
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_PAUSE)
            task = await client.get_task(GetTaskRequest(id=task.id))
        if task.status.state != TaskState.TASK_STATE_COMPLETED:
            state = TaskState.Name(task.status.state).removeprefix("TASK_STATE_").lower().replace("_", " ")
            raise Refused(f"its task ended as {state}", _text(task))
        return _content([part for artifact in task.artifacts for part in artifact.parts])


class Refused(Exception):
    """An answer that is none. `said` is the peer's own text: for logs of ours, never for a reason."""

    def __init__(self, message: str, said: str = "") -> None:
        super().__init__(message)
        self.said = said


def _in_a_loop(make: Callable[[], Any]) -> Any:
    """Runs it to its end, in a thread of its own where this one has a loop already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(make())).result()


def _content(parts: list[Any]) -> Mapping[str, Any]:
    data = [part.data for part in parts if part.HasField("data")]
    if not data:
        raise Refused("its answer is empty")
    content = _plain(data[0])
    if not isinstance(content, Mapping):
        raise Refused("its answer is no message")
    return content


def _plain(value: Any) -> Any:
    """What protobuf's JSON value holds, NaN and infinities too: who reads it names them."""
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        return {name: _plain(item) for name, item in value.struct_value.fields.items()}
    if kind == "list_value":
        return [_plain(item) for item in value.list_value.values]
    return None if kind in (None, "null_value") else getattr(value, kind)


def _origin(url: str) -> tuple[str, str, int | None]:
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    return parts.scheme, (parts.hostname or "").lower(), port


def _text(task: Any) -> str:
    return " ".join(part.text for part in task.status.message.parts if part.HasField("text"))[:500]


def _status(error: BaseException) -> int | None:
    import httpx

    found = [each for each in chain_of(error) if isinstance(each, httpx.HTTPStatusError)]
    return found[0].response.status_code if found else None


def _passes(error: BaseException) -> bool:
    """Whether asking again may help."""
    status = _status(error)
    if status is not None:
        return status >= 500 or status in (408, 429)
    from tools.adapters.bounded_http import TooLarge

    return not any(isinstance(each, Refused | TooLarge | TimedOut | TimeoutError) for each in chain_of(error))


def _told(role: str, error: BaseException, seconds: float) -> Unavailable:
    import json

    import httpx

    from tools.adapters.bounded_http import TooLarge

    chain = chain_of(error)
    refused = [each for each in chain if isinstance(each, Refused)]
    remedy = "see that it runs and answers at the address in retraining.yaml"
    if refused:
        return Unavailable(f"the {role} gave no answer: {refused[0]}", thing=role, value=refused[0].said or None)
    if any(isinstance(each, TooLarge) for each in chain):
        return Unavailable(f"the {role}'s reply is huge: it was not read to its end", thing=role)
    if any(isinstance(each, TimedOut | TimeoutError | httpx.TimeoutException) for each in chain):
        return TimedOut(f"the {role} did not answer within {seconds:g} s", thing=role, remedy=remedy)
    status = _status(error)
    if status in (401, 403):
        return Unavailable(f"the {role} refuses us (HTTP {status})", thing=role, remedy="check its token")
    if status is not None and 300 <= status < 400:
        return Unavailable(f"the {role} sends us to another address, which is not followed", thing=role)
    if status is not None:
        return Unavailable(f"the {role} answered with HTTP {status}", thing=role, remedy=remedy)
    if any(isinstance(each, httpx.ConnectError) for each in chain):
        return Unavailable(f"the {role} cannot be reached", thing=role, remedy=remedy)
    if any(isinstance(each, httpx.RemoteProtocolError | httpx.ReadError) for each in chain):
        return Unavailable(f"the {role} broke off in the middle of its reply", thing=role, remedy=remedy)
    if any(isinstance(each, json.JSONDecodeError) for each in chain):
        return Unavailable(f"the {role}'s reply is no JSON, or half of it", thing=role, remedy=remedy)
    from a2a.client.errors import A2AClientError
    from a2a.utils.errors import A2AError

    if isinstance(error, A2AError) and not isinstance(error, A2AClientError):
        return Unavailable(
            f"the {role} refused the question ({type(error).__name__})", thing=role, value=str(error)[:500]
        )
    return Unavailable(f"the {role}'s reply keeps to no protocol ({type(error).__name__})", thing=role, remedy=remedy)
