"""The lines of a journal: outcomes as JSON, and back.

What belongs here: the contents of a record, and reading it tolerantly. What does not: files (`_journal`, `_merge`).

A journal is JSON lines. The first says what it is; each other is a record of one item::

    {"record":"journal","version":1}
    {"record":"start","key":"q1","hash":"5f...","index":0,"at":1795251600.25}
    {"record":"end","key":"q1","hash":"5f...","index":0,"at":1795251603.5,"charges":[{"model":...}],"status":"ok",...}
    {"record":"partial","key":"q2","hash":"81...","index":1,"at":1795251603.5,"text":"It depends on"}

There may also be records that are of no item::

    {"record":"run","at":1795251600.2,"n":5000}                       a run with so many items begins
    {"record":"charges","at":1795252000.0,"charges":[...],"n":3}      what records that were left out had

``charges`` is written where a journal is made of others (`_merge`, `_compact`): what the records of these that it does
not have were charged for, and how many items were under way in them when a run was killed. And where a batch has an
answer to an item that was answered in another way meanwhile: what that was charged for.

A journal with records of message batches (`_journal_batches`) has the version 2: a program that does not know them
would send again what a batch is answering.

``hash`` is the `request_hash` of the item, ``at`` is Unix time. The last record of a key counts. An ``end`` with the
status ``skipped`` cancels the records before it: the item was given up when the job stopped, and is to be sent again.
``charges`` is what all attempts of this run were charged for, each with its model and tier; a budget of a later run
counts those of all records. Kinds and fields that this version does not know are left alone.
"""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast, final

import msgspec

import trio_stream._errors as _errors
from trio_stream._errors import APIError, APIStatusError, InvalidResponseError
from trio_stream._money import Charge, charges_of
from trio_stream._protocol import Message, TextBlock, Usage
from trio_stream.batch._records import Outcome, Status

HEADER: Final = b'{"record":"journal","version":1}\n'

VERSION_AT: Final = HEADER.index(b"1")
"""Where the digit of the version stands in the file."""

BATCH_VERSION: Final = 2
"""The version of a journal that has records of batches; the highest that this program reads."""

CHARGED: Final = frozenset({"end", "partial", "charges"})
"""The kinds of records that have charges."""

Order: TypeAlias = Literal["index", "completion"]
"""The order of the items, or the order in which they ended."""


_RECORD = 1 << 13
"""How many bytes are read at first for one record."""


class JournalError(Exception):
    """The journal cannot be used: the file is not a journal, another process has it, or it cannot be written.

    Everything that had been written before is still there. Where an `OSError` was the reason, it is the ``__cause__``.

    Attributes:
      path: The file.
    """

    path: Path

    def __init__(self, message: str, *, path: Path) -> None:
        super().__init__(message)
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return (functools.partial(type(self), *self.args, path=self.path), ())


class RecordedError(Exception):
    """An error from an earlier run whose class is not one of this library's.

    Attributes:
      type: The name of its class.
    """

    type: str

    def __init__(self, message: str, *, type: str) -> None:  # noqa: A002 - as `APIStatusError.type`
        super().__init__(message)
        self.type = type

    def __reduce__(self) -> tuple[object, ...]:
        return (functools.partial(self.__class__, *self.args, type=self.type), ())


@final
class RecordHead(msgspec.Struct, frozen=True, gc=False):
    """The fields of a record that an index of records needs; the rest of the line is not decoded."""

    record: str = ""
    key: str = ""
    status: str = ""
    index: int = 0
    hash: str = ""
    at: float = 0.0
    charges: msgspec.Raw = msgspec.Raw()
    version: int = 1
    custom_id: str = ""
    nonce: str = ""
    n: int = 0
    since: float = 0.0
    dated: bool = True
    newest: float | None = None
    workspace: str = ""
    model: str = ""
    batch: str = ""
    call: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])


@final
class _Answer(msgspec.Struct, frozen=True, gc=False):
    model: str = ""


@final
class _EarlierRecord(msgspec.Struct, frozen=True, gc=False):
    """What tells the charges in a record that does not name them."""

    usage: Any = None
    message: _Answer | None = None


_decode_earlier = msgspec.json.Decoder(_EarlierRecord).decode
_decode_charges = msgspec.json.Decoder(tuple[Charge, ...]).decode
_decode_head = msgspec.json.Decoder(RecordHead).decode
_encode = msgspec.json.Encoder().encode


