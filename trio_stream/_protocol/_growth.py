"""The ways in which a delta adds to its block.

What belongs here: the ways, as values. What does not: which block grows in which way by which delta, which the class
of each block says (`Block.grows_by`), and doing it (`_accumulator`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, final

import msgspec

from trio_stream._protocol._values import Tagged


@final
class Append(msgspec.Struct, frozen=True):
    """The text of the delta is appended to the text of the block. A block has at most one such delta.

    Attributes:
      piece: The field of the delta, a str.
      field: The field of the block, a str.
      continues: Whether the text that the block starts with is kept. False where the deltas replace it.
    """

    piece: str
    field: str
    continues: bool = True


@final
class Collect(msgspec.Struct, frozen=True):
    """The item of the delta is added at the end of a tuple of the block. A block has at most one such delta.

    Attributes:
      item: The field of the delta.
      field: The field of the block, a tuple or None.
    """

    item: str
    field: str


@final
class Replace(msgspec.Struct, frozen=True):
    """Each field that the delta has set replaces the field of the same name of the block."""


Growth: TypeAlias = Append | Collect | Replace
"""Any of these ways."""

GrowsBy: TypeAlias = Mapping[type[Tagged], Growth]
"""The deltas that a block takes, and what each does to it."""
