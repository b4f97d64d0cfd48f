"""What goes into a fan-out and what comes out of it, and what it needs of a journal.

What belongs here: the values that other modules of this room pass around, and the form of a request by which a
journal knows it again. What does not: running anything, and files (`_journal`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias, cast, final

import msgspec

from trio_stream._protocol import Message, Usage, build_body

Request: TypeAlias = str | Mapping[str, Any]
"""A prompt, or the parameters of ``client.messages.stream``."""

Status: TypeAlias = Literal["ok", "error", "timeout", "cancelled", "skipped", "cached"]
"""How an item ended.

``ok``: its message is whole. ``error``: its last attempt failed. ``timeout``: ``item_timeout`` or a clock of the
last attempt ran out. ``cancelled``: it was under way when the fan-out was aborted or left. ``skipped``: it was not
started, or not tried again (a budget, a spend limit). ``cached``: the journal had its answer.
"""

# What changes how a request travels, and not what is asked: a resumed run may well use other clocks.
_OPTIONS: Final = frozenset({"timeout", "max_retries", "extra_headers", "extra_query", "extra_body", "stream"})


class UnfinishedError(Exception):
    """`Outcome.unwrap` of an item that was skipped or cancelled. Its ``__cause__`` is why, where that is an error.

    Attributes:
      outcome: The outcome.
    """

    outcome: Outcome

    def __init__(self, message: str, *, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments need help to survive pickling (process pools, Ray); the other errors here, too.
        return (functools.partial(type(self), *self.args, outcome=self.outcome), ())


class JournalConflictError(ValueError):
    """The journal has this id with another request, or the items have it twice. Nothing was sent for it.

    Attributes:
      id: The item's id.
    """

    id: str

    def __init__(self, message: str, *, id: str) -> None:  # noqa: A002 - the name of the field
        super().__init__(message)
        self.id = id

    def __reduce__(self) -> tuple[object, ...]:
        return (functools.partial(type(self), *self.args, id=self.id), ())


@final
class Item(msgspec.Struct, frozen=True):
    """One thing to ask, with a name for it.

    Args:
      request: A prompt, or parameters of the API; they win over those given to the fan-out.
      id: Its name in the journal, unique among the items. None: the request itself is its name.
      tag: Anything; it comes back on the outcome.
    """

    request: Request
    id: str | None = None
    tag: Any = None


@final
class Outcome(msgspec.Struct, frozen=True, kw_only=True, repr_omit_defaults=True):
    """How one item ended.

    Args:
      id: The item's.
      index: The item's place among the items, from 0.
      tag: The item's.
      status: How it ended; see `Status`.
      text: The text, all text blocks joined: the partial text where the message is not whole.
      message: The message, or as much of it as arrived; None when nothing did, or when the journal had no more than
        the text.
      error: Why it is not ``ok``, where that is an error.
      usage: Tokens of the attempt that ended it; for attempts before it see the fan-out's ``stats``.
      attempts: Requests made for this item, in this run and, where the journal knows of them, before.
      ttft: Seconds from the start of the last attempt to its first text.
      seconds: From the first attempt's start to the end, waiting between attempts included.
      request_id: The API's name for the last attempt.
      stop_reason: Why the model stopped.
    """

    id: str | None = None
    index: int = 0
    tag: Any = None
    status: Status
    text: str = ""
    message: Message | None = None
    error: Exception | None = None
    usage: Usage | None = None
    attempts: int = 0
    ttft: float | None = None
    seconds: float = 0.0
    request_id: str | None = None
    stop_reason: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the text is whole, ``ok`` or ``cached``."""
        return self.status in ("ok", "cached")

    def unwrap(self) -> str:
        """The text, if it is whole.

        Raises:
          UnfinishedError: The item was skipped or cancelled.
          Exception: The item's own error.
        """
        if self.finished:
            return self.text
        error = self.error
        if error is not None and self.status in ("error", "timeout"):
            # Raised as often as it is asked for, and each time with the traceback of that time only.
            raise error.with_traceback(None)
        name = f"item {self.index}" if self.id is None else f"item {self.id!r}"
        why = "" if error is None else f": {error}"
        raise UnfinishedError(f"{name} was {self.status}{why}", outcome=self) from error


class JournalLike(Protocol):
    """What a fan-out needs of a journal. Nothing of it waits.

    A key is the item's id, else the hash of its request (with a number behind it where the same request comes
    again).
    """

    def lookup(self, key: str, request_hash: str) -> Outcome | None:
        """Look for what is known of an item before it is started.

        Args:
          key: The item's.
          request_hash: What `request_hash` gives for its parameters.

        Returns:
          Its outcome, usually ``cached``, which is then passed on in place of a request; None to start it. The
          fan-out fills in ``id``, ``index`` and ``tag``.

        Raises:
          JournalConflictError: The key is there with another request.
        """
        ...

    def start(self, key: str, request_hash: str, *, index: int, tag: object) -> None:
        """Note that an item is started; before its first request goes out.

        Args:
          key: The item's.
          request_hash: What `request_hash` gives for its parameters.
          index: The item's place.
          tag: The item's.
        """
        ...

    def end(self, key: str, outcome: Outcome) -> None:
        """Note how an item ended, before its outcome is given to anyone: ``ok``, ``error`` or ``timeout``.

        Or ``skipped``: it was tried, and given up when the fan-out stopped. It is to be started again.

        Args:
          key: The item's.
          outcome: Its outcome.
        """
        ...

    def partial(self, key: str, text: str, *, request_id: str | None = None, usage: Usage | None = None) -> None:
        """Note what had arrived of an item that was cancelled. It has no ``end``.

        Args:
          key: The item's.
          text: The partial text; may be empty.
          request_id: The API's name for the request.
          usage: The tokens counted so far.
        """
        ...

    def close(self) -> None:
        """Let go of the file. A fan-out closes only what it opened."""
        ...


def as_item(value: object) -> Item:
    """The item that ``value`` stands for.

    Raises:
      TypeError: It is no prompt, no parameters and no item.
    """
    if isinstance(value, Item):
        return value
    if isinstance(value, (str, Mapping)):
        return Item(cast("Request", value))
    raise TypeError(f"an item must be a prompt (str), parameters (a mapping) or an Item, not {type(value).__name__}")


def merge_params(request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of an item's request.

    Args:
      request: The item's: its parameters win, a prompt is the only message.
      params: What all items share.
    """
    if isinstance(request, str):
        return {**params, "messages": [{"role": "user", "content": request}]}
    return {**params, **request}


def canonical_request(params: Mapping[str, Any]) -> bytes:
    """What is asked, as JSON with sorted keys: equal for equal questions.

    Options that change how a request travels (``timeout``, ``extra_headers``...) are not in it; ``extra_body`` and
    ``betas`` are.

    Raises:
      TypeError: A parameter is missing, or is not JSON.
      ValueError: A number or a text that JSON does not have.
    """
    plain = {name: value for name, value in params.items() if name not in _OPTIONS}
    body: dict[str, Any] = msgspec.json.decode(build_body(plain, stream=True, extra_body=params.get("extra_body")))
    del body["stream"]
    betas = params.get("betas")
    if betas:
        body["betas"] = list(betas)
    return msgspec.json.encode(body, order="deterministic")


def request_hash(params: Mapping[str, Any]) -> str:
    """BLAKE2b of the canonical request: 32 hexadecimal digits.

    Raises:
      TypeError: A parameter is missing, or is not JSON.
      ValueError: A number or a text that JSON does not have.
    """
    return hashlib.blake2b(canonical_request(params), digest_size=16).hexdigest()
