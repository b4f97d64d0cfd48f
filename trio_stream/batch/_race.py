"""`race` and `hedge`: one answer from several requests.

What belongs here: starting requests, choosing the winner, cancelling the others. What does not: many answers
(`_fan_out`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Unpack, final

import msgspec
import trio

from trio_stream._client import Client, RaceCall
from trio_stream._errors import OutputParseError
from trio_stream._money import Charge, OutputEstimate, charges_of
from trio_stream._runs import current_run
from trio_stream._stream import MessageStream

from ._records import Item, Outcome, Request, TagT, as_item, merge_params


async def race(
    client: Client,
    requests: Sequence[Request | Item[TagT]],
    *,
    stagger: float = 0.0,
    win_on: Literal["first_text", "done"] = "first_text",
    **params: Unpack[RaceCall],
) -> Outcome[TagT]:
    """Make several requests, and return the answer of the one that wins; the others are cancelled.

    A request that fails, or whose answer has no text, never wins; where one fails, the next starts at once. A winner
    that fails after its first text makes the race go on with those that had not been started.

    A checkpoint. Cancelling it cancels every request. Each request is retried as the client's ``max_retries`` says.

    Args:
      client: Sends the requests.
      requests: The requests, best first.
      stagger: Seconds between their starts.
      win_on: With ``"first_text"`` the first request to have any text wins, and its answer is waited for. With
        ``"done"`` the first request whose answer is complete wins.
      **params: The parameters that all requests share.

    Returns:
      The winner's outcome, with the status ``ok``; ``index`` is its zero-based position among ``requests``. Its
      ``charges`` are those of all requests that have begun to be answered, with estimates for what was cancelled.

    Raises:
      APIError: The only request that was started failed, or its answer had no text (`OutputParseError`).
      ExceptionGroup: Several requests failed, and none won.
      TypeError: There is no request, or a parameter is missing.
      ValueError: ``win_on`` is neither ``"first_text"`` nor ``"done"``.
    """
    if win_on not in ("first_text", "done"):
        raise ValueError(f"win_on must be 'first_text' or 'done', not {win_on!r}")
    items = [as_item(request) for request in requests]
    if not items:
        raise TypeError("a race needs at least one request")
    return await _Race(client, items, params, stagger=stagger, on_text=win_on == "first_text").run()


async def hedge(
    client: Client, request: Request | Item[TagT], *, after: float, **params: Unpack[RaceCall]
) -> Outcome[TagT]:
    """Make a request, and a copy of it if its text does not begin in time; return whichever answer begins first.

    The copy is sent only when it is needed: after ``after`` seconds without any text, or after an error. Where it is
    sent, both may be paid for.

    A checkpoint. Cancelling it cancels both requests.

    Args:
      client: Sends the requests.
      request: The request.
      after: How many seconds without any text to wait before the copy is sent.
      **params: Further parameters.

    Returns:
      The outcome, with the status ``ok``; ``index`` is 0 for the request and 1 for its copy. Its ``charges`` are those
      of both, if both have begun to be answered.

    Raises:
      APIError: The request failed after its text had begun, so that its copy was not or no longer wanted.
      ExceptionGroup: Both the request and its copy failed.
      TypeError: A parameter is missing.
    """
    item = as_item(request)
    return await _Race(client, [item, item], params, stagger=after, on_text=True).run()


@final
class _Race:
    """One race. Each request has a task and a scope of its own.

    A request leads from the moment it has won, and the outcome is there when its answer is whole. In between it may
    still fail: then nobody leads, and the requests that have not been started get their turn.
    """

    def __init__(
        self, client: Client, items: list[Item], params: Mapping[str, Any], *, stagger: float, on_text: bool
    ) -> None:
        self._client = client
        self._items = items
        self._params = params
        self._stagger = stagger
        self._on_text = on_text
        self._scopes = [trio.CancelScope() for _ in items]
        self._leader: int | None = None
        self._outcome: Outcome | None = None
        self._charges: tuple[Charge, ...] = ()
        self._errors: list[Exception] = []
        self._started = 0
        self._ended = 0
        self._news = trio.lowlevel.ParkingLot()  # `run` waits there for a leader, an outcome, or the end of a request

    async def run(self) -> Outcome:
        """Start the requests one after another, until one has won or all have failed."""
        current_run()
        async with trio.open_nursery() as nursery:
            for index in range(len(self._items)):
                nursery.start_soon(self._compete, index)
                await self._wait_for_turn(index + 1)
                if self._outcome is not None:
                    break
        if self._outcome is not None:
            return msgspec.structs.replace(self._outcome, charges=self._charges)
        if len(self._errors) == 1:
            raise self._errors[0]
        raise ExceptionGroup("every request of the race failed", self._errors)

    async def _wait_for_turn(self, started: int) -> None:
        """Wait until the next request may start, or there is an outcome, or there is nothing to wait for."""
        due = trio.current_time() + self._stagger
        while self._outcome is None and self._ended < started:
            # Nobody starts beside a leader. If it fails, its end wakes this.
            waits_for_an_end = self._leader is not None or started == len(self._items)
            seconds = math.inf if waits_for_an_end else due - trio.current_time()
            if seconds <= 0:
                return
            with trio.move_on_after(seconds):
                await self._news.park()

    async def _compete(self, index: int) -> None:
        """The life of a request's task, from its first step to its last."""
        self._started += 1
        began_at = trio.current_time()
        with self._scopes[index]:
            try:
                stream = await self._ask(index)
            except Exception as error:  # noqa: BLE001 - raised by `run` if nobody wins
                self._errors.append(error)
                if self._leader == index:
                    self._leader = None
            else:
                # Two may be complete in the same step of the loop; then the second has not been cancelled yet.
                if self._lead(index):
                    self._outcome = self._outcome_of(index, stream, trio.current_time() - began_at)
        self._ended += 1
        self._news.unpark_all()

    def _outcome_of(self, index: int, stream: MessageStream, seconds: float) -> Outcome:
        item = self._items[index]
        return Outcome(
            id=item.id,
            index=index,
            tag=item.tag,
            status="ok",
            text=stream.text,
            message=stream.message,
            usage=stream.usage,
            attempts=stream.stats.attempts,
            ttft=stream.stats.time_to_first_text,
            seconds=seconds,
            request_id=stream.request_id,
            stop_reason=stream.stop_reason,
        )

    async def _ask(self, index: int) -> MessageStream:
        call = merge_params(self._items[index].request, self._params)
        messages = self._client.beta.messages if "betas" in call else self._client.messages
        async with messages.stream(**call) as stream:
            try:
                if self._on_text:
                    async for event in stream:
                        if event.type == "text":
                            self._lead(index)
                            break
                await stream.until_done()
            finally:
                self._charge(stream, asked=str(call.get("model", "")))
        if not stream.text:
            raise OutputParseError(
                f"the answer has no text (stop_reason {stream.stop_reason})",
                text="",
                stop_reason=stream.stop_reason,
                partial=stream.message,
            )
        return stream

    def _charge(self, stream: MessageStream, *, asked: str) -> None:
        """A request is over. Those that lose have to be paid too."""
        message = stream.partial
        if message is not None:
            cut = message.stop_reason is None
            usage = OutputEstimate().usage_of_cut(message) if cut else message.usage
            self._charges += charges_of(usage, message.model or asked, estimated=cut)

    def _lead(self, index: int) -> bool:
        """Make a request the leader and cancel the others, unless another one leads.

        Returns:
          Whether it leads.
        """
        if self._leader is None:
            self._leader = index
            # Those that have not started stay able to run: a leader may yet fail.
            for other in range(self._started):
                if other != index:
                    self._scopes[other].cancel(reason="another request won the race")
            self._news.unpark_all()
        return self._leader == index
