"""The output of ``trio-stream batch``: one line of JSON for each item.

What belongs here: the contents of a line, and a file of lines that an earlier run may have begun. What does not: the
journal, from which a lost line is made again (`trio_stream.batch`).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, cast, final

import msgspec

from trio_stream._protocol import Usage
from trio_stream.batch import Journal, Outcome, describe_error, lock_file, restore_error
from trio_stream.cli._batch_recipe import Entry

_READ = 1 << 20
_BEGINNING: Final = b'{"id":"'
"""How `output_line` makes each line begin."""

_OURS: Final = frozenset(
    {
        "id", "index", "status", "text", "content", "stop_reason", "input_tokens", "output_tokens", "cache_read_tokens",
        "cache_write_tokens", "request_id", "attempts", "ttft", "seconds", "error", "hash", "input",
    }
)  # fmt: skip
"""The keys of a line. Keys of the input with one of these names go to ``input``."""


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """The tag of an item in the fan-out: what its line of output needs besides the outcome.

    Args:
      entry: The line of the input that the item was made of.
      key: Its key in the journal and the output.
      hash: The `request_hash` of its request.
    """

    entry: Entry
    key: str
    hash: str


class OutputError(Exception):
    """The output cannot be written, or another run is writing it."""


class TargetError(Exception):
    """A file that the command line names is not one that this command may write. The message is shown to the user."""


def output_line(outcome: Outcome, pending: Pending) -> bytes:
    """Make the line for an outcome."""
    others = pending.entry.others
    line: dict[str, Any] = {"id": pending.key}
    line.update((name, value) for name, value in others.items() if name not in _OURS)
    hidden = {name: value for name, value in others.items() if name in _OURS}
    if hidden:
        line["input"] = hidden
    usage = outcome.usage
    line |= {
        "index": pending.entry.index,
        "status": "ok" if outcome.status == "cached" else outcome.status,
        "text": outcome.text,
        "stop_reason": outcome.stop_reason,
        "input_tokens": None if usage is None else usage.input_tokens,
        "output_tokens": None if usage is None else usage.output_tokens,
        "cache_read_tokens": None if usage is None else usage.cache_read_input_tokens,
        "cache_write_tokens": None if usage is None else usage.cache_creation_input_tokens,
        "request_id": outcome.request_id,
        "attempts": outcome.attempts,
        "ttft": None if outcome.ttft is None else round(outcome.ttft, 3),
        "seconds": round(outcome.seconds, 3),
        "error": None if outcome.error is None else describe_error(outcome.error),
        "hash": pending.hash,
    }
    if outcome.message is not None and any(block.type != "text" for block in outcome.message.content):
        line["content"] = [block.to_dict() for block in outcome.message.content]
    return msgspec.json.encode(line) + b"\n"


@final
class Output:
    """Writes the lines to a file, which may have some already, or to standard output.

    Args:
      path: The file; None for standard output.
      in_order: Whether to write the lines in the order of the input, so that a line waits for those before it.

    Attributes:
      path: As given.
      written: How many lines this run has written.
      damaged: How many whole lines of an earlier run could not be read.

    Raises:
      OutputError: The file cannot be opened, or another run is writing it.
    """

    def __init__(self, path: Path | None, *, in_order: bool) -> None:
        self.path = path
        self.written = 0
        self.damaged = 0
        self._in_order = in_order
        self._there: set[str] = set()
        self._waiting: dict[int, bytes] = {}
        self._next = 0
        self._descriptor: int | None = None
        self._size = 0
        self._is_changed = False  # whether the file has lines that are to be removed
        if path is not None:
            try:
                self._descriptor = self._open(path)
            except OSError as error:
                raise self._error("cannot be opened", error) from None

    def _open(self, path: Path) -> int:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
        if not lock_file(descriptor, path):
            os.close(descriptor)
            raise OutputError(f"{self.path} is in use: another run is writing it")
        return descriptor

    def close(self) -> None:
        """Close the file. Lines that still wait for others are not written; the journal has them."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)

    def read_earlier(self, journal: Journal | None, *, retry_errors: bool) -> None:
        """Find out which lines the file has, and which of them have to be written again. Nothing is changed yet.

        Lines that the journal has no record of, because it was lost, are noted in it. Lines that are damaged are
        written again as soon as the journal gives their answers.

        Raises:
          TargetError: The file is of another kind.
          OutputError: The file cannot be read.
        """
        lines = foreign = 0
        for line in self._lines():
            lines += 1
            fields = _fields(line)
            if fields is None:
                self.damaged += 1
                self._is_changed = True
                foreign += not is_output_line(line)
                continue
            key = cast("str", fields["id"])
            if journal is not None and key not in journal:
                _tell(journal, key, fields)
            if key in self._there:
                self._is_changed = True
            # In order, everything after a line that will be written again has to be written again too.
            elif (fields["status"] == "ok" or not retry_errors) and not (self._is_changed and self._in_order):
                self._there.add(key)
                self._size += len(line)
            else:
                self._is_changed = True
        if foreign * 2 > lines:
            raise TargetError(f"{self.path} exists and is not an output of this command: name another file")

    def begin(self, *, overwrite: bool) -> None:
        """Make the file ready for more lines: remove those that will be written again.

        Args:
          overwrite: Whether to remove all.

        Raises:
          OutputError: The file cannot be written.
        """
        if self._descriptor is None:
            return
        if self._is_changed and not overwrite:
            self._replace()
        else:
            os.ftruncate(self._descriptor, 0 if overwrite else self._size)  # cuts off a torn last line

    def _lines(self) -> Iterator[bytes]:
        assert self.path is not None
        try:
            with self.path.open("rb", buffering=_READ) as file:
                for line in file:
                    if line.endswith(b"\n"):
                        yield line
        except OSError as error:
            raise self._error("cannot be read", error) from None

    def _replace(self) -> None:
        assert self.path is not None
        assert self._descriptor is not None
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        left = set(self._there)
        old = self._descriptor
        try:
            # Locked before it has the name, and while the old one still is: nobody can come in between.
            self._descriptor = self._open(beside)
            with open(self._descriptor, "wb", buffering=_READ, closefd=False) as file:
                for line in self._lines():
                    fields = _fields(line)
                    if fields is not None and fields["id"] in left:
                        left.remove(fields["id"])
                        file.write(line)
            beside.replace(self.path)
        except OSError as error:
            raise self._error("cannot be written", error) from None
        finally:
            beside.unlink(missing_ok=True)
            if self._descriptor != old:
                os.close(old)

    def add(self, position: int, key: str, line: bytes | None) -> None:
        """Write the line of an item, or keep it until those before it are written.

        Args:
          position: The zero-based position of the item in this run.
          key: The item's key.
          line: The line; None if the item has not ended.

        Raises:
          OutputError: The line cannot be written. The file still ends with a whole line.
          BrokenPipeError: The reader of standard output went away.
        """
        if key in self._there:
            line = None
        if not self._in_order:
            if line is not None:
                self._write(line)
            return
        self._waiting[position] = line or b""
        for ready in self._ready():
            self._write(ready)

    def _ready(self) -> Iterator[bytes]:
        while (line := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            if line:
                yield line

    def add_waiting(self) -> None:
        """Write the lines that wait for items which will not end in this run.

        This is for standard output only. In a file they would stand in the wrong place; the next run adds them.

        Raises:
          BrokenPipeError: The reader of standard output went away.
        """
        if self.path is None:
            for position in sorted(self._waiting):
                if line := self._waiting[position]:
                    self._write(line)
        self._waiting.clear()

    def _write(self, line: bytes) -> None:
        if self.path is None:
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
        else:
            self._append(line)
        self.written += 1

    def _append(self, line: bytes) -> None:
        assert self._descriptor is not None
        try:
            written = 0
            while written < len(line):
                written += os.write(self._descriptor, line[written:] if written else line)
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise self._error("cannot be written", error) from None
        self._size += len(line)

    def _error(self, what: str, error: OSError) -> OutputError:
        return OutputError(f"{self.path} {what}: {error.strerror or error}")


def is_output_line(line: bytes) -> bool:
    """Whether a line, of which the end may be missing or parts damaged, is one of an output."""
    try:
        msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return line.startswith(_BEGINNING)
    return _fields(line) is not None


def _fields(line: bytes) -> dict[str, Any] | None:
    """Read a line of an output; None if it is damaged, or of something else."""
    try:
        fields: object = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(fields, dict):
        found = cast("dict[str, Any]", fields)
        if all(isinstance(found.get(name), str) for name in ("id", "status", "hash")):
            return found
    return None


def _tell(journal: Journal, key: str, fields: dict[str, Any]) -> None:
    """Note the outcome in a line of an output in the journal."""
    counts = {
        "input_tokens": fields.get("input_tokens"),
        "output_tokens": fields.get("output_tokens"),
        "cache_read_input_tokens": fields.get("cache_read_tokens"),
        "cache_creation_input_tokens": fields.get("cache_write_tokens"),
    }
    usage = {name: count for name, count in counts.items() if isinstance(count, int)}
    error = fields.get("error")
    index = fields.get("index")
    status: Literal["ok", "error"] = "ok" if fields["status"] == "ok" else "error"
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
