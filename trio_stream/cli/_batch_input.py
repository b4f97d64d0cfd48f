"""The input of ``trio-stream batch``: lines of JSON, and the requests that they stand for.

What belongs here: reading lines, making requests of them, choosing those that belong to this run. What does not:
sending them (`_batch`), and writing their answers (`_batch_output`).
"""

from __future__ import annotations

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
from typing import Any, BinaryIO, Final, Self, TypeAlias, cast, final

import msgspec
import trio

from trio_stream._protocol import MessageCreateParams

API_PARAMS: Final = frozenset(MessageCreateParams.__annotations__)
"""The keys of a line that are parameters of its request."""

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")
_SHOWN = 60
_READ = 1 << 16


class InputError(ValueError):
    """The input cannot be used. The message says where and why, and is shown to the user."""


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
            raise InputError(f"the template has no key of the input, as in 'Summarise: {{text}}': {template!r}")

    def read(self, line: bytes, *, index: int, number: int) -> Entry:
        """Make an entry of a line.

        Args:
          line: The line.
          index: The zero-based position of the item.
          number: The number of the line, counted from 1, for messages.

        Raises:
          InputError: The line is not valid. The message contains nothing of the line but names of keys.
        """
        try:
            value: object = msgspec.json.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise InputError(f"line {number} is not JSON") from None
        if isinstance(value, str):
            value = {"prompt": value}
        if not isinstance(value, dict):
            raise InputError(f"line {number} is neither a JSON object nor a string")
        fields = cast("dict[str, Any]", value)
        try:
            return self._entry(fields, index)
        except InputError as error:
            raise InputError(f"line {number}: {error}") from None

    def _entry(self, fields: dict[str, Any], index: int) -> Entry:
        name = fields.pop("id", None)
        request: dict[str, Any] = {}
        # The lines of the Message Batches API: {"custom_id": ..., "params": {...}}.
        if "params" in fields:
            params = fields.pop("params")
            if not isinstance(params, dict):
                raise InputError("`params` is not an object")
            request.update(cast("dict[str, Any]", params))
            request.pop("stream", None)
            if name is None:
                name = fields.pop("custom_id", None)
        request.update({key: fields.pop(key) for key in API_PARAMS & fields.keys()})
        fields.pop("stream", None)
        prompt = self._prompt(fields)
        if prompt is not None:
            if "messages" in request:
                raise InputError("it has both a prompt and `messages`")
            request["messages"] = [{"role": "user", "content": prompt}]
        if not request.get("messages"):
            raise InputError("it has neither `prompt` nor `messages` (nor is there a --template)")
        return Entry(index=index, id=_id(name), request=self._defaults | request, others=fields)

    def _prompt(self, fields: dict[str, Any]) -> str | None:
        if self._template is not None:
            return fill(self._template, fields)
        prompt = fields.pop("prompt", None)
        if prompt is not None and (not isinstance(prompt, str) or not prompt.strip()):
            raise InputError("`prompt` is not a text")
        return prompt


def _id(name: object) -> str | None:
    if name is None:
        return None
    if isinstance(name, bool) or not isinstance(name, (str, int)) or name == "":
        raise InputError("`id` is neither a text nor a whole number")
    return str(name)


