"""The input of ``trio-stream batch``: lines of JSON, and the requests that they stand for.

What belongs here: reading lines, making requests of them, choosing those that belong to this run. What does not: what
may be wrong with bytes (`_input_text`) and with JSON (`_input_json`), sending requests (`_batch`), and writing answers
(`_batch_output`).
"""

from __future__ import annotations

import difflib
import hashlib
import heapq
import os
import re
import stat
import sys
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final, Self, TextIO, TypeAlias, cast, final

import msgspec
import trio

from trio_stream._protocol import MessageCreateParams
from trio_stream.cli._input_json import column_of, what_it_is, why_not_json
from trio_stream.cli._input_text import BOM, InputError, check_is_no_directory, unreadable

API_PARAMS: Final = frozenset(MessageCreateParams.__annotations__)
"""The keys of a line that are parameters of its request."""

_TYPES: Final = {
    "messages": (list, "a list"),
    "max_tokens": (int, "a whole number"),
    "model": (str, "a text"),
}
"""What is looked at of a request's parameters before it is sent: what would be a mistake in each line."""

_NAMED: Final = 8
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_SHOWN = 60
_READ = 1 << 16


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the input.

    Args:
      index: The zero-based position of the item in the input.
      id: The id in the line; None if it has none.
      request: The parameters of its request.
      others: The other keys of the line, which pass through to the output.
    """

    index: int
    id: str | None
    request: dict[str, Any]
    others: dict[str, Any]


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of the input belong to this run.

    Args:
      limit: How many of the first lines; None for all.
      sample: How many of those, chosen by their content, so that they are the same ones each time; None for all.
      shard: Which part, counted from 0, of how many.
    """

    limit: int | None = None
    sample: int | None = None
    shard: tuple[int, int] = (0, 1)

    def has(self, index: int) -> bool:
        """Whether a line is in this shard."""
        return index % self.shard[1] == self.shard[0]


@final
class Recipe:
    """Makes requests of lines.

    Args:
      defaults: Parameters for the requests whose lines do not set them.
      template: The prompt, with keys of the line in braces; None if the lines have a prompt or messages.

    Raises:
      InputError: The template is not valid.
    """

    def __init__(self, defaults: Mapping[str, Any], template: str | None) -> None:
        self._defaults = dict(defaults)
        self._template = template
        if template is not None and not template_keys(template):
            other = " (two braces stand for one brace)" if "{{" in template else ""
            raise InputError(f"the template has no key of the input, as in 'Summarise: {{text}}'{other}: {template!r}")

    def read(self, line: bytes, *, index: int, number: int) -> Entry:
        """Make an entry of a line.

        Args:
          line: The line.
          index: The zero-based position of the item.
          number: The number of the line, counted from 1, for messages.

        Raises:
          InputError: The line is not valid. The message says where, and contains nothing of the line but names of keys.
        """
        line = line.removeprefix(BOM)
        try:
            return self._entry(_fields_of(line), index)
        except _MistakeError as error:
            raise InputError(f"line {number}, column {error.column(line)}: {error}") from None
        except InputError as error:
            raise InputError(f"line {number}, column 1: {error}") from None

    def _entry(self, fields: dict[str, Any], index: int) -> Entry:
        prompt: Any = None if self._template is None else fill(self._template, fields)
        name_key = "id"
        name = fields.pop("id", None)
        request: dict[str, Any] = {}
        # The lines of the Message Batches API: {"custom_id": ..., "params": {...}}.
        if "params" in fields:
            params = fields.pop("params")
            if not isinstance(params, dict):
                raise _MistakeError("`params` is not an object", "params")
            request.update(cast("dict[str, Any]", params))
            request.pop("stream", None)
            if name is None:
                name_key, name = "custom_id", fields.pop("custom_id", None)
        request.update({key: fields.pop(key) for key in API_PARAMS & fields.keys()})
        fields.pop("stream", None)
        if self._template is None:
            prompt = fields.pop("prompt", None)
            if prompt is not None and (not isinstance(prompt, str) or not prompt.strip()):
                raise _MistakeError("`prompt` is not a text", "prompt")
        for key, (kind, what) in _TYPES.items():
            if key in request and (not isinstance(request[key], kind) or isinstance(request[key], bool)):
                raise _MistakeError(f"`{key}` is not {what}", key)
        if prompt is not None:
            if "messages" in request:
                raise _MistakeError("it has both a prompt and `messages`", "messages")
            request["messages"] = [{"role": "user", "content": prompt}]
        if not request.get("messages"):
            raise _MistakeError(
                "it has neither `prompt` nor `messages`, and there is no --template which makes a prompt of its keys"
                f" ({_names(fields)})"
            )
        return Entry(index=index, id=_id(name, name_key), request=self._defaults | request, others=fields)


