"""What a run of ``trio-stream batch`` would send: its items by model, with their sizes.

What belongs here: finding that out, and choosing samples. What does not: asking anything (`_batch_dry_run`,
`_batch_sample`).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, final

import msgspec

from trio_stream.cli._batch_input import FileInput
from trio_stream.cli._batch_journal import JobJournal
from trio_stream.cli._batch_recipe import Entry, Recipe
from trio_stream.cli._batch_variants import ItemKeys, identity

_COUNTED: Final = frozenset(
    {"cache_control", "messages", "model", "output_config", "system", "thinking", "tool_choice", "tools"}
)
"""The parameters that can be sent for counting (https://docs.claude.com/en/api/messages-count-tokens)."""


def countable(request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a request that its input tokens depend on."""
    return {name: value for name, value in request.items() if name in _COUNTED}


@final
class ModelWork:
    """The items that would be sent to one model.

    Attributes:
      places: Their places among all items of the run.
      sizes: How many bytes the input of each has.
      max_tokens: The longest outputs that they may have, all together.
    """

    def __init__(self) -> None:
        self.places = array("Q")
        self.sizes = array("Q")
        self.max_tokens = 0

    @property
    def bytes(self) -> int:
        """How many bytes all of them have."""
        return sum(self.sizes)

    def by_bytes(self, number: int) -> Counter[int]:
        """Choose a sample in which each byte of the input is as likely as any other to be that of a chosen item.

        Long items are chosen more often, as it is they that matter for the sum; the mean of the tokens in a byte over
        such a sample is that of the whole input, however unequal its items are.

        Returns:
          The places of the chosen items, each with how often it was chosen.
        """
        if len(self.places) <= number:  # all of them, by which the sum is exact
            return Counter(dict(zip(self.places, self.sizes, strict=True)))
        step = self.bytes / number
        chosen: Counter[int] = Counter()
        end = 0
        for place, size in zip(self.places, self.sizes, strict=True):
            end += size
            while chosen.total() < number and (chosen.total() + 0.5) * step <= end:
                chosen[place] += 1
        return chosen


@final
class Work:
    """What would be sent.

    Args:
      found: The input.
      journal: The journal of earlier runs; None without one.
      recipe: Says what all requests have.
      dedupe: Whether equal requests are sent once.

    Attributes:
      items: How many items there are, without those that are given the answer of another one.
      known: How many of them are not sent, as the journal knows how they ended.
      models: The others, by the model that they ask.
    """

    def __init__(self, found: FileInput, journal: JobJournal | None, recipe: Recipe, *, dedupe: bool) -> None:
        self.items = 0
        self.known = 0
        self.models: dict[str, ModelWork] = {}
        keys = ItemKeys()
        sent: set[str] = set()
        for place, entry in enumerate(found.entries()):
            key = keys.of(entry)
            name = identity(entry.hash, entry.repeat)
            if dedupe and name in sent:
                continue
            if dedupe:
                sent.add(name)
            self.items += 1
            if journal is not None and journal.lookup_if_same(key, entry.hash) is not None:
                self.known += 1
            else:
                self._add(place, entry, recipe)

    @property
    def left(self) -> int:
        """How many would be sent."""
        return sum(len(work.places) for work in self.models.values())

    def _add(self, place: int, entry: Entry, recipe: Recipe) -> None:
        request = recipe.complete(entry.request)
        work = self.models.setdefault(str(request.get("model", "")), ModelWork())
        work.places.append(place)
        work.sizes.append(len(msgspec.json.encode(countable(request))))
        work.max_tokens += request["max_tokens"]
