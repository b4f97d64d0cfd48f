"""From steps to an answer: its head and its bytes, with the silences between them.

What belongs here: the order of an answer's events and when each is due, relative to the one before. Pure: no
clock, no trio. What does not: how a single event is written (`_wire`), waiting for it (`_memory`).

A timeline is read lazily, so a script may be endless.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, TypeAlias, final

import msgspec

from trio_stream.testing import _steps as s
from trio_stream.testing._json import as_object
from trio_stream.testing._prompt_cache import CacheUse
from trio_stream.testing._signing import sign, sign_summary
from trio_stream.testing._whole import WholeMessage
from trio_stream.testing._wire import (
    ERROR_STATUSES,
    MODEL,
    SENTENCES,
    base_headers,
    count_input_tokens,
    count_tokens,
    error_fields,
    error_type,
    json_pieces,
    make_id,
    merge_headers,
    padding,
    text_pieces,
    write_event,
)


class Wait(msgspec.Struct, frozen=True):
    """Silence for so many seconds, which may be infinite."""

    seconds: float


class AnswerHead(msgspec.Struct, frozen=True):
    """The status and the headers of an answer. It comes once, before any `Data`."""

    status: int
    headers: tuple[tuple[str, str], ...]


class Data(msgspec.Struct, frozen=True):
    """Bytes of the body."""

    data: bytes


class Cut(msgspec.Struct, frozen=True):
    """The connection is lost: closed in the middle, or reset. A timeline without it ends properly."""

    reset: bool


Moment: TypeAlias = Wait | AnswerHead | Data | Cut


class AnswerContext(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer needs to know about its request.

    Attributes:
      number: The number of the request.
      request_id: The id of the request.
      body: The request, with all of its conversation.
      stream: Whether the answer is an event stream.
      verbatim: Whether the script is all of the answer: no headers are added to its own.
      transformations: What the API changed about the request, for ``input_transformations``.
      on_complete: Is called with the message when the answer is complete, before its last event is sent.
      cache: What it reads from the prompt cache and writes to it, where there is one.
      at: When the request arrived, in seconds of Trio's clock.
    """

    number: int
    request_id: str
    body: Mapping[str, Any]
    stream: bool
    verbatim: bool = False
    transformations: tuple[Mapping[str, Any], ...] = ()
    on_complete: Callable[[Mapping[str, Any]], None] | None = None
    cache: CacheUse | None = None
    at: float = 0.0


_NOTHING_WRITTEN: Final = {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0}


class _Event(msgspec.Struct, frozen=True):
    fields: Mapping[str, Any]


_Item: TypeAlias = Wait | Cut | _Event | s.Raw | s.Headers | s.HTTPError | s.Disconnect


def timeline(steps: Iterable[s.Step], context: AnswerContext) -> Iterator[Moment]:
    """The answer of a script to a request: streamed if the request asks for that, otherwise whole."""
    items = _Script(context).items(steps)
    if context.on_complete is not None:
        items = _watched(items, context.on_complete)
    if context.cache is not None:
        items = _cached(items, context.cache, context.at)
    return _streamed(items, context) if context.stream else _whole(items, context)


def error_answer(error: s.HTTPError, context: AnswerContext) -> Iterator[Moment]:
    """An HTTP error as the whole answer."""
    kind = error.type or error_type(error.status)
    message = error.message or SENTENCES.get(error.status, f"HTTP status {error.status}")
    body = error.body
    if body is None:
        fields = error_fields(kind, message, details=error.details, request_id=context.request_id)
        body = msgspec.json.encode(fields)
    more: dict[str, str | None] = {}
    if error.retry_after is not None:
        after = error.retry_after
        more["retry-after"] = f"{after:g}" if isinstance(after, int | float) else after
    return _json_answer(error.status, body, {**more, **error.headers}, context)


def json_answer(fields: Mapping[str, Any], context: AnswerContext) -> Iterator[Moment]:
    """A JSON document as the whole answer."""
    return _json_answer(200, msgspec.json.encode(fields), {}, context)


