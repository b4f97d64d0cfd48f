"""One item, from its first request to its outcome.

What belongs here: attempts, the waits between them, and the item's clock. What does not: permission to send
(`_governor`), and which item is next (`_feeder`).
"""

from __future__ import annotations

import inspect
import math
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, final

import msgspec
import trio

from trio_stream._client import ADMISSION, Client
from trio_stream._errors import APIError, APITimeoutError, OutputParseError, TotalTimeoutError
from trio_stream._limiter import Admission, Lane, Permit, permits_for, working_lane
from trio_stream._money import Charge, Ledger, Reservation
from trio_stream._protocol import Judgement, Message, TextBlock, Verdict, judge, retry_delay
from trio_stream._schemas import OutputType, parse_message
from trio_stream._stream import EarlierAttempts, MessageStream, MessageStreamManager

from ._active_item import ActiveItem
from ._governor import Governor
from ._job import Job
from ._journal_keeper import JournalKeeper
from ._options import FanOutOptions, OnEvent
from ._outage import WITNESSES, Retries, says_out_of_order
from ._records import Item, Outcome
from ._stopping import FanOutStoppedError, stopped_by

_MOST_REFUSALS: Final = 100
"""How many requests of one item the API may refuse. Refusals cost nothing, but an item must not go on for ever."""

_MOST_SECONDS: Final = 600.0
"""An item that is to wait for longer than this, by a `retry-after` of its own, is not tried again."""

_MOST_SECONDS_OUT_OF_ORDER: Final = 60.0
"""The most of the `retry-after` of an API that is out of order that an item waits for. Nobody knows when that will be
over: answers 503 say an hour where it takes a minute, and other items are sent to look."""

_SHARED_BLAME: Final = 0.25
"""What a failure counts for in a half-outage: it is hardly the fault of the item. With half of all requests failing,
one item of 250 would fail eight times in a row."""


