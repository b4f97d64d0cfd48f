"""An answer as the layers above see it: its head, and whoever brings its body.

What belongs here: holding the two together. What does not: where they come from (`_parser`, `_sender`), and what the
headers mean (`_protocol`).
"""

from __future__ import annotations

from typing import final

import msgspec

from trio_stream._response import ResponseInfo

from ._body import ResponseBody


@final
class Response(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The head of an answer, and its body.

    Args:
      info: Status, headers and address.
      body: The body. Whoever holds it closes it.
    """

    info: ResponseInfo
    body: ResponseBody
