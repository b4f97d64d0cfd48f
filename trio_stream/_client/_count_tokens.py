"""Counting tokens: one request, one JSON answer.

What belongs here: reading an answer that is not a stream. What does not: anything about streams.
"""

from __future__ import annotations

import math

import msgspec
import trio

from trio_stream._errors import FirstEventTimeoutError, InvalidResponseError, TotalTimeoutError
from trio_stream._http import read_error_body
from trio_stream._stream import StreamRequest, check_encoding, read_error_answer, read_request_id, with_retries


class MessageTokensCount(msgspec.Struct, frozen=True):
    """How many input tokens a request has.

    Args:
      input_tokens: System prompt, tools, and messages together, in tokens.
    """

    input_tokens: int


async def count_tokens(request: StreamRequest) -> MessageTokensCount:
    """Send the request and read its answer."""
    total = request.timeouts.total
    with trio.move_on_after(math.inf if total is None else total) as scope:
        return await with_retries(lambda retries: _attempt(request, retries, scope), max_retries=request.max_retries)
    raise TotalTimeoutError(f"total: tokens were not counted within {total or 0.0:g} s", seconds=total or 0.0)


async def _attempt(request: StreamRequest, retries_taken: int, total_scope: trio.CancelScope) -> MessageTokensCount:
    limit = request.timeouts.first_event
    with trio.CancelScope() as scope:

        def on_sent() -> None:
            if limit is not None:
                scope.deadline = trio.current_time() + limit

        response = await request.send(retries_taken, on_sent)
        if response.status_code != 200:
            raise await read_error_answer(request, response, scope, total_scope)
        body = await read_error_body(response.body, limit_bytes=request.limits.error_body_bytes, seconds=math.inf)
        check_encoding(response)
        try:
            return msgspec.json.decode(body, type=MessageTokensCount)
        except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
            raise InvalidResponseError(
                f"the answer to count_tokens cannot be read: {len(body)} bytes of "
                f"{response.headers.get('content-type', 'no content-type')[:100]!r}",
                request_id=read_request_id(response),
            ) from exc
    raise FirstEventTimeoutError(f"first_event: waited {limit or 0.0:g} s for the answer", seconds=limit or 0.0)
