"""One line of the input of ``trio-stream batch``, and the request that it stands for.

What belongs here: making a request of a line, with or without a template, and saying where a line is wrong. What does
not: why something is not JSON (`_input_json`), reading lines from a file or a pipe (`_batch_input`), and what can be
wrong only beside other lines (`_batch_check`).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, final

import msgspec

from trio_stream._protocol import MessageCreateParams
from trio_stream.cli._input_json import column_of, why_not_json
from trio_stream.cli._input_text import BOM, InputError

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
      hash: The `request_hash` of the request. Empty as `Recipe.read` makes it; an input fills it in (`_batch_check`).
    """

    index: int
    id: str | None
    request: dict[str, Any]
    others: dict[str, Any]
    hash: str = ""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with a line. As a text: where, and why.

    Args:
      line: The number of the line, counted from 1.
      column: The place in the line, counted from 1 in characters.
      reason: A sentence that contains nothing of the line but names of keys, and its id.
    """

    line: int
    column: int
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}: {self.reason}"


@final
class LineError(InputError):
    """A line of the input cannot be used.

    Attributes:
      fault: What is wrong with it.
    """

    fault: Fault

    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


@final
class Recipe:
    """Makes requests of lines.

    Args:
      defaults: Parameters for the requests whose lines do not set them.
      template: The prompt, with keys of the line in braces; None if the lines have a prompt or messages.
      prefix: The text that the fan-out puts before each prompt; None for no such text.

    Attributes:
      prefix: As given. It is not in the requests that `read` makes, but in their hashes.

    Raises:
      InputError: The template is not valid.
    """

    def __init__(self, defaults: Mapping[str, Any], template: str | None, *, prefix: str | None = None) -> None:
        self.prefix: str | None = prefix
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
          LineError: The line is not valid.
        """
        line = line.removeprefix(BOM)
        try:
            return self._entry(_fields_of(line), index)
        except _MistakeError as error:
            raise LineError(Fault(line=number, column=error.column(line), reason=str(error))) from None
        except InputError as error:
            raise LineError(Fault(line=number, column=1, reason=str(error))) from None

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
        if request.get("max_tokens", 1) < 1:
            raise _MistakeError("`max_tokens` is less than 1", "max_tokens")
        if not request.get("model", "-").strip():
            raise _MistakeError("`model` is blank", "model")
        if prompt is not None:
            if "messages" in request:
                raise _MistakeError("it has both a prompt and `messages`", "messages")
            request["messages"] = [{"role": "user", "content": prompt}]
        if not request.get("messages"):
            raise _MistakeError(
                "it has neither `prompt` nor `messages`, and there is no --template which makes a prompt of its keys"
                f" ({_names(fields)})"
            )
        item_id = _id(name, name_key)
        messages: Sequence[object] = request["messages"]
        for number, message in enumerate(messages):
            if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
                raise _MistakeError(f"`messages[{number}]` is not an object with `role` and `content`", "messages")
        return Entry(index=index, id=item_id, request=self._defaults | request, others=fields)


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