class _MistakeError(Exception):
    """A line is wrong in one place: at a key of its object, at a column, or as a whole."""

    def __init__(self, reason: str, key: str | None = None, *, column: int = 1) -> None:
        super().__init__(reason)
        self._key = key
        self._column = column

    def column(self, line: bytes) -> int:
        """The place in the line, counted from 1 in characters."""
        return self._column if self._key is None else column_of(line, self._key)


def _fields_of(line: bytes) -> dict[str, Any]:
    """Read the JSON object of a line, or the one that a text alone stands for."""
    try:
        value: object = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        column, reason = why_not_json(line)
        raise _MistakeError(reason, column=column) from None
    if isinstance(value, str):
        return {"prompt": value}
    if not isinstance(value, dict):
        raise _MistakeError("a line is a JSON object or a string")
    return cast("dict[str, Any]", value)


def _names(fields: Mapping[str, Any]) -> str:
    """Name the keys of a line, of which there may be many."""
    if not fields:
        return "it has no other keys"
    names = ", ".join(f"`{name[:_SHOWN]}`" for name in [*fields][:_NAMED])
    return f"its keys: {names}{', ...' if len(fields) > _NAMED else ''}"


def _id(name: object, key: str) -> str | None:
    if name is None:
        return None
    if isinstance(name, bool) or not isinstance(name, (str, int)) or name == "":
        raise _MistakeError(f"`{key}` is neither a text nor a whole number", key)
    return str(name)


def template_keys(template: str) -> list[str]:
    """Return the keys in a template's braces.

    Raises:
      InputError: A brace is not closed, or contains no key.
    """
    # What belongs to a key becomes blanks, so that what is left stands where it stood.
    rest = _PLACEHOLDER.sub(lambda match: " " * len(match[0]), template)
    places = [match for match in _PLACEHOLDER.finditer(template) if match[1] is not None]
    brace = re.search(r"[{}]", rest) or next((match for match in places if not match[1].strip()), None)
    if brace is not None:
        raise InputError(
            f"the template, column {brace.start() + 1}: a brace that belongs to no key (write {{{{ for one)"
            f": {template!r}"
        )
    return [match[1].strip() for match in places]


def fill(template: str, fields: Mapping[str, Any]) -> str:
    """Put the values of a line into a template. Values other than texts are written as JSON.

    Raises:
      InputError: The line does not have one of the keys.
    """

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        key = match[1].strip()
        if key not in fields:
            close = difflib.get_close_matches(key, fields, n=1)
            meant = f"did you mean `{close[0][:_SHOWN]}`?" if close else _names(fields)
            raise InputError(f"it has no key `{key[:_SHOWN]}`, which the template needs ({meant})")
        item = fields[key]
        return item if isinstance(item, str) else msgspec.json.encode(item).decode()

    return _PLACEHOLDER.sub(value, template)