def read_head(line: bytes) -> RecordHead | None:
    """Read the head of a record.

    Returns:
      The head, whose ``record`` is empty where the line is JSON of another form; None if the line is not JSON.
    """
    try:
        return _decode_head(line)
    except msgspec.ValidationError:
        return RecordHead()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def charges_in(head: RecordHead, line: bytes) -> tuple[Charge, ...]:
    """Read what the outcome in a record was charged for.

    A record of an earlier version has no charges: there it is the usage of the last attempt.

    Args:
      head: The head of the record.
      line: The record.
    """
    if bytes(head.charges):
        return _charges(head.charges)
    try:
        record = _decode_earlier(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ()  # its head could be read, and not the rest
    usage = _usage(record.usage)
    return () if usage is None or record.message is None else charges_of(usage, record.message.model)


def _charges(value: msgspec.Raw) -> tuple[Charge, ...]:
    try:
        return _decode_charges(value)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ()  # of a later version, perhaps


def is_journal(line: bytes) -> bool:
    """Whether ``line``, the first of a file, is that of a journal."""
    if not line.endswith(b"\n"):
        return False
    head = read_head(line)
    return head is not None and head.record == "journal"


def may_be_journal(line: bytes) -> bool:
    """Whether ``line``, the first of a file, is that of a journal, or what a killed run left of that."""
    return is_journal(line) or HEADER.startswith(line)


def check_version(first: bytes, path: Path) -> int:
    """Return the version of a journal, of which this is the first line.

    Raises:
      JournalError: It has records that this version of the library does not know.
    """
    head = read_head(first)
    version = 1 if head is None else head.version
    if version > BATCH_VERSION:
        raise JournalError(f"{path} was written by a later version of trio_stream: use that one", path=path)
    return version


def is_of_another(record: Mapping[str, Any], request_hash: str) -> bool:
    """Whether a record is that of another request. Some do not tell."""
    return record.get("hash", request_hash) not in ("", None, request_hash)


def read_line(descriptor: int, offset: int) -> bytes:
    """Read the line that begins at an offset, with its line end.

    Args:
      descriptor: The file, open for reading.
      offset: Where the line begins, in bytes.
    """
    size = _RECORD
    while True:
        os.lseek(descriptor, offset, os.SEEK_SET)
        data = os.read(descriptor, size)
        end = data.find(b"\n")
        if end >= 0 or len(data) < size:
            return data[: end + 1] if end >= 0 else data
        size *= 4


def start_record(key: str, request_hash: str, *, index: int, custom_id: str | None = None) -> bytes:
    """Make the line that notes that an item is started; ``custom_id`` is its id in a batch."""
    record = _common("start", key, request_hash, index)
    if custom_id is not None:
        record["custom_id"] = custom_id
    return _line(record)


def run_record(items: int | None) -> bytes:
    """Make the line that notes that a run begins, with so many items; None if that is not known."""
    return _line({"record": "run", "at": round(time.time(), 3), "n": items or 0})


def charges_record(charges: tuple[Charge, ...], killed: int) -> bytes:
    """Make the line that has what records that were left out were charged for.

    Args:
      charges: Their sums.
      killed: How many items were under way when a run died, as far as no other record tells it.
    """
    return _line({"record": "charges", "at": round(time.time(), 3), "charges": charges, "n": killed})


def batch_record(fields: Mapping[str, Any]) -> bytes:
    """Make the line that notes something about a batch."""
    return _line({**fields, "at": round(time.time(), 3)})


def partial_record(
    key: str,
    request_hash: str,
    *,
    index: int,
    text: str,
    request_id: str | None,
    usage: Usage | None,
    charges: tuple[Charge, ...],
) -> bytes:
    """Make the line that notes what had arrived of an item that was cancelled."""
    record = _common("partial", key, request_hash, index)
    record["charges"] = charges
    record["text"] = text
    if request_id is not None:
        record["request_id"] = request_id
    if usage is not None:
        record["usage"] = usage.to_dict()
    return _line(record)


def end_record(key: str, request_hash: str, outcome: Outcome) -> bytes:
    """Make the line that notes how an item ended."""
    record = _common("end", key, request_hash, outcome.index)
    record["charges"] = outcome.charges
    record["status"] = outcome.status
    record["text"] = outcome.text
    for name in ("stop_reason", "request_id", "ttft"):
        value = getattr(outcome, name)
        if value is not None:
            record[name] = value
    record["attempts"] = outcome.attempts
    record["seconds"] = outcome.seconds
    if outcome.id is None:
        record["id"] = None  # its key was made from the request
    if outcome.usage is not None:
        record["usage"] = outcome.usage.to_dict()
    if outcome.error is not None:
        record["error"] = describe_error(outcome.error) | _body_of(outcome.error)
    if outcome.message is not None:
        record["message"] = _without_repetition(outcome.message, outcome)
    if outcome.tag is not None:
        try:
            return _line({**record, "tag": outcome.tag})
        except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
            pass  # a tag may be anything; one that cannot be JSON is not kept
    return _line(record)


def _common(kind: str, key: str, request_hash: str, index: int) -> dict[str, Any]:
    return {"record": kind, "key": key, "hash": request_hash, "index": index, "at": round(time.time(), 3)}


def _line(record: Mapping[str, Any]) -> bytes:
    return _encode(record) + b"\n"


def _without_repetition(message: Message, outcome: Outcome) -> dict[str, Any]:
    """Return the fields of a message, without text and usage where the record has the same."""
    repeated: dict[str, None] = {}
    if message.usage == outcome.usage and not _unread_counts(message.usage):
        repeated["usage"] = None
    if message.content == (TextBlock(text=outcome.text),):
        repeated["content"] = None
    # Fields that are None are left out, so nothing is made of these first: each of many thousands of results is noted.
    return msgspec.structs.replace(message, **repeated).to_dict()


def _text_block(text: str) -> dict[str, Any]:
    return TextBlock(text=text).to_dict()


def read_outcome(record: Mapping[str, Any], *, status: Status | None = None) -> Outcome:
    """Make an outcome of a record of any kind. Fields that are missing or cannot be read have their defaults.

    Args:
      record: The decoded line.
      status: The status of the outcome; None for the one in the record.
    """
    kind = record.get("record")
    noted: Status = "cancelled"
    if kind == "end":
        noted = cast("Status", record.get("status", "error"))
    text = _text(record.get("text")) or ""
    usage = _usage(record.get("usage"))
    error = record.get("error")
    key = _text(record.get("key"))
    return Outcome(
        id=None if "id" in record and record["id"] is None else key,
        index=int(_number(record.get("index")) or 0),
        tag=record.get("tag"),
        status=noted if status is None else status,
        text=text,
        message=_message(record.get("message"), text, usage),
        error=restore_error(cast("dict[str, Any]", error)) if isinstance(error, dict) else None,
        usage=usage,
        attempts=int(_number(record.get("attempts")) or 0),
        ttft=_number(record.get("ttft")),
        seconds=_number(record.get("seconds")) or 0.0,
        request_id=_text(record.get("request_id")),
        stop_reason=_text(record.get("stop_reason")),
        charges=_charges(msgspec.Raw(_encode(record.get("charges", ())))),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return value if isinstance(value, (int, float)) else None


def _usage(value: object) -> Usage | None:
    if not isinstance(value, dict):
        return None
    usage = Usage.from_wire(cast("dict[str, Any]", value))
    return None if _unread_counts(usage) else usage  # a record that has such a count tells none


def _unread_counts(usage: Usage) -> bool:
    """Whether there is a count that could not be read. It is kept among the unknown fields."""
    return not usage.extra.keys().isdisjoint(Usage.__struct_fields__)


def _message(value: object, text: str, usage: Usage | None) -> Message | None:
    if not isinstance(value, dict):
        return None
    fields = cast("dict[str, Any]", value)
    fields.setdefault("content", [_text_block(text)])
    try:
        message = Message.from_dict(fields)
    except InvalidResponseError:
        return None
    return message if usage is None or "usage" in fields else msgspec.structs.replace(message, usage=usage)


# Errors. Their attributes are kept, except those that are objects. What the API sent is kept whole, unless it is large.

_LARGEST_BODY: Final = 65_536
"""Bytes of JSON. Errors of the API have some hundred; what is larger is a page of something in between."""


def _body_of(error: BaseException) -> dict[str, Any]:
    """Return the body of an error's answer as a field of its description, with all its unknown fields."""
    body: object = error.body if isinstance(error, APIStatusError) else None
    try:
        is_kept = body is not None and len(_encode(body)) <= _LARGEST_BODY
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
        is_kept = False  # not from the API: whoever makes an error gives it any body
    return {"body": body} if is_kept else {}


def describe_error(error: BaseException) -> dict[str, Any]:
    """Describe an error as JSON: the name of its class, its message, and its plain attributes."""
    described: dict[str, Any] = {"class": type(error).__name__}
    if isinstance(error, APIError):
        described["message"] = error.message
        described |= {
            name: value
            for name, value in vars(error).items()
            if name not in ("message", "partial", "body") and isinstance(value, (str, int, float, bool))
        }
    else:
        described["message"] = str(error)
    return described


_STATUS_FIELDS: Final = ("type", "error_code", "api_message", "retry_after", "body", "should_retry", "rate_limits")


def restore_error(described: Mapping[str, Any]) -> Exception:
    """Make an error of its description, the reverse of `describe_error`.

    Returns:
      An error of the class that was described, or a `RecordedError` if that is not one of this library's.
    """
    name = str(described.get("class", ""))
    message = str(described.get("message", ""))
    kind = getattr(_errors, name, None)
    if not isinstance(kind, type) or not issubclass(kind, APIError):
        return RecordedError(message, type=name)
    # Set the attributes directly, as unpickling does: constructors differ from class to class, attributes do not.
    error = kind.__new__(kind, message)
    error.args = (message,)
    state: dict[str, Any] = {"request_id": None, "partial": None}
    if issubclass(kind, _errors.APIStatusError):
        state |= dict.fromkeys(_STATUS_FIELDS)
        state["status_code"] = 0
    elif issubclass(kind, _errors.APIConnectionError):
        state |= {"may_have_been_accepted": False, "retryable": True}
        if issubclass(kind, _errors.APITimeoutError):
            state["seconds"] = 0.0
    state |= {name: value for name, value in described.items() if name != "class"}
    state["message"] = message
    error.__dict__.update(state)
    return error
