"""What the output of ``trio-stream batch`` says of an item.

What belongs here: the keys of a row and their order, making one of an outcome, and reading one again. What does not:
the files in which rows are (`_batch_output`, `_batch_table`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

from trio_stream._protocol import Usage
from trio_stream.batch import Journal, Outcome, Status, describe_error, restore_error
from trio_stream.cli._batch_recipe import Entry

BEGINNING: Final = b'{"id":"'
"""How `output_line` makes each line begin."""

OURS: Final = (
    "index", "model", "repeat", "status", "text", "json", "content", "stop_reason", "input_tokens", "output_tokens",
    "cache_read_tokens", "cache_write_tokens", "request_id", "attempts", "ttft", "seconds", "error", "input", "same_as",
    "max_tokens", "hash",
)  # fmt: skip
"""The keys of a row besides its id, as a table has them after those of the input. Not every row has all of them."""

NEEDED: Final = frozenset({"id", "status", "hash"})
"""The keys by which a row is known to be one of an output."""

_ALWAYS: Final = frozenset(OURS) - {"json", "repeat", "same_as"}
"""Keys of the input that are called like one of these go to ``input``; like another one, only where the row has it."""

AS_JSON: Final = frozenset({"json", "content", "error", "input"})
"""The keys whose values a table has as JSON."""

_ENDED: Final = frozenset({"ok", "cached", "error", "timeout", "invalid", "truncated", "refused"})


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """The tag of an item in the fan-out: what its row of output needs besides the outcome.

    Args:
      entry: The item of the input. Of its request it has what `in_row` gives: there may be many, and prompts are long.
      key: Its key in the journal and the output.
      hash: The `request_hash` of its request, as the journal has it.
      position: Its zero-based position among the items of this run.
      repeats: Whether items are repeated in this run, so that its row says which of them it is.
      schema: Whether an answer is JSON that follows a schema.
    """

    entry: Entry
    key: str
    hash: str
    position: int = 0
    repeats: bool = False
    schema: bool = False


def in_row(request: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a request that its row of output has."""
    return {name: request[name] for name in ("model", "max_tokens") if name in request}


def has_ended(outcome: Outcome) -> bool:
    """Whether the output has a row for an outcome: not for what the next run sends again."""
    return outcome.status in _ENDED


def output_line(outcome: Outcome, pending: Pending, *, same_as: str | None = None) -> bytes:
    """Make the row for an outcome, as a line of JSON.

    Args:
      outcome: The outcome.
      pending: The item.
      same_as: The id of the item that was sent, where this one is given its answer. What that cost is in its own row.
    """
    entry = pending.entry
    usage = outcome.usage if same_as is None else None
    ours: dict[str, Any] = {
        "index": entry.index,
        "model": entry.request.get("model"),
        "status": "ok" if outcome.status == "cached" else outcome.status,
        "text": outcome.text,
        "stop_reason": outcome.stop_reason,
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "cache_read_tokens": None if usage is None else usage.cache_read_input_tokens,
        "cache_write_tokens": None if usage is None else usage.cache_creation_input_tokens,
        "request_id": outcome.request_id,
        "attempts": outcome.attempts if same_as is None else 0,
        "ttft": None if outcome.ttft is None else round(outcome.ttft, 3),
        "seconds": round(outcome.seconds, 3),
        "error": None if outcome.error is None else describe_error(outcome.error),
        "max_tokens": entry.request.get("max_tokens"),
        "hash": pending.hash,
    }
    if pending.repeats:
        ours["repeat"] = entry.repeat
    if pending.schema:
        ours["json"] = outcome.value
    if same_as is not None:
        ours["same_as"] = same_as
    if outcome.message is not None and any(block.type != "text" for block in outcome.message.content):
        ours["content"] = [block.to_dict() for block in outcome.message.content]
    taken = _ALWAYS | ours.keys() | {"id"}
    row: dict[str, Any] = {"id": pending.key}
    row.update((name, value) for name, value in entry.others.items() if name not in taken)
    hidden = {name: value for name, value in entry.others.items() if name in taken}
    if hidden:
        row["input"] = hidden
    return msgspec.json.encode(row | ours) + b"\n"


def is_output_line(line: bytes, *, has_journal: bool = False) -> bool:
    """Whether a line, of which the end may be missing or parts damaged, is one of an output.

    Args:
      line: The line.
      has_journal: Whether a journal has answers. Without one, a line that only begins like a row may be a prompt.
    """
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        if _is_zeros(line):
            return True
        begins = line.startswith(BEGINNING)
        return (begins and has_journal) or (b'"status":"' in line and (begins or b'"hash":"' in line))
    return fields_of(line) is not None


def _is_zeros(line: bytes) -> bool:
    """Whether nothing is left of a line, as after a power cut: the file has its length, and zeros in place of data."""
    return b"\0" in line and not line.strip(b"\0\r\n")


def fields_of(line: bytes) -> dict[str, Any] | None:
    """Read a line of an output; None if it is damaged, or of something else."""
    try:
        fields: object = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(fields, dict):
        found = cast("dict[str, Any]", fields)
        if all(isinstance(found.get(name), str) for name in NEEDED):
            return found
    return None


def tell_journal(journal: Journal, key: str, fields: dict[str, Any]) -> None:
    """Note the outcome in a row of an output in the journal."""
    counts = {
        "input_tokens": fields.get("input_tokens"),
        "output_tokens": fields.get("output_tokens"),
        "cache_read_input_tokens": fields.get("cache_read_tokens"),
        "cache_creation_input_tokens": fields.get("cache_write_tokens"),
    }
    usage = {name: count for name, count in counts.items() if isinstance(count, int)}
    error = fields.get("error")
    index = fields.get("index")
    status = cast("Status", fields["status"]) if fields["status"] in _ENDED else "error"
    outcome = Outcome(
        id=key,
        index=index if isinstance(index, int) else 0,
        status=status,
        text=str(fields.get("text", "")),
        error=restore_error(cast("dict[str, Any]", error)) if isinstance(error, dict) else None,
        usage=Usage.from_wire(usage) if usage else None,
        stop_reason=fields.get("stop_reason"),
        request_id=fields.get("request_id"),
    )
    journal.start(key, fields["hash"], index=outcome.index)
    journal.end(key, outcome)
