"""One answer from several requests: the first that comes.

What belongs here: starting, choosing, cancelling the rest. What does not: many answers (`_fan_out`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

import trio

from trio_stream._client import Client
from trio_stream._errors import OutputParseError
from trio_stream._stream import MessageStream

from ._records import Item, Outcome, Request, as_item, merge_params


async def race(
    client: Client,
    requests: Sequence[Request | Item],
    *,
    stagger: float = 0.0,
    win_on: Literal["first_text", "done"] = "first_text",
    **params: Any,
) -> Outcome:
    """Make several requests, and return the answer of the one that wins; the others are cancelled.

    A request that fails, or whose answer has no text, never wins; where one fails, the next starts at once. A winner
    that fails after its first text makes the race go on with those that had not been started.

    A checkpoint. When it is cancelled, every request is. Retries are those of the client.

    Args:
      client: Whom to ask.
      requests: The requests, best first.
      stagger: Seconds between their starts.
      win_on: ``"first_text"``: the first to have any text wins, and is then waited for. ``"done"``: the first to be
        complete.
      **params: What all requests share.

    Returns:
      The winner's outcome, ``ok``; ``index`` is its place among ``requests``.

    Raises:
      APIError: The only request failed; or an answer had no text (`OutputParseError`).
      ExceptionGroup: Several did, and none won.
      TypeError: There is no request, or a parameter is missing.
      ValueError: ``win_on`` is neither.
    """
    if win_on not in ("first_text", "done"):
        raise ValueError(f"win_on must be 'first_text' or 'done', not {win_on!r}")
    items = [as_item(request) for request in requests]
    if not items:
        raise TypeError("a race needs at least one request")
    return await _Race(client, items, params, stagger=stagger, on_text=win_on == "first_text").run()


async def hedge(client: Client, request: Request | Item, *, after: float, **params: Any) -> Outcome:
    """Make a request, and once more if its text does not begin in time; return the answer of the one that does first.

    The copy is sent only when it is needed: no text within ``after`` seconds, or an error. Both may be paid for.

    A checkpoint. When it is cancelled, both requests are.

    Args:
      client: Whom to ask.
      request: The request.
      after: Seconds without any text until the copy is sent.
      **params: Further parameters.

    Returns:
      The outcome, ``ok``; ``index`` is 1 if it is the copy's.

    Raises:
      APIError: The request failed and so did the copy (an ``ExceptionGroup`` of both).
      TypeError: A parameter is missing.
    """
    item = as_item(request)
    return await _Race(client, [item, item], params, stagger=after, on_text=True).run()


@final
class _Race:
    def __init__(
        self, client: Client, items: list[Item], params: dict[str, Any], *, stagger: float, on_text: bool
    ) -> None:
        self._client = client
        self._items = items
        self._params = params
        self._stagger = stagger
        self._on_text = on_text
        self._scopes = [trio.CancelScope() for _ in items]
        self._leader: int | None = None  # has won unless it fails
        self._outcome: Outcome | None = None
        self._errors: list[Exception] = []
        self._failed = 0
        self._started = 0
        self._news = trio.lowlevel.ParkingLot()

    async def run(self) -> Outcome:
        async with trio.open_nursery() as nursery:
            for index in range(len(self._items)):
                nursery.start_soon(self._enter, index)
                await self._wait_for_turn(index + 1)
                if self._outcome is not None:
                    break
        if self._outcome is not None:
            return self._outcome
        if len(self._errors) == 1:
            raise self._errors[0]
        raise ExceptionGroup("every request of the race failed", self._errors)

    async def _wait_for_turn(self, started: int) -> None:
        """Wait until the next request may start, or there is an outcome."""
        due = trio.current_time() + self._stagger
        while self._outcome is None and self._failed < started:
            # Nobody starts beside a leader; where it fails, `_failed` tells.
            seconds = float("inf") if self._leader is not None else due - trio.current_time()
            if started == len(self._items):
                seconds = float("inf")
            if seconds <= 0:
                return
            with trio.move_on_after(seconds):
                await self._news.park()

    async def _enter(self, index: int) -> None:
        self._started += 1
        with self._scopes[index] as scope:
            began_at = trio.current_time()
            try:
                stream = await self._run_one(index)
            except Exception as error:  # noqa: BLE001 - raised by `run` if nobody wins
                self._errors.append(error)
                self._failed += 1
                if self._leader == index:
                    self._leader = None
            else:
                if self._win(index):
                    self._outcome = self._outcome_of(index, stream, trio.current_time() - began_at)
        if scope.cancelled_caught:
            self._failed += 1
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

    async def _run_one(self, index: int) -> MessageStream:
        call = merge_params(self._items[index].request, self._params)
        messages = self._client.beta.messages if "betas" in call else self._client.messages
        async with messages.stream(**call) as stream:
            if self._on_text:
                async for event in stream:
                    if event.type == "text":
                        self._win(index)
                        break
            await stream.until_done()
        if not stream.text:
            raise OutputParseError(
                f"the answer has no text (stop_reason {stream.stop_reason})",
                text="",
                stop_reason=stream.stop_reason,
                partial=stream.message,
            )
        return stream

    def _win(self, index: int) -> bool:
        """Cancel the others, unless one of them leads; whether this one does."""
        if self._leader is None:
            self._leader = index
            # Those that have not started stay fit to run: a leader may yet fail.
            for other in range(self._started):
                if other != index:
                    self._scopes[other].cancel(reason="another request won the race")
            self._news.unpark_all()
        return self._leader == index
