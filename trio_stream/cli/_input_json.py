"""Why a line is not an item: where in it, and what to do.

What belongs here: finding the mistake in JSON that could not be read, and the place of a key. What does not: reading
lines that are right (`_batch_input`), and data that is no text at all (`_input_text`).

All of this is for one line, the one that ends the command: it may take its time.
"""

from __future__ import annotations

import json
import math
import re
from typing import Final

from trio_stream.cli._input_text import BOM, foreign_format, not_utf_8

_LINES: Final = "each item has a line of its own"
_WHOLE: Final = "`jq -c . FILE |`"
_TABLE: Final = (
    "CSV has a name that ends with .csv, or --format csv; of a text with one prompt in each line, pipe `jq -R . FILE |`"
)
_ARRAY: Final = f"a JSON array: {_LINES}, as `jq -c '.[]' FILE |` makes them"

# What may stand where JSON ends, and what to say of it. The first that matches counts.
_MISTAKES: Final = (
    (re.compile(r"[+-]?(NaN|Infinity|nan|inf)\b"), "JSON has no NaN and no Infinity: write null"),
    (re.compile(r"(None|True|False|undefined)\b"), "JSON has null, true and false"),
    (re.compile("'"), "texts and keys need double quotes"),
    (re.compile("[\u2018-\u201f\u00ab\u00bb]"), "a typographic quotation mark: use plain double quotes"),
    (re.compile(r"//|/\*|#"), "JSON has no comments"),
    (re.compile("\x1e"), "a record separator (RFC 7464): pipe `tr -d '\\036' < FILE |`"),
    (re.compile("\ufeff"), "a byte order mark: remove it"),
    (re.compile(r"[\x00-\x1f]"), r"a control character: inside a text write \t, \n or \u00XX"),
)
_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|[-+\w.]+', re.DOTALL)
_SURROGATE: Final = re.compile(r"\\(?:u([dD][89abAB]..)(?:\\u[dD][c-fC-F]..)?|u([dD][c-fC-F]..)|.)", re.DOTALL)
# Numbers stay as they are written: Python refuses those of thousands of digits.
_DECODER: Final = json.JSONDecoder(parse_int=str, parse_float=str)
_SPACE: Final = re.compile(r"\s*")


def what_it_is(data: bytes) -> str | None:
    """Say what an input is that cannot be JSON lines, by its first bytes, and what to do; else None."""
    what = foreign_format(data)
    if what is None and data.removeprefix(BOM).lstrip().startswith(b"["):
        what = _ARRAY
    elif what is None and data.removeprefix(BOM).lstrip().startswith(b"<"):
        what = "HTML or XML: give a file of JSON lines"
    return None if what is None else f"this is {what}"


def why_not_json(line: bytes) -> tuple[int, str]:
    """Find out why a line could not be read.

    Args:
      line: The line, without a byte order mark.

    Returns:
      The column, counted from 1 in characters; and a sentence which contains nothing of the line.
    """
    try:
        text = line.rstrip(b"\r\n").decode()
    except UnicodeDecodeError as error:
        return len(line[: error.start].decode()) + 1, not_utf_8(line, error)
    try:
        _DECODER.decode(text)
    except json.JSONDecodeError as error:
        pos = error.pos
        if error.msg.startswith("Illegal trailing comma"):
            # From Python 3.13 on it is the comma that is pointed at, and not what follows it.
            pos = len(text) - len(text[pos + 1 :].lstrip())
        return pos + 1, f"not JSON: {_mistake(text, pos, error.msg)}"
    except RecursionError:
        return 1, "the JSON is nested too deeply"
    return _beyond_json(text)


def _mistake(text: str, pos: int, message: str) -> str:
    rest = text[pos:]
    for pattern, hint in _MISTAKES:
        if pattern.match(rest):
            return hint
    if message == "Extra data":
        if rest.startswith(","):
            return f"a comma after the value: {_LINES}, and nothing between them"
        if "\r" in text[:pos]:
            return r"the lines end with CR alone: pipe `tr '\r' '\n' < FILE |`"
        return f"something follows the value: {_LINES}"
    if not rest or message.startswith("Unterminated"):
        return f"the line ends before the JSON does: {_LINES}, as {_WHOLE} makes them"
    if pos and text[:pos].rstrip().endswith(","):
        return "a comma before it that nothing follows"
    if not text.lstrip().startswith(("{", '"')):
        return f"a line is a JSON object or a string; {_TABLE}"
    return f"{message[:1].lower()}{message[1:]}"


def _beyond_json(text: str) -> tuple[int, str]:
    """Find what Python's own parser takes although it is not JSON, or cannot be sent."""
    for token in _TOKEN.finditer(text):
        if token[0].startswith('"'):
            for escape in _SURROGATE.finditer(token[0]):
                if (escape[1] and len(escape[0]) == len(r"\ud83d")) or escape[2]:
                    return (
                        token.start() + escape.start() + 1,
                        "half of a surrogate pair: a character was cut in two",
                    )
        elif re.match(r"-?(NaN|Infinity)$", token[0]):
            return token.start() + 1, "not JSON: JSON has no NaN and no Infinity: write null"
        elif re.match(r"-?\d", token[0]) and math.isinf(float(token[0])):
            return token.start() + 1, "the number is out of range"
    return 1, "not JSON"


def column_of(line: bytes, key: str) -> int:
    """Return the column of a key of the object in a line, counted from 1 in characters; 1 if it has no such key."""
    text = line.decode()
    at = _skip_space(text, 0) + 1
    if text[at - 1] != "{":
        return 1  # a text alone
    while True:
        at = _skip_space(text, at)
        if text[at] == "}":
            return 1
        if text[at] == ",":
            at = _skip_space(text, at + 1)
        name, end = _DECODER.raw_decode(text, at)
        if name == key:
            return at + 1
        at = _skip_space(text, _skip_space(text, end) + 1)  # past the colon
        _, at = _DECODER.raw_decode(text, at)


def _skip_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
