"""The requests about message batches.

What belongs here: paths, queries, bodies and retries of these calls. What does not: their signatures (`_batches`),
pages (`_batch_pages`), and reading results (`_stream`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from time import perf_counter
from typing import Any, Final, TypeVar, final

import trio

from trio_stream._protocol import (
    BatchBody,
    BatchContent,
    DeletedMessageBatch,
    MessageBatch,
    MessageBatchList,
    encode_params,
)
from trio_stream._stream import BatchResults, StreamRequest

from ._batch_pages import MessageBatchPages
from ._json_call import Answer, JSONCall, call_json
from ._requests import MESSAGES_PATH, Requests, take_apart

BATCHES_PATH: Final = f"{MESSAGES_PATH}/batches"

_HEADER_PARAMS: Final = frozenset({"betas", "user_profile_id", "workspace_id"})
_LIST_PARAMS: Final = frozenset({"after_id", "before_id", "limit"})
_LARGEST_PAGE: Final = 1000

_ID = re.compile(r"(?=.*[^.])[A-Za-z0-9._~!$&'()*+,;=:@-]{1,200}")
"""What needs no quoting in one step of a path (RFC 3986, 3.3). Ids of the API are ``msgbatch_`` and letters and digits,
but gateways have ids of their own, such as Base64."""

_SEND_BYTES_PER_SECOND: Final = 250_000
_SHORTEST_SEND_SECONDS: Final = 60.0

_ENCODE_UNINTERRUPTED_SECONDS: Final = 0.001

T = TypeVar("T")


@final
class BatchCalls:
    """The calls about batches of one client, with the head of each answer.

    Args:
      requests: Makes the requests.
    """

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    async def create(self, requests: Iterable[object], call: Mapping[str, Any]) -> Answer[MessageBatch]:
        """Create a batch. See `Batches.create`. A `BatchContent` is sent as it is."""
        params, options = _read_call("create", call)
        content: bytes | BatchContent
        if isinstance(requests, BatchContent):
            content = requests
        else:
            content = await self._encode(requests, options.get("extra_body"))
        request = self._requests.prepare(
            BATCHES_PATH,
            params,
            options,
            content=content,
            repeatable=False,
            send_seconds=max(_SHORTEST_SEND_SECONDS, len(content) / _SEND_BYTES_PER_SECOND),
        )
        return await call_json(self._json_call("batches.create", request, MessageBatch.from_dict))

    async def _encode(self, requests: Iterable[object], extra_body: Mapping[str, object] | None) -> bytes:
        """The body, which may take seconds to encode. Other tasks run in between."""
        body = BatchBody(anthropic_version=self._requests.anthropic_version, extra_body=extra_body)
        since = perf_counter()
        for request in requests:
            body.add(request)
            if perf_counter() - since >= _ENCODE_UNINTERRUPTED_SECONDS:
                await trio.lowlevel.checkpoint()
                since = perf_counter()
        return body.finish()

    async def retrieve(self, message_batch_id: str, call: Mapping[str, Any]) -> Answer[MessageBatch]:
        """Look at a batch. See `Batches.retrieve`."""
        return await self._about(message_batch_id, "retrieve", "GET", "", call, MessageBatch.from_dict)

    async def cancel(self, message_batch_id: str, call: Mapping[str, Any]) -> Answer[MessageBatch]:
        """Cancel a batch. See `Batches.cancel`."""
        return await self._about(message_batch_id, "cancel", "POST", "/cancel", call, MessageBatch.from_dict)

    async def delete(self, message_batch_id: str, call: Mapping[str, Any]) -> Answer[DeletedMessageBatch]:
        """Delete a batch. See `Batches.delete`."""
        return await self._about(message_batch_id, "delete", "DELETE", "", call, DeletedMessageBatch.from_dict)

    def list(self, call: Mapping[str, Any]) -> MessageBatchPages:
        """The batches of the workspace. See `Batches.list`."""
        params, options = _read_call("list", call, _LIST_PARAMS)
        query = {name: value for name, value in params.items() if name in _LIST_PARAMS}
        limit = query.get("limit")
        if limit is not None and (type(limit) is not int or not 1 <= limit <= _LARGEST_PAGE):
            raise ValueError(f"limit must be a whole number from 1 to {_LARGEST_PAGE}, not {limit!r}")
        if "after_id" in query and "before_id" in query:
            raise ValueError("give after_id or before_id, not both")
        cursor: Mapping[str, Any] = {name: query.pop(name) for name in ("after_id", "before_id") if name in query}

        async def fetch(place: Mapping[str, Any]) -> Answer[MessageBatchList]:
            request = self._requests.prepare(
                BATCHES_PATH, params, options, method="GET", query={**query, **place}, content=_extra_content(options)
            )
            return await call_json(self._json_call("batches.list", request, MessageBatchList.from_dict))

        return MessageBatchPages(fetch, cursor)

    def results(self, message_batch: str | MessageBatch, call: Mapping[str, Any]) -> BatchResults:
        """The results of a batch. See `Batches.results`."""
        params, options = _read_call("results", call)
        expected = None
        if isinstance(message_batch, MessageBatch):
            expected = message_batch.request_counts.total
            message_batch = message_batch.id
        # As the SDK has it; whatever else a caller wants wins.
        headers: dict[str, str] = {"accept": "application/binary"}
        headers.update(options.get("extra_headers") or {})
        request = self._requests.prepare(
            _path_of(message_batch, "/results"),
            params,
            {**options, "extra_headers": headers},
            method="GET",
            content=_extra_content(options),
        )
        return BatchResults(request, expected=expected)

    async def _about(
        self,
        message_batch_id: str,
        name: str,
        method: str,
        below: str,
        call: Mapping[str, Any],
        read: Callable[[Mapping[str, Any]], T],
    ) -> Answer[T]:
        params, options = _read_call(name, call)
        request = self._requests.prepare(
            _path_of(message_batch_id, below), params, options, method=method, content=_extra_content(options)
        )
        return await call_json(self._json_call(f"batches.{name}", request, read))

    def _json_call(self, name: str, request: StreamRequest, read: Callable[[Mapping[str, Any]], T]) -> JSONCall[T]:
        # A page of a thousand batches is larger than any error.
        return JSONCall(request=request, name=name, read=read, limit_bytes=request.limits.event_bytes)


def _read_call(
    name: str, call: Mapping[str, Any], query: frozenset[str] = frozenset()
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Split what a call was given into parameters and options.

    Raises:
      TypeError: There is something that this call does not take.
    """
    params, options = take_apart(call)
    for given in params:
        if given not in _HEADER_PARAMS and given not in query:
            raise TypeError(f"batches.{name}() got an unexpected keyword argument {given!r}")
    return params, options


def _extra_content(options: Mapping[str, Any]) -> bytes:
    extra_body = options.get("extra_body")
    return encode_params(extra_body) if extra_body else b""


def _path_of(message_batch_id: object, below: str) -> str:
    """The path of a batch. Its id cannot lead anywhere else.

    Raises:
      TypeError: The id is not a str.
      ValueError: It cannot be an id.
    """
    if not isinstance(message_batch_id, str):
        raise TypeError(f"message_batch_id must be a str, not {type(message_batch_id).__name__}")
    if not _ID.fullmatch(message_batch_id):
        raise ValueError(f"message_batch_id must be an id such as 'msgbatch_01...', not {message_batch_id[:80]!r}")
    return f"{BATCHES_PATH}/{message_batch_id}{below}"