def _json_answer(status: int, body: bytes, more: Mapping[str, str | None], context: AnswerContext) -> Iterator[Moment]:
    headers = [
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
        *base_headers(context.number),
    ]
    yield AnswerHead(status, merge_headers(headers, more))
    if body:
        yield Data(body)


def _streamed(items: Iterator[_Item], context: AnswerContext) -> Iterator[Moment]:
    base: list[tuple[str, str]] = []
    if not context.verbatim:
        base = [
            ("content-type", "text/event-stream; charset=utf-8"),
            ("cache-control", "no-cache"),
            *base_headers(context.number),
        ]
    head_sent = False
    events = 0
    for item in items:
        if isinstance(item, Wait):
            yield item
            continue
        if isinstance(item, s.HTTPError):
            if head_sent:
                raise ValueError("http_error() is a whole answer: only pause() may come before it")
            yield from error_answer(item, context)
            return
        if isinstance(item, s.Headers):
            if head_sent:
                raise ValueError("headers() comes before everything else of an answer")
            head_sent = True
            yield AnswerHead(item.status, merge_headers(base, item.headers))
            continue
        if isinstance(item, Cut):
            yield item
            return
        if not head_sent:
            head_sent = True
            yield AnswerHead(200, tuple(base))
        if isinstance(item, s.Disconnect):
            return
        if isinstance(item, s.Raw):
            yield Data(item.data)
            continue
        yield Data(write_event(item.fields, padding(events)))
        events += 1


def _whole(items: Iterator[_Item], context: AnswerContext) -> Iterator[Moment]:
    message = WholeMessage()
    more: Mapping[str, str | None] = {}
    status = 200
    as_is: list[bytes] = []
    for item in items:
        if isinstance(item, Wait | Cut):
            yield item
            if isinstance(item, Cut):
                return
        elif isinstance(item, s.HTTPError):
            yield from error_answer(item, context)
            return
        elif isinstance(item, s.Headers):
            more, status = item.headers, item.status
        elif isinstance(item, s.Disconnect):
            break
        elif isinstance(item, s.Raw):
            as_is.append(item.data)
        elif item.fields["type"] == "error":
            error = as_object(item.fields["error"])
            body = msgspec.json.encode({**item.fields, "request_id": context.request_id})
            failed = ERROR_STATUSES.get(str(error["type"]), 500)
            yield from _json_answer(failed, body, more, context)
            return
        else:
            message.add(item.fields)
    body = b"".join(as_is) if as_is else msgspec.json.encode(message.fields)
    yield from _json_answer(status, body, more, context)


def _watched(items: Iterator[_Item], on_complete: Callable[[Mapping[str, Any]], None]) -> Iterator[_Item]:
    """The items, with a look at the message that they add up to."""
    message: WholeMessage | None = WholeMessage()
    for item in items:
        if isinstance(item, _Event) and message is not None:
            try:
                message.add(item.fields)
            except (ValueError, LookupError):
                message = None  # a mistake of the script's, meant or not: there is no message to tell of
            else:
                if item.fields["type"] == "message_stop":
                    on_complete(message.fields)
        yield item


def _cached(items: Iterator[_Item], cache: CacheUse, at: float) -> Iterator[_Item]:
    """The items; what they are to write to the prompt cache is there from their first event on."""
    for item in items:
        if isinstance(item, Wait):
            at += item.seconds
        elif isinstance(item, _Event):
            cache.begin(at)
        yield item


