"""`Relay`: one answer as one response, which lives no longer than the peer reads.

What belongs here: the answer and the response side by side, and what ends them. What does not: when something is sent
(`_outgoing`), and answers that outlive their responses (`_hub`).

Three tasks: the one that calls the application reads the model and sends; one waits for ``http.disconnect``; one keeps
the time. Whoever notices that nobody reads any more closes the stream first, by a plain call, and cancels then:
Hypercorn shields ``send`` from cancellation, and a task that waits there, for a peer with a full window, would
otherwise leave the model connected.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, TypeAlias, cast, final

from trio_stream._errors import APIError
from trio_stream._nursery import NurseryBlock
from trio_stream._stream import EventStream, MessageStreamManager
from trio_stream.agent import TurnRestartEvent, TurnStartEvent, TurnStopEvent

from ._asgi import Receive, Scope, Send, check_http, until_disconnect
from ._encoder import Encoder, RelayedEvent
from ._failure import Describe, failure_of
from ._outgoing import Gone, Outgoing, Pace, head_of
from ._output import Output, Source

Answer: TypeAlias = AbstractAsyncContextManager[Source, Any] | Callable[[Output], Awaitable[None]]
"""What is relayed: the block of a stream or run, or a function that says things."""

RelayOutcome: TypeAlias = Literal["complete", "stopped", "disconnected", "not_reading"] | APIError
"""How a response ended."""

_log = logging.getLogger("trio_stream")


@final
class Relay:
    """An ASGI application that sends one answer of the model: return it from a handler as the response.

    ::

        async def chat(request: Request) -> web.Relay:
            body = await request.json()
            return web.Relay(client.messages.stream(..., messages=body["messages"]), web.Anthropic())

    The request to the API is made when the response is sent. The model is read as fast as the peer reads. When the peer
    goes away, or takes nothing for ``send_timeout``, the request to the API ends at once. An answer that is to go on in
    that case belongs in a `Hub`.

    An `APIError` before anything was said becomes the status of the response: 503 with ``retry-after`` for an API that
    is busy, 504 for a clock of `Timeouts`, 502 for anything else. Later it is told in the words of the protocol. Any
    other exception leaves this call, and the host cuts the response: nothing reads as complete that is not.

    Args:
      answer: The block of a stream, as ``client.messages.stream(...)`` makes it, or of a run. Or an
        ``async def answer(out)`` that says what it wants to an `Output`.
      encoder: The protocol.
      heartbeat: Seconds of silence after which a heartbeat is sent. None: never.
      head_after: Seconds to wait for the first event. Then the head of the response is sent without it, and a failure
        cannot become its status any more. None: as long as it takes.
      send_timeout: Seconds that the peer may take nothing. None: as long as the host allows.
      max_delay: Seconds that an event may wait for others to be sent with it: less work, for text in larger pieces.
      describe: Makes the sentence that the peer gets about an `APIError`. The usual one says nothing that the API has
        written, which may quote the prompt.

    Raises:
      TypeError: ``answer`` is none of these.
      ValueError: One of the times is none.
    """

    def __init__(
        self,
        answer: Answer,
        encoder: Encoder,
        *,
        heartbeat: float | None = 15.0,
        head_after: float | None = 5.0,
        send_timeout: float | None = 30.0,
        max_delay: float = 0.0,
        describe: Describe | None = None,
    ) -> None:
        check_answer(answer)
        self._answer = answer
        self._encoder = encoder
        self._pace = Pace(heartbeat=heartbeat, head_after=head_after, send_timeout=send_timeout, max_delay=max_delay)
        self._describe = describe
        self._outgoing: Outgoing | None = None
        self._output: Output | None = None
        self._block: NurseryBlock | None = None
        self._gone: Gone | None = None
        self._outcome: RelayOutcome | None = None

    def __repr__(self) -> str:
        outcome = self.outcome
        return f"<Relay: {type(outcome).__name__ if isinstance(outcome, APIError) else outcome}>"

    @property
    def outcome(self) -> RelayOutcome | None:
        """How the response ended. None while it has not, and if it was cut.

        ``"complete"``; ``"stopped"``, by `MessageStream.cancel` or `Run.interrupt`; ``"disconnected"``: the peer went
        away; ``"not_reading"``: it took nothing for ``send_timeout``; or the `APIError` with which the answer failed.
        """
        return self._outcome

    @property
    def stream(self) -> Source | None:
        """The stream, or run, that was relayed last, with what was received on ``.partial``. None before the first."""
        return None if self._output is None else self._output.stream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Make the answer, and send it.

        A checkpoint. If it is cancelled, the request to the API ends, and the host cuts the response.

        Raises:
          RuntimeError: It has been called before, or not for an HTTP request.
          Exception: As the answer, if that is no `APIError`.
        """
        check_http(scope, "a Relay")
        await self._serve(receive, send, sends_head=True)

    def head(self) -> tuple[int, dict[str, str]]:
        """As `Respondent.head`."""
        return 200, head_of(self._encoder)

    async def send_body(self, receive: Receive, send: Send) -> None:
        """As `Respondent.send_body`."""
        await self._serve(receive, send, sends_head=False)

    async def _serve(self, receive: Receive, send: Send, *, sends_head: bool) -> None:
        if self._outgoing is not None:
            raise RuntimeError("a Relay is the response to one request: make one for each")
        self._block = block = NurseryBlock("relay")
        encoder = self._encoder
        outgoing = Outgoing(
            send, encoder, self._pace, on_gone=self._leave, prefix=encoder.start(), sends_head=sends_head
        )
        output = Output(_Direct(encoder, outgoing))
        self._outgoing, self._output = outgoing, output
        await block.enter()
        try:
            block.nursery.start_soon(self._watch, receive, name="trio_stream web disconnect")
            block.nursery.start_soon(outgoing.keep_time, block.nursery, name="trio_stream web clock")
            await self._respond(output, outgoing)
        except BaseException as exc:  # noqa: ASYNC103 - it leaves as `NurseryBlock` says
            if not await block.exit(exc):  # noqa: ASYNC102 - waits as a nursery does
                raise
            self._outcome = self._outcome or self._gone
        else:
            block.nursery.cancel_scope.cancel(reason="the response has been sent")
            await block.exit(None)

    async def _respond(self, output: Output, outgoing: Outgoing) -> None:
        error = await failure_in(self._say(output))
        if error is None:
            stopped = output.stopped
            await outgoing.end(self._encoder.end() if stopped is None else self._encoder.abort(stopped))
            self._outcome = "complete" if stopped is None else "stopped"
            return
        self._outcome = error
        _log.warning("an answer failed that is sent to a browser: %s", error)
        await outgoing.fail(failure_of(error, self._describe))

    async def _say(self, output: Output) -> None:
        await say(self._answer, output, wants_data=self._encoder.wants_data)

    async def _watch(self, receive: Receive) -> None:
        await until_disconnect(receive)
        self._leave("disconnected")

    def _leave(self, how: Gone) -> None:
        """Nobody reads any more: end the request to the API, at once, and the answer with it."""
        assert self._outgoing is not None
        assert self._output is not None
        assert self._block is not None
        if self._outgoing.is_ending or self._gone is not None:
            return
        self._gone = how
        self._output.close_now()
        self._block.nursery.cancel_scope.cancel(reason=f"the peer of a response: {how.replace('_', ' ')}")


