"""Sending requests in tests, and reading what comes back."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.wire.server import WireServer
from trio_stream._http import Response, ResponseBody, Sender, Transport, open_sender
from trio_stream._http._socket import begin_tcp, finish_tcp
from trio_stream._timeouts import Timeouts

ON_HTTPX2 = httpx.__name__ == "httpx2"
"""Whether httpx2 is in the place of httpx (`tests.on_httpx2`): in few places they are not the same."""

AT_ONCE = 0.05
"""Seconds. 20 ms are promised; a machine that is busy with other things may need more."""

QUICK = Timeouts(connect=2, send=2, first_event=2, silence=2)


async def post(sender: Sender, content: bytes = b"{}", **options: Any) -> Response:
    options.setdefault("timeouts", QUICK)
    options.setdefault("on_sent", lambda: None)
    options.setdefault("headers", {"content-type": "application/json"})
    options.setdefault("params", None)
    options.setdefault("url", "/v1/messages")
    return await sender.send(method="POST", content=content, **options)


async def open_tcp(host: str, port: int) -> socket.socket:
    sock, connected = begin_tcp(host, port)
    if sock is not None and connected:
        return sock
    return await finish_tcp(sock, host, port)


@asynccontextmanager
async def client_of(**options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A plain httpx client of a caller who uses our transport as any other."""
    async with httpx.AsyncClient(transport=Transport(**options), trust_env=False, timeout=None) as client:
        yield client


async def read_all(body: ResponseBody) -> bytes:
    pieces = []
    while piece := await body.receive_some():
        pieces.append(piece)
    return b"".join(pieces)


@asynccontextmanager
async def sender_of(server: WireServer, *, keep: bool = True, **options: Any) -> AsyncIterator[Sender]:
    sender = open_sender(base_url=server.base_url, **options)
    sender.keep_connections(keep)
    try:
        yield sender
    finally:
        await sender.aclose()


def all_texts(error: BaseException | None) -> str:
    """Everything that an error and its causes show of a request."""
    texts = []
    while error is not None:
        texts += [str(error), repr(error)]
        if isinstance(error, httpx.RequestError) and error._request is not None:
            texts += [str(error.request.url), repr(error.request.headers), repr(error.request.content)]
        error = error.__cause__ or error.__context__
    return "\n".join(texts)
