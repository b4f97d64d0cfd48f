"""``--param KEY=VALUE`` of ``trio-stream batch``: parameters of all requests.

What belongs here: reading and checking them. What does not: parameters that have an option of their own, and those that
a row names for itself (`_batch_recipe`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeGuard, cast

import msgspec

from trio_stream.cli._rows import API_PARAMS

_ELSEWHERE: Final = {
    "model": "use --model",
    "max_tokens": "use --max-tokens",
    "system": "use --system FILE",
    "messages": "the prompts are in the input",
    "stream": "--via says how answers come",
    "output_config.format": "use --schema FILE",
}
"""Parameters that are said in another way."""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _are_objects(value: Any) -> bool:
    return _is_list(value) and all(map(_is_object, value))


def _is_list(value: object) -> TypeGuard[list[Any]]:
    return isinstance(value, list)


_FORMS: Final[dict[str, tuple[Callable[[Any], bool], str]]] = {
    "temperature": (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "top_p": (lambda value: _is_number(value) and 0 <= value <= 1, "a number from 0 to 1"),
    "top_k": (lambda value: _is_whole(value) and value >= 0, "a whole number"),
    "stop_sequences": (
        lambda value: _is_list(value) and all(map(_is_text, value)),
        "a list of texts, as in '[\"END\"]'",
    ),
    "tools": (_are_objects, "a list of objects"),
    **dict.fromkeys(
        ("cache_control", "diagnostics", "metadata", "output_config", "thinking", "tool_choice"),
        (_is_object, "an object"),
    ),
    "speed": (lambda value: value in ("standard", "fast"), "standard or fast"),
    "service_tier": (lambda value: value in ("auto", "standard_only"), "auto or standard_only"),
    **dict.fromkeys(("inference_geo", "user_profile_id", "workspace_id"), (_is_text, "a text")),
}
"""What the values of parameters have to be. Those of objects the API judges."""


def read_params(given: Sequence[str]) -> dict[str, Any]:
    """Read parameters from ``KEY=VALUE``. A value is JSON; what is not JSON is a text. Dots in a key lead into objects.

    Raises:
      ValueError: One is wrong. The text says which, and why.
    """
    params: dict[str, Any] = {}
    for argument in given:
        key, mark, text = argument.partition("=")
        key = key.strip()
        if not mark or not key:
            raise ValueError(f"{argument!r} is not KEY=VALUE, as in temperature=0.2")
        _check_name(key)
        _set(params, key, _value(text))
    for name, value in params.items():
        fits, what = _FORMS.get(name, (lambda _: True, ""))
        if not fits(value):
            raise ValueError(f"{name} is {what}, not {msgspec.json.encode(value).decode()}")
    return params


def _check_name(key: str) -> None:
    for name, instead in _ELSEWHERE.items():
        if key == name or key.startswith(f"{name}."):
            raise ValueError(f"{key} cannot be set here: {instead}")
    first = key.partition(".")[0]
    if first not in API_PARAMS:
        close = difflib.get_close_matches(first, API_PARAMS - _ELSEWHERE.keys(), n=1)
        meant = f": did you mean {close[0]}?" if close else ""
        raise ValueError(f"{first!r} is not a parameter of the API{meant}")


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        if text.lstrip().startswith(("{", "[", '"')):
            raise ValueError(f"{text!r} is not JSON: {error}") from None
        return text


def _set(params: dict[str, Any], key: str, value: Any) -> None:
    """Set a value within objects.

    Raises:
      ValueError: The key is there already, or leads through something that is no object.
    """
    *path, last = key.split(".")
    place = params
    for name in path:
        inner: Any = place.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ValueError(f"{key} is a part of {name}, which is no object")  # noqa: TRY004 - what was typed
        place = cast("dict[str, Any]", inner)
    if not last or not all(path):
        raise ValueError(f"{key!r} has an empty name between its dots")
    if last in place:
        raise ValueError(f"{key} is given twice")
    place[last] = value
