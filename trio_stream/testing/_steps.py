"""What a script is made of.

What belongs here: the steps as values, and the plain functions that build them. What does not: what a step
does to an answer (`_timeline`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec


class Step(msgspec.Struct, frozen=True):
    """One thing that a scripted answer does. Made by the functions of `trio_stream.testing`."""


class Think(Step, frozen=True):
    parts: tuple[str | Step, ...]
    ttft: float
    tps: float | None
    signature: str | None


class Say(Step, frozen=True):
    parts: tuple[str | Step, ...]
    ttft: float
    tps: float | None
    citations: tuple[Mapping[str, Any], ...]


class Call(Step, frozen=True):
    kind: str
    name: str
    input_json: str
    id: str | None
    ttft: float
    tps: float | None
    caller: Mapping[str, Any] | None
    toolset_name: str | None = None


class Block(Step, frozen=True):
    fields: Mapping[str, Any]
    ttft: float


class RedactedThink(Step, frozen=True):
    data: str | None
    ttft: float


class Compact(Step, frozen=True):
    summary: str | None
    fields: Mapping[str, Any]
    ttft: float


class Pause(Step, frozen=True):
    seconds: float


class Ping(Step, frozen=True):
    pass


class Fail(Step, frozen=True):
    type: str
    message: str
    details: Mapping[str, Any] | None


class HTTPError(Step, frozen=True):
    status: int
    type: str | None
    message: str | None
    retry_after: float | str | None
    headers: Mapping[str, str | None]
    body: bytes | None
    details: Mapping[str, Any] | None = None


class Stop(Step, frozen=True):
    reason: str | None
    sequence: str | None
    details: Mapping[str, Any] | None
    close_block: bool
    container: Mapping[str, Any] | None = None


class Disconnect(Step, frozen=True):
    clean: bool
    reset: bool


class Raw(Step, frozen=True):
    data: bytes


class Usage(Step, frozen=True):
    fields: Mapping[str, Any]


class Event(Step, frozen=True):
    fields: Mapping[str, Any]


class Headers(Step, frozen=True):
    headers: Mapping[str, str | None]
    status: int


def think(*parts: str | Step, ttft: float = 0.0, tps: float | None = None, signature: str | None = None) -> Step:
    """A thinking block.

    Args:
      parts: The text. Steps that happen inside the block, for example ``pause(30)``, can stand between its pieces.
      ttft: Seconds before the block begins. For the first block of a script that is before the answer's head.
      tps: Tokens (pieces of the text) a second. None sends all of them at once, still one event for each.
      signature: The block's signature. None makes one that a strict `ScriptedAPI` verifies when it comes back.
    """
    return Think(_parts(parts), _seconds(ttft, "ttft"), _rate(tps), signature)


def say(
    *parts: str | Step,
    ttft: float = 0.0,
    tps: float | None = None,
    citations: Sequence[Mapping[str, Any]] = (),
) -> Step:
    """A text block.

    Args:
      parts: The text. Steps that happen inside the block can stand between its pieces: ``say("Hel", ping(), "lo")``.
      ttft: Seconds before the block begins. For the first block of a script that is before the answer's head.
      tps: Tokens (pieces of the text) a second. None sends all of them at once, still one event for each.
      citations: The citations. Each is sent as a ``citations_delta`` after the text.
    """
    return Say(_parts(parts), _seconds(ttft, "ttft"), _rate(tps), tuple(citations))


def call(
    name: str,
    input: Mapping[str, Any] | str | None = None,  # noqa: A002 - the API's name
    *,
    id: str | None = None,  # noqa: A002 - the API's name
    ttft: float = 0.0,
    tps: float | None = None,
    caller: Mapping[str, Any] | None = None,
    toolset_name: str | None = None,
) -> Step:
    """A ``tool_use`` block.

    Args:
      name: The name of the tool.
      input: The input of the tool, or its JSON text as the model writes it, which may be malformed or cut.
      id: The block's id. None makes one.
      ttft: Seconds before the block begins.
      tps: Pieces of the JSON a second. None sends all of them at once, still one event for each.
      caller: Who calls the tool: ``{"type": "code_execution_20260120", "tool_id": "srvtoolu_..."}`` for the program of
        a `server_tool`. None is the model itself.
      toolset_name: The toolset that the tool belongs to.
    """
    who = {"type": "direct"} if caller is None else caller
    return Call("tool_use", name, _input_json(input), id, _seconds(ttft, "ttft"), _rate(tps), who, toolset_name)


def server_tool(
    name: str,
    input: Mapping[str, Any] | str | None = None,  # noqa: A002 - the API's name
    *,
    id: str | None = None,  # noqa: A002 - the API's name
    ttft: float = 0.0,
    tps: float | None = None,
    caller: Mapping[str, Any] | None = None,
) -> Step:
    """A ``server_tool_use`` block. Its result is a `block` of its own. The arguments are those of `call`."""
    return Call("server_tool_use", name, _input_json(input), id, _seconds(ttft, "ttft"), _rate(tps), caller)


def redacted_think(data: str | None = None, *, ttft: float = 0.0) -> Step:
    """A ``redacted_thinking`` block, which arrives whole. If ``data`` is None, it is made up."""
    return RedactedThink(data, _seconds(ttft, "ttft"))


def compact(summary: str | None, *, ttft: float = 0.0, **fields: Any) -> Step:
    """A ``compaction`` block: the summary that stands for the conversation so far.

    A strict `ScriptedAPI` takes it back at the beginning of a conversation.

    Args:
      summary: The text of the summary. None is a compaction that failed.
      ttft: Seconds before the block begins. For the first block of a script that is before the answer's head.
      fields: More fields of the block, such as ``tool_changes``. ``signature=None`` makes it one without a signature,
        as the edits of ``context_management`` do.
    """
    return Compact(summary, fields, _seconds(ttft, "ttft"))


def block(fields: Mapping[str, Any], *, ttft: float = 0.0) -> Step:
    """A content block that arrives whole in its ``content_block_start``, for example the result of a server tool."""
    if not isinstance(fields.get("type"), str):
        raise TypeError("block() needs a mapping with a `type`")
    return Block(fields, _seconds(ttft, "ttft"))


def pause(seconds: float) -> Step:
    """Silence for so many seconds. At the beginning of a script it comes before the answer's head."""
    return Pause(_seconds(seconds, "pause"))


