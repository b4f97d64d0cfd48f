"""The values that go into a fan-out and come out of it, and the interface of a journal.

What belongs here: the values that other modules of this room pass around, and the form of a request by which a
journal recognises it. What does not: running anything, and files (`_journal`).
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import (
    TYPE_CHECKING,
    Any,
    Final,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    cast,
    final,
    get_args,
    runtime_checkable,
)

import msgspec

from trio_stream._client import OPTION_NAMES
from trio_stream._errors import OutputFault
from trio_stream._money import Charge
from trio_stream._protocol import Message, MessageStopReason, Usage, build_body

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    TagT = TypeVar("TagT", default=Any)
    ValueT = TypeVar("ValueT", default=Any)
else:
    from typing import TypeVar

    TagT = TypeVar("TagT")
    ValueT = TypeVar("ValueT")

Request: TypeAlias = str | Mapping[str, Any]
"""A prompt, or the parameters of ``client.messages.stream``."""

Status: TypeAlias = Literal[
    "ok", "error", "timeout", "cancelled", "skipped", "cached", "truncated", "refused", "invalid"
]
"""How an item ended.

* ``ok``: its message is whole. Where the answer was asked for as a type (``output=``), it has a value too.
* ``error``: its last attempt failed.
* ``timeout``: ``item_timeout``, or a clock of the last attempt, ran out.
* ``cancelled``: it was under way when the fan-out was aborted or left.
* ``skipped``: it was not started, or not tried again, because the fan-out had stopped (a budget, a spend limit).
* ``cached``: the journal had its answer.
* ``truncated``, ``refused``, ``invalid``: with ``output=`` only, what keeps an answer that is whole from being a value.
  It was cut, the model refused to answer, or it does not fit the type. Without ``output=`` such an answer is ``ok``.
"""

FAILED: Final[frozenset[Status]] = frozenset({"error", "timeout", *get_args(OutputFault)})
"""How items end that have an error of their own."""

# Parameters that change how a request is sent and not what it asks. A resumed run may use other clocks, for example.
SENDING_OPTIONS: Final = OPTION_NAMES | {"stream"}


class UnfinishedError(Exception):
    """`Outcome.unwrap` was called for an item that was skipped or cancelled.

    If an error was the reason for that, it is the ``__cause__``.

    Attributes:
      outcome: The outcome.
    """

    outcome: Outcome

    def __init__(self, message: str, *, outcome: Outcome) -> None:
        super().__init__(message)
        self.outcome = outcome

    def __reduce__(self) -> tuple[object, ...]:
        # An error with keyword-only arguments needs this to survive pickling (process pools, Ray).
        return (functools.partial(type(self), *self.args, outcome=self.outcome), ())


class JournalConflictError(ValueError):
    """The journal has this id with another request, or two items have it. Nothing was sent for the item.

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
class Item(msgspec.Struct, Generic[TagT], frozen=True):
    """One request, with an id and a tag.

    Args:
      request: A prompt, or parameters of the API. They take precedence over those given to the fan-out.
      id: The key of the item in the journal, unique among the items; None if the request itself is to be its key.
      tag: Any value. It comes back on the outcome. To type checkers `Item` and `Outcome` are generic in its type.
    """

    request: Request
    id: str | None = None
    tag: TagT = cast("Any", None)


@final
class Outcome(msgspec.Struct, Generic[TagT, ValueT], frozen=True, kw_only=True, repr_omit_defaults=True):
    """How one item ended.

    Args:
      id: The item's id.
      index: The item's zero-based position among the items.
      tag: The item's tag.
      status: How it ended; see `Status`.
      text: The text of all text blocks, joined. If the message is not whole, the part of it that arrived.
      value: The answer as a value of the type that was asked for with ``output=``; None without one, or where there is
        no such value. To type checkers `Outcome` is generic in the type.
      message: The message, or as much of it as arrived; None if nothing did, or if the journal had only the text.
      error: The error that the item ended with; None if there was none.
      usage: The tokens of the last attempt.
      attempts: Requests made for this item; for an outcome from the journal, those of the run that wrote it.
      ttft: Seconds from the start of the last attempt to its first text.
      seconds: Seconds from the start of the first attempt to the end, including the waits between attempts.
      request_id: The API's ID of the last request.
      stop_reason: Why the model stopped.
      charges: What all attempts were charged for, those that failed included. ``estimated`` is set on those whose
        answer was cut, as the API did not tell all of their tokens.
    """

    id: str | None = None
    index: int = 0
    tag: TagT = cast("Any", None)
    status: Status
    text: str = ""
    value: ValueT = cast("Any", None)
    message: Message | None = None
    error: Exception | None = None
    usage: Usage | None = None
    attempts: int = 0
    ttft: float | None = None
    seconds: float = 0.0
    request_id: str | None = None
    stop_reason: MessageStopReason | None = None
    charges: tuple[Charge, ...] = ()

    if not TYPE_CHECKING:

        @classmethod
        def __class_getitem__(cls, types: Any) -> Any:
            """Fill in what type checkers take for the default, which Python knows since 3.13."""
            return super().__class_getitem__(with_defaults(types))

    @property
    def finished(self) -> bool:
        """Whether the text is whole, that is, whether the status is ``ok`` or ``cached``."""
        return self.status in ("ok", "cached")

    def unwrap(self) -> str:
        """Return the text if it is whole.

        Raises:
          UnfinishedError: The item was skipped or cancelled.
          Exception: The item's own error.
        """
        if self.finished:
            return self.text
        error = self.error
        if error is not None and self.status in FAILED:
            # It may be raised several times, and each time with the traceback of that time only.
            raise error.with_traceback(None)
        name = f"item {self.index}" if self.id is None else f"item {self.id!r}"
        why = "" if error is None else f": {error}"
        raise UnfinishedError(f"{name} was {self.status}{why}", outcome=self) from error


