"""`Live`: what every call is doing at this moment.

What belongs here: following calls from their moments, and telling how they stand. What does not: how that is shown (the
command's table, a program's own), and what has happened before (traces and recordings).
"""

from __future__ import annotations

import statistics
from collections import Counter, deque
from enum import Enum
from typing import final

import msgspec
import trio

from trio_stream._instruments import (
    AttemptStart,
    Call,
    CallEnd,
    CallMoment,
    CallOutcome,
    CallStart,
    FirstEvent,
    Moment,
    RequestSent,
    Retry,
)
from trio_stream._money import OutputEstimate
from trio_stream._protocol import ContentBlockDeltaEvent, RawMessageStreamEvent
from trio_stream.batch import JobEnd, Paused
from trio_stream.types import InputJSONDelta, TextDelta, ThinkingDelta

_SPAN = 5.0
"""Seconds over which a speed is measured, at least, once there are so many."""

_NORMAL_OF = 100
"""How many of the last answers of a model tell what is normal for it."""


class LiveState(Enum):
    """What a call is doing."""

    CONNECTING = "connecting"  # it waits for its turn or for a connection, or sends the request
    WAITING = "waiting"  # the request has been sent, and no event has come but pings
    STREAMING = "streaming"
    BACKING_OFF = "backing off"  # an attempt failed, and the next one is due later


class LiveCall(msgspec.Struct, frozen=True, kw_only=True):
    """How one call stands.

    Args:
      id: That of the `Call`.
      item: That of the `Call`: the fan-out's item that it is made for.
      model: The model, or an empty text where a call has none.
      path: The path below the base URL.
      lane: That of the `Call`.
      state: What it is doing.
      age: Seconds since it began.
      quiet: Seconds since anything happened: an event other than ``ping``, or a step such as sending the request.
      attempts: Requests made.
      back_off: Seconds until the next attempt, if it is backing off; else None.
      error: What the last attempt failed with, by the name of its class; None if none has.
      output_tokens: The tokens of the answer so far, estimated from its characters.
      tokens_per_second: How fast they come, over the last seconds; None until there is something to measure.
      pace: This speed as a share of what is normal for the model; None until answers of the model have ended.
    """

    id: int
    item: str | None
    model: str
    path: str
    lane: str
    state: LiveState
    age: float
    quiet: float
    attempts: int
    back_off: float | None
    error: str | None
    output_tokens: int
    tokens_per_second: float | None
    pace: float | None


class LiveModel(msgspec.Struct, frozen=True, kw_only=True):
    """How the calls of one model stand.

    Args:
      model: The model, or an empty text for calls that have none.
      states: How many calls are in each state.
      tokens_per_second: The speed of all its streams together.
      normal: The median speed of one of its answers, of the last hundred that were complete; None without any.
      retries: Attempts that failed and were followed by another one, so far.
      outcomes: How many calls have ended in which way, so far.
    """

    model: str
    states: dict[LiveState, int]
    tokens_per_second: float
    normal: float | None
    retries: int
    outcomes: dict[CallOutcome, int]


class LiveSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """How all calls stand.

    Args:
      at: When, by Trio's clock.
      calls: The calls under way; those that have been quiet for longest come first.
      models: The models, by name.
      paused: Seconds for which fan-outs send nothing, because the API said so; None if nothing is paused.
    """

    at: float
    calls: tuple[LiveCall, ...]
    models: tuple[LiveModel, ...]
    paused: float | None


