"""How many tokens a request has, before the API has counted them.

What belongs here: the estimate, and the permits that are made of it. What does not: scaling it by what the API has
counted of other requests (`_account`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from ._interface import Lane, Permit, check_lane

_CHARACTERS_PER_TOKEN: Final = 4
_IMAGE_TOKENS: Final = 1_600
_DOCUMENT_TOKENS: Final = 10_000

_PROMPT: Final = ("system", "messages", "tools")

_MOST_OUTPUT: Final = 1_000_000
"""Output tokens of a request that does not limit them, which the API refuses."""


def permits_for(params: Mapping[str, Any], *, lane: Lane, cached: bool = False) -> Callable[[], Permit]:
    """Return a function that makes the permits for the attempts of one request: each needs one of its own.

    Args:
      params: The parameters of the request. They are read now.
      lane: Its lane.
      cached: As `Permit.cached`.

    Raises:
      ValueError: ``lane`` is none.
    """
    max_tokens = params.get("max_tokens")
    return functools.partial(
        Permit,
        input_tokens=estimate_input_tokens({name: params[name] for name in _PROMPT if name in params}),
        max_tokens=max_tokens if isinstance(max_tokens, int) else _MOST_OUTPUT,
        model=str(params.get("model", "")),
        fast=params.get("speed") == "fast",
        cached=cached,
        lane=check_lane(lane),
    )


def estimate_input_tokens(value: object) -> int:
    """Estimate the input tokens of parameters, at four characters a token.

    The estimate alone paces only the first requests. After that it is scaled by how the API has counted others.
    """
    return max(1, _characters(value) // _CHARACTERS_PER_TOKEN)


def _characters(value: object) -> int:
    if isinstance(value, str):
        return len(value)
    if isinstance(value, Mapping):
        fields = cast("Mapping[str, Any]", value)
        kind = fields.get("type")
        if kind == "image":
            return _IMAGE_TOKENS * _CHARACTERS_PER_TOKEN
        if kind == "base64":
            return _DOCUMENT_TOKENS * _CHARACTERS_PER_TOKEN
        return sum(len(str(name)) + _characters(item) for name, item in fields.items())
    if isinstance(value, (list, tuple)):
        return sum(map(_characters, cast("list[object]", value)))
    if isinstance(value, msgspec.Raw):
        return memoryview(value).nbytes
    return 4
