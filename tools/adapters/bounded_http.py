# pyright: basic
"""An HTTP transport that reads no more than it was told to, whatever the other side sends."""

from collections.abc import AsyncIterator

import httpx


class TooLarge(Exception):
    """The answer has more bytes than are read, or hides how many it has."""


class BoundedTransport(httpx.AsyncHTTPTransport):
    """Refuses answers of more than `most` bytes, and compressed ones: a small answer can unfold into a huge one."""

    def __init__(self, most: int) -> None:
        super().__init__(retries=0)
        self._most = most

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        told = response.headers.get("content-length", "0")
        hidden = response.headers.get("content-encoding", "identity").lower() != "identity"
        if hidden or not told.isdigit() or int(told) > self._most:
            await response.aclose()
            raise TooLarge
        assert isinstance(response.stream, httpx.AsyncByteStream)  # of an asynchronous transport
        response.stream = _Counted(response.stream, self._most)
        return response


class _Counted(httpx.AsyncByteStream):
    def __init__(self, inner: httpx.AsyncByteStream, most: int) -> None:
        self._inner, self._most = inner, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        seen = 0
        async for chunk in self._inner:
            seen += len(chunk)
            if seen > self._most:
                raise TooLarge
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
