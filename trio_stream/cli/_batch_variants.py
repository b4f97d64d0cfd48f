"""The items that one row of ``trio-stream batch`` stands for: one for each model, and as often as ``--repeat`` says.

What belongs here: which items those are, their ids and their keys. What does not: the request of a row
(`_batch_recipe`).
"""

from __future__ import annotations

from typing import final

import msgspec

from trio_stream.cli._batch_recipe import Entry


@final
class Variants:
    """Makes the items of a row.

    The id of an item is ``ID@MODEL#N``: ``@MODEL`` where several models are asked, ``#N`` from the second time on. So a
    run can be continued with a greater number, and then asks for what is missing. A row that names a model itself is
    for that model alone, and its ids have no ``@MODEL``. Rows without an id have keys that are made of their requests,
    in which the model is, with the same ``#N``.

    Args:
      models: The models to ask where the row names none; one or none for the one of the recipe.
      repeat: How many times each of them is asked.
    """

    def __init__(self, models: tuple[str, ...] = (), repeat: int = 1) -> None:
        self._models = models if len(models) > 1 else ()
        self._repeat = repeat

    def of(self, entry: Entry) -> list[Entry]:
        """Return the items of the row that ``entry`` is made of."""
        if not self._models and self._repeat == 1:
            return [entry]
        by_model = [entry]
        if self._models and not entry.names_model:
            by_model = [
                msgspec.structs.replace(
                    entry,
                    id=None if entry.id is None else f"{entry.id}@{model}",
                    request={**entry.request, "model": model},
                )
                for model in self._models
            ]
        return [repeated(one, number) for one in by_model for number in range(1, self._repeat + 1)]


def repeated(entry: Entry, number: int) -> Entry:
    """Return an item that asks for another answer to the same request."""
    name = None if entry.id is None else identity(entry.id, number)
    return msgspec.structs.replace(entry, id=name, repeat=number)


@final
class ItemKeys:
    """Gives items their keys in the journal and the output: their ids, or what is made of their requests."""

    def __init__(self) -> None:
        self._repetitions: dict[str, int] = {}

    def of(self, entry: Entry) -> str:
        """Return the key of the next item, in the order of the input."""
        if entry.id is not None:
            return entry.id
        # The same row again wants another answer, so it gets another key.
        name = identity(entry.hash, entry.repeat)
        count = self._repetitions[name] = self._repetitions.get(name, 0) + 1
        return identity(entry.hash if count == 1 else f"{entry.hash}:{count}", entry.repeat)


def identity(name: str, number: int) -> str:
    """Return the name of the n-th of several requests for the same answer, counted from 1."""
    return name if number == 1 else f"{name}#{number}"