def stall() -> Step:
    """Silence until the client closes the connection."""
    return Pause(math.inf)


def ping() -> Step:
    """A ``ping`` event. The one that every real stream has, after the start of its first block, is sent anyway."""
    return Ping()


def fail(
    type: str,  # noqa: A002 - the API's name
    message: str | None = None,
    *,
    details: Mapping[str, Any] | None = None,
) -> Step:
    """An ``error`` event inside the stream, which ends after it.

    If the answer is not streamed, the whole of it is an HTTP error with the status that belongs to ``type``.

    Args:
      type: ``error.type``, for example ``"overloaded_error"``.
      message: ``error.message``. None makes one.
      details: ``error.details``, for example ``{"error_code": "..."}``.
    """
    return Fail(type, message or _sentence(type), details)


def http_error(
    status: int,
    type: str | None = None,  # noqa: A002 - the API's name
    message: str | None = None,
    *,
    retry_after: float | str | None = None,
    headers: Mapping[str, str | None] | None = None,
    body: bytes | None = None,
    details: Mapping[str, Any] | None = None,
) -> Step:
    """An HTTP error as the whole answer. Only `pause` may come before it.

    Args:
      status: The HTTP status.
      type: ``error.type``. None takes the one that the API sends with the status.
      message: ``error.message``. None makes one.
      retry_after: The ``retry-after`` header: a number of seconds, or any text.
      headers: More headers. None as a value takes a header away.
      body: The body to send as it is, instead of the API's error JSON.
      details: ``error.details``, for example ``{"error_code": "..."}``.
    """
    return HTTPError(status, type, message, retry_after, headers or {}, body, details)


