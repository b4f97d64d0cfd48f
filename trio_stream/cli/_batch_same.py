"""``trio-stream batch --dedupe``: items whose requests are the same are sent once, and each gets the answer.

What belongs here: which item is sent for which others, and who waits for its answer. What does not: writing the rows
(`_batch_output`), and requests that are repeated on purpose (`_batch_variants`): those are not the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, final

import msgspec

from trio_stream._schemas import OutputType, parse_message
from trio_stream.batch import Outcome
from trio_stream.cli._batch_journal import JobJournal
from trio_stream.cli._batch_line import Pending, has_ended, output_line
from trio_stream.cli._batch_variants import identity

_ANSWERED: Final = ("ok", "cached")


@final
class SameAnswers:
    """Gives the answer of one item to all that have the same request.

    What it keeps in memory of an item is its id and its hash; of one that waits for an answer its other columns too. An
    answer is read from the journal again. Without a journal all answers stay in memory.

    Args:
      journal: The journal; None without one.
      answered: The ids of items that earlier runs have answers of, by the `identity` of their requests.
      output: What all answers are asked for; None for texts.

    Attributes:
      given: How many items have been given the answer of another one.
    """

    def __init__(self, journal: JobJournal | None, answered: Mapping[str, str], output: OutputType[Any] | None) -> None:
        self.given = 0
        self._journal = journal
        self._answered = answered
        self._output = output
        self._sent: dict[str, str] = {}  # of each request, the key of the item that is sent for it
        self._ended: dict[str, Outcome | None] = {}  # None where the journal has the outcome
        self._waiting: dict[str, list[Pending]] = {}

    def take(self, pending: Pending) -> bytes | bool:
        """Take an item before it is sent.

        Returns:
          Its row of output, if there is an answer for it; False if it waits for one; True if it is to be sent.
        """
        name = identity(pending.hash, pending.entry.repeat)
        if name not in self._sent:
            earlier = self._answered.get(name, pending.key)
            known = None if earlier == pending.key or self._journal is None else self._answer(earlier, pending.hash)
            if known is None:
                self._sent[name] = pending.key
                return True
            self._sent[name] = earlier
            self._ended[name] = None
        key = self._sent[name]
        if self._journal is not None and key != pending.key and self._answer(pending.key, pending.hash) is not None:
            return True  # it has an answer of its own, from a run without --dedupe
        if key == pending.key:  # the one that an earlier run sent
            return True
        if name not in self._ended:
            self._waiting.setdefault(name, []).append(pending)
            return False
        return self._row(pending, key, self._ended[name])

    def end(self, pending: Pending, outcome: Outcome) -> Iterator[tuple[Pending, bytes | None]]:
        """Give an outcome to those that wait for it.

        Returns:
          Each of them, with its row of output; None where the next run sends the request again.
        """
        name = identity(pending.hash, pending.entry.repeat)
        if self._sent.get(name) != pending.key:
            return
        if has_ended(outcome):
            in_journal = self._journal is not None and outcome.status in _ANSWERED
            self._ended[name] = None if in_journal else msgspec.structs.replace(outcome, tag=None)
        for other in self._waiting.pop(name, ()):
            yield other, self._row(other, pending.key, outcome) if has_ended(outcome) else None

    def _answer(self, key: str, request_hash: str) -> Outcome | None:
        """Return the answer that the journal has of an item; None if it has none."""
        assert self._journal is not None
        known = self._journal.lookup_if_same(key, request_hash)
        return known if known is not None and known.status in _ANSWERED else None

    def _row(self, pending: Pending, key: str, outcome: Outcome | None) -> bytes:
        if outcome is None:
            outcome = self._answer(key, pending.hash)
            assert outcome is not None
        if self._output is not None and outcome.value is None and outcome.status in _ANSWERED:
            text, message = outcome.text, outcome.message
            value = self._output.decode(text) if message is None else parse_message(message, self._output)
            outcome = msgspec.structs.replace(outcome, value=value)
        self.given += 1
        return output_line(outcome, pending, same_as=key)
