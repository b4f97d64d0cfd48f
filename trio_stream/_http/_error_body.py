"""Reading the body of an error.

What belongs here: how much of it, for how long. What does not: what it says (`_protocol`).
"""

from __future__ import annotations

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection

from trio_stream._errors import APIError

from ._body import ResponseBody


@enable_ki_protection
async def read_error_body(body: ResponseBody, *, limit_bytes: int, seconds: float) -> bytes:
    """Read a body as far as it comes, and let go of it.

    The status is known by then, and must not be lost: of a body that stalls, breaks or does not end, this returns
    what has arrived. A cancellation point. The connection is closed before a cancelled call returns.

    Args:
      body: The body. It is finished if it ended, otherwise closed.
      limit_bytes: Stop after this many bytes.
      seconds: Stop after this many seconds.

    Returns:
      The bytes that have arrived, at most ``limit_bytes`` of them.
    """
    pieces: list[bytes] = []
    left = limit_bytes
    whole = False
    try:
        with trio.move_on_after(seconds):
            while left > 0:
                await checkpoint_if_cancelled()
                data = await body.receive_some()
                if not data:
                    whole = True
                    break
                pieces.append(data[:left])
                left -= len(data)
    except (APIError, trio.BrokenResourceError):
        pass
    finally:
        if whole:
            body.finish()
        else:
            body.close()
        await body.aclose()  # noqa: ASYNC102 - it does not wait, and shields itself
    return b"".join(pieces)
