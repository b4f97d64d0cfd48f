"""What must follow from a fault, whichever it is: the checks that every row of the matrix goes through.

What belongs here: running one stream against a `WireServer` and looking at everything that could have gone wrong
with it, and keeping account of which rows are tested. What does not: the faults (each section's test module).

Every failing row is held to: the class, and a text that says where and why; what had arrived on ``.partial``; no key
and no prompt in the error or anything it was caused by; less than 4 KB; the same error again from the same stream;
the socket closed as the server sees it, at once; and a pool of one that serves the next request on the same client.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
import trio

import trio_stream as ts
from tests.wire.events import TEXT
from tests.wire.server import WireServer
from tests.wire.sockets import UnansweringPort

KEY = "sk-fault-key-that-nobody-may-see"
PROMPT = "a prompt that nobody may see"
PARAMS: dict[str, Any] = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 256,
    "messages": [{"role": "user", "content": PROMPT}],
}

# The matrix gives its timeouts as 2 s, ended within 2.5 s. Here the clock is a fifth of that, so that the whole
# matrix runs in a minute. What may come on top stays half a second: that is about the machine, not about the clock.
CLOCK = 0.4
SLACK = 0.5
ENDLESS = ts.Timeouts(connect=CLOCK, send=CLOCK, first_event=CLOCK, silence=CLOCK, stall=CLOCK)
"""The clocks for faults that only a clock ends."""
PATIENT = ts.Timeouts(connect=5, send=5, first_event=5, silence=5)
"""The clocks for faults that end by themselves: should one of these run out, the test fails."""

CLOSE_SEEN_WITHIN = 0.1
"""Seconds from the error in the client to the close at the server."""

LONGEST_TEXT = 4096

ErrorT = TypeVar("ErrorT", bound=ts.APIError)

Cause = type[BaseException] | tuple[type[BaseException], ...] | None


def client_for(server: WireServer | None, **options: Any) -> ts.Client:
    """A client with one connection, no retries, and clocks that do not run out."""
    options.setdefault("api_key", KEY)
    if server is not None:
        options.setdefault("base_url", server.base_url)
    options.setdefault("max_retries", 0)
    options.setdefault("max_connections", 1)
    options.setdefault("timeout", PATIENT)
    return ts.Client(**options)


async def read_to_end(client: ts.Client, **params: Any) -> ts.MessageStream:
    """Stream one message to its end."""
    async with client.messages.stream(**{**PARAMS, **params}) as stream:
        await stream.until_done()
    return stream


async def expect_error(
    server: WireServer,
    kind: type[ErrorT],
    *says: str,
    partial: str | None = None,
    cause: Cause = None,
    within: float = 2.0,
    not_before: float = 0.0,
    closed_by_client: bool = True,
    connections: int | None = 1,
    then: str | None = TEXT,
    client: ts.Client | None = None,
    **options: Any,
) -> ErrorT:
    """Stream once; it must fail, and so must nothing else.

    Args:
      server: Whose first connection has the fault.
      kind: The error's class, or one that it is under.
      *says: What its text must hold, in any case of letters.
      partial: The text on ``.partial``; None: there must be no ``.partial``.
      cause: The class of ``__cause__``; None: whatever it is.
      within: Seconds until the error.
      not_before: Seconds; an earlier error is another one.
      closed_by_client: Whether the server's end outlives the client's, so that the server can see the close.
      connections: How many were made until then; None: any number.
      then: The text of the next message on the same client; None: there cannot be one.
      client: Use this one, and do not close it.
      **options: Of the client.
    """
    made = client is None
    client = client or client_for(server, **options)
    try:
        client = await client.__aenter__()
        began = trio.current_time()
        stream: ts.MessageStream | None = None
        with trio.fail_after(within + 5), pytest.raises(ts.APIError) as raised:
            async with client.messages.stream(**PARAMS) as stream:
                await stream.until_done()
        error, seconds = raised.value, trio.current_time() - began
        failed_at = trio.current_time()
        if connections is not None:
            assert len(server.peers) == connections
        check_error(error, kind, *says, partial=partial, cause=cause)
        assert isinstance(error, kind)
        assert seconds <= within, f"only after {seconds:.2f} s"
        assert seconds >= not_before - 0.02, f"already after {seconds:.2f} s"
        if stream is not None:
            await check_stream_keeps(stream, error)
        assert client.statistics().active == client.statistics().waiting == 0
        if closed_by_client:
            await check_closed(server, failed_at)
        await check_after(client, then)
    finally:
        if made:
            await client.aclose()
    check_nothing_to_collect()
    return error


async def expect_incomplete(
    server: WireServer, *says: str, kind: type[ts.APIError] = ts.IncompleteStreamError, **expected: Any
) -> ts.APIError:
    """As `expect_error`, for the standard message cut after its third delta (unless ``partial`` says otherwise)."""
    expected.setdefault("partial", TEXT)
    return await expect_error(server, kind, *says, **expected)


async def expect_complete(
    server: WireServer,
    *,
    text: str = TEXT,
    within: float = 2.0,
    connections: int | None = 1,
    then: str | None = TEXT,
    **options: Any,
) -> ts.MessageStream:
    """Stream once; it must succeed.

    Args:
      server: Whose first connection has the fault.
      text: The text of the message.
      within: Seconds until ``message_stop``, and the block left.
      connections: How many were made until then; None: any number.
      then: The text of the next message on the same client.
      **options: Of the client.
    """
    async with client_for(server, **options) as client:
        began = trio.current_time()
        with trio.fail_after(within + 5):
            stream = await read_to_end(client)
        seconds = trio.current_time() - began
        assert seconds <= within, f"only after {seconds:.2f} s"
        assert stream.text == text
        assert stream.message.stop_reason == "end_turn"
        assert stream.partial == stream.message
        if connections is not None:
            assert len(server.peers) == connections
        assert client.statistics().active == client.statistics().waiting == 0
        await check_after(client, then)
    check_nothing_to_collect()
    return stream


def check_error(
    error: ts.APIError, kind: type[ts.APIError], *says: str, partial: str | None, cause: Cause = None
) -> None:
    """Look at one error: class, text, partial message, causes, secrets."""
    assert isinstance(error, kind), f"{type(error).__name__}: {error}"
    text = str(error)
    for sentence in says:
        assert sentence.lower() in text.lower(), text
    assert len(text.encode()) < LONGEST_TEXT
    assert "\n" not in text, "an error of an answer writes its own lines into a log"
    if partial is None:
        assert error.partial is None
    else:
        assert error.partial is not None
        assert error.partial.text == partial
    if cause is not None:
        assert isinstance(error.__cause__, cause), repr(error.__cause__)
    check_secrets(error)


def check_secrets(error: BaseException) -> None:
    """Nothing that an error holds on to shows the key or the prompt."""
    shown = ["".join(traceback.format_exception(error))]
    seen: BaseException | None = error
    while seen is not None:
        shown += [str(seen), repr(seen), repr(vars(seen))]
        request = getattr(seen, "_request", None)  # httpx's: its repr hides what it holds
        if request is not None:
            shown += [repr(request.headers.raw), repr(getattr(request, "content", b""))]
        seen = seen.__cause__ or seen.__context__
    for text in shown:
        assert KEY not in text
        assert PROMPT not in text


async def check_stream_keeps(stream: ts.MessageStream, error: ts.APIError) -> None:
    """A failed stream raises the same error for good, and keeps what had arrived."""
    for again in (stream.receive, stream.get_final_message, stream.until_done):
        with pytest.raises(ts.APIError) as raised:
            await again()
        assert raised.value is error
    with pytest.raises(ts.APIError) as raised:
        _ = stream.message
    assert raised.value is error
    assert stream.text == ("" if error.partial is None else error.partial.text)
    assert stream.partial == error.partial


async def check_closed(server: WireServer, since: float, number: int = 0) -> None:
    """The server sees the close of a connection at once."""
    seen_at = await server.closed(number)
    assert seen_at - since <= CLOSE_SEEN_WITHIN, f"seen only after {seen_at - since:.3f} s"


async def check_after(client: ts.Client, text: str | None = TEXT) -> None:
    """The next request on the same client, whose pool has one connection, gets its own answer."""
    if text is None:
        return
    with trio.fail_after(3):
        stream = await read_to_end(client)
    assert stream.text == text
    assert client.statistics().active == client.statistics().waiting == 0


async def check_serves(port: UnansweringPort, client: ts.Client) -> None:
    """Once the port is served, the same client, with its one connection, works."""
    async with trio.open_nursery() as nursery:
        port.listen()
        nursery.start_soon(port.serve)
        assert client.statistics().active == client.statistics().waiting == 0
        with trio.fail_after(3):
            assert (await read_to_end(client)).message.text == TEXT
        nursery.cancel_scope.cancel(reason="the test is over")


def check_nothing_to_collect() -> None:
    """Nothing for the garbage collector to warn about: warnings are errors in this suite."""
    gc.collect()


# Which rows there are, and which are tested.

FAULTS = Path(__file__).parents[2].parent / "shared" / "FAULTS.md"

Check = Callable[..., Awaitable[None]]


def rows_of(section: str) -> list[str]:
    """The faults of one section of the matrix, in its order; skips the test where the matrix is not there."""
    if not FAULTS.exists():
        pytest.skip("FAULTS.md is not there")
    _, _, rest = FAULTS.read_text("utf-8").partition(f"\n## {section}\n")
    table = rest.partition("\n## ")[0]
    rows = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    return rows[2:]  # without the head of the table


class Section:
    """The tested rows of one section, by the text of their fault.

    ::

        TRANSPORT = Section("Transport")

        @TRANSPORT.row("FIN in the middle of a chunk")
        async def fin_in_a_chunk() -> None: ...

        @pytest.mark.parametrize("check", TRANSPORT.checks())
        async def test_transport(check): await check()
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._checks: dict[str, Check] = {}

    def row(self, fault: str, *args: object) -> Callable[[Check], Check]:
        """Note that the decorated function, called with ``args``, is the test of a row."""

        def note(check: Check) -> Check:
            assert fault not in self._checks, f"two tests for {fault!r}"

            async def call(*given: object) -> None:
                await check(*args, *given)

            self._checks[fault] = call
            return check

        return note

    def checks(self) -> list[Any]:
        """The parameters of the one test that runs them all: ids are the faults."""
        return [pytest.param(check, id=fault) for fault, check in self._checks.items()]

    def check_complete(self) -> None:
        """Every row of the matrix has a test."""
        missing = [fault for fault in rows_of(self.name) if fault not in self._checks]
        assert not missing