def parse_shard(value: str) -> tuple[int, int]:
    """Read ``i/n``: part ``i``, counted from 0, of ``n``.

    Raises:
      InputError: ``value`` has another form.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", value.strip())
    if match is None or not int(match[1]) < int(match[2]):
        raise InputError(f"a shard is i/n with i from 0 to n-1, not {value!r}")
    return int(match[1]), int(match[2])


def shard_of_job_array(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the shard of the current task of a SLURM job array; None outside of one.

    Raises:
      InputError: The tasks of the array are not numbered consecutively.
    """
    try:
        number = int(environment["SLURM_ARRAY_TASK_ID"])
        count = int(environment["SLURM_ARRAY_TASK_COUNT"])
    except (KeyError, ValueError):
        return None
    # `--array=1-8` counts from 1.
    number -= int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
    if not 0 <= number < count:
        raise InputError("the tasks of this SLURM array are not numbered consecutively: use --shard")
    return number, count


Items: TypeAlias = Iterator[Entry] | AsyncIterator[Entry]


@final
class FileInput:
    """An input that can be read twice: first to check all of it, then to send it.

    Args:
      path: The file, or the descriptor of an open one, which is read from its present position.
      recipe: Makes requests of its lines.
      part: Which lines belong to this run.
      name: The name of the file, for messages; None for ``path``.

    Attributes:
      total: How many items belong to this run; None before `check`.
      duplicates: The ids that occur more than once, and the numbers of their first two lines; empty before `check`.

    Raises:
      OSError: The file cannot be read.
    """

    def __init__(self, path: Path | int, recipe: Recipe, part: Part, *, name: str | None = None) -> None:
        self._file: BinaryIO = open(path, "rb", closefd=True)  # noqa: SIM115, PTH123 - closed by `close`
        self._start = self._file.tell()
        self._name = str(path) if name is None else name
        self._recipe = recipe
        self._part = part
        self._chosen: frozenset[int] | None = None
        self.total: int | None = None
        self.duplicates: dict[str, tuple[int, int]] = {}

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def check(self) -> None:
        """Read all of it: count the items that belong to this run, and find repeated ids.

        Raises:
          InputError: A line cannot be used, or there is none.
        """
        try:
            _check_head(self._file.read(_READ))
        except InputError as error:
            raise InputError(f"{self._name}, {error}") from None
        digests: list[tuple[bytes, int]] = []
        seen: dict[str, int] = {}  # the number of the first line with each id
        meant = 0
        index = -1
        for line, index, number in self._lines():
            entry = self._entry(line, index, number)
            if entry.id is not None:
                first = seen.setdefault(entry.id, number)
                if first != number:
                    self.duplicates.setdefault(entry.id, (first, number))
            if self._part.sample is not None:
                digests.append((_digest(line, index), index))
            meant += self._part.has(index)
        if self._part.sample is not None:
            self._chosen = frozenset(index for _, index in heapq.nsmallest(self._part.sample, digests))
            meant = sum(self._part.has(index) for index in self._chosen)
        if index < 0:
            raise InputError(_no_items(self._name))
        self.total = meant

    def entries(self) -> Iterator[Entry]:
        """Read the items that belong to this run, in their order."""
        for line, index, number in self._lines():
            if self._part.has(index) and (self._chosen is None or index in self._chosen):
                yield self._entry(line, index, number)

    def _entry(self, line: bytes, index: int, number: int) -> Entry:
        try:
            return self._recipe.read(line, index=index, number=number)
        except InputError as error:
            raise InputError(f"{self._name}, {error}") from None

    def _lines(self) -> Iterator[tuple[bytes, int, int]]:
        self._file.seek(self._start)
        index = 0
        for number, line in enumerate(self._file, 1):
            if index == self._part.limit:
                return
            if line.removeprefix(BOM).strip():
                yield line, index, number
                index += 1


def _check_head(data: bytes) -> None:
    """Look whether the first bytes are those of something else than JSON lines.

    Raises:
      InputError: They are.
    """
    what = what_it_is(data)
    if what is not None:
        raise InputError(f"line 1, column 1: {what}")


