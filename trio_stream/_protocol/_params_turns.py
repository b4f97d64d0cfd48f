"""A turn of the conversation, as a request takes it.

What belongs here: the turns that requests and answers share. What does not: blocks (`_params_content`), and the other
parameters of a call (`_params`), which know what a `Message` is and so stand above it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, TypedDict

import msgspec

from trio_stream._protocol._blocks import ContentBlock
from trio_stream._protocol._params_content import ContentBlockParam


class MessageParam(TypedDict):
    """One turn of the conversation.

    Its content is text; or a list of blocks: typed dicts, or blocks of an answer; or either of them as JSON, in a
    `msgspec.Raw`.
    """

    role: Literal["user", "assistant", "system"]
    content: str | Iterable[ContentBlockParam | ContentBlock | msgspec.Raw] | msgspec.Raw
