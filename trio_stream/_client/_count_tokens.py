"""Counting tokens: one request, one JSON answer.

What belongs here: reading an answer that is not a stream. What does not: anything about streams.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast, final

import trio

from trio_stream._errors import APIError, FirstEventTimeoutError, InvalidResponseError, TotalTimeoutError
from trio_stream._http import Response, ResponseBody, decoded
from trio_stream._instruments import CallOutcome
from trio_stream._protocol import (
    JSON_ERRORS,
    MessageTokensCount,
    decode_json,
    error_from_response,
    find_sentence,
)
from trio_stream._response import ResponseInfo
from trio_stream._stream import (
    CallWatch,
    EarlierAttempts,
    StreamRequest,
    Waiting,
    check_encoding,
    locate,
    read_error_answer,
    read_request_id,
    watch_call,
    with_retries,
)

_ACCEPTED: Final = " (the API may have accepted the request)"


@trio.lowlevel.enable_ki_protection
async def count_tokens(request: StreamRequest) -> MessageTokensCount:
    """Send the request and read its answer."""
    request.run.enter()
    watch = watch_call(request, None)
    try:
        count = await _count(request, watch)
    except BaseException as exc:
        if watch is not None and isinstance(exc, trio.Cancelled):
            watch.end(CallOutcome.CANCELLED, reason=exc.reason)
        elif watch is not None:
            watch.end(CallOutcome.FAILED, error=exc)
        raise
    if watch is not None:
        watch.end(CallOutcome.COMPLETED)
    return count


async def _count(request: StreamRequest, watch: CallWatch | None) -> MessageTokensCount:
    total = request.timeouts.total
    sendings = _Sendings(request.timeouts.first_event)
    with trio.move_on_after(math.inf if total is None else total) as scope:
        return await with_retries(
            lambda retries: _attempt(request, watch, retries, scope, sendings),
            max_retries=request.max_retries,
            renewable=request.outgoing.renewable,
            on_retry=None if watch is None else watch.retry,
            earlier=sendings.earlier,
            has_time=sendings.waiting.has_time,
        )
    error = TotalTimeoutError(
        f"total: tokens were not counted within {total or 0.0:g} s" + (_ACCEPTED if sendings.present else ""),
        seconds=total or 0.0,
        may_have_been_accepted=sendings.present,
    )
    sendings.earlier.mark(error)
    raise locate(error, request, response=None, request_id=None)


@final
class _Sendings:
    """What is known of the sendings of one request so far.

    Attributes:
      earlier: What the attempts that are over mean.
      present: Whether the request has been sent in the present attempt.
      waiting: The clock ``first_event``.
    """

    __slots__ = ("earlier", "present", "waiting")

    def __init__(self, first_event: float | None) -> None:
        self.earlier = EarlierAttempts()
        self.present = False
        self.waiting = Waiting(first_event)


async def _attempt(
    request: StreamRequest,
    watch: CallWatch | None,
    retries_taken: int,
    total_scope: trio.CancelScope,
    sendings: _Sendings,
) -> MessageTokensCount:
    limit = request.timeouts.first_event
    response: Response | None = None
    request_id: str | None = None
    if watch is not None:
        watch.attempt_starts()
    sendings.present = False
    sendings.waiting.stop()
    with trio.CancelScope() as scope:

        def on_sent() -> None:
            sendings.present = True
            if watch is not None:
                watch.request_sent()
            scope.deadline = sendings.waiting.start()

        try:
            response = await request.outgoing.send(
                retries_taken=retries_taken,
                added_headers=None if watch is None else watch.added_headers,
                on_sent=on_sent,
                on_connected=None if watch is None else watch.connected,
            )
            info = response.info
            headers = info.headers
            body = decoded(headers, response.body)
            request_id = read_request_id(headers)
            if watch is not None:
                watch.head_received(info, request_id)
                body = watch.tapped(body)
            if info.status_code != 200:
                raise await read_error_answer(
                    info,
                    body,
                    scope,
                    total_scope,
                    limits=request.limits,
                    silence=request.timeouts.silence,
                    unix_time=request.unix_time(),
                )
            check_encoding(headers)
            return _decode(info, await _read_body(body, limit_bytes=request.limits.error_body_bytes))
        except BaseException as exc:
            if isinstance(exc, APIError):
                locate(exc, request, response=None if response is None else response.info, request_id=request_id)
            if response is not None:
                response.body.close()
                await response.body.aclose()
            raise
    error = FirstEventTimeoutError(
        f"first_event: waited {limit or 0.0:g} s for the answer" + _ACCEPTED,
        seconds=limit or 0.0,
        may_have_been_accepted=True,
    )
    raise locate(error, request, response=None if response is None else response.info, request_id=request_id)


async def _read_body(body: ResponseBody, *, limit_bytes: int) -> bytes:
    parts, size = list[bytes](), 0
    while data := await body.receive_some():
        parts.append(data)
        size += len(data)
        if size > limit_bytes:
            raise InvalidResponseError(f"the answer to count_tokens is larger than {limit_bytes} bytes")
    body.finish()
    await body.aclose()
    return b"".join(parts)


def _decode(info: ResponseInfo, body: bytes) -> MessageTokensCount:
    try:
        value: object = decode_json(body)
        return MessageTokensCount.from_wire(cast("dict[str, Any]", value) if isinstance(value, dict) else {})
    except JSON_ERRORS as exc:
        # Some gateways answer 200 and an error.
        error = error_from_response(info.status_code, info.headers, body, now=0.0)
        if find_sentence(error.body) is not None:
            raise error from exc
        raise InvalidResponseError(
            f"the answer to count_tokens cannot be read: {len(body)} bytes of "
            f"{info.headers.find(b'content-type', 'no content-type')[:100]!r}"
        ) from exc
