"""What models differ in, by their names.

What belongs here: what the rules about requests need to know of a model. What does not: the rules (`_strict`).
A name that nobody knows is that of a new model of an old kind: no prefill, and none of the newest restrictions.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NEW_NAME = re.compile(r"claude-([a-z]+)-(\d{1,2})(?:-(\d{1,2}))?(?:-|$)")
_OLD_NAME = re.compile(r"claude-(\d)(?:-(\d))?-([a-z]+)")


class _Model(NamedTuple):
    family: str
    version: tuple[int, int]


def takes_prefill(model: str) -> bool:
    """Whether a model continues an assistant turn at the end. Those before 4.6 do."""
    known = _known(model)
    return known is not None and known.version < (4, 6)


def preserves_thinking(model: str) -> bool:
    """Whether a model takes thinking back only after the conversation that it was signed in.

    The same models take neither a budget for thinking nor a tool that they are forced to call.
    """
    known = _known(model)
    if known is None:
        return False
    return known.version >= ((5, 1) if known.family in ("fable", "mythos") else (5, 5))


def cannot_stop_thinking(model: str) -> bool:
    """Whether thinking is always on: Opus 5.5, and Fable and Mythos from 5.1 on, do not take ``disabled``."""
    known = _known(model)
    return known is not None and known.family in ("opus", "fable", "mythos") and preserves_thinking(model)


def _known(model: str) -> _Model | None:
    new = _NEW_NAME.match(model)
    if new is not None:
        return _Model(new[1], (int(new[2]), int(new[3] or 0)))
    old = _OLD_NAME.match(model)
    return None if old is None else _Model(old[3], (int(old[1]), int(old[2] or 0)))
