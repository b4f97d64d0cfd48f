"""The frames of a blocking stream: a response of Flask and of Django, through a real WSGI server."""

from __future__ import annotations

import http.client
import socket
import threading
import time
import wsgiref.simple_server
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import Any

import django
import flask
import pytest
import trio
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from trio_stream import blocking, web
from trio_stream.blocking import Frames
from trio_stream.testing import fail, pause, say, stall

from .api import PARAMS, client_of, until

CLIENTS: list[blocking.Client] = []
"""The client of the test that runs, as the views of a site know theirs."""

HEARTBEAT = 0.05


def frames_of_an_answer() -> Frames:
    """What a view does: enter the block by hand, so that what fails until then can become a status."""
    stream = CLIENTS[-1].messages.stream(**PARAMS).__enter__()
    return stream.frames(web.Anthropic(), heartbeat=HEARTBEAT)


def flask_app() -> Any:
    app = flask.Flask("site")

    @app.get("/chat")
    def chat() -> flask.Response:
        frames = frames_of_an_answer()
        return flask.Response(frames, headers=frames.headers)

    return app


def django_view(_request: HttpRequest) -> StreamingHttpResponse:
    frames = frames_of_an_answer()
    return StreamingHttpResponse(frames, headers=frames.headers)


urlpatterns = [path("chat", django_view)]


def django_app() -> Any:
    if not settings.configured:
        settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="none", LOGGING_CONFIG=None)
        django.setup()
    return WSGIHandler()


class Server(ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """One thread for each request, as most WSGI servers have it."""

    daemon_threads = True
    block_on_close = True


class Handler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def site(app: Any, client: blocking.Client) -> Iterator[int]:
    """A site on a port."""
    CLIENTS.append(client)
    server = wsgiref.simple_server.make_server("127.0.0.1", 0, app, Server, Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        CLIENTS.pop()


@pytest.fixture(params=[flask_app, django_app], ids=["flask", "django"])
def app(request: pytest.FixtureRequest) -> Any:
    return request.param()


def test_an_answer(app: Any) -> None:
    """Each piece arrives when it is there, heartbeats in between, and the end says that it is one."""
    with client_of([say("Hello "), pause(0.2), say("there")]) as (client, _), site(app, client) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/chat")
        response = connection.getresponse()
        assert response.status == 200
        assert response.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert response.getheader("cache-control") == "no-cache, no-transform"
        body = response.read().decode()
        connection.close()
    kinds = [line.removeprefix("event: ") for line in body.splitlines() if line.startswith("event: ")]
    assert kinds[0] == "message_start"
    assert kinds.count("ping") >= 2
    assert kinds[-1] == "message_stop"
    assert "there" in body


def test_a_tab_that_is_closed(app: Any) -> None:
    """The model is closed at one of the next writes: heartbeats see to it that there are some."""
    with client_of([say("Hello"), stall()]) as (client, api), site(app, client) as port:
        with socket.create_connection(("127.0.0.1", port)) as tab:
            tab.sendall(b"GET /chat HTTP/1.1\r\nHost: x\r\n\r\n")
            received = b""
            while b"Hello" not in received:
                received += tab.recv(65536)
        began = time.monotonic()
        until(lambda: api.open_streams == 0)
        assert time.monotonic() - began < 100 * HEARTBEAT


def test_what_ends_an_answer() -> None:
    """Its end, an error after everything before it, a stop by another thread, or closing: a frame says which."""
    scripts = [[say("one")], [say("one"), fail("overloaded_error")], [say("one"), stall()], [say("one"), stall()]]
    with client_of(*scripts) as (client, api):
        frames = client.messages.stream(**PARAMS).__enter__().frames(web.JSONLines())
        assert b"".join(frames).endswith(b'{"type":"message_stop"}\n')
        assert list(frames) == []
        frames = client.messages.stream(**PARAMS).__enter__().frames(web.JSONLines(), describe=lambda error: "sorry")
        failed = b"".join(frames)
        assert failed.index(b"one") < failed.index(b"overloaded_error") < failed.index(b"sorry")
        stream = client.messages.stream(**PARAMS).__enter__()
        frames = stream.frames(web.JSONLines(), heartbeat=None)
        assert b"one" in next(frames)
        threading.Timer(0.02, stream.close).start()
        assert b"stopped" in b"".join(frames)
        stream = client.messages.stream(**PARAMS).__enter__()
        frames = stream.frames(web.JSONLines())
        next(frames)
        frames.close()
        frames.close()
        assert list(frames) == []
        assert api.open_streams == 0
        assert stream.text == "one"
        with pytest.raises(trio.ClosedResourceError):
            next(stream)
        with pytest.raises(ValueError, match="heartbeat"):
            stream.frames(web.JSONLines(), heartbeat=0)


class Quiet(web.JSONLines):  # type: ignore[misc]
    """Has nothing to say of anything but the end."""

    def event(self, event: Any, data: bytes | None) -> tuple[bytes, ...]:
        return ()

    def end(self) -> tuple[bytes, ...]:
        return (b"end\n",)


def test_an_encoder_that_has_nothing_to_say() -> None:
    """No empty piece is given for it."""
    with client_of([say("one"), pause(0.05), say("two")]) as (client, _):
        assert list(client.messages.stream(**PARAMS).__enter__().frames(Quiet())) == [b"end\n"]


@pytest.mark.parametrize(
    ("encoder", "last"),
    [
        (web.Anthropic(), b"message_stop"),
        (web.AISDK(), b"[DONE]"),
        (web.AGUI("thread", "run"), b"RUN_FINISHED"),
    ],
    ids=["anthropic", "ai sdk", "ag-ui"],
)
def test_each_protocol(encoder: web.Encoder, last: bytes) -> None:
    """A body ends with the frame that says how."""
    with client_of([say("one two")]) as (client, _):
        body = b"".join(client.messages.stream(**PARAMS).__enter__().frames(encoder))
    assert last in body.rstrip().rpartition(b"\n\n")[2]
