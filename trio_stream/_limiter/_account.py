"""The account of one model's limits: what is left of each, and what the requests that are under way will still take.

What belongs here: the arithmetic, without waiting. What does not: one bucket (`_buckets`), who is next (`_lanes`), and
pauses (`_header_limiter`).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Final, final

import msgspec

from trio_stream._protocol import RateLimit, RateLimits

from ._buckets import Bucket
from ._interface import LANES, Permit
from ._means import Means, counted_input

_UNSEEN: Final = 8
"""How many requests for a model go out before the first answer has said what the limits are."""

_SECONDS_BETWEEN_SUMS: Final = 0.1
"""How often the output that is still to come is summed up over all live streams."""

_LATE: Final = 2.0
"""Seconds. A time of refill that has passed for longer than this was written by another clock, or long ago."""


class _Charge(msgspec.Struct):
    """The charges for one request, and the totals of all charges up to it.

    The totals tell what was sent after this request. The API's ``remaining`` is as of its answer, so everything sent
    since then has to be subtracted from it. A correction of a charge belongs to the moment when that request was sent:
    taken for something later, what was put back would look like room that the API has not told.
    """

    input: float
    output: float
    requests_up_to: float = 0.0
    input_up_to: float = 0.0
    began_at: float | None = None  # as `Permit.began_at`, by the limiter's clock


@final
class Account:
    """The limits of one model at one speed.

    A request is charged when it is sent: itself, its estimated input, and the output that is expected of it within the
    next ten seconds. When its answer begins the input is corrected to the API's count, and all buckets to the API's
    ``remaining``; when it ends, the output is corrected. If it is refused, everything is given back.

    Args:
      own_buckets: The buckets of the user's own rates: requests, input tokens and output tokens. All accounts share
        them.
    """

    def __init__(self, own_buckets: tuple[Bucket, Bucket, Bucket]) -> None:
        self._own_buckets = own_buckets
        self._requests = Bucket()
        self._input = Bucket()
        self._output = Bucket()
        self._tokens = Bucket()  # input and output together
        self._live: dict[Permit, _Charge] = {}
        self._unanswered: dict[Permit, _Charge] = {}  # those of them without an answer, in the order of sending
        self._to_come = 0.0  # output tokens that live streams are likely to produce yet, summed up at `_to_come_at`
        self._to_come_at = -math.inf
        self._seen = False  # whether any answer has told the limits
        # What people ask for says little about what batches do. And a cached conversation counts for a hundredth of its
        # length: a question beside it that is not cached must not be taken for as small.
        self._means = {(lane, cached): Means() for lane in LANES for cached in (False, True)}

    def wait(self, permit: Permit, now: float, *, leaving: float) -> float:
        """Return the seconds until the API's limits let a request through.

        Args:
          permit: The request.
          now: The time, in seconds.
          leaving: The share of each bucket that has to be left when the request has taken its part.
        """
        if not self._seen and len(self._live) >= _UNSEEN:
            return math.inf
        tokens = self._expect_input(permit)
        if self._is_oversize(tokens):
            return self._requests.wait(1.0, now, leaving=leaving)
        return max(
            bucket.wait(amount, now, leaving=leaving)
            for bucket, amount in self._charges(1.0, tokens, self._expect_output(permit))
        )

    def wait_for_own_rates(self, permit: Permit, now: float) -> float:
        """Return the seconds until the user's own rates let a request through."""
        return max(bucket.wait(amount, now) for bucket, amount in self._own_charges(permit))

    def tokens(self, permit: Permit) -> float:
        """Return the tokens of a request that the API's limits count: those kinds for which a limit is known."""
        tokens = self._expect_input(permit)
        return _known_tokens(self._charges(0.0, tokens, self._expect_output(permit))) or tokens

    def tokens_of_own_rates(self, permit: Permit) -> float:
        """Return the tokens of a request that the user's own rates count, as `tokens`."""
        return _known_tokens(self._own_charges(permit)[1:]) or self._expect_input(permit)

    def _is_oversize(self, input_tokens: float) -> bool:
        """Whether the API's buckets cannot hold so many input tokens even when they are full."""
        return not (self._input.can_hold(input_tokens) and self._tokens.can_hold(input_tokens))

    def is_beyond(self, permit: Permit, limits: RateLimits) -> bool:
        """Whether a request has more input than limits that an answer tells allow for a whole minute."""
        tokens = self._expect_input(permit)
        told = (_token_limits(permit, limits)[0].limit, limits.tokens.limit)
        return any(limit and tokens > limit for limit in told)

    def take(self, permit: Permit, now: float) -> None:
        """Charge a request that is about to be sent."""
        charge = _Charge(self._expect_input(permit), self._expect_output(permit))
        permit.oversize = self._is_oversize(charge.input)
        self._charge(1.0, charge.input, charge.output, now)
        charge.requests_up_to, charge.input_up_to = self._requests.charged, self._input.charged
        self._live[permit] = self._unanswered[permit] = charge
        self._to_come += charge.output

    def _charges(self, requests: float, input_tokens: float, output_tokens: float) -> list[tuple[Bucket, float]]:
        return [
            (self._requests, requests),
            (self._input, input_tokens),
            (self._output, output_tokens),
            (self._tokens, input_tokens + output_tokens),
        ]

    def _own_charges(self, permit: Permit) -> list[tuple[Bucket, float]]:
        amounts = (1.0, self._expect_input(permit), self._expect_output(permit))
        return list(zip(self._own_buckets, amounts, strict=True))

    def _charge(self, requests: float, input_tokens: float, output_tokens: float, now: float) -> None:
        for bucket, amount in (
            *self._charges(requests, input_tokens, output_tokens),
            *zip(self._own_buckets, (requests, input_tokens, output_tokens), strict=True),
        ):
            if amount:
                bucket.take(amount, now)

    def _give_back_output(self, tokens: float, now: float) -> None:
        # Does what `_charge` does, but faster: a thousand requests may end at once.
        for bucket in (self._output, self._tokens, self._own_buckets[2]):
            if bucket.known:
                bucket.take(-tokens, now)

    def _means_for(self, permit: Permit) -> Means:
        return self._means[permit.lane, permit.cached]

    def _expect_input(self, permit: Permit) -> float:
        """Return the input tokens that the API is likely to count."""
        return permit.input_tokens * self._means_for(permit).input_ratio

    def _expect_output(self, permit: Permit) -> float:
        """Return the output tokens to hold back for a request at its start."""
        means = self._means_for(permit)
        return means.within_horizon(means.expected_output(permit))

    def _still_to_come(self, permit: Permit) -> float:
        """Return the output tokens that a live stream is likely to produce from now on."""
        means = self._means_for(permit)
        expected = means.expected_output(permit)
        if permit.began_at is None:
            return means.within_horizon(expected)
        # A stream that is longer than most is likely to go on, because lengths are heavy-tailed.
        return means.within_horizon(max(expected - self._produced(permit), expected / 4))

    def _produced(self, permit: Permit) -> float:
        """Return the output tokens that a live stream is likely to have produced."""
        return 0.0 if permit.began_at is None else permit.events() * self._means_for(permit).tokens_per_event

    def observe(self, permit: Permit, limits: RateLimits, now: float) -> None:
        """Learn from an answer that has begun or is whole, or from an error that is not a refusal."""
        charge = self._live[permit]
        if permit.ended:
            self._learn_output(permit, charge, now)
            return
        self._seen = True
        if permit.began_at is not None:
            charge.began_at = now
        self._learn_input(permit, charge, now)
        self._unanswered.pop(permit, None)
        self._correct(permit, charge, limits, now)

    def _learn_input(self, permit: Permit, charge: _Charge, now: float) -> None:
        usage = permit.usage
        if usage is None:
            return
        actual = counted_input(usage)
        self._means_for(permit).learn_input(permit, actual)
        self._charge(0.0, actual - charge.input, 0.0, now)
        self._correct_totals(charge, requests=0.0, input_tokens=actual - charge.input)
        permit.input_tokens = actual
        charge.input = float(actual)

    def _correct_totals(self, charge: _Charge, *, requests: float, input_tokens: float) -> None:
        """Have the totals as if a request without an answer had been charged so much more or less when it was sent."""
        # For those that were sent after it nothing changes. Those that were sent before are few: it has overtaken them.
        self._requests.charged -= requests
        self._input.charged -= input_tokens
        for earlier in self._unanswered.values():
            if earlier is charge:
                break
            earlier.requests_up_to -= requests
            earlier.input_up_to -= input_tokens

    def _learn_output(self, permit: Permit, charge: _Charge, now: float) -> None:
        usage = permit.usage
        if usage is None:
            return
        actual = float(usage.output_tokens)
        seconds = 0.0 if charge.began_at is None else now - charge.began_at
        self._means_for(permit).learn_output(permit, actual, seconds)
        self._charge(0.0, 0.0, actual - charge.output, now)
        charge.output = actual

    def _correct(self, permit: Permit, charge: _Charge, limits: RateLimits, now: float) -> None:
        """Correct our account by the API's, which tells the levels at the moment it answered this request."""
        input_tokens, output_tokens = _token_limits(permit, limits)
        sent_since = self._input.charged - charge.input_up_to
        _correct_bucket(self._requests, limits.requests, self._requests.charged - charge.requests_up_to, now)
        _correct_bucket(self._input, input_tokens, sent_since, now)
        if output_tokens.remaining is not None or limits.tokens.remaining is not None:
            if now - self._to_come_at >= _SECONDS_BETWEEN_SUMS:
                # With a thousand live streams this sum is the most expensive part of an answer.
                self._to_come_at, self._to_come = now, sum(map(self._still_to_come, self._live))
            _correct_bucket(self._output, output_tokens, self._to_come, now)
            _correct_bucket(self._tokens, limits.tokens, sent_since + self._to_come, now)

    def refuse(self, permit: Permit, limits: RateLimits, pause: float, now: float) -> None:
        """Learn that a request was refused, and that nothing is sent for ``pause`` seconds."""
        charge = self._live[permit]
        # A request that is refused uses nothing of the API's limits. Among the requests that the user allows in a
        # minute it counts, because it was made.
        self._charge(0.0, -charge.input, -charge.output, now)
        self._requests.take(-1.0, now)
        amounts = self._charges(1.0, charge.input, charge.output)
        self._correct_totals(charge, requests=-1.0, input_tokens=-charge.input)
        charge.input = charge.output = 0.0
        if limits != RateLimits():
            self._seen = True
            self._correct(permit, charge, limits, now)
        input_tokens, output_tokens = _token_limits(permit, limits)
        for (bucket, amount), told in zip(
            amounts, (limits.requests, input_tokens, output_tokens, limits.tokens), strict=True
        ):
            if told.remaining is None or told.remaining < amount:
                # This limit may be the one that refused it. If so, it has room for this request when the pause ends,
                # and not before: the bucket is lowered so far that refilling takes until then.
                bucket.at_most(amount - bucket.rate * pause, now)

    def release(self, permit: Permit, now: float) -> None:
        """Give back what a request held back and has not used."""
        charge = self._live.pop(permit, None)
        self._unanswered.pop(permit, None)
        if charge is not None and not permit.ended:
            # An answer that was cut, or never began, produces nothing more. One that is whole has been corrected.
            self._give_back_output(charge.output - min(self._produced(permit), charge.output), now)

    def forget_live(self) -> None:
        """Forget the requests that are under way: nobody will release them any more."""
        self._live.clear()
        self._unanswered.clear()


def _known_tokens(charges: list[tuple[Bucket, float]]) -> float:
    return sum(amount for bucket, amount in charges if bucket.known)


def _token_limits(permit: Permit, limits: RateLimits) -> tuple[RateLimit, RateLimit]:
    """Return the limits of input tokens and output tokens that hold for this request."""
    if permit.fast and (limits.fast_input_tokens, limits.fast_output_tokens) != (RateLimit(), RateLimit()):
        return limits.fast_input_tokens, limits.fast_output_tokens
    return limits.input_tokens, limits.output_tokens


def _correct_bucket(bucket: Bucket, limit: RateLimit, since: float, now: float) -> None:
    if limit.limit == 0:
        return  # what a gateway writes for a limit that does not exist; taken at its word, nothing could be sent ever
    if limit.limit is not None:
        bucket.limit(float(limit.limit), now)
    if limit.remaining is not None:
        bucket.correct(limit.remaining - since, now)
        if limit.reset is not None and bucket.known:
            # When it is full again says how much it holds: the API may allow bursts shorter than a minute.
            seconds = (limit.reset - datetime.now(UTC)).total_seconds()
            if seconds > -_LATE:
                bucket.tell_full(limit.remaining + bucket.rate * max(0.0, seconds))