def _no_items(name: str) -> str:
    return f"{name} has no items: it is empty, or all its lines are blank"


def _digest(line: bytes, index: int) -> bytes:
    return hashlib.blake2b(b"%d %b" % (index, line.strip()), digest_size=16).digest()


@final
class PipeInput:
    """An input that can be read once, as it arrives: standard input that is not a file.

    A faulty line ends it, and `fault` is the error. The items before that line are finished.

    Args:
      file_number: The descriptor, which stays open.
      recipe: Makes requests of its lines.
      part: Which lines belong to this run.
      name: Its name, for messages.

    Attributes:
      total: Always None, because the number of items is not known.
      duplicates: Always empty: repeated ids are found only as they arrive.
      fault: The error that ended the input: of a line, or because there are none. None if there was none.
    """

    def __init__(self, file_number: int, recipe: Recipe, part: Part, *, name: str) -> None:
        if part.sample is not None:
            raise InputError("--sample needs an input that can be read twice: a file")
        self._file_number = file_number
        self._name = name
        self._recipe = recipe
        self._part = part
        self._lines: deque[bytes] = deque()
        self._torn: list[bytes] = []
        self._ended = False
        self._index = 0
        self._number = 0
        self.total: int | None = None
        self.duplicates: dict[str, tuple[int, int]] = {}
        self.fault: InputError | None = None

    def close(self) -> None:
        """Do nothing: a thread may still be reading from it."""

    def entries(self) -> Self:
        """Return itself, an iterator over the items that belong to this run."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        try:
            while self._index != self._part.limit:
                line = await self._line()
                if line is None:
                    if not self._index:
                        self.fault = InputError(_no_items(self._name))
                    break
                self._number += 1
                if not line.removeprefix(BOM).strip():
                    continue
                entry = self._recipe.read(line, index=self._index, number=self._number)
                self._index += 1
                if self._part.has(entry.index):
                    return entry
        except InputError as error:
            self.fault = InputError(f"{self._name}, {error}{'; the items before it are done' * bool(self._index)}")
        except OSError as error:
            self.fault = InputError(unreadable(self._name, error))
        raise StopAsyncIteration

    async def _line(self) -> bytes | None:
        # In a thread, because a terminal or a pipe would otherwise have to be made non-blocking, for every process that
        # has it open. If the thread is abandoned, what it reads is lost, as is the rest of the input.
        while not self._lines:
            if self._ended:
                return None
            read = partial(os.read, self._file_number, _READ)
            data = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
            if not self._number and not self._torn:
                _check_head(data)
            self._torn.append(data)
            self._ended = not data
            if b"\n" in data or self._ended:
                *lines, rest = b"".join(self._torn).split(b"\n")
                self._torn = [] if self._ended else [rest]
                self._lines.extend(lines)
                if self._ended and rest:
                    self._lines.append(rest)
        return self._lines.popleft()


Input: TypeAlias = FileInput | PipeInput


def open_input(source: str, recipe: Recipe, part: Part) -> Input:
    """Open the input that the command line names; ``-`` is standard input.

    Raises:
      InputError: The input cannot be read, or one of its lines is not valid.
    """
    name = "standard input" if source == "-" else source
    try:
        number = _stdin() if source == "-" else os.open(source, os.O_RDONLY)
        mode = os.fstat(number).st_mode
        check_is_no_directory(name, mode)
        if not stat.S_ISREG(mode):
            return PipeInput(number, recipe, part, name=name)
        found = FileInput(os.dup(number) if source == "-" else number, recipe, part, name=name)
    except OSError as error:
        raise InputError(unreadable(name, error)) from None
    try:
        found.check()
    except BaseException:
        found.close()
        raise
    return found


def _stdin() -> int:
    stdin: TextIO | None = sys.stdin  # None if it is closed
    if stdin is None:
        raise InputError("standard input is closed: name a file, or pipe the items in")
    return stdin.fileno()
