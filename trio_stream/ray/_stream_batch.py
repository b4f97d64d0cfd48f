"""`StreamBatch`: a callable class for ``Dataset.map_batches``.

What belongs here: making requests of rows, and columns of outcomes. What does not: the loop that sends them (`_loop`),
the formats of batches (`_formats`), and the journals of actors (`_journals`).
"""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, final

import msgspec

from trio_stream._client import Client
from trio_stream._limiter import HeaderRateLimiter, RateLimiter
from trio_stream._protocol import Usage
from trio_stream.batch import (
    FanOutOptions,
    Item,
    Outcome,
    RecordedError,
    Request,
    as_item,
)
from trio_stream.ray._formats import Batch, Columns, open_batch
from trio_stream.ray._journals import Journals
from trio_stream.ray._loop import Loop, Plan

Prompt: TypeAlias = str | Callable[[dict[str, Any]], Request | Item]

_COLUMNS: Final = (
    "text",
    "stop_reason",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "request_id",
    "attempts",
    "error",
)


_NOTHING: Final = Usage()


class _Arguments(msgspec.Struct, frozen=True, kw_only=True):
    prompt: Prompt
    id: str | None
    prefix: str
    plan: Plan


@final
class StreamBatch:
    """Sends a request for each row of a Ray dataset, and adds the answers as columns.

    ::

        answered = dataset.map_batches(
            StreamBatch,
            fn_constructor_kwargs={"prompt": "question", "id": "id", "model": ..., "max_tokens": 256,
                                   "journal_dir": "/shared/journals"},
            batch_size=64,
            compute=ray.data.ActorPoolStrategy(
                size=4, max_concurrent_calls_per_actor=8, enable_true_multi_threading=True
            ),
        )

    Making a `StreamBatch` starts nothing, and it can be pickled. The first call starts a Trio loop in a thread of its
    own, for the life of the process. All calls share this loop, its connections, and one `fan_out`. The API key is read
    there, from the environment of the actor. The loop ends with this object, or with the process.

    The columns ``text``, ``stop_reason``, ``input_tokens``, ``output_tokens``, ``cache_read_tokens``, ``request_id``,
    ``attempts`` and ``error`` are added. A row that fails does not fail the job: its ``error`` is the class and the
    message of the error, and its ``text`` is as much as had arrived. Missing values are an empty text or 0, never None,
    so that the columns have the same types in every block.

    Batches may be dictionaries of NumPy arrays (Ray's default), pandas data frames or PyArrow tables.

    Args:
      prompt: The column with the prompts (or parameters of the API), or a function that makes a prompt, parameters or
        an `Item` of a row. If it raises, that is the row's error.
      id: The column with the keys of the rows in the journals. Without it the request of a row is its key, so that rows
        with equal requests get the same answer.
      prefix: A prefix for the names of the added columns.
      journal_dir: A folder that all actors reach. Each actor writes a journal there and reads those of all: an answer
        that any of them has got is not requested again, in this run or the next. It is created if it does not exist.
      retry_errors: Whether to send a row again for which a journal has an error. Always so with ``on_error="raise"``.
      fsync: As for `Journal`.
      client: A function that makes the client in the actor: `Client`, or ``functools.partial(Client, base_url=...)``,
        for example. An API key given here is sent to the actors; one in their environment need not be.
      limiter: A limiter, of which each actor gets a copy, or a function that makes one in the actor, such as
        `HeaderRateLimiter`. See `ActorRateLimiter` for one limit for all actors.
      on_error: With ``"capture"`` errors go to the column ``error``. With ``"raise"`` a call raises its first error,
        which fails the job.
      **options: The other options of `trio_stream.fan_out`: ``limit``, ``max_errors``, ``max_attempts``,
        ``item_timeout``, ``warmup``, ``cache``, ``prompt_prefix``, ``budget`` and ``on_event``, each for one actor; and
        the parameters that all requests share, those of ``client.messages.stream`` and ``timeout``. Once a limit has
        stopped an actor, its rows are skipped, and have an ``error`` that says so. No more requests are under way in an
        actor than it has rows: ``batch_size`` times the calls at once.

    Raises:
      ValueError: An option is invalid, or conflicts with another.
      TypeError: An option has the wrong type, or is not one of a `StreamBatch`.
    """

    def __init__(
        self,
        *,
        prompt: Prompt = "prompt",
        id: str | None = None,  # noqa: A002 - the name of the field of an item
        prefix: str = "",
        journal_dir: str | os.PathLike[str] | None = None,
        retry_errors: bool = False,
        fsync: Literal["group"] | bool = False,
        client: Callable[[], Client] = Client,
        limiter: RateLimiter | Callable[[], RateLimiter] = HeaderRateLimiter,
        on_error: Literal["capture", "raise"] = "capture",
        **options: Any,
    ) -> None:
        if not callable(client):
            raise TypeError("client must be a function that makes one in the actor, functools.partial(Client, ...)")
        if not isinstance(limiter, RateLimiter) and not callable(limiter):
            raise TypeError(f"limiter must be a RateLimiter, or a function that makes one, not {limiter!r}")
        if "journal" in options:
            raise TypeError("journal is not an option of a StreamBatch: use journal_dir, since each actor has its own")
        # Checked here, and not in the actor. An error is raised by the call that it belongs to, so the fan-out, which
        # serves all calls, captures it.
        chosen = FanOutOptions.of(options)
        if chosen.output is not None:
            raise TypeError(
                "output is not an option of a StreamBatch: its rows have texts, which a later map may parse"
            )
        if chosen.via_batch is not None:
            raise TypeError("via is not an option of a StreamBatch: a call of Ray Data would wait a day for its rows")
        if on_error not in ("capture", "raise"):
            raise ValueError(f"on_error must be 'capture' or 'raise', not {on_error!r}")
        journals = None
        if journal_dir is not None:
            retry = retry_errors or on_error == "raise"
            journals = functools.partial(Journals, Path(journal_dir), fsync=fsync, retry_errors=retry)
        plan = Plan(client=client, limiter=limiter, journals=journals, options=chosen, fail_fast=on_error == "raise")
        self._set_up(_Arguments(prompt=prompt, id=id, prefix=prefix, plan=plan))

    def _set_up(self, arguments: _Arguments) -> None:
        self._arguments = arguments
        self._starting = threading.Lock()
        self._loop: Loop | None = None

    def __getstate__(self) -> _Arguments:
        return self._arguments

    def __setstate__(self, state: _Arguments) -> None:
        self._set_up(state)

    def __call__(self, batch: Any) -> Any:
        """Send a request for each row of a batch, and wait for all answers. For any thread.

        Args:
          batch: A batch from ``map_batches``.

        Returns:
          The batch with the added columns.

        Raises:
          TypeError: The batch is in none of Ray's formats.
          ValueError: The batch lacks the column for ``prompt`` or ``id``, or already has one that would be added.
          CredentialsError: The actor's environment has no key.
          JournalError: The journals cannot be read or written.
          APIError: With ``on_error="raise"``, the error of the first row that failed; also other errors.
        """
        opened = open_batch(batch)
        self._check_columns(opened)
        outcomes = self._started().answer(self._rows(opened))
        return opened.add(self._columns(outcomes))

    def close(self) -> None:
        """End the loop, cancel everything under way, and close the journal. A further call starts another loop.

        Calling this is optional. It waits for at most 5 seconds, and never for the API.
        """
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.stop()

    def _started(self) -> Loop:
        with self._starting:
            if self._loop is None or self._loop.ended:
                self._loop = Loop(self._arguments.plan)
                # The loop ends when this object is collected, and in any case before the process ends.
                weakref.finalize(self, self._loop.stop)
            return self._loop

    def _check_columns(self, batch: Batch) -> None:
        arguments = self._arguments
        for name in (arguments.prompt, arguments.id):
            if isinstance(name, str) and name not in batch.names:
                raise ValueError(f"there is no column {name!r}; there are {', '.join(map(repr, batch.names))}")
        taken = [name for name in _COLUMNS if f"{arguments.prefix}{name}" in batch.names]
        if taken:
            raise ValueError(
                f"there is a column {arguments.prefix + taken[0]!r} already: give those that are added a "
                "prefix, such as prefix='answer_'"
            )

    def _rows(self, batch: Batch) -> list[Item | Exception]:
        arguments = self._arguments
        prompt = arguments.prompt
        rows = batch.column(prompt) if isinstance(prompt, str) else [_call(prompt, row) for row in batch.rows()]
        ids = [None] * len(rows) if arguments.id is None else batch.column(arguments.id)
        return [_item(value, name) for value, name in zip(rows, ids, strict=True)]

    def _columns(self, outcomes: list[Outcome]) -> Columns:
        usages = [outcome.usage or _NOTHING for outcome in outcomes]
        columns: tuple[list[str] | list[int], ...] = (
            [outcome.text for outcome in outcomes],
            [outcome.stop_reason or "" for outcome in outcomes],
            [usage.input_tokens for usage in usages],
            [usage.output_tokens for usage in usages],
            [usage.cache_read_input_tokens or 0 for usage in usages],
            [outcome.request_id or "" for outcome in outcomes],
            [outcome.attempts for outcome in outcomes],
            ["" if outcome.finished else _describe(outcome) for outcome in outcomes],
        )
        return {f"{self._arguments.prefix}{name}": values for name, values in zip(_COLUMNS, columns, strict=True)}


def _call(prompt: Callable[[dict[str, Any]], Request | Item], row: dict[str, Any]) -> Request | Item | Exception:
    try:
        return prompt(row)
    except Exception as error:  # noqa: BLE001 - it becomes the error of this row
        return error


def _item(value: object, name: object) -> Item | Exception:
    if isinstance(value, Exception):
        return value
    try:
        item = as_item(value)
    except TypeError as error:
        return error
    if item.id is None and name is not None:
        return msgspec.structs.replace(item, id=str(name))
    return item


def _describe(outcome: Outcome) -> str:
    error = outcome.error
    said = outcome.status if error is None else f"{type(error).__name__}: {error}"
    if isinstance(error, RecordedError):
        said = f"{error.type}: {error}"
    return f"skipped: {said}" if outcome.status == "skipped" and error is not None else said
