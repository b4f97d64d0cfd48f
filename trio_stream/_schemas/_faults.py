"""What is wrong with JSON that does not fit a type, in sentences that a model can act on.

What belongs here: the error, and its sentence. What does not: decoding, and what msgspec and pydantic say (`_codec`,
`_pydantic`).
"""

from __future__ import annotations

from typing import Final, final

import msgspec

_MOST_TOLD: Final = 5


@final
class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong.

    Attributes:
      path: Where, as in ``items[0].name``; empty for the whole.
      reason: What is wrong there.
    """

    path: str
    reason: str

    def below(self, path: str) -> Fault:
        """The same fault, told of a value in which this one is at a path."""
        joined = f"{path}.{self.path}" if path and self.path and not self.path.startswith("[") else path + self.path
        return Fault(joined, self.reason)

    def __str__(self) -> str:
        reason = self.reason[:1].lower() + self.reason[1:]
        return f"`{self.path}`: {reason}" if self.path else reason


@final
class MismatchError(ValueError):
    """JSON that does not fit the type that was asked for, or a text that is not JSON.

    Its text is a sentence for whoever wrote the JSON: it says what is wrong and where. It may quote the JSON.

    Attributes:
      faults: What is wrong; empty where the text is not JSON.
      path: Where the first fault is, as in ``items[0].name``; empty for the whole, and None for what is not JSON.
    """

    faults: tuple[Fault, ...]
    path: str | None

    def __init__(self, *faults: Fault, message: str | None = None) -> None:
        if message is None:
            more = len(faults) - _MOST_TOLD
            told = "; ".join(map(str, faults[:_MOST_TOLD])) + (f"; and {more} more" if more > 0 else "")
            message = f"this does not fit the schema: {told}"
        super().__init__(message)
        self.faults = faults
        self.path = faults[0].path if faults else None


def not_json(error: Exception, text: bytes) -> MismatchError:
    """The error for a text that is not JSON.

    Args:
      error: What decoding raised.
      text: The text.
    """
    if not text.strip():
        reason = "it is empty"
    elif isinstance(error, RecursionError):
        reason = "it is nested too deeply"
    else:
        reason = str(error).removeprefix("JSON is malformed: ").replace("Input data was truncated", "it ends too early")
    return MismatchError(message=f"this is not valid JSON: {reason}")
