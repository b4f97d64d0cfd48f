"""The rate limits of the Messages API, for a scripted one.

What belongs here: letting requests in by token buckets, headers about them, and charging output as it is produced.
What does not: the answers themselves (`_timeline`).

Written down from https://docs.claude.com/en/api/rate-limits, and deliberately not with the code that keeps to these
limits (`trio_stream.batch`): a mistake there must not hide here.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, final

import msgspec

from trio_stream.testing._json import as_object
from trio_stream.testing._steps import HTTPError
from trio_stream.testing._timeline import AnswerHead, Data, Moment
from trio_stream.testing._wire import count_input_tokens, merge_headers

_BYTES_PER_TOKEN = 4
_PIECES = ("text", "thinking", "partial_json")


@final
class _TokenBucket:
    def __init__(self, per_minute: float, capacity: float, now: float) -> None:
        self.per_minute = per_minute
        self._capacity = capacity
        self._level = capacity
        self._at = now

    def level(self, now: float) -> float:
        self._level = min(self._capacity, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now
        return self._level

    def take(self, amount: float, now: float) -> None:
        self._level = self.level(now) - amount

    def seconds_until(self, amount: float, now: float) -> float:
        return max(0.0, (amount - self.level(now)) * 60 / self.per_minute)

    def seconds_until_full(self, now: float) -> float:
        return self.seconds_until(self._capacity, now)


@final
class Quota:
    """Rate limits for ``ScriptedAPI(quota=...)``, by token buckets that refill continuously.

    A request is refused with 429 and ``retry-after`` when a bucket has too little for it. A request and its input
    tokens are taken at its start; output tokens as they are produced, whatever ``max_tokens`` is, so that bucket may
    go below zero, and a live stream is never cut. Every answer has the ``anthropic-ratelimit-*`` headers, token counts
    rounded to thousands. Tokens are four bytes.

    Args:
      requests_per_minute: How many requests a minute. None, here and below, is no limit.
      input_tokens_per_minute: How many input tokens a minute.
      output_tokens_per_minute: How many output tokens a minute.
      burst: How much a bucket holds at most, in minutes of its refill. Buckets begin full.
      concurrent: How many requests at once. More are refused with a 429 that has no rate limit headers.
      storm: The begin and the end of a time in which everything is refused with 529, in seconds since the first
        request.
      spend_limit: Input and output tokens after which everything is refused with 429 and the ``error_code``
        ``enforced_spend_limit_reached``.

    Attributes:
      taken: How many requests were let in.
      refused: How many requests were refused with 429.
      overloaded: How many requests were refused with 529.
      output_tokens: How many output tokens have been produced.
      input_tokens: How many input tokens have been taken.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        input_tokens_per_minute: float | None = None,
        output_tokens_per_minute: float | None = None,
        burst: float = 1.0,
        concurrent: int | None = None,
        storm: tuple[float, float] | None = None,
        spend_limit: int | None = None,
    ) -> None:
        self._rates: Mapping[str, float | None] = {
            "requests": requests_per_minute,
            "input-tokens": input_tokens_per_minute,
            "output-tokens": output_tokens_per_minute,
        }
        for name, rate in self._rates.items():
            if rate is not None and not 0 < rate < math.inf:
                raise ValueError(f"{name} per minute must be a positive number, not {rate!r}")
        if burst <= 0:
            raise ValueError(f"burst must be a positive number of minutes, not {burst!r}")
        self._burst = burst
        self._concurrent = concurrent
        self._storm = storm
        self._spend_limit = spend_limit
        self._began_at: float | None = None
        self._buckets: dict[str, _TokenBucket] = {}
        self.taken: int = 0
        self.refused: int = 0
        self.overloaded: int = 0
        self.input_tokens: int = 0
        self.output_tokens: float = 0.0

    def refuse(self, body: Mapping[str, Any], *, under_way: int, now: float) -> HTTPError | None:
        """Let a request in, or refuse it.

        Args:
          body: The body of the request.
          under_way: How many requests are under way, this one included.
          now: The time in seconds, of any clock.

        Returns:
          The error that refuses it, or None if it was let in.
        """
        if self._began_at is None:
            self._began_at = now
            self._buckets = {
                name: _TokenBucket(rate, max(1.0, rate * self._burst), now)
                for name, rate in self._rates.items()
                if rate is not None
            }
        since = now - self._began_at
        if self._storm is not None and self._storm[0] <= since < self._storm[1]:
            self.overloaded += 1
            return HTTPError(529, None, None, None, {}, None)
        if self._spend_limit is not None and self.input_tokens + self.output_tokens >= self._spend_limit:
            self.refused += 1
            return _spent()
        if self._concurrent is not None and under_way > self._concurrent:
            self.refused += 1
            message = "Number of concurrent connections has exceeded your rate limit."
            return HTTPError(429, None, message, None, dict.fromkeys(_rate_headers()), None)
        return self._admit(count_input_tokens(body), now)

    def _admit(self, input_tokens: int, now: float) -> HTTPError | None:
        # Output is not known beforehand: there has to be some left.
        needed = {"requests": 1.0, "input-tokens": float(input_tokens), "output-tokens": 1.0}
        missing = {
            name: bucket.seconds_until(needed[name], now)
            for name, bucket in self._buckets.items()
            if bucket.seconds_until(needed[name], now) > 1e-9
        }
        if missing:
            self.refused += 1
            name = max(missing, key=missing.__getitem__)
            return HTTPError(
                429,
                None,
                f"This request would exceed your organization's rate limit of {self._rates[name]:.0f} "
                f"{name.replace('-', ' ')} per minute.",
                math.ceil(missing[name]),
                {**self.headers(now)},
                None,
            )
        for name in ("requests", "input-tokens"):
            if name in self._buckets:
                self._buckets[name].take(needed[name], now)
        self.taken += 1
        self.input_tokens += input_tokens
        return None

    def headers(self, now: float) -> dict[str, str | None]:
        """The rate limit headers as of now. A limit that does not exist has None, which takes its header away."""
        headers: dict[str, str | None] = dict.fromkeys(_rate_headers())
        for name, bucket in self._buckets.items():
            level = max(0.0, bucket.level(now))
            full = datetime.now(UTC) + timedelta(seconds=bucket.seconds_until_full(now))
            remaining = int(level) if name == "requests" else round(level / 1000) * 1000
            headers[f"anthropic-ratelimit-{name}-limit"] = f"{bucket.per_minute:.0f}"
            headers[f"anthropic-ratelimit-{name}-remaining"] = str(remaining)
            headers[f"anthropic-ratelimit-{name}-reset"] = full.strftime("%Y-%m-%dT%H:%M:%SZ")
        return headers

    def metered(self, moments: Iterator[Moment], clock: Callable[[], float]) -> Iterator[Moment]:
        """The same answer with rate limit headers, its output charged as it is produced.

        Args:
          moments: The answer.
          clock: A function that gives the time, in seconds.
        """
        headers = self.headers(clock())
        for moment in moments:
            if isinstance(moment, AnswerHead):
                yield AnswerHead(moment.status, merge_headers(moment.headers, headers))
                continue
            if isinstance(moment, Data):
                self._produce(_output_bytes(moment.data) / _BYTES_PER_TOKEN, clock())
            yield moment

    def _produce(self, tokens: float, now: float) -> None:
        if tokens:
            self.output_tokens += tokens
            if "output-tokens" in self._buckets:
                self._buckets["output-tokens"].take(tokens, now)


def _rate_headers() -> list[str]:
    return [
        f"anthropic-ratelimit-{kind}-{what}"
        for kind in ("requests", "tokens", "input-tokens", "output-tokens")
        for what in ("limit", "remaining", "reset")
    ]


def _spent() -> HTTPError:
    body = {
        "type": "error",
        "error": {
            "type": "rate_limit_error",
            "message": "You have reached your specified API usage limits.",
            "details": {"error_code": "enforced_spend_limit_reached"},
        },
    }
    return HTTPError(429, None, None, None, {"x-should-retry": "false"}, msgspec.json.encode(body))


def _output_bytes(data: bytes) -> int:
    """How many bytes of model output an event, or a whole answer, holds."""
    if b"content_block_delta" not in data:
        return 0
    _, _, event = data.partition(b"data: ")
    try:
        delta = as_object(as_object(msgspec.json.decode(event)).get("delta"))
    except msgspec.DecodeError:
        return 0
    return sum(len(str(delta.get(name, "")).encode(errors="replace")) for name in _PIECES)
