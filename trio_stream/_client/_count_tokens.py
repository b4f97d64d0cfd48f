"""Counting tokens: one request, one JSON answer.

What belongs here: reading an answer that is not a stream. What does not: anything about streams.
"""

from __future__ import annotations

import math

import msgspec
import trio

from trio_stream._errors import APIError, FirstEventTimeoutError, InvalidResponseError, TotalTimeoutError
from trio_stream._http import Response
from trio_stream._stream import StreamRequest, check_encoding, read_error_answer, read_request_id, with_retries


class MessageTokensCount(msgspec.Struct, frozen=True):
    """How many input tokens a request has.

    Args:
      input_tokens: System prompt, tools, and messages together, in tokens.
    """

    input_tokens: int


@trio.lowlevel.enable_ki_protection
async def count_tokens(request: StreamRequest) -> MessageTokensCount:
    """Send the request and read its answer."""
    total = request.timeouts.total
    with trio.move_on_after(math.inf if total is None else total) as scope:
        return await with_retries(lambda retries: _attempt(request, retries, scope), max_retries=request.max_retries)
    raise TotalTimeoutError(f"total: tokens were not counted within {total or 0.0:g} s", seconds=total or 0.0)


async def _attempt(request: StreamRequest, retries_taken: int, total_scope: trio.CancelScope) -> MessageTokensCount:
    limit = request.timeouts.first_event
    request_id: str | None = None
    with trio.CancelScope() as scope:

        def on_sent() -> None:
            if limit is not None:
                scope.deadline = trio.current_time() + limit

        response = await request.send(retries_taken, on_sent)
        request_id = read_request_id(response.info)
        try:
            if response.info.status_code != 200:
                raise await read_error_answer(request, response, scope, total_scope)
            check_encoding(response.info)
            return _decode(response, await _read_body(response, limit_bytes=request.limits.error_body_bytes))
        except BaseException as exc:
            if isinstance(exc, APIError):
                exc.request_id = exc.request_id or request_id
            response.body.close()
            await response.body.aclose()
            raise
    raise FirstEventTimeoutError(
        f"first_event: waited {limit or 0.0:g} s for the answer (the API may have accepted the request)",
        seconds=limit or 0.0,
        may_have_been_accepted=True,
        request_id=request_id,
    )


async def _read_body(response: Response, *, limit_bytes: int) -> bytes:
    body, parts, size = response.body, list[bytes](), 0
    while data := await body.receive_some():
        parts.append(data)
        size += len(data)
        if size > limit_bytes:
            raise InvalidResponseError(f"the answer to count_tokens is larger than {limit_bytes} bytes")
    body.finish()
    await body.aclose()
    return b"".join(parts)


def _decode(response: Response, body: bytes) -> MessageTokensCount:
    try:
        return msgspec.json.decode(body, type=MessageTokensCount)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise InvalidResponseError(
            f"the answer to count_tokens cannot be read: {len(body)} bytes of "
            f"{response.info.headers.find(b'content-type', 'no content-type')[:100]!r}"
        ) from exc
