"""The ASGI application of `trio-stream web`: its page, and what the page asks for.

What belongs here: routes, bodies and responses. What does not: who may ask (`_web_guard`), conversations
(`_web_chats`), and the files of the page (the directory `_page`).

    GET  /, /page.css, /page.js, ...       the page
    GET  /api/chats                        what the server is, and the conversations
    POST /api/chats                        a new one
    GET  /api/chats/ID                     one of them, with its questions
    POST /api/chats/ID/ask                 the user says something; the body is that of the Messages API
    POST /api/chats/ID/again, /stop        the buttons
    POST /api/chats/ID/decide              {"id": the call's, "allowed": true or false}
    GET  /api/chats/ID/turns/NUMBER        the answer, as an event stream; `last-event-id` goes on after that
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from typing import Any, Final, TypeAlias, final

import msgspec
import trio

from trio_stream import web
from trio_stream.cli._web_chats import Chats, RefusedError
from trio_stream.cli._web_guard import SECURITY_HEADERS, Guard, Headers

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Any]]
Send: TypeAlias = Callable[[Any], Awaitable[None]]

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_MOST_BYTES: Final = 1024 * 1024
_MOST_CHARACTERS: Final = 200_000
_BODY_SECONDS: Final = 30.0

_TOKEN_IN_PAGE: Final = b"{{token}}"


class _Decision(msgspec.Struct):
    """The body of ``/decide``."""

    id: str
    allowed: bool


@final
class WebApp:
    """The application.

    Args:
      chats: The conversations.
      guard: Judges requests.
      about: What the page says of the server, as JSON.
    """

    def __init__(self, chats: Chats, guard: Guard, about: Mapping[str, Any]) -> None:
        self._chats = chats
        self._guard = guard
        self._about = about
        self._files = _load_page(guard.token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request. A checkpoint."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})  # a 403: there is nothing to connect to
            return
        secured = _secured(send)
        try:
            response = await self._respond(scope, receive)
        except RefusedError as error:
            response = _json({"error": {"message": str(error)}}, error.status)
        await response(scope, receive, secured)

    async def _respond(self, scope: Scope, receive: Receive) -> web.Respondent | _Response:
        refusal = self._guard.refusal_of(scope)
        if refusal is not None:
            raise RefusedError(403, refusal)
        path: str = scope["path"]
        if not path.startswith("/api/"):
            return self._page(scope["method"], path)
        if not self._guard.has_token(scope):
            raise RefusedError(403, "The server was started anew: reload the page.")
        match scope["method"], path.split("/")[2:]:
            case "GET", ["chats"]:
                return _json({**self._about, "chats": self._chats.all()})
            case "GET", ["chats", chat]:
                return _json(self._chats.show(chat))
            case "GET", ["chats", chat, "turns", number]:
                return self._chats.read(chat, number, Headers(scope["headers"]).only("last-event-id"))
            case "POST", ["chats", *rest]:
                body = await _body(scope, receive)
                return _json(self._post(rest, body))
            case _:
                raise RefusedError(404, "There is nothing here.")

    def _post(self, path: list[str], body: bytes) -> dict[str, Any]:
        chats = self._chats
        match path:
            case []:
                return chats.new()
            case [chat, "ask"]:
                try:
                    content = web.user_content(
                        body, "anthropic", max_body_bytes=_MOST_BYTES, max_characters=_MOST_CHARACTERS, max_files=0
                    )
                except web.UserContentError as error:
                    raise RefusedError(400, f"This cannot be asked: {error}.") from error
                return chats.ask(chat, content)
            case [chat, "again"]:
                return chats.ask_again(chat)
            case [chat, "stop"]:
                return chats.stop(chat)
            case [chat, "decide"]:
                try:
                    decision = msgspec.json.decode(body, type=_Decision)
                except msgspec.MsgspecError as error:
                    raise RefusedError(400, "This is no decision.") from error
                return chats.decide(chat, decision.id, is_allowed=decision.allowed)
            case _:
                raise RefusedError(404, "There is nothing here.")

    def _page(self, method: str, path: str) -> _Response:
        if method not in ("GET", "HEAD"):
            raise RefusedError(405, "This can only be read.")
        file = self._files.get("/index.html" if path == "/" else path)
        if file is None:
            raise RefusedError(404, "There is nothing here.")
        return file


@final
class _Response:
    """A response that is whole."""

    def __init__(self, status: int, kind: str, body: bytes) -> None:
        self._status = status
        self._kind = kind
        self._body = body

    async def __call__(self, scope: Scope, _receive: Receive, send: Send) -> None:
        fields = {
            "content-type": f"{self._kind}; charset=utf-8",
            "content-length": str(len(self._body)),
            "cache-control": "no-store",
        }
        headers = [(name.encode(), value.encode()) for name, value in fields.items()]
        await send({"type": "http.response.start", "status": self._status, "headers": headers})
        body = b"" if scope["method"] == "HEAD" else self._body
        await send({"type": "http.response.body", "body": body, "more_body": False})


def _json(value: object, status: int = 200) -> _Response:
    return _Response(status, "application/json", msgspec.json.encode(value))


def _load_page(token: str) -> dict[str, _Response]:
    """The files of the page, by their paths. All of them are small, and are read once."""
    page: dict[str, _Response] = {}
    for file in (files("trio_stream.cli") / "_page").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            data = file.read_bytes().replace(_TOKEN_IN_PAGE, token.encode())
            page[f"/{file.name}"] = _Response(200, _TYPES[suffix], data)
    return page


def _secured(send: Send) -> Send:
    """Give every response the headers of `SECURITY_HEADERS`."""
    more = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

    async def secured(message: Any) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *more]}
        await send(message)

    return secured


async def _body(scope: Scope, receive: Receive) -> bytes:
    """The body of a request, within bounds."""
    headers = Headers(scope["headers"])
    # A form of another page cannot send this type: for it, a browser asks first whether it may.
    if (headers.only("content-type") or "").partition(";")[0].strip().lower() != "application/json":
        raise RefusedError(415, "The body has to be JSON.")
    body = bytearray()
    with trio.move_on_after(_BODY_SECONDS) as scope_of_body:
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "The body is not whole.")
            body += message.get("body", b"")
            if len(body) > _MOST_BYTES:
                raise RefusedError(413, "This is too long.")
            if not message.get("more_body", False):
                break
    if scope_of_body.cancelled_caught:
        raise RefusedError(408, "The body did not come.")
    return bytes(body)


async def _live(receive: Receive, send: Send) -> None:
    """Tell the host that the application is ready, and that it has ended. There is nothing to do for either."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
