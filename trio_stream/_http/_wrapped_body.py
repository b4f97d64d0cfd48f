"""A body that changes or shows the bytes of another one.

What belongs here: all of `ResponseBody` but the bytes, which is the other body's. What does not: what becomes of them.
"""

from __future__ import annotations

from collections.abc import Awaitable

from ._body import ResponseBody


class WrappedBody(ResponseBody):
    """The base of bodies around another: waiting and letting go are the other one's.

    Args:
      body: The other body.
    """

    __slots__ = ("_body", "cancel_safe")

    def __init__(self, body: ResponseBody) -> None:
        self._body = body
        self.cancel_safe = body.cancel_safe

    def look_again(self) -> None:
        """As `ResponseBody.look_again`."""
        self._body.look_again()

    def wait(self) -> Awaitable[None]:
        """As `ResponseBody.wait`."""
        return self._body.wait()

    def close(self) -> None:
        """As `ResponseBody.close`."""
        self._body.close()

    def finish(self) -> None:
        """As `ResponseBody.finish`."""
        self._body.finish()

    async def aclose(self) -> None:
        """As `ResponseBody.aclose`."""
        await self._body.aclose()
