"""Parameters of a request: one turn of the conversation.

What belongs here: the typed dict of a turn. What does not: what it holds (`_params_content`), and where it stands
(`_params`). It is apart from that because a message of an answer gives itself as one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

from trio_stream._protocol._blocks import ContentBlock
from trio_stream._protocol._params_content import ContentBlockParam


class MessageParam(TypedDict):
    """One turn of the conversation. Its content is text, or a list of blocks: typed dicts, or blocks of an answer."""

    role: Literal["user", "assistant", "system"]
    content: str | Iterable[ContentBlockParam | ContentBlock]
