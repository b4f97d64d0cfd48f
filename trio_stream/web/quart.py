"""`RelayResponse`: the responses of this package for Quart-Trio.

What belongs here: fitting a response that sends itself to a framework that wants to send it. What does not: the
response itself (`trio_stream.web`).

Quart sends the head before it looks at the body, so a failure cannot become the status: it is told by the protocol. And
it sends the end of the body itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, final

import trio
from quart.wrappers.response import Response, ResponseBody

from trio_stream._nursery import NurseryBlock

from ._asgi import Respondent


@final
class RelayBody(ResponseBody):
    """The body of a response, as Quart reads it: within ``async with``, piece by piece.

    The response runs in a task of its own, which is not held up where Quart waits for the host to send.
    """

    def __init__(self, app: Respondent) -> None:
        self._app = app
        self._block: NurseryBlock | None = None
        self._to_quart, self._pieces = trio.open_memory_channel[bytes](0)
        self._has_ended = False

    async def __aenter__(self) -> RelayBody:
        """Begin the response."""
        self._block = block = NurseryBlock("response")
        await block.enter()
        block.nursery.start_soon(self._run, name="trio_stream web response")
        return self

    async def __aexit__(  # type: ignore[override]  # pyright: ignore[reportIncompatibleMethodOverride]
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> bool:
        """End the response, whatever it is doing."""
        block = self._block
        assert block is not None
        block.nursery.cancel_scope.cancel(reason="Quart has left the body of the response")
        return await block.exit(exc)  # noqa: ASYNC102 - waits as a nursery does

    def __aiter__(self) -> RelayBody:
        """Iterate over the pieces."""
        return self

    async def __anext__(self) -> bytes:
        """The next piece. A checkpoint.

        Raises:
          StopAsyncIteration: The response has ended.
          trio.BrokenResourceError: It was cut.
        """
        try:
            return await self._pieces.receive()
        except trio.EndOfChannel:
            if self._has_ended:
                raise StopAsyncIteration from None
        # Quart would end the response as if it were complete.
        raise trio.BrokenResourceError("the response was cut")

    async def _run(self) -> None:
        async with self._to_quart:
            await self._app.send_body(_never, self._send)

    async def _send(self, message: Mapping[str, Any]) -> None:
        if message["body"]:
            await self._to_quart.send(message["body"])
        self._has_ended = not message["more_body"]


async def _never() -> Mapping[str, Any]:
    """Quart itself listens to the host, and cancels when the peer is gone."""
    await trio.sleep_forever()


@final
class RelayResponse(Response):
    """A response of `trio_stream.web` as Quart-Trio takes it: return it from a handler.

    ::

        @app.post("/chat")
        async def chat() -> RelayResponse:
            body = await request.get_json()
            return RelayResponse(web.Relay(client.messages.stream(..., messages=body["messages"]), web.AISDK()))

    Quart sends the head at once, so a failure cannot become the status of the response: it is told by the protocol.
    Quart's ``RESPONSE_TIMEOUT`` does not hold.

    Args:
      app: A `Relay`, or what `Hub.attach` returns.
    """

    def __init__(self, app: Respondent) -> None:
        status, headers = app.head()
        super().__init__(RelayBody(app), status=status)  # pyright: ignore[reportUnknownMemberType] - Quart's types
        self.headers.clear()
        for name, value in headers.items():
            self.headers[name] = value
        self.timeout: Any = None