@final
class _Script:
    """The state of one answer while its steps are walked through."""

    def __init__(self, context: AnswerContext) -> None:
        self._context = context
        self._started = False  # message_start is out
        self._spoke = False  # anything of a script's own is out
        self._ended = False  # message_stop is out
        self._failed = False  # an error event is out
        self._open: int | None = None  # the index of the open block
        self._index = 0
        self._pinged = False
        self._called = False
        self._ids = 0
        self._content: list[dict[str, Any]] = []  # what came before, for signatures
        self._output_tokens = 0
        self._thinking_tokens = 0
        self._usage: dict[str, Any] = {}

    def items(self, steps: Iterable[s.Step]) -> Iterator[_Item]:
        for step in steps:
            s.check_step(step)
            yield from self._step(step)
        # A script of nothing but raw bytes, events or an error is a whole answer of its own.
        if not self._ended and not self._failed and (self._started or not self._spoke):
            yield from self._stop(s.Stop(None, None, None, close_block=True))

    def _step(self, step: s.Step) -> Iterator[_Item]:
        match step:
            case s.Say():
                yield from self._say(step)
            case s.Think():
                yield from self._think(step)
            case s.Call():
                yield from self._call(step)
            case s.Block():
                yield from self._begin_block(step.fields, step.ttft)
                self._content.append(dict(step.fields))
            case s.Compact():
                yield from self._compact(step)
            case s.RedactedThink():
                data = step.data or self._make_id("redacted")
                fields = {"type": "redacted_thinking", "data": data}
                yield from self._begin_block(fields, step.ttft)
                self._content.append(fields)
            case s.Stop():
                yield from self._stop(step)
            case s.Usage():
                self._usage.update(step.fields)
            case s.Headers() | s.HTTPError():
                yield step
            case _:
                yield from self._plain(step)

    def _plain(self, step: s.Step) -> Iterator[_Item]:
        """The part of an answer that a step makes which may also stand inside a block."""
        match step:
            case s.Pause():
                yield Wait(step.seconds)
            case s.Ping():
                self._spoke = True
                yield _Event({"type": "ping"})
            case s.Raw():
                self._spoke = True
                yield step
            case s.Fail():
                self._spoke = self._failed = True
                yield _Event(error_fields(step.type, step.message, details=step.details))
            case s.Disconnect():
                yield step if step.clean else Cut(step.reset)
            case _:
                assert isinstance(step, s.Event)
                self._spoke = True
                self._notice(step.fields)
                yield _Event(step.fields)

    def _notice(self, fields: Mapping[str, Any]) -> None:
        """Keep the automatic events consistent with an event that was written by hand."""
        kind = fields["type"]
        if kind == "message_start":
            self._started = True
        elif kind == "content_block_start":
            self._open = self._index = int(fields.get("index", self._index))
        elif kind == "content_block_stop":
            self._open = None
            self._index = int(fields.get("index", self._index)) + 1
        elif kind == "message_stop":
            self._ended = True

    def _begin(self, what: str) -> Iterator[_Item]:
        if self._ended:
            raise ValueError(f"{what} cannot come after the end of the message")
        if not self._started:
            self._started = True
            yield _Event({"type": "message_start", "message": self._message()})

    def _begin_block(self, fields: Mapping[str, Any], wait: float) -> Iterator[_Item]:
        if wait:
            yield Wait(wait)
        yield from self._begin("a block")
        yield from self._end_block()
        self._open = self._index
        yield _Event({"type": "content_block_start", "index": self._index, "content_block": fields})
        if not self._pinged:
            # As the API does: the first ping follows the start of the first block.
            self._pinged = True
            yield _Event({"type": "ping"})

    def _end_block(self) -> Iterator[_Item]:
        if self._open is not None:
            yield _Event({"type": "content_block_stop", "index": self._open})
            self._index = self._open + 1
            self._open = None

    def _delta(self, fields: Mapping[str, Any]) -> _Event:
        return _Event({"type": "content_block_delta", "index": self._index, "delta": fields})

    def _parts(self, parts: tuple[str | s.Step, ...], tps: float | None, delta: str, field: str) -> Iterator[_Item]:
        first = True
        for part in parts:
            if isinstance(part, s.Step):
                yield from self._plain(part)
                if self._failed:
                    return
                continue
            for piece in text_pieces(part):
                if tps is not None and not first:
                    yield Wait(1 / tps)
                first = False
                yield self._delta({"type": delta, field: piece})

    def _say(self, step: s.Say) -> Iterator[_Item]:
        fields: dict[str, Any] = {"type": "text", "text": ""}
        if step.citations:
            fields["citations"] = []
        yield from self._begin_block(fields, step.ttft)
        yield from self._parts(step.parts, step.tps, "text_delta", "text")
        if self._failed:
            return
        for citation in step.citations:
            yield self._delta({"type": "citations_delta", "citation": citation})
        text = "".join(part for part in step.parts if isinstance(part, str))
        self._output_tokens += count_tokens(text)
        if text:
            self._content.append({**fields, "text": text, "citations": list(step.citations)})

    def _think(self, step: s.Think) -> Iterator[_Item]:
        text = "".join(part for part in step.parts if isinstance(part, str))
        signature = step.signature
        if signature is None:
            signature = sign(self._context.body, self._content, text)
        yield from self._begin_block({"type": "thinking", "thinking": "", "signature": ""}, step.ttft)
        yield from self._parts(step.parts, step.tps, "thinking_delta", "thinking")
        if self._failed:
            return
        yield self._delta({"type": "signature_delta", "signature": signature})
        self._output_tokens += count_tokens(text)
        self._thinking_tokens += count_tokens(text)
        self._content.append({"type": "thinking", "thinking": text, "signature": signature})

    def _call(self, step: s.Call) -> Iterator[_Item]:
        server = step.kind == "server_tool_use"
        if not server:
            self._called = True
        fields: dict[str, Any] = {"type": step.kind}
        fields["id"] = step.id or self._make_id("srvtoolu" if server else "toolu")
        fields["name"] = step.name
        fields["input"] = {}
        if step.caller is not None:
            fields["caller"] = step.caller
        if step.toolset_name is not None:
            fields["toolset_name"] = step.toolset_name
        yield from self._begin_block(fields, step.ttft)
        for number, piece in enumerate(json_pieces(step.input_json)):
            if step.tps is not None and number:
                yield Wait(1 / step.tps)
            yield self._delta({"type": "input_json_delta", "partial_json": piece})
        self._output_tokens += count_tokens(step.name + step.input_json)
        try:
            value: Any = msgspec.json.decode(step.input_json)
        except msgspec.DecodeError:
            value = {}
        self._content.append({**fields, "input": value})

    def _compact(self, step: s.Compact) -> Iterator[_Item]:
        summary = step.summary
        fields: dict[str, Any] = {"type": "compaction", "content": None, "encrypted_content": None}
        fields["signature"] = None if summary is None else sign_summary(summary)
        fields |= step.fields
        yield from self._begin_block(fields, step.ttft)
        yield self._delta({"type": "compaction_delta", "content": summary})
        self._output_tokens += count_tokens(summary or "")
        self._content.append({**fields, "content": summary})

    def _make_id(self, prefix: str) -> str:
        self._ids += 1
        return make_id(prefix, self._context.number, self._ids)

    def _stop(self, step: s.Stop) -> Iterator[_Item]:
        yield from self._begin("stop()")
        if step.close_block:
            yield from self._end_block()
        self._ended = True
        delta: dict[str, Any] = {
            "stop_reason": step.reason or self._natural_reason(),
            "stop_sequence": step.sequence,
        }
        if step.details is not None:
            delta["stop_details"] = step.details
        if step.container is not None:
            delta["container"] = step.container
        used = self._counted(max(1, self._output_tokens))
        if self._thinking_tokens:
            used["output_tokens_details"] = {"thinking_tokens": self._thinking_tokens}
        yield _Event({"type": "message_delta", "delta": delta, "usage": {**used, **self._usage}})
        yield _Event({"type": "message_stop"})

    def _natural_reason(self) -> str:
        if self._called:
            return "tool_use"
        return "compaction" if {block["type"] for block in self._content} == {"compaction"} else "end_turn"

    def _counted(self, output_tokens: int) -> dict[str, Any]:
        tokens = count_input_tokens(self._context.body)
        cache = self._context.cache
        if cache is not None:
            return {**cache.counts(tokens), "output_tokens": output_tokens}
        return {
            "input_tokens": tokens,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output_tokens,
        }

    def _message(self) -> dict[str, Any]:
        model = self._context.body.get("model")
        changed = self._context.transformations
        return {
            **({"input_transformations": changed} if changed else {}),
            "model": model if isinstance(model, str) else MODEL,
            "id": make_id("msg", self._context.number, self._context.request_id),
            "type": "message",
            "role": "assistant",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {
                **self._counted(1),
                "cache_creation": _NOTHING_WRITTEN if self._context.cache is None else self._context.cache.creation,
                "service_tier": "standard",
                "inference_geo": "global",
                **self._usage,
            },
        }