def with_defaults(types: Any) -> tuple[Any, Any]:
    """The two types of a generic class here, of which the second may be left out."""
    return cast("tuple[Any, Any]", types) if isinstance(types, tuple) else (types, Any)


class JournalLike(Protocol):
    """The interface of a journal, as a fan-out uses it. None of its methods may wait.

    The key of an item is its id, or else the hash of its request; where the same request comes again, with a number
    appended.
    """

    def lookup(self, key: str, request_hash: str) -> Outcome | None:
        """Look up an item before it is started.

        Args:
          key: The item's key.
          request_hash: The `request_hash` of its parameters.

        Returns:
          The outcome to use in place of a request, usually with the status ``cached``; None if the item is to be
          started. The fan-out fills in ``id``, ``index`` and ``tag``.

        Raises:
          JournalConflictError: The journal has the key with another request.
        """
        ...

    def start(self, key: str, request_hash: str, *, index: int, tag: object) -> None:
        """Note that an item is started. Called before its first request is sent.

        Args:
          key: The item's key.
          request_hash: The `request_hash` of its parameters.
          index: The item's zero-based position.
          tag: The item's tag.
        """
        ...

    def end(self, key: str, outcome: Outcome) -> None:
        """Note how an item ended. Called before anybody gets its outcome.

        The status is ``ok``, ``error``, ``timeout``, or one of the three that ``output=`` has for answers that are no
        value; or ``skipped`` for an item that was tried and then given up because the fan-out stopped. The next run
        should start such an item again.

        Args:
          key: The item's key.
          outcome: Its outcome.
        """
        ...

    def partial(self, key: str, text: str, *, request_id: str | None = None, usage: Usage | None = None) -> None:
        """Note what had arrived of an item that was cancelled. There is no `end` for such an item.

        Args:
          key: The item's key.
          text: The partial text, which may be empty.
          request_id: The API's ID of the request.
          usage: The tokens counted so far.
        """
        ...

    def close(self) -> None:
        """Close the journal. A fan-out closes only a journal that it opened itself."""
        ...


@runtime_checkable
class ChargedJournal(JournalLike, Protocol):
    """A journal that also remembers what items were charged for, so that budgets hold for all runs of a job together.

    `JournalLike.end` finds the charges of an item in ``outcome.charges``.
    """

    @property
    def charges(self) -> Iterable[Charge]:
        """What everything in the journal was charged for. A fan-out looks at it once, when it begins."""
        ...

    def partial(
        self,
        key: str,
        text: str,
        *,
        request_id: str | None = None,
        usage: Usage | None = None,
        charges: tuple[Charge, ...] = (),
    ) -> None:
        """Note what had arrived of an item that was cancelled, as `JournalLike.partial`.

        Args:
          key: The item's key.
          text: The partial text, which may be empty.
          request_id: The API's ID of the request.
          usage: The tokens counted so far.
          charges: What all attempts were charged for.
        """
        ...


@runtime_checkable
class CountingJournal(ChargedJournal, Protocol):
    """A journal that also knows how many items were under way when earlier runs were killed, as `Journal` does."""

    @property
    def uncounted(self) -> int:
        """How many of them are not in `charges`, as nothing tells what an answer costs."""
        ...


def as_item(value: object) -> Item:
    """Make an `Item` of a prompt or of parameters; return an `Item` as it is.

    Raises:
      TypeError: ``value`` is not a str, a mapping or an `Item`.
    """
    if isinstance(value, Item):
        item: Item = cast("Any", value)
        return item
    if isinstance(value, (str, Mapping)):
        return Item(cast("Request", value))
    raise TypeError(f"an item must be a prompt (str), parameters (a mapping) or an Item, not {type(value).__name__}")


def merge_params(request: Request, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of an item's request.

    Args:
      request: The request of the item. Its parameters take precedence; a prompt becomes the only message.
      params: The parameters that all items share.
    """
    if isinstance(request, str):
        return {**params, "messages": [{"role": "user", "content": request}]}
    return {**params, **request}


def canonical_request(params: Mapping[str, Any]) -> bytes:
    """Encode a request as JSON with sorted keys, so that equal requests have equal bytes.

    Options that only change how a request is sent (``timeout``, ``extra_headers``...) are left out; ``extra_body`` and
    ``betas`` are included.

    Raises:
      TypeError: A parameter is missing, or is not JSON.
      ValueError: A number or a text cannot be written as JSON.
    """
    plain = {name: value for name, value in params.items() if name not in SENDING_OPTIONS}
    body: dict[str, Any] = msgspec.json.decode(build_body(plain, stream=True, extra_body=params.get("extra_body")))
    del body["stream"]
    betas = params.get("betas")
    if betas:
        body["betas"] = list(betas)
    return msgspec.json.encode(body, order="deterministic")


def request_hash(params: Mapping[str, Any]) -> str:
    """Return the BLAKE2b hash of a request's canonical form, as 32 hexadecimal digits.

    Raises:
      TypeError: A parameter is missing, or is not JSON.
      ValueError: A number or a text cannot be written as JSON.
    """
    return hashlib.blake2b(canonical_request(params), digest_size=16).hexdigest()
