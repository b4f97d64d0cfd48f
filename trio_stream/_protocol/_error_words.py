"""The sentence in an error, whoever wrote it.

What belongs here: the names under which gateways, proxies and other APIs put the sentence that a person should read.
What does not: what an error means (`_api_error`).
"""

from __future__ import annotations

from typing import Final, cast

# In the order in which they are looked at; names are compared in lower case and without ``_`` and ``-``.
_NAMES: Final = (
    "error",  # {"error": {"message": ...}}, {"error": "..."}
    "message",  # also AWS: {"Message": ...}
    "detail",  # FastAPI: {"detail": "..."}, {"detail": [{"msg": ...}]}
    "msg",
    "errormessage",
    "errormsg",
    "errordescription",  # OAuth
    "description",
    "reason",
    "title",  # RFC 9457: {"title": ..., "detail": ...}
    "errors",  # [{"message": ...}]
)

_DEEPEST: Final = 5  # no dialect hides its sentence deeper


def find_sentence(value: object, depth: int = _DEEPEST) -> str | None:
    """The sentence in the JSON of an error, or None if there is none."""
    if isinstance(value, str):
        return value if value.strip() else None
    if depth == 0:
        return None
    if isinstance(value, list):
        found = (find_sentence(item, depth - 1) for item in cast("list[object]", value)[:_DEEPEST])
        return next((sentence for sentence in found if sentence), None)
    if isinstance(value, dict):
        members = {_plain_name(name): item for name, item in cast("dict[str, object]", value).items()}
        found = (find_sentence(members.get(name), depth - 1) for name in _NAMES)
        return next((sentence for sentence in found if sentence), None)
    return None


def _plain_name(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
