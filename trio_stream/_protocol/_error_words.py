"""The words of an error, whoever wrote it.

What belongs here: the names under which gateways, proxies and other APIs put the sentence that a person should read,
and those under which they put what programs compare. What does not: making the error (`_api_error`), and what it means
(`_verdict`).
"""

from __future__ import annotations

from collections.abc import Iterator
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

# Besides these: names of a cause, and what a gateway repeats of the answer that it got itself.
_MORE_NAMES: Final = frozenset(
    {*_NAMES, "type", "code", "errorcode", "status", "details", "innererror", "metadata", "raw"}
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


def find_words(value: object, depth: int = _DEEPEST) -> Iterator[str]:
    """Yield every sentence and every name of a cause in the JSON of an error.

    Values under other names are left out: some servers repeat the request there, whose words say nothing of the error.
    """
    if isinstance(value, str):
        yield value
    elif depth and isinstance(value, list):
        for item in cast("list[object]", value)[:_DEEPEST]:
            yield from find_words(item, depth - 1)
    elif depth and isinstance(value, dict):
        for name, item in cast("dict[str, object]", value).items():
            if _plain_name(name) in _MORE_NAMES:
                yield from find_words(item, depth - 1)


def _plain_name(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")