def check_answer(answer: object) -> None:
    """Refuse what is neither a block nor a function.

    Raises:
      TypeError: It is not.
    """
    if not isinstance(answer, AbstractAsyncContextManager) and not callable(answer):
        raise TypeError(
            "what is relayed is `client.messages.stream(...)`, a run, or an `async def answer(out)`, "
            f"not {type(answer).__name__}"
        )


async def say(answer: Answer, output: Output, *, wants_data: bool) -> None:
    """Have an answer say everything it has to say."""
    if not isinstance(answer, AbstractAsyncContextManager):
        await answer(output)
        return
    if wants_data and isinstance(answer, (MessageStreamManager, EventStream)):
        answer.keep_raw_data()
    async with cast("AbstractAsyncContextManager[Source, Any]", answer) as source:
        await output.relay_without_flush(source)


async def failure_in(saying: Awaitable[None]) -> APIError | None:
    """Wait for an answer to end, and return the `APIError` with which it failed.

    Nurseries wrap what their tasks raise into groups; a group of nothing but such errors counts as the first of them.
    """
    try:
        await saying
    except APIError as error:
        return error
    except BaseExceptionGroup as group:
        first = _only_api_errors(group)
        if first is None:
            raise
        return first
    return None


def _only_api_errors(group: BaseExceptionGroup[BaseException]) -> APIError | None:
    mine, others = group.split(APIError)
    if mine is None or others is not None:
        return None
    first: BaseException = mine
    while isinstance(first, BaseExceptionGroup):
        first = cast("BaseExceptionGroup[BaseException]", first).exceptions[0]
    return cast("APIError", first)


_EMPTY_WORDS: Final = frozenset({TurnStartEvent, TurnRestartEvent})
"""Events that are no reason to send the head: a run that fails before its model has said anything is to be refused."""


@final
class _Direct:
    """The `Sink` of a response: what is said is sent."""

    __slots__ = ("_encoder", "_outgoing", "wants_data")

    def __init__(self, encoder: Encoder, outgoing: Outgoing) -> None:
        self._encoder = encoder
        self._outgoing = outgoing
        self.wants_data: bool = encoder.wants_data

    def event(self, event: RelayedEvent, data: bytes | None) -> None:
        """As `Sink.event`."""
        frames = self._encoder.event(event, data)
        kind = type(event)
        if kind in _EMPTY_WORDS or (kind is TurnStopEvent and cast("TurnStopEvent", event).message is None):
            self._outgoing.add_first(frames)
        else:
            self._outgoing.add(frames)

    def data(self, value: Mapping[str, Any]) -> None:
        """As `Sink.data`."""
        self._outgoing.add(self._encoder.data(value))

    async def flush(self) -> None:
        """As `Sink.flush`."""
        await self._outgoing.flush()
