"""The items that one row of ``trio-stream batch`` stands for: one for each model, and as often as ``--repeat`` says.

What belongs here: which items those are, and their ids. What does not: the request of a row (`_batch_recipe`).
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


def identity(name: str, number: int) -> str:
    """Return the name of the n-th of several requests for the same answer, counted from 1."""
    return name if number == 1 else f"{name}#{number}"
