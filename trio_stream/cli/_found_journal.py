"""The journal of an output of ``trio-stream batch``, for the commands that look at it afterwards.

What belongs here: finding it by the name that a person gives. What does not: reading it.
"""

from __future__ import annotations

from pathlib import Path

from trio_stream.batch import may_be_journal
from trio_stream.cli._formats import place_of


class NoJournalError(Exception):
    """There is no journal of this name, nor beside it. The message is shown to the user."""


def find_journal(name: str) -> Path:
    """Find the journal that a name stands for: the file itself, or the one beside the output of this name.

    Raises:
      NoJournalError: There is none.
    """
    path = Path(name)
    beside = Path(place_of(name).journal)
    try:
        if path.is_file():
            with path.open("rb") as file:
                first = file.readline(1 << 16)
            if first and may_be_journal(first):
                return path
        if beside.is_file():
            return beside
    except OSError as error:
        raise NoJournalError(f"{name} cannot be read: {error.strerror or error}") from None
    if path.exists():
        raise NoJournalError(f"{name} is not a journal, and there is no {beside}: name the journal (--journal)")
    raise NoJournalError(f"there is no {name}, and no {beside}")
