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

_NO_OPTIONS: Mapping[str, Any] = {}


@final
class Requests:
    """The requests of one resource; ``beta`` is which."""

    def __init__(self, settings: Settings, connections: Connections, *, beta: bool) -> None:
        self._settings = settings
        self._connections = connections
        self._query: Mapping[str, object] = {"beta": "true"} if beta else {}
        self._usual_headers: dict[bool, dict[str, str]] = {}

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
        params, options = call, _NO_OPTIONS
        if not OPTION_NAMES.isdisjoint(call):
            options = {name: value for name, value in call.items() if name in OPTION_NAMES}
            params = {name: value for name, value in call.items() if name not in OPTION_NAMES}
        check_sampling_params(params, self._settings.anthropic_version)
        content = build_body(params, stream=stream, extra_body=options.get("extra_body"))
        extra_query = options.get("extra_query")
        return self._settings.prepare(
            self._connections,
            path=path,
            content=content,
            # Built here: what is wrong with a header is said where it was given.
            headers=self._headers(params, options.get("extra_headers"), streaming=stream is True),
            query={**self._query, **extra_query} if extra_query else self._query,
            timeout=options.get("timeout", UNSET),
            max_retries=options.get("max_retries"),
        )

    def _headers(
        self, params: Mapping[str, Any], extra_headers: Mapping[str, str] | None, *, streaming: bool
    ) -> dict[str, str]:
        betas = params.get("betas")
        extra = param_headers(params)
        if extra_headers:
            extra.update(extra_headers)
        if extra or betas is not None:
            return self._settings.headers(streaming=streaming, betas=betas, extra_headers=extra)
        # Those of nearly every call: built once, and changed by nobody.
        headers = self._usual_headers.get(streaming)
        if headers is None:
            headers = self._usual_headers[streaming] = self._settings.headers(streaming=streaming)
        return headers