@final
class Attempts:
    """Makes the requests of items, and decides whether and when a failed one is made again.

    One object serves all items of a job, whose tasks run `run` at the same time. What belongs to one item is on its
    `ActiveItem`, or local to its `run`.

    Three counts end the retries of an item: its failures (at most ``max_attempts``); the refusals (429, 529) that
    cost nothing and say nothing about the item, of which there may be many more; and the answers that are whole and no
    value of the type that was asked for (``retry_invalid``). While nothing at all is answered, nothing is counted: then
    it is the API that fails, and the job waits for it or stops as a whole. In a half-outage a failure counts for less
    than one.

    Args:
      client: Sends the requests. Its own ``max_retries`` plays no part.
      options: The options of the fan-out.
      job: The job. Its instruments are told of each retry.
      governor: Gives permission to send, and learns from every answer.
      ledger: Says what each attempt may cost, and adds up what it cost, the failed ones included.
      keeper: Notes the start of an item.

    Attributes:
      retries: Requests made for items that had made one before.
    """

    def __init__(
        self,
        client: Client,
        options: FanOutOptions,
        *,
        job: Job,
        governor: Governor,
        ledger: Ledger,
        keeper: JournalKeeper,
    ) -> None:
        self._client = client
        self._job = job
        self._governor = governor
        self._ledger = ledger
        self._keeper = keeper
        self._item_timeout = math.inf if options.item_timeout is None else options.item_timeout
        self._max_attempts = options.max_attempts
        self._on_event = options.on_event
        self._wanted = options.wanted
        self._retry_invalid = options.retry_invalid
        self._lane: Lane = client.lane or "batch"
        self._retried = Retries()
        self._told_pause: float | None = None  # the end of the last pause that instruments were told of
        self.retries: int = 0

    async def run(self, active: ActiveItem) -> Outcome:
        """Make requests until the item has an outcome. If it is cancelled, what had arrived stays on ``active``.

        Raises:
          JournalError: The journal cannot be written.
          Exception: ``on_event`` raised it, or the client was closed.
        """
        while True:
            outcome = await self._ask(active)
            if outcome.status != "ok" or self._wanted is None:
                return outcome
            outcome, error = _judge(outcome, self._wanted)
            if error is None or active.unfit >= self._retry_invalid:
                return outcome
            active.unfit += 1
            if self._job.watch is not None:
                self._job.watch.item_retries(active, error, 0.0)

    async def _ask(self, active: ActiveItem) -> Outcome:
        """Make requests until one is answered by a whole message, or the item is given up."""
        lane: Lane = active.params.get("lane", self._lane)
        try:
            new_permit = permits_for(active.params, lane=lane, cached=active.cached)
        except ValueError as no_such_lane:
            return active.outcome("error", no_such_lane)
        working_lane.set(lane)
        spared = 0
        signs_of_life: int | None = None  # the governor's count of them, as of the last failure or the first request
        earlier = EarlierAttempts()
        while True:
            admission = self._governor.admission(new_permit)
            permit = admission.permit
            try:
                reservation = active.reservation = self._reservation(active.params, permit)
            except ValueError as unknown:  # its cost cannot be limited
                return active.outcome("error", unknown)
            given_up = await self._wait_for_permission(active, admission, reservation)
            if given_up is not None:
                return given_up
            error: Exception | None = None
            if signs_of_life is None:
                signs_of_life = self._governor.signs_of_life
            try:
                self._begin(active)
                # Most items have no clock, and a scope for each costs time when a thousand are left at once.
                timed = self._item_timeout < math.inf
                attempt = self._attempt_in_time if timed else self._attempt
                error = await attempt(active, admission, reservation)
                if error is None:
                    return active.outcome("ok")
                if not isinstance(error, APIError):  # its parameters cannot be sent
                    return active.outcome("error", error)
                earlier.add(error)
                judgement = judge(error)
                verdict = judgement.verdict
                self._tell_failure(permit, error, verdict)
            finally:
                self._governor.release(admission, reservation)
            out_of_order = active.stream is None and says_out_of_order(error, verdict)
            if out_of_order and active.attempts > 1:
                self._retried.note(failed=True)
            if self._governor.wants_witnesses:
                self._job.room.unpark_all()
            stop = self._governor.outage(error) if out_of_order else None
            if stop is not None:
                active.stop = stop
                return active.outcome("skipped", error)
            if judgement.reason is not None:
                active.stop = stopped_by(error, judgement.reason)
                return active.outcome("skipped", error)
            if admission.too_large:
                return active.outcome("error", error)
            nothing_answered = signs_of_life == self._governor.signs_of_life
            signs_of_life = self._governor.signs_of_life
            comparable = out_of_order and len(self._job.active) > 1  # an item alone has nothing to be compared with
            delay: float | None
            if verdict in (Verdict.RATE_LIMITED, Verdict.RAMP_LIMITED):
                # The limiter holds everyone back, this item too.
                active.refusals += 1
                delay = 0.0
            elif comparable and nothing_answered and self._proves_outage():
                # It says nothing about this item.
                delay = _delay(judgement, spared, comparable=True)
                spared += 1
            elif verdict is Verdict.OVERLOADED and active.stream is None:
                active.refusals += 1
                delay = _delay(judgement, spared, comparable=True)
                spared += 1
            elif comparable and self._retried.show_half_outage:
                active.failures += _SHARED_BLAME
                delay = _delay(judgement, spared, comparable=True)
                spared += 1
            else:
                delay = _delay(judgement, int(active.failures), comparable=comparable)
                active.failures += 1.0
            if delay is None or active.failures >= self._max_attempts or active.refusals >= _MOST_REFUSALS:
                return active.outcome("timeout" if isinstance(error, APITimeoutError) else "error", error)
            given_up = await self._back_off(active, error, delay)
            if given_up is not None:
                return given_up

    def _proves_outage(self) -> bool:
        """Whether failures of all items under way prove that the API fails, and not they.

        At the end of a job there may be a few that fail always, and no other answer disproves that the API does: so few
        are taken for an outage for a while only. Neither do any number of them prove it for longer that have failed
        while others were answered.
        """
        if self._job.all_taken and self._governor.wants_witnesses:
            return sum(not item.failures for item in self._job.active.values()) >= WITNESSES
        return True

    def reread(self, active: ActiveItem, known: Outcome | None) -> Outcome | None:
        """Give an answer of the journal its value: that is not written, since the message is.

        Args:
          active: The item.
          known: What the journal has for it.

        Returns:
          None if the item is to be sent: there is no answer, or one that does not fit, where such are sent again.
        """
        wanted = self._wanted
        if known is None or known.status != "cached" or wanted is None:
            return known
        message = known.message
        if message is None:
            message = Message(content=(TextBlock(text=known.text),), stop_reason=known.stop_reason)
        outcome, error = _judge(known, wanted, message)
        if error is None or not self._retry_invalid:
            return outcome
        active.unfit += 1
        return None

    def judge_answer(self, outcome: Outcome) -> Outcome:
        """Give an answer its value, or the status that says why it has none, if a type was asked for."""
        return outcome if self._wanted is None else _judge(outcome, self._wanted)[0]

    def _tell_failure(self, permit: Permit, error: APIError, verdict: Verdict) -> None:
        """Tell the governor, and instruments of the pause that may follow."""
        self._governor.failed(permit, error, verdict)
        until = self._governor.paused_until
        if self._job.watch is not None and until is not None and until != self._told_pause:
            self._told_pause = until
            self._job.watch.paused(until)

    def reservation_in_batch(self, params: Mapping[str, Any]) -> Reservation:
        """Make the reservation of a request in a message batch.

        Raises:
          ValueError: Cost is limited, and the prices of the request's model are not known.
        """
        return self._reservation(params, permits_for(params, lane=self._lane)(), tier="batch")

    def charge_in_batch(self, active: ActiveItem, message: Message) -> None:
        """Add the tokens of an answer in a message batch to the ledger."""
        model = self._ledger.known_model(message.model, asked=str(active.params.get("model", "")))
        self._note_charges(active, self._ledger.add(message.usage, model=model))

    def _reservation(self, params: Mapping[str, Any], permit: Permit, *, tier: str | None = None) -> Reservation:
        """Make the reservation of a request.

        Raises:
          ValueError: Cost is limited, and the prices of the request's model are not known.
        """
        geo = params.get("inference_geo")
        prompt = Charge(
            model=permit.model,
            input=permit.input_tokens,
            speed="fast" if permit.fast else None,
            geo=geo if isinstance(geo, str) else None,
            tier=tier,
        )
        return self._ledger.reservation(prompt, max_tokens=permit.max_tokens)

    async def _wait_for_permission(
        self, active: ActiveItem, admission: Admission, reservation: Reservation
    ) -> Outcome | None:
        """Wait for permission to send.

        Returns:
          None when it is given; an outcome if the item is given up instead.
        """
        if self._job.sends_nothing is not None:
            return active.outcome("skipped", self._job.sends_nothing)

        def reserved() -> None:
            active.reserved = True
            self._job.room.unpark_all()

        with trio.CancelScope() as active.waiting:
            try:
                await self._governor.acquire(admission, reservation, reserved=reserved)
            except FanOutStoppedError as stop:
                active.stop = stop
            else:
                active.waiting = None
                return None
        active.waiting = None
        return active.outcome("skipped", active.stop)

    def _begin(self, active: ActiveItem) -> None:
        if active.began_at is None:
            active.began_at = trio.current_time()
        else:
            self.retries += 1
        if not active.noted:
            active.noted = True
            self._keeper.start(active)
        active.attempts += 1
        active.stream = None

    async def _attempt_in_time(
        self, active: ActiveItem, admission: Admission, reservation: Reservation
    ) -> Exception | None:
        """Like `_attempt`, but the item's clock may end it."""
        began_at = trio.current_time()
        with trio.CancelScope(deadline=began_at + self._item_timeout - active.used):
            error = await self._attempt(active, admission, reservation)
            active.used += trio.current_time() - began_at
            return error
        return self._out_of_time(active)

    async def _attempt(self, active: ActiveItem, admission: Admission, reservation: Reservation) -> Exception | None:
        """Make one request and read its answer to the end.

        Returns:
          The error that it failed with; None when the message is whole.
        """
        stream: MessageStream | None = None
        whole = False
        try:
            manager = self._prepare(active.params, admission)
        except (TypeError, ValueError) as error:
            return error
        try:
            async with manager as stream:
                active.stream = stream
                reservation.written = self._written_by(stream)
                self._governor.began(admission.permit)
                if active.attempts > 1:
                    self._retried.note(failed=False)
                if self._governor.may_use_growth:
                    self._job.room.unpark_all()
                if self._on_event is None:
                    await stream.until_done()
                else:
                    await self._tap(active.item, stream, self._on_event)
            whole = True
        except APIError as error:
            return error
        finally:
            self._charge(active, stream, whole=whole)
        return None

    def _written_by(self, stream: MessageStream) -> Callable[[], int]:
        """Return a function that estimates how much of an answer has arrived, in output tokens."""
        partial = stream.partial
        model = "" if partial is None else partial.model
        return lambda: self._ledger.estimate.tokens_of(model, stream.stats.events)

    def _charge(self, active: ActiveItem, stream: MessageStream | None, *, whole: bool) -> None:
        """Add the tokens of an attempt to the ledger. One that failed or was cancelled has to be paid too.

        Until ``message_delta``, the last event but one, the API has told only the first few output tokens.
        """
        message = None if stream is None else stream.partial
        if stream is None or message is None:
            return
        usage = message.usage
        cut = not whole and message.stop_reason is None
        if whole:
            self._ledger.estimate.learn(message, stream.stats.events)
        elif cut:
            usage = self._ledger.estimate.usage_of_cut(message)
        model = self._ledger.known_model(message.model, asked=str(active.params.get("model", "")))
        self._note_charges(active, self._ledger.add(usage, model=model, failed=not whole, estimated=cut))

    def _note_charges(self, active: ActiveItem, charges: tuple[Charge, ...]) -> None:
        active.charges += charges
        if active.reservation is not None and self._ledger.limited:
            self._ledger.learn_prompt(active.reservation, charges)

    def _prepare(self, params: Mapping[str, Any], admission: Admission) -> MessageStreamManager:
        # Retries are made here, so that the governor sees every refusal. The permit is the stream's from now on.
        options: dict[str, Any] = {
            **params,
            "max_retries": 0,
            "lane": admission.permit.lane,
            ADMISSION: lambda: admission,
        }
        messages = self._client.beta.messages if "betas" in params else self._client.messages
        return messages.stream(**options)

    async def _tap(self, item: Item, stream: MessageStream, on_event: OnEvent) -> None:
        async for event in stream:
            result = on_event(item, event)
            if inspect.isawaitable(result):
                await result

    # The item's clock: it runs during requests and the waits between them, not while waiting for permission to send.

    def _out_of_time(self, active: ActiveItem) -> TotalTimeoutError:
        return TotalTimeoutError(
            f"item_timeout: the item was not complete within {self._item_timeout:g} s",
            seconds=self._item_timeout,
            may_have_been_accepted=True,
            request_id=None if active.stream is None else active.stream.request_id,
            partial=None if active.stream is None else active.stream.partial,
        )

    async def _back_off(self, active: ActiveItem, error: APIError, seconds: float) -> Outcome | None:
        """Wait before the next attempt. Called once for each retry.

        Returns:
          None when it is over; an outcome if the item's time runs out before, or no request is made any more.
        """
        time_left = self._item_timeout - active.used
        if seconds < time_left and self._job.watch is not None:
            self._job.watch.item_retries(active, error, seconds)
        if seconds == 0 and time_left > 0:
            return None
        # After a stop the next step is to ask for permission, and there the item is given up.
        with trio.CancelScope() as active.waiting:
            await trio.sleep(min(seconds, max(0.0, time_left)))
        active.waiting = None
        if seconds >= time_left and active.stop is None:
            return active.outcome("timeout", self._out_of_time(active))
        active.used += seconds
        return None


def _judge(
    outcome: Outcome, wanted: OutputType[Any], message: Message | None = None
) -> tuple[Outcome, OutputParseError | None]:
    """Give an outcome whose message is whole its value; or the status and the error that there is in place of one."""
    message = message or outcome.message
    assert message is not None
    try:
        return msgspec.structs.replace(outcome, value=parse_message(message, wanted)), None
    except OutputParseError as error:
        error.request_id = outcome.request_id
        return msgspec.structs.replace(outcome, status=error.fault, error=error), error


def _delay(judgement: Judgement, retries_taken: int, *, comparable: bool) -> float | None:
    """Return the seconds to wait before an item is tried again; None if it is not."""
    asked = judgement.retry_after
    if comparable and asked is not None:
        asked = min(asked, _MOST_SECONDS_OUT_OF_ORDER)
    if not judgement.retryable or (asked is not None and asked > _MOST_SECONDS):
        return None
    return retry_delay(retries_taken, jitter=random.random(), retry_after=asked)  # noqa: S311 - no secret
