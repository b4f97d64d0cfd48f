"""The check of the input of ``trio-stream batch`` before money flows.

What belongs here: what is wrong with a line beside the others (repeated ids) and beside earlier runs (another request
under a known id), and the list of what was found. What does not: what is wrong with a line by itself
(`_batch_recipe`), reading lines (`_batch_input`), and the file for rejected lines (`_batch_rejects`).
"""

from __future__ import annotations

from typing import Final, Protocol, final

import msgspec

from trio_stream.batch import Journal, request_hash, with_prefix
from trio_stream.cli._batch_recipe import Entry, Fault, LineError, Recipe
from trio_stream.cli._input_json import column_of
from trio_stream.cli._input_text import BOM, InputError
from trio_stream.cli._terminal import one_line

SHOWN: Final = 20
"""How many faults are listed. The others are counted: a template that is wrong is wrong in every line."""

_SHOWN_OF_AN_ID: Final = 40


@final
class Checker:
    """Reads lines, each with what has been read before in mind. It keeps the ids and where they were, and no lines.

    Args:
      recipe: Makes requests of lines.
      journal: Knows the requests of earlier runs by their ids; None if there were none.
      unique_ids: Whether a repeated id is a fault. A dry run only tells them.

    Attributes:
      duplicates: The ids that occur more than once, and the numbers of their first two lines; only filled in where
        repeated ids are no faults.
    """

    def __init__(self, recipe: Recipe, journal: Journal | None = None, *, unique_ids: bool = True) -> None:
        self.duplicates: dict[str, tuple[int, int]] = {}
        self._recipe = recipe
        self._journal = journal
        self._conflicts = 0  # how many ids stand for another request in the journal
        self._unique_ids = unique_ids
        self._lines: dict[str, int] = {}  # of each id, the number of the first line that has it

    def read(self, line: bytes, *, index: int, number: int) -> Entry:
        """Make an entry of a line, by itself.

        Args:
          line: The line.
          index: The zero-based position of the item.
          number: The number of the line, counted from 1.

        Raises:
          LineError: The line is not valid, or its request cannot be sent.
        """
        entry = self._recipe.read(line, index=index, number=number)
        try:
            prefix = self._recipe.prefix
            request = entry.request if prefix is None else with_prefix(entry.request, prefix)
            return msgspec.structs.replace(entry, hash=request_hash(request))
        except (TypeError, ValueError) as error:
            raise LineError(Fault(line=number, column=1, reason=str(error))) from None

    def check(self, line: bytes, *, index: int, number: int, ours: bool) -> Entry:
        """Make an entry of a line, and compare it with the lines before it and with earlier runs.

        Args:
          line: The line.
          index: The zero-based position of the item.
          number: The number of the line, counted from 1.
          ours: Whether it belongs to this run. The journal of a shard knows nothing of the others.

        Raises:
          LineError: The line is not valid, its request cannot be sent, or its id is that of another request.
        """
        entry = self.read(line, index=index, number=number)
        if entry.id is None:
            return entry
        if ours and self._journal is not None and self._journal.conflicts(entry.id, entry.hash):
            raise self._error(line, number, self._conflict(self._journal, entry.id))
        first = self._lines.setdefault(entry.id, number)
        if first != number:
            if self._unique_ids:
                raise self._error(
                    line,
                    number,
                    "ids must be unique, as answers are matched by id: "
                    f"{_shown(entry.id)} is repeated (lines {first} and {number})",
                )
            self.duplicates.setdefault(entry.id, (first, number))
        return entry

    def _conflict(self, journal: Journal, name: str) -> str:
        self._conflicts += 1
        fact = f"{journal.path} has {_shown(name)} with another request"
        if self._conflicts > 1:  # an option that was changed makes one of each item: what to do is said once
            return fact
        instead = "start another output" if journal.answered else "begin again with --overwrite (there are no answers)"
        return (
            f"{fact}: give it another id, take back what was changed (the line, --model, --max-tokens, --system, "
            f"--template), or {instead}"
        )

    def _error(self, line: bytes, number: int, reason: str) -> LineError:
        line = line.removeprefix(BOM)
        return LineError(
            Fault(line=number, column=max(column_of(line, "id"), column_of(line, "custom_id")), reason=reason)
        )


def _shown(name: str) -> str:
    return one_line(name)[:_SHOWN_OF_AN_ID]


class Rejections(Protocol):
    """Where lines go that cannot be used."""

    def add(self, fault: Fault, line: bytes) -> None:
        """Take a line that cannot be used.

        Args:
          fault: What is wrong with it.
          line: The line.

        Raises:
          RejectsError: It cannot be written.
        """
        ...


class FaultsError(InputError):
    """Lines of the input cannot be used.

    Attributes:
      sentences: One for each line that is listed, and how many more there are.
    """

    sentences: list[str]

    def __init__(self, sentences: list[str]) -> None:
        super().__init__("; ".join(sentences))
        self.sentences = sentences


@final
class FaultList:
    """The first faults of an input, and the number of all: a bounded list of any number of them."""

    def __init__(self) -> None:
        self._first: list[Fault] = []
        self._count = 0

    def add(self, fault: Fault, line: bytes) -> None:  # noqa: ARG002 - what is listed has nothing of the line
        """Take a line that cannot be used."""
        self._count += 1
        if len(self._first) < SHOWN:
            self._first.append(fault)

    def raise_any(self, name: str, *, items: int) -> None:
        """Raise the faults, if there are any.

        Args:
          name: The name of the input.
          items: How many lines with items it has.

        Raises:
          FaultsError: There are.
        """
        if not self._count:
            return
        sentences = [f"{name}, {fault}" for fault in self._first]
        if self._count > 1:
            left = self._count - len(self._first)
            more = f"and {left} more; " if left else ""
            sentences.append(
                f"{more}{self._count} of {items} lines cannot be used, so nothing was sent; "
                "--skip-invalid FILE leaves them out"
            )
        raise FaultsError(sentences)
