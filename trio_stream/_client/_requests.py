"""From the keyword arguments of a call to a request that can be sent.

What belongs here: taking options and parameters apart, choosing the path, and checking early what the API would
refuse late. What does not: encoding (`_protocol`), and sending (`_settings`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, final

import trio

from trio_stream._protocol import Message, build_body, check_sampling_params, param_headers
from trio_stream._stream import EventStream, MessageStreamManager, StreamRequest

from ._options import OPTION_NAMES
from ._settings import UNSET, Connections, Settings

MESSAGES_PATH: Final = "/v1/messages"
COUNT_PATH: Final = "/v1/messages/count_tokens"


@final
class Requests:
    """The requests of one resource; ``beta`` is which."""

    def __init__(self, settings: Settings, connections: Connections, *, beta: bool) -> None:
        self._settings = settings
        self._connections = connections
        self._query: Mapping[str, object] = {"beta": "true"} if beta else {}

    def message(self, call: Mapping[str, Any]) -> StreamRequest:
        """A request for a streamed message."""
        return self._prepare(MESSAGES_PATH, call, stream=True)

    def count(self, call: Mapping[str, Any]) -> StreamRequest:
        """A request for a count of tokens."""
        return self._prepare(COUNT_PATH, call, stream=None)

    @trio.lowlevel.enable_ki_protection  # of the block; the interrupt is raised where it waits
    async def create(self, call: Mapping[str, Any], *, stream: bool) -> Message | EventStream:
        """What ``create`` gives: the message, or the stream of its raw events before it is entered."""
        request = self.message(call)
        if stream:
            await trio.lowlevel.checkpoint()
            return EventStream(request)
        async with MessageStreamManager(request) as message_stream:
            await message_stream.until_done()
        return message_stream.message

    def _prepare(self, path: str, call: Mapping[str, Any], *, stream: bool | None) -> StreamRequest:
        options = {name: value for name, value in call.items() if name in OPTION_NAMES}
        params = {name: value for name, value in call.items() if name not in OPTION_NAMES}
        check_sampling_params(params, self._settings.anthropic_version)
        return self._settings.prepare(
            self._connections,
            path=path,
            content=build_body(params, stream=stream, extra_body=options.get("extra_body")),
            streaming=stream is True,
            betas=params.get("betas"),
            extra_headers={**param_headers(params), **(options.get("extra_headers") or {})},
            extra_query={**self._query, **(options.get("extra_query") or {})},
            timeout=options.get("timeout", UNSET),
            max_retries=options.get("max_retries"),
        )
