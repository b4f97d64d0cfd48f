"""The body of a request: the parameters of a call as JSON.

What belongs here: encoding, and refusing what cannot be right before anything is sent. What does not: what the
parameters are (`_params`), and the headers (`_headers`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Set as AbstractSet
from typing import Final, cast

import msgspec

from trio_stream._protocol._headers import is_header_param
from trio_stream._protocol._message import Message
from trio_stream._protocol._values import Value

SAMPLING_VERSION: Final = "2023-06-01"
"""The only ``anthropic-version`` that takes ``temperature``, ``top_p`` and ``top_k``."""

_SAMPLING: Final = ("temperature", "top_p", "top_k")

_SHOWN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,39}")

_Path = tuple[str | int, ...]


def check_sampling_params(params: Mapping[str, object], anthropic_version: str) -> None:
    """Refuse early what this ``anthropic-version`` answers with a 400.

    Raises:
      ValueError: ``temperature``, ``top_p`` or ``top_k`` under a version that has removed them.
    """
    given = [name for name in _SAMPLING if name in params]
    if given and anthropic_version != SAMPLING_VERSION:
        raise ValueError(
            f"anthropic-version {anthropic_version} does not take {', '.join(given)}: leave "
            f"{'it' if len(given) == 1 else 'them'} out, or make the client with "
            f'anthropic_version="{SAMPLING_VERSION}"'
        )


def build_body(
    params: Mapping[str, object], *, stream: bool | None, extra_body: Mapping[str, object] | None = None
) -> bytes:
    """Encode the parameters of a call.

    What was given is sent: None as null, and what was not given not at all. Messages and blocks of ours may stand
    wherever JSON of theirs may, any iterable may stand for a list, and a message of ours among ``messages`` is a
    turn of the assistant. Parameters that travel as headers are left out.

    Args:
      params: The API's parameters by name.
      stream: Whether an event stream is asked for; None for counting tokens, which has neither ``stream`` nor
        ``max_tokens``.
      extra_body: Further members of the object; they win.

    Raises:
      TypeError: A required parameter is missing, or something is not JSON. The text says where, and holds nothing
        of it.
      ValueError: A number or a text that JSON does not have (NaN, a lone surrogate), or nesting without end.
      InvalidToolInputError: A tool block of ours was cut, so that it has no input.
    """
    body: dict[str, object] = {name: value for name, value in params.items() if not is_header_param(name)}
    if stream is not None:
        body["stream"] = stream
    body.update(extra_body or {})
    required = ("model", "messages") if stream is None else ("model", "max_tokens", "messages")
    missing = [name for name in required if body.get(name) is None]
    if missing:
        raise TypeError(f"required {'parameter' if len(missing) == 1 else 'parameters'} missing: {', '.join(missing)}")
    if isinstance(body["messages"], (str, Mapping, Value)):
        raise TypeError("messages must be a list of messages, not one of them")
    try:
        return _encode(_plain(body, ()))
    except RecursionError:
        raise ValueError("the parameters are nested too deeply, or within themselves") from None


def _encode(plain: object) -> bytes:
    try:
        return msgspec.json.encode(plain)
    except ValueError:
        # This one names no place, and a UnicodeEncodeError holds the text.
        place = _find_unencodable(plain, ())
    raise ValueError(f"{_name(place)} cannot be encoded: a lone surrogate, or a number of thousands of digits")


def _plain(value: object, path: _Path) -> object:
    """JSON that msgspec encodes as it is, of anything that may stand for it."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if type(value) is str else str.__str__(value)
    if isinstance(value, int):
        return value if type(value) is int else int(value)
    if isinstance(value, float):
        # msgspec would write null for them.
        if not math.isfinite(value):
            raise ValueError(f"{_name(path)} is not a number that JSON has (NaN or infinite)")
        return float(value)
    if isinstance(value, Value):
        return _plain_value(value, path)
    if isinstance(value, Mapping):
        return _plain_object(cast("Mapping[object, object]", value), path)
    items = _items(value)
    if items is not None:
        return [_plain(item, (*path, index)) for index, item in enumerate(items)]
    raise TypeError(f"{_name(path)} is not JSON: {type(value).__name__}")


def _plain_object(value: Mapping[object, object], path: _Path) -> dict[str, object]:
    plain: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise TypeError(f"{_name(path)} is not JSON: it has a key that is no str but {type(key).__name__}")
        plain[str.__str__(key)] = _plain(item, (*path, key))
    return plain


def _plain_value(value: Value, path: _Path) -> object:
    if not isinstance(value, Message):
        return _plain(value.as_json(param=True), path)
    if len(path) == 2 and path[0] == "messages":
        return _plain(value.to_param(), path)
    raise TypeError(f"{_name(path)} is a Message, which is a turn of its own: put it into messages, or use its content")


def _items(value: object) -> Iterable[object] | None:
    """The items of what may stand for a list; None for anything else."""
    # A set has no order, and models of pydantic iterate over their fields.
    if isinstance(value, (bytes, bytearray, memoryview, AbstractSet)) or hasattr(value, "model_dump"):
        return None
    return cast("Iterable[object]", value) if isinstance(value, Iterable) else None


def _find_unencodable(value: object, path: _Path) -> _Path:
    """Where in plain JSON the value is that cannot be encoded."""
    for step, item in _members(value):
        if not _encodable(step):
            return path
        if not _encodable(item):
            return _find_unencodable(item, (*path, step))
    return path


def _members(value: object) -> Iterable[tuple[str | int, object]]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).items()
    return enumerate(cast("list[object]", value)) if isinstance(value, list) else ()


def _encodable(value: object) -> bool:
    try:
        msgspec.json.encode(value)
    except ValueError:
        return False
    return True


def _name(path: _Path) -> str:
    """A place among the parameters, as one would write it; names that could be anything are not repeated."""
    name = ""
    for step in path:
        if isinstance(step, int):
            name += f"[{step}]"
        elif _SHOWN_NAME.fullmatch(step):
            name += f".{step}" if name else step
        else:
            name += "[?]"
    return name or "the request"
