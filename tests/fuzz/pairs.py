"""The client, and the transport alone, over sockets whose other end has said everything already.

What belongs here: a connection without a network and without a server task, whose every read returns one piece, and
what became of a stream on it. What does not: the bytes (`strategies`), and what must hold of the outcome (the tests).
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import trio

import trio_stream as ts
from tests.fuzz.targets import check_sentence
from trio_stream._http import _transport

KEY = "sk-key-that-nobody-may-see"
PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": "a prompt that nobody may see"}],
}

QUEUE = 10
"""How many pieces a socket holds: net.unix.max_dgram_qlen."""


@contextmanager
def answered_with(*answers: Sequence[bytes]) -> Iterator[list[socket.socket]]:
    """Each connection that is opened finds the pieces of the next answer, and after them the end.

    Yields:
      The client's ends so far.
    """
    with ExitStack() as stack:
        ours: list[socket.socket] = []

        def connect(_host: str, _port: int) -> tuple[socket.socket, bool]:
            # A SOCK_SEQPACKET is a stream whose reads return what was written, piece by piece.
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            stack.enter_context(there)
            stack.enter_context(here)
            here.setblocking(False)
            for piece in answers[len(ours)]:
                there.send(piece)
            there.shutdown(socket.SHUT_WR)
            ours.append(here)
            return here, True

        with patch.object(_transport, "begin_tcp", connect):
            yield ours


@dataclass(frozen=True)
class Outcome:
    """What became of one stream.

    Args:
      error: Its class; None when the message completed.
      sentence: What the error says.
      text: Of the message, complete or not.
      message: Complete or not; None before ``message_start``.
      events: The types of what was delivered, in order.
      inputs: Of each ``input_json`` event: the text so far, and its snapshot (the error's class, if that is one).
    """

    error: type[ts.APIError] | None
    sentence: str
    text: str
    message: ts.Message | None
    events: list[str]
    inputs: list[tuple[str, object]] = field(default_factory=list)


def stream_over(pieces: Sequence[bytes]) -> Outcome:
    """Stream one message from an answer in these pieces, and look at everything that holds whatever they are."""
    return trio.run(_stream, pieces)


async def _stream(pieces: Sequence[bytes]) -> Outcome:
    error: ts.APIError | None = None
    stream: ts.MessageStream | None = None
    said: list[str] = []
    events: list[str] = []
    inputs: list[tuple[str, object]] = []
    written = ""
    with answered_with(pieces) as ours, trio.fail_after(10):
        async with ts.Client(api_key=KEY, base_url="http://127.0.0.1:1", max_retries=0, max_connections=1) as client:
            try:
                async with client.messages.stream(**PARAMS) as stream:
                    async for event in stream:
                        events.append(str(event.type))
                        said.append(_text_of(event))
                        if event.type == "input_json":
                            written += event.partial_json
                            inputs.append((written, _snapshot(event)))
            except ts.APIError as exc:
                error = exc
            assert client.statistics().active == client.statistics().waiting == 0
        assert len(ours) == 1, "there were no retries to make"
        assert ours[0].fileno() == -1, "the connection was left open"
    if error is None:
        assert stream is not None
        assert stream.message.stop_reason is not None
        assert stream.text == stream.message.text == "".join(said)
        return Outcome(None, "", stream.text, stream.message, events, inputs)
    check_error(error)
    text = "" if error.partial is None else error.partial.text
    assert text == "".join(said), "what was delivered is not what is on .partial"
    if stream is not None:
        assert stream.text == text
        assert stream.partial == error.partial
    return Outcome(type(error), str(error), text, error.partial, events, inputs)


def _text_of(event: Any) -> str:
    """The text that an event is the first to bring."""
    match event.type:
        case "text":
            return str(event.text)
        case "message_start":
            return str(event.message.text)
        case "content_block_start" if event.content_block.type == "text":
            return str(event.content_block.text)
    return ""


def _snapshot(event: Any) -> object:
    try:
        return event.snapshot
    except ts.InvalidToolInputError as exc:
        return type(exc)


def check_error(error: ts.APIError) -> None:
    """Short, one line, without secrets, and of the other libraries only as causes."""
    sentence = str(error)
    check_sentence(error)
    assert KEY not in sentence
    assert "nobody may see" not in sentence
    assert type(error).__module__.startswith("trio_stream")
