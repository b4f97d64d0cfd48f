"""How many tokens a request has, before the API has counted them.

What belongs here: the estimate. What does not: scaling it by what the API has counted of other requests (`_limiter`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec

_CHARACTERS_PER_TOKEN: Final = 4
_IMAGE_TOKENS: Final = 1_600
_DOCUMENT_TOKENS: Final = 10_000


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