def template_keys(template: str) -> list[str]:
    """Return the keys in a template's braces.

    Raises:
      InputError: A brace is not closed, or contains no key.
    """
    rest = _PLACEHOLDER.sub("", template)
    keys = [match[1].strip() for match in _PLACEHOLDER.finditer(template) if match[1] is not None]
    if "{" in rest or "}" in rest or "" in keys:
        raise InputError(f"the template has a brace that belongs to no key (write {{{{ for one): {template!r}")
    return keys


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
            raise InputError(f"it has no key `{key[:_SHOWN]}`, which the template needs")
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

    Attributes:
      total: How many items belong to this run; None before `check`.
      duplicates: The ids that occur more than once; empty before `check`.

    Raises:
      OSError: The file cannot be read.
    """

    def __init__(self, path: Path | int, recipe: Recipe, part: Part) -> None:
        self._file: BinaryIO = open(path, "rb", closefd=True)  # noqa: SIM115, PTH123 - closed by `close`
        self._start = self._file.tell()
        self._recipe = recipe
        self._part = part
        self._chosen: frozenset[int] | None = None
        self.total: int | None = None
        self.duplicates: list[str] = []

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def check(self) -> None:
        """Read all of it: count the items that belong to this run, and find repeated ids.

        Raises:
          InputError: A line cannot be used.
        """
        digests: list[tuple[bytes, int]] = []
        seen: dict[str, int] = {}
        meant = 0
        for line, index, number in self._lines():
            entry = self._recipe.read(line, index=index, number=number)
            if entry.id is not None:
                seen[entry.id] = seen.get(entry.id, 0) + 1
            if self._part.sample is not None:
                digests.append((_digest(line, index), index))
            meant += self._part.has(index)
        if self._part.sample is not None:
            self._chosen = frozenset(index for _, index in heapq.nsmallest(self._part.sample, digests))
            meant = sum(self._part.has(index) for index in self._chosen)
        self.total = meant
        self.duplicates = [name for name, count in seen.items() if count > 1]

    def entries(self) -> Iterator[Entry]:
        """Read the items that belong to this run, in their order."""
        for line, index, number in self._lines():
            if self._part.has(index) and (self._chosen is None or index in self._chosen):
                yield self._recipe.read(line, index=index, number=number)

    def _lines(self) -> Iterator[tuple[bytes, int, int]]:
        self._file.seek(self._start)
        index = 0
        for number, line in enumerate(self._file, 1):
            if index == self._part.limit:
                return
            if not line.isspace():
                yield line, index, number
                index += 1


def _digest(line: bytes, index: int) -> bytes:
    return hashlib.blake2b(b"%d %b" % (index, line.strip()), digest_size=16).digest()


@final
class PipeInput:
    """An input that can be read once, as it arrives: standard input that is not a file.

    A faulty line ends it, and `fault` is the error. The items before that line are finished.

    Attributes:
      total: Always None, because the number of items is not known.
      duplicates: Always empty: repeated ids are found only as they arrive.
      fault: The error of the line that ended the input; None if there was none.
    """

    def __init__(self, file_number: int, recipe: Recipe, part: Part) -> None:
        if part.sample is not None:
            raise InputError("--sample needs an input that can be read twice: a file")
        self._file_number = file_number
        self._recipe = recipe
        self._part = part
        self._lines: deque[bytes] = deque()
        self._torn: list[bytes] = []
        self._ended = False
        self._index = 0
        self._number = 0
        self.total: int | None = None
        self.duplicates: list[str] = []
        self.fault: InputError | None = None

    def close(self) -> None:
        """Do nothing: standard input stays open."""

    def entries(self) -> Self:
        """Return itself, an iterator over the items that belong to this run."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        while self._index != self._part.limit:
            line = await self._line()
            if line is None:
                break
            self._number += 1
            if not line.strip():
                continue
            index, self._index = self._index, self._index + 1
            try:
                entry = self._recipe.read(line, index=index, number=self._number)
            except InputError as error:
                self.fault = error
                break
            if self._part.has(index):
                return entry
        raise StopAsyncIteration

    async def _line(self) -> bytes | None:
        # In a thread, because a terminal or a pipe would otherwise have to be made non-blocking, for every process that
        # has it open. If the thread is abandoned, what it reads is lost, as is the rest of the input.
        while not self._lines:
            if self._ended:
                return None
            read = partial(os.read, self._file_number, _READ)
            data = await trio.to_thread.run_sync(read, abandon_on_cancel=True)
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
    try:
        if source != "-":
            found = FileInput(Path(source), recipe, part)
        else:
            number = sys.stdin.fileno()
            if not stat.S_ISREG(os.fstat(number).st_mode):
                return PipeInput(number, recipe, part)
            found = FileInput(os.dup(number), recipe, part)
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror or error}") from None
    try:
        found.check()
    except BaseException:
        found.close()
        raise
    return found
