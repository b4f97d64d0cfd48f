"""The body of a request that is too large for memory.

What belongs here: the interface. What does not: what is in such a body (`_batch_body`), and sending it (`_http`).
"""

from __future__ import annotations

import abc
from collections.abc import Iterator


class Content(abc.ABC):
    """A body that is made piece by piece while it is sent. Its length is known before that."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """Its length in bytes."""

    @abc.abstractmethod
    def __iter__(self) -> Iterator[bytes]:
        """Its pieces, from the first on whenever it is iterated over: a request may have to be sent again.

        Raises:
          OSError: It cannot be read from where it is.
        """

    def __repr__(self) -> str:
        return f"<content of {len(self)} bytes>"  # it holds prompts