def stop(
    reason: str | None = None,
    sequence: str | None = None,
    *,
    details: Mapping[str, Any] | None = None,
    container: Mapping[str, Any] | str | None = None,
    close_block: bool = True,
) -> Step:
    """The end of the message: ``message_delta`` and ``message_stop``.

    A script that has none ends as if it had ``stop()``.

    Args:
      reason: ``stop_reason``. None takes the right one: ``tool_use`` after a `call`, ``compaction`` after nothing but
        a `compact`, otherwise ``end_turn``. ``"pause_turn"`` is for a reply that the next request sends back to go on.
      sequence: ``stop_sequence``. Without ``reason``, the reason is ``stop_sequence`` then.
      details: ``stop_details``, for refusals.
      container: The container in which the model's programs run, or its id.
      close_block: Whether to send the last ``content_block_stop``. The API may leave it out after ``max_tokens``.
    """
    if reason is None and sequence is not None:
        reason = "stop_sequence"
    if isinstance(container, str):
        container = {"id": container, "expires_at": "2026-12-31T00:00:00Z"}
    return Stop(reason, sequence, details, close_block, container)


def disconnect(*, clean: bool = False, reset: bool = False) -> Step:
    """The connection ends here, and the answer with it.

    Args:
      clean: Whether the HTTP body ends properly, as with some proxies, so that only the message is cut.
      reset: Whether the connection is reset (RST) instead of closed.
    """
    if clean and reset:
        raise ValueError("a connection ends clean or by a reset, not both")
    return Disconnect(clean, reset)


def raw(data: bytes | str) -> Step:
    """Bytes of the body, sent as they are, right or wrong."""
    return Raw(data.encode() if isinstance(data, str) else bytes(data))


def usage(**fields: Any) -> Step:
    """Fields of ``usage`` that replace the counted ones.

    Before the first block of a script they count for ``message_start`` too, later for ``message_delta`` only.
    """
    return Usage(fields)


def event(fields: Mapping[str, Any]) -> Step:
    """An event, sent as it is, for example one that no client knows yet. Ignored if the answer is not streamed."""
    if not isinstance(fields.get("type"), str):
        raise TypeError("event() needs a mapping with a `type`; raw() takes anything")
    return Event(fields)


def headers(headers: Mapping[str, str | None] | None = None, *, status: int = 200) -> Step:
    """The head of the answer, with headers of your own. It is sent when this step is reached.

    Without this step the head goes out together with the first bytes of the body.

    Args:
      headers: More headers. None as a value takes a header away.
      status: The HTTP status.
    """
    return Headers(headers or {}, status)


def checked(steps: Iterable[Step]) -> Iterable[Step]:
    """Return the steps, or raise a `TypeError` that says what is wrong if they are not a script."""
    given: object = steps
    if isinstance(given, Step):
        raise TypeError("a script is a list of steps: ScriptedAPI([say('Hello')]), not ScriptedAPI(say('Hello'))")
    if isinstance(given, str | bytes) or not hasattr(given, "__iter__"):
        raise TypeError(f"a script is a list of steps, not {type(steps).__name__}")
    if isinstance(steps, list | tuple):
        for step in steps:
            check_step(step)
    return steps


def check_step(step: object) -> None:
    """Raise a `TypeError` that names the value, if it is not a step."""
    if not isinstance(step, Step):
        raise TypeError(f"a script holds steps such as say(...) and pause(...), not {step!r}")


def _parts(parts: tuple[str | Step, ...]) -> tuple[str | Step, ...]:
    for part in parts:
        if isinstance(part, str):
            continue
        if not isinstance(part, Pause | Ping | Fail | Disconnect | Raw | Event):
            raise TypeError(f"inside a block: text, pause, stall, ping, fail, disconnect, raw or event, not {part!r}")
    return parts


def _input_json(input: Mapping[str, Any] | str | None) -> str:  # noqa: A002 - the API's name
    if isinstance(input, str):
        return input
    return msgspec.json.encode(dict(input or {})).decode()


def _seconds(value: float, name: str) -> float:
    if not value >= 0:
        raise ValueError(f"{name} is a number of seconds from 0 on, not {value!r}")
    return float(value)


def _rate(tps: float | None) -> float | None:
    if tps is not None and not tps > 0:
        raise ValueError(f"tps is a number of tokens a second above 0, or None, not {tps!r}")
    return tps


def _sentence(error_type: str) -> str:
    return error_type.removesuffix("_error").replace("_", " ").capitalize()
