"""Calls whose answer is one JSON object: counts of tokens, and all about message batches but their results.

What belongs here: sending such a request, its retries and clocks, and reading its answer. What does not: anything about
streams, and what the object means (`_protocol`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar, cast, final

import msgspec
import trio

from trio_stream._errors import APIError, FirstEventTimeoutError, InvalidResponseError, TotalTimeoutError
from trio_stream._hidden import Hidden
from trio_stream._http import Response, ResponseBody, decoded
from trio_stream._instruments import CallOutcome
from trio_stream._protocol import JSON_ERRORS, decode_json, error_from_response, find_sentence, may_have_been_done
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

T = TypeVar("T")


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What an answer holds, and its head."""

    value: T
    response: ResponseInfo


class JSONCall(Hidden, msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A request that is ready, and how its answer is read.

    Args:
      request: The request.
      name: What is called, for the texts of errors.
      read: Makes a value of the decoded object.
      limit_bytes: How large the answer may be.
    """

    request: StreamRequest
    name: str
    read: Callable[[Mapping[str, Any]], T]
    limit_bytes: int


@trio.lowlevel.enable_ki_protection
async def call_json(call: JSONCall[T]) -> Answer[T]:
    """Send the request and read its answer.

    A checkpoint. If it is cancelled, the connection is closed.

    Raises:
      APIError: The last attempt's. Where the request is not `StreamRequest.repeatable`, ``may_have_been_accepted``
        says whether the API may have done all the same what it asks for.
    """
    request = call.request
    request.run.enter()
    watch = watch_call(request, None)
    try:
        answer = await _call(call, watch)
    except BaseException as exc:
        if isinstance(exc, APIError) and not request.repeatable and may_have_been_done(exc):
            exc.may_have_been_accepted = True
        if watch is not None and isinstance(exc, trio.Cancelled):
            watch.end(CallOutcome.CANCELLED, reason=exc.reason)
        elif watch is not None:
            watch.end(CallOutcome.FAILED, error=exc)
        raise
    if watch is not None:
        watch.end(CallOutcome.COMPLETED)
    return answer


async def _call(call: JSONCall[T], watch: CallWatch | None) -> Answer[T]:
    request = call.request
    total = request.timeouts.total
    sendings = _Sendings(request.timeouts.first_event)
    with trio.move_on_after(math.inf if total is None else total) as scope:
        return await with_retries(
            lambda retries: _attempt(call, watch, retries, scope, sendings),
            max_retries=request.max_retries,
            repeatable=request.repeatable,
            renewable=request.outgoing.renewable,
            on_retry=None if watch is None else watch.retry,
            earlier=sendings.earlier,
            has_time=sendings.waiting.has_time,
        )
    error = TotalTimeoutError(
        f"total: {call.name} was not done within {total or 0.0:g} s" + (_ACCEPTED if sendings.present else ""),
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
    call: JSONCall[T],
    watch: CallWatch | None,
    retries_taken: int,
    total_scope: trio.CancelScope,
    sendings: _Sendings,
) -> Answer[T]:
    request = call.request
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
            return _decode(call, info, await _read_body(call, body))
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


async def _read_body(call: JSONCall[T], body: ResponseBody) -> bytes:
    parts, size = list[bytes](), 0
    while data := await body.receive_some():
        parts.append(data)
        size += len(data)
        if size > call.limit_bytes:
            raise InvalidResponseError(f"the answer to {call.name} is larger than {call.limit_bytes} bytes")
    body.finish()
    await body.aclose()
    return b"".join(parts)


def _decode(call: JSONCall[T], info: ResponseInfo, body: bytes) -> Answer[T]:
    try:
        value: object = decode_json(body)
        fields = cast("dict[str, Any]", value) if isinstance(value, dict) else dict[str, Any]()
        return Answer(call.read(fields), info)
    except (*JSON_ERRORS, InvalidResponseError) as exc:
        # Some gateways answer 200 and an error.
        error = error_from_response(info.status_code, info.headers, body, now=0.0)
        if find_sentence(error.body) is not None:
            raise error from exc
        raise InvalidResponseError(
            f"the answer to {call.name} cannot be read: {len(body)} bytes of "
            f"{info.headers.find(b'content-type', 'no content-type')[:100]!r}"
        ) from exc