@final
class Live:
    """An instrument that knows what every call is doing.

    ::

        live = ts.Live()
        async with ts.Client(instruments=[live]) as client:
            ...
            for call in live.snapshot().calls[:10]:
                print(call.item, call.state.value, f"quiet for {call.quiet:.0f} s, {call.attempts} attempts")

    It follows all calls that it is told of, of any number of clients and fan-outs. It keeps nothing of a call that has
    ended but counts. Following costs about a microsecond for each event; `snapshot` about five for each call.
    """

    def __init__(self) -> None:
        self._rows: dict[int, _Row] = {}  # by the id of the call
        self._models: dict[str, _Model] = {}
        self._paused: dict[int, float] = {}  # until when, by the id of the job
        self._estimate = OutputEstimate()

    def __call__(self, moment: Moment) -> None:
        """Take note of a moment: this is an instrument."""
        if isinstance(moment, CallMoment):
            self._follow(moment)
        elif isinstance(moment, Paused):
            self._paused[moment.job.id] = moment.until
        elif isinstance(moment, JobEnd):
            self._paused.pop(moment.job.id, None)

    def snapshot(self) -> LiveSnapshot:
        """How everything stands now. Plain and quick; it can be called from any task.

        Each ``trio.run`` has a clock of its own, so times are right for the calls of the one that this is called in.

        Raises:
          RuntimeError: Not called in a Trio task: there is no clock.
        """
        now = trio.current_time()
        # Copies, because clients in other threads may be told something meanwhile.
        rows, models = list(self._rows.values()), dict(self._models)
        normal = {name: model.normal() for name, model in models.items()}
        calls = [self._describe(row, now, normal[row.model]) for row in rows]
        calls.sort(key=lambda call: call.quiet, reverse=True)
        paused = max(list(self._paused.values()), default=now) - now
        return LiveSnapshot(
            at=now,
            calls=tuple(calls),
            models=tuple(
                LiveModel(
                    model=name,
                    states=dict(Counter(call.state for call in calls if call.model == name)),
                    tokens_per_second=sum(call.tokens_per_second or 0.0 for call in calls if call.model == name),
                    normal=normal[name],
                    retries=model.retries,
                    outcomes=dict(model.outcomes),
                )
                for name, model in sorted(models.items())
            ),
            paused=paused if paused > 0 else None,
        )

    def _follow(self, moment: CallMoment) -> None:
        if isinstance(moment, CallStart):
            call = moment.call
            begun = _Row(call, at=moment.at)
            self._models.setdefault(begun.model, _Model())  # before its row: a snapshot looks for the row's model
            self._rows[call.id] = begun
            return
        row = self._rows.get(moment.call.id)
        if row is None:
            return  # it began before anybody followed it
        if isinstance(moment, CallEnd):
            del self._rows[moment.call.id]
            self._end(row, moment)
            return
        row.quiet_since = moment.at
        if isinstance(moment, AttemptStart):
            row.begin_attempt()
            moment.tap_events(row.event)
        elif isinstance(moment, RequestSent):
            row.state = LiveState.WAITING
        elif isinstance(moment, FirstEvent):
            row.begin_streaming(moment.at)
        elif isinstance(moment, Retry):
            row.state = LiveState.BACKING_OFF
            row.next_attempt_at = moment.at + moment.delay
            row.error = type(moment.error).__name__
            self._models[row.model].retries += 1

    def _end(self, row: _Row, moment: CallEnd) -> None:
        model = self._models[row.model]
        model.outcomes[moment.outcome] += 1
        if moment.outcome is not CallOutcome.COMPLETED or moment.usage is None or not row.characters:
            return
        tokens = moment.usage.output_tokens
        self._estimate.learn_counts(row.model, tokens=tokens, characters=row.characters)
        if moment.at > row.streaming_since:
            model.speeds.append(tokens / (moment.at - row.streaming_since))

    def _describe(self, row: _Row, now: float, normal: float | None) -> LiveCall:
        backing_off = row.state is LiveState.BACKING_OFF
        characters = row.characters_per_second(now)
        speed = None if characters is None else self._estimate.tokens_in_characters(row.model, characters)
        return LiveCall(
            id=row.call.id,
            item=row.call.item,
            model=row.model,
            path=row.call.path,
            lane=row.call.lane,
            state=row.state,
            age=now - row.began_at,
            quiet=now - row.quiet_since,
            attempts=row.call.attempts,
            back_off=max(0.0, row.next_attempt_at - now) if backing_off else None,
            error=row.error,
            output_tokens=round(self._estimate.tokens_in_characters(row.model, row.characters)),
            tokens_per_second=speed,
            pace=None if speed is None or not normal else speed / normal,
        )


@final
class _Model:
    """What is remembered of the calls of a model."""

    def __init__(self) -> None:
        self.retries = 0
        self.outcomes: Counter[CallOutcome] = Counter()
        self.speeds: deque[float] = deque(maxlen=_NORMAL_OF)

    def normal(self) -> float | None:
        """The median speed of an answer, in tokens a second."""
        return statistics.median(list(self.speeds)) if self.speeds else None


@final
class _Row:
    """One call under way.

    The speed is that since the older one of two marks, which are at least `_SPAN` apart. So it is known without looking
    at more than the last event.
    """

    __slots__ = (
        "_mark",
        "_next_mark",
        "began_at",
        "call",
        "characters",
        "error",
        "model",
        "next_attempt_at",
        "quiet_since",
        "state",
        "streaming_since",
    )

    def __init__(self, call: Call, *, at: float) -> None:
        self.call = call
        self.model = call.model or ""
        self.began_at = at
        self.quiet_since = at
        self.state = LiveState.CONNECTING
        self.next_attempt_at = at
        self.error: str | None = None
        self.characters = 0
        self.streaming_since = at
        self._mark = self._next_mark = (at, 0)

    def begin_attempt(self) -> None:
        """A request is about to be made."""
        self.state = LiveState.CONNECTING
        self.characters = 0

    def begin_streaming(self, at: float) -> None:
        """The first event has arrived."""
        self.state = LiveState.STREAMING
        self.streaming_since = at
        self._mark = self._next_mark = (at, 0)

    def event(self, event: RawMessageStreamEvent, at: float) -> None:
        """A wire event has been decoded."""
        if event.type == "ping":
            return
        self.quiet_since = at
        if isinstance(event, ContentBlockDeltaEvent):
            delta = event.delta
            if isinstance(delta, TextDelta):
                self.characters += len(delta.text)
            elif isinstance(delta, ThinkingDelta):
                self.characters += len(delta.thinking)
            elif isinstance(delta, InputJSONDelta):
                self.characters += len(delta.partial_json)
        if at - self._next_mark[0] >= _SPAN:
            self._mark, self._next_mark = self._next_mark, (at, self.characters)

    def characters_per_second(self, now: float) -> float | None:
        """The speed, or None while nothing can be said."""
        since, characters = self._mark
        if self.state is not LiveState.STREAMING or now - since <= 0:
            return None
        return (self.characters - characters) / (now - since)
