"""The responses of a hub: a tab that reads a run, and a tab that finds none.

What belongs here: reading what a run has said at the pace of one peer, and noticing that it is gone. What does not: the
run (`_hub`), and when something is sent (`_outgoing`).
"""

from __future__ import annotations

from typing import final

from trio_stream._nursery import NurseryBlock

from ._asgi import Receive, Scope, Send, check_http, until_disconnect
from ._live_run import LiveRun
from ._outgoing import Gone, Outgoing, Pace, head_of
from ._run_log import Position


@final
class NoRun:
    """An ASGI application that says that there is nothing to read."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. A checkpoint."""
        check_http(scope, "a tab of a hub")
        status, headers = self.head()
        fields = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await self.send_body(receive, send)

    def head(self) -> tuple[int, dict[str, str]]:
        """As `Respondent.head`."""
        return 204, {"cache-control": "no-cache"}

    async def send_body(self, receive: Receive, send: Send) -> None:  # noqa: ARG002
        """As `Respondent.send_body`."""
        await send({"type": "http.response.body", "body": b"", "more_body": False})


@final
class Tab:
    """An ASGI application that reads a run to its end."""

    def __init__(self, run: LiveRun, position: Position, pace: Pace) -> None:
        self._run = run
        self._position = position
        self._pace = pace
        self._attached = False
        self._outgoing: Outgoing | None = None
        self._block: NurseryBlock | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what the run has said and says, to its end or until the peer has gone. A checkpoint.

        Raises:
          RuntimeError: It has been called before, or not for an HTTP request.
        """
        check_http(scope, "a tab of a hub")
        if self._has_read_all():
            await NoRun()(scope, receive, send)
        else:
            await self._serve(receive, send, sends_head=True)

    def head(self) -> tuple[int, dict[str, str]]:
        """As `Respondent.head`."""
        return NoRun().head() if self._has_read_all() else (200, head_of(self._run.log.encoder))

    async def send_body(self, receive: Receive, send: Send) -> None:
        """As `Respondent.send_body`."""
        await self._serve(receive, send, sends_head=False)

    def _has_read_all(self) -> bool:
        return self._outgoing is None and self._run.log.has_ended and self._position.is_at_end

    async def _serve(self, receive: Receive, send: Send, *, sends_head: bool) -> None:
        if self._outgoing is not None:
            raise RuntimeError("a tab of a hub is the response to one request: attach for each")
        self._block = block = NurseryBlock("tab")
        log, position = self._run.log, self._position
        # What every answer begins with goes out with the first event, or after `head_after`; a snapshot at once.
        prefix = position.lead if position.is_first else ()
        self._outgoing = outgoing = Outgoing(
            send, log.encoder, self._pace, on_gone=self._leave, prefix=prefix, sends_head=sends_head
        )
        if not prefix:
            outgoing.add(position.lead)
        position.lead = ()
        await block.enter()
        self._run.attach()
        self._attached = True
        try:
            block.nursery.start_soon(self._watch, receive, name="trio_stream web disconnect")
            block.nursery.start_soon(outgoing.keep_time, block.nursery, name="trio_stream web clock")
            await self._read(outgoing)
        except BaseException as exc:  # noqa: ASYNC103 - it leaves as `NurseryBlock` says
            if not await block.exit(exc):  # noqa: ASYNC102 - waits as a nursery does
                raise
        else:
            block.nursery.cancel_scope.cancel(reason="the response has been sent")
            await block.exit(None)
        finally:
            self._detach()

    async def _read(self, outgoing: Outgoing) -> None:
        run, position = self._run, self._position
        log = run.log
        while not log.has_ended:
            outgoing.add(position.take())
            await outgoing.flush()
            if position.is_at_end and not log.has_ended:
                await log.wait()
        if run.failure is not None and await outgoing.refuse(run.failure):
            return
        outgoing.add(position.take())
        if log.was_cut:
            await outgoing.flush()  # and the host cuts the response, because it has not ended
        else:
            await outgoing.end()

    async def _watch(self, receive: Receive) -> None:
        await until_disconnect(receive)
        self._leave("disconnected")

    def _leave(self, how: Gone) -> None:
        """Nobody reads any more. The host may shield the `send` that waits, so the run must not wait for that."""
        assert self._outgoing is not None
        assert self._block is not None
        if self._outgoing.is_ending:
            return
        self._detach()
        self._block.nursery.cancel_scope.cancel(reason=f"the peer of a response: {how.replace('_', ' ')}")

    def _detach(self) -> None:
        if self._attached:
            self._attached = False
            self._run.detach()
