"""A content block while its deltas arrive.

What belongs here: what has arrived of one block, and the block that this makes; characters that two deltas share. What
does not: which delta may come when (`_accumulator`), and what each kind of block takes (`_blocks`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from trio_stream._protocol._blocks import ContentBlock, UnknownBlock
from trio_stream._protocol._deltas import Delta, UnknownDelta
from trio_stream._protocol._growth import Append, Collect
from trio_stream._protocol._partial_json import Pieces
from trio_stream._protocol._values import Tagged


class BlockState:
    """A block that is being put together.

    A message may have thousands of these, so the lists that few blocks need are made when they are needed.
    """

    __slots__ = ("built", "changes", "closed", "collected", "deltas", "extra", "half", "pieces", "start", "takes")

    def __init__(self, start: ContentBlock, *, closed: bool = False) -> None:
        self.start = start
        self.closed = closed
        self.built: ContentBlock | None = start if closed else None
        # The kind of delta that appends to `pieces`. None also while there is a half, so that no delta misses that.
        self.takes: type[Tagged] | None = None
        self.half = ""  # the first half of a surrogate pair, with which the last piece ended
        self.pieces = Pieces()
        self.collected: list[Any] | None = None
        self.changes: dict[str, Any] | None = None  # fields that were sent whole
        self.deltas: list[Delta] | None = None  # those that cannot be added: they are unknown or do not fit
        self.extra: dict[str, Any] | None = None  # the unknown fields of deltas
        if type(start) is UnknownBlock:
            return
        for delta, growth in start.grows_by.items():
            if type(growth) is Append:
                self.takes = delta
                if growth.continues and (text := getattr(start, growth.field)):
                    self.pieces.append(text)
            elif type(growth) is Collect and (items := getattr(start, growth.field)):
                self.collected = list(items)

    def fork(self) -> BlockState:
        """A copy that grows by itself."""
        copy = BlockState(self.start, closed=self.closed)
        copy.built, copy.takes, copy.half = self.built, self.takes, self.half
        copy.pieces = Pieces()
        copy.pieces += self.pieces
        copy.collected = None if self.collected is None else list(self.collected)
        copy.changes = None if self.changes is None else dict(self.changes)
        copy.deltas = None if self.deltas is None else list(self.deltas)
        copy.extra = None if self.extra is None else dict(self.extra)
        return copy

    def build(self) -> ContentBlock:
        """The block as it is now."""
        if self.built is None:
            self.built = self._build()
        return self.built

    def _build(self) -> ContentBlock:
        start = self.start
        changes: dict[str, Any] = {"incomplete": not self.closed}
        if type(start) is UnknownBlock:
            changes["deltas"] = tuple(delta.to_dict() for delta in self.deltas or ())
            return msgspec.structs.replace(start, **changes)
        changes["unknown_deltas"] = tuple(map(_as_unknown, self.deltas or ()))
        if self.changes:
            changes.update(self.changes)
        for growth in start.grows_by.values():
            if type(growth) is Append and self.pieces:
                changes[growth.field] = "".join(self.pieces)
            elif type(growth) is Collect and self.collected:
                changes[growth.field] = tuple(self.collected)
        if self.extra or not start.extra.keys().isdisjoint(changes):
            unread = {name: value for name, value in start.extra.items() if name not in changes}
            changes["extra"] = {**unread, **(self.extra or {})}
        return msgspec.structs.replace(start, **changes)


def _as_unknown(delta: Delta) -> UnknownDelta:
    return delta if isinstance(delta, UnknownDelta) else UnknownDelta(raw=delta.to_dict())


def is_half(character: str) -> bool:
    return "\ud800" <= character <= "\udfff"


def join_halves(text: str) -> tuple[str, str]:
    """Join the surrogate pairs of a text, and take the first half of another one off its end.

    Returns:
      The text, in which every other surrogate is U+FFFD, and the half that was taken off, or "".
    """
    half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
    units = text.removesuffix(half).encode("utf-16-le", "surrogatepass")
    return units.decode("utf-16-le", "replace"), half


def without_halves(delta: Delta) -> Delta:
    """A delta with U+FFFD for each half of a surrogate pair in its text."""
    mended: dict[str, str] = {}
    for name in () if isinstance(delta, UnknownDelta) else delta.__struct_fields__:
        value = getattr(delta, name)
        if isinstance(value, str) and value and (is_half(value[0]) or is_half(value[-1])):
            text, half = join_halves(value)
            mended[name] = text + "\ufffd" * len(half)
    return msgspec.structs.replace(delta, **mended) if mended else delta
