"""What becomes of the items of a batch.

What belongs here: what each result means for its item (an outcome, another batch, a stream), and what the end of a
whole group means for all of its items. What does not: reading results (`_via_batch_collect`), and the life of a group
(`_via_batch_life`).
"""

from __future__ import annotations

from typing import final

import trio

from trio_stream._errors import APIError, IncompleteStreamError
from trio_stream._protocol import Message, judge

from ._active_item import ActiveItem
from ._attempts import Attempts
from ._options import FanOutOptions
from ._outage import says_out_of_order
from ._records import Status
from ._stopping import FanOutStoppedError, stopped_by, stopped_by_outage
from ._via_batch_collect import NoAnswer, Result
from ._via_batch_group import BatchGroup
from ._via_batch_intake import Intake
from ._via_batch_state import BatchState
from ._via_batch_warmup import BatchWarmup
from ._workers import Workers


def stop_after(error: APIError) -> FanOutStoppedError | None:
    """The error to stop a job with whose batches cannot be created or read; None if others may be all the same.

    It was borne for a while (`Patience`), so what may be an outage is one.
    """
    judgement = judge(error)
    if judgement.reason is not None:
        return stopped_by(error, judgement.reason)
    return stopped_by_outage(error) if says_out_of_order(error, judgement.verdict) else None


@final
class Fates:
    """Decides what becomes of items.

    Args:
      state: The state of the run.
      options: The options of the fan-out.
      intake: Puts items into further groups.
      attempts: Charges answers, and judges those of which a type was asked for.
      workers: Stream what is to be streamed.
      warmup: Told of the answers that share something.
    """

    def __init__(
        self,
        state: BatchState,
        options: FanOutOptions,
        *,
        intake: Intake,
        attempts: Attempts,
        workers: Workers,
        warmup: BatchWarmup,
    ) -> None:
        self._state = state
        self._retry_invalid = options.retry_invalid
        self._intake = intake
        self._attempts = attempts
        self._workers = workers
        self._warmup = warmup
        self._nursery: trio.Nursery | None = None

    def begin(self, nursery: trio.Nursery) -> None:
        """Streams run in this nursery from now on."""
        self._nursery = nursery

    def take(self, active: ActiveItem, result: Result) -> None:
        """An item has its result."""
        state = self._state
        if isinstance(result, Message):
            self._take_message(active, result)
        elif isinstance(result, APIError):
            judgement = judge(result)
            if judgement.reason is not None:
                active.stop = stopped_by(result, judgement.reason)
                state.settle(active, active.outcome("skipped", result), noted=False)
            elif judgement.retryable:
                self._ask_again(active, result)
            else:
                state.settle(active, active.outcome("error", result))
        elif result is NoAnswer.MISSING:
            state.settle(active, active.outcome("error", IncompleteStreamError(f"no answer: {result.value}")))
        elif state.past_deadline or (result is NoAnswer.EXPIRED and state.via.on_expired == "stream"):
            self.stream(active)
        elif result is NoAnswer.EXPIRED and state.via.on_expired == "batch":
            self._ask_again(active, APIError(f"no answer: {result.value}"))
        else:
            state.settle(active, active.outcome("error", APIError(f"no answer: {result.value}")))

    def _take_message(self, active: ActiveItem, message: Message) -> None:
        state = self._state
        self._attempts.charge_in_batch(active, message)
        if active.cached:
            self._warmup.note(str(active.params.get("model", "")), message.usage)
        outcome = self._attempts.judge_answer(active.outcome("ok", batched=message))
        if outcome.status != "ok" and active.unfit < self._retry_invalid:
            active.unfit += 1
            self._intake.put(active)
        else:
            state.settle(active, outcome)

    def _ask_again(self, active: ActiveItem, error: APIError) -> None:
        """Put an item into another batch that may be answered there, unless it had its chances."""
        state = self._state
        again = state.again.get(active.index, 0)
        if again >= state.via.resubmit:
            state.settle(active, active.outcome("error", error))
        elif state.job.stopped is not None:  # the next run asks it
            state.settle(active, active.outcome("skipped", state.job.stopped))
        else:
            state.again[active.index] = again + 1
            self._intake.put(active)

    def stream(self, active: ActiveItem) -> None:
        """Stream an item. It may have been in a batch before."""
        assert self._nursery is not None
        self._intake.take_out(active)
        self._workers.start(active, self._nursery)

    # Whole groups.

    def stream_all(self, group: BatchGroup) -> None:
        """Stream what has no result."""
        for active in group.empty():
            self.stream(active)

    def lose_all(self, group: BatchGroup, error: APIError) -> None:
        """The batch of a group is not there any more, nor are its answers, which may have been paid."""
        state = self._state
        for active in group.empty():
            if state.past_deadline:
                self.stream(active)
            else:
                self._ask_again(active, error)
            state.paid_twice += active.index in state.job.active

    def skip_all(self, group: BatchGroup) -> None:
        """The job has stopped before there was a batch."""
        for active in group.empty():
            self._state.skip(active)

    def fail_all(self, group: BatchGroup, error: Exception) -> None:
        """The items of a group have no batch, or it cannot be read."""
        stop = stop_after(error) if isinstance(error, APIError) else None
        for active in group.empty():
            if stop is not None:
                active.stop = stop
                self._state.settle(active, active.outcome("skipped", error), noted=False)
            else:
                self._state.settle(active, active.outcome("error", error))

    def leave_all(self, group: BatchGroup) -> None:
        """The batch of a group, if there is one, is for the next run."""
        state = self._state
        for active in group.empty():
            status: Status = "skipped" if state.detached or not active.attempts else "cancelled"
            state.settle(active, active.outcome(status, state.job.stopped), noted=False)
