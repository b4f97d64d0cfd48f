"""`RelayResponse`: the responses of this package for FastAPI, and for whatever else wants a Starlette response.

What belongs here: what FastAPI does with a response that it does not do with an ASGI application. What does not: the
response itself (`trio_stream.web`).

Starlette and Litestar take `trio_stream.web.Relay` as it is. FastAPI would make JSON of it.
"""

from __future__ import annotations

from typing import Any, final

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from ._asgi import Application


@final
class RelayResponse(Response):
    """A response of `trio_stream.web` as FastAPI takes it: return it from a path operation.

    ::

        @app.post("/chat")
        async def chat(question: Question) -> RelayResponse:
            return RelayResponse(web.Relay(client.messages.stream(...), web.AISDK()))

    Headers and cookies that you add to it go out with the head, and background tasks run after the response.

    Args:
      app: A `Relay`, or what `Hub.attach` returns.
      headers: Headers to add.
      background: Runs after the response.
    """

    def __init__(
        self, app: Application, *, headers: dict[str, str] | None = None, background: BackgroundTask | None = None
    ) -> None:
        super().__init__(background=background)
        self._app = app
        # Those of an empty response are not ours. Whatever is added from now on is.
        self.raw_headers: list[tuple[bytes, bytes]] = []
        for name, value in (headers or {}).items():
            self.headers[name] = value

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response."""

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *self.raw_headers]}
            await send(message)

        added: Any = send_with_headers if self.raw_headers else send
        await self._app(scope, receive, added)
        if self.background is not None:
            await self.background()
