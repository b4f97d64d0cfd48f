"""The check of the input of ``trio-stream batch`` before money flows.

What belongs here: what is wrong with a line beside the others (repeated ids) and beside earlier runs (another request
under a known id), and the list of what was found. What does not: what is wrong with a line by itself
(`_batch_recipe`), reading lines (`_batch_input`), and the file for rejected lines (`_batch_rejects`).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, Protocol, final

import msgspec

from trio_stream.batch import Journal, request_hash
from trio_stream.cli._batch_again import Again
from trio_stream.cli._batch_recipe import Entry, Recipe
from trio_stream.cli._batch_variants import Variants, identity
from trio_stream.cli._input_text import InputError
from trio_stream.cli._rows import Fault, MistakeError, Row, RowError, fault_of
from trio_stream.cli._terminal import one_line

SHOWN: Final = 20
"""How many faults are listed. The others are counted: a template that is wrong is wrong in every line."""

_SHOWN_OF_AN_ID: Final = 40


@final
class Checker:
    """Makes items of rows, each with what has been read before in mind. It keeps ids and where they were, and no rows.

    Args:
      recipe: Makes a request of a row.
      journal: Knows the requests of earlier runs by their ids; None if there were none.
      variants: Makes the items of that; None for one.
      dedupe: Whether items whose requests are the same are sent once.
      limits: Values of ``max_tokens`` with which earlier runs may have asked. An item whose answer is there with one of
        them keeps it, unless it was cut. Without any, another ``max_tokens`` makes another request.
      unique_ids: Whether a repeated id is a fault. A dry run only tells them.

    Attributes:
      duplicates: The ids that occur more than once, and the numbers of their first two rows; only filled in where
        repeated ids are no faults.
      known: How many items an earlier run has answered.
      equal: How many items have the request of one before them; only counted with ``dedupe``.
    """

    def __init__(
        self,
        recipe: Recipe,
        journal: Journal | None = None,
        *,
        variants: Variants | None = None,
        dedupe: bool = False,
        limits: Collection[int] = (),
        unique_ids: bool = True,
    ) -> None:
        self.duplicates: dict[str, tuple[int, int]] = {}
        self.equal = 0
        self.known = 0
        self._seen: set[str] | None = set() if dedupe else None
        self._recipe = recipe
        self._journal = journal
        self._variants = Variants() if variants is None else variants
        self._limits = sorted(limits)
        self._conflicts = 0  # how many ids stand for another request in the journal
        self._unique_ids = unique_ids
        self._numbers: dict[str, int] = {}  # of each id, the number of the first row that has it

    def read(self, row: Row, *, index: int) -> list[Entry]:
        """Make the items of a row, by itself.

        Args:
          row: The row.
          index: Its zero-based position.

        Raises:
          RowError: The row is not valid, or its request cannot be sent.
        """
        entries = self._variants.of(self._recipe.read(row, index=index))
        try:
            return [self._as_before(self._hashed(entry)) for entry in entries]
        except (TypeError, ValueError) as error:
            raise RowError(fault_of(row, MistakeError(str(error)))) from None

    def _hashed(self, entry: Entry, **changes: Any) -> Entry:
        request = {**entry.request, **changes}
        return msgspec.structs.replace(entry, request=request, hash=request_hash(self._recipe.complete(request)))

    def _as_before(self, entry: Entry) -> Entry:
        """Return an item as an earlier run asked for it, if only its ``max_tokens`` was another one."""
        journal = self._journal
        if not self._limits or journal is None:
            return entry
        if entry.id is not None and not journal.conflicts(entry.id, entry.hash):
            return entry
        for limit in self._limits:
            earlier = self._hashed(entry, max_tokens=limit)
            name = earlier.hash if entry.id is None else entry.id
            if earlier.hash == entry.hash or name not in journal or journal.conflicts(name, earlier.hash):
                continue
            known = journal.lookup(name, earlier.hash)
            cut = known is not None and Again(truncated=True).of(known)
            return msgspec.structs.replace(entry, replaces=True) if cut else earlier
        return entry

    def check(self, row: Row, *, index: int, ours: bool) -> list[Entry]:
        """Make the items of a row, and compare them with those before them and with earlier runs.

        Args:
          row: The row.
          index: Its zero-based position.
          ours: Whether it belongs to this run. The journal of a shard knows nothing of the others.

        Raises:
          RowError: The row is not valid, its request cannot be sent, or its id is that of another request.
        """
        entries = self.read(row, index=index)
        for entry in entries:
            if entry.id is not None:
                self._check_id(row, entry.id, entry, ours=ours)
            if ours and self._journal is not None:
                self.known += self._journal.is_answered(
                    identity(entry.hash, entry.repeat) if entry.id is None else entry.id
                )
            if self._seen is not None and ours:
                name = identity(entry.hash, entry.repeat)
                self.equal += name in self._seen
                self._seen.add(name)
        return entries

    def _check_id(self, row: Row, name: str, entry: Entry, *, ours: bool) -> None:
        if ours and not entry.replaces and self._journal is not None and self._journal.conflicts(name, entry.hash):
            raise self._error(row, self._conflict(self._journal, name))
        first = self._numbers.setdefault(name, row.number)
        if first != row.number:
            if self._unique_ids:
                raise self._error(
                    row,
                    "ids must be unique, as answers are matched by id: "
                    f"{_shown(name)} is repeated ({row.unit}s {first} and {row.number})",
                )
            self.duplicates.setdefault(name, (first, row.number))

    def _conflict(self, journal: Journal, name: str) -> str:
        self._conflicts += 1
        fact = f"{journal.path} has {_shown(name)} with another request"
        if self._conflicts > 1:  # an option that was changed makes one of each item: what to do is said once
            return fact
        instead = "start another output" if journal.answered else "begin again with --overwrite (there are no answers)"
        return (
            f"{fact}: give it another id, take back what was changed (the row, --model, --max-tokens, --system, "
            f"--template, --param, --schema), or {instead}"
        )

    def _error(self, row: Row, reason: str) -> RowError:
        column = max(row.column_of("id"), row.column_of("custom_id"))
        return RowError(Fault(line=row.number, column=column, reason=reason, unit=row.unit))


def _shown(name: str) -> str:
    return one_line(name)[:_SHOWN_OF_AN_ID]


class Rejections(Protocol):
    """Where rows go that cannot be used."""

    def add(self, fault: Fault, line: bytes) -> None:
        """Take a row that cannot be used.

        Args:
          fault: What is wrong with it.
          line: The row as a line.

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

    def raise_any(self, name: str, *, items: int, unit: str) -> None:
        """Raise the faults, if there are any.

        Args:
          name: The name of the input.
          items: How many rows with items it has.
          unit: What a row of it is called.

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
                f"{more}{self._count} of {items} {unit}s cannot be used, so nothing was sent; "
                "--skip-invalid FILE leaves them out"
            )
        raise FaultsError(sentences)
