"""Message batches: the batch itself, and the results in it.

What belongs here: the values that the calls of ``client.messages.batches`` return. What does not: what the calls take
(`_params_batches`), reading results line by line (`_json_lines`), and the calls (`_client`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final, Literal, Self, TypeAlias, cast, final

import msgspec

from trio_stream._errors import InvalidResponseError
from trio_stream._protocol._blocks import is_read_in_one_step
from trio_stream._protocol._events import ErrorEvent
from trio_stream._protocol._json import JSON_ERRORS, decode_json
from trio_stream._protocol._message import Message
from trio_stream._protocol._values import NO_FIELDS, OURS, Extended, ExtendedT, Tagged, UnknownObject, one_step_decoder


@final
class MessageBatchRequestCounts(Extended, frozen=True, kw_only=True):
    """How many requests of a batch have which status.

    Until the whole batch has ended, all of them are ``processing``.
    """

    canceled: int = 0
    errored: int = 0
    expired: int = 0
    processing: int = 0
    succeeded: int = 0

    @property
    def total(self) -> int:
        """The number of requests in the batch."""
        return self.canceled + self.errored + self.expired + self.processing + self.succeeded


@final
class MessageBatch(Tagged, frozen=True, kw_only=True, tag="message_batch"):
    """A batch of requests. Times are RFC 3339, as the API writes them.

    Attributes:
      id: The identifier of the batch.
      processing_status: ``in_progress``, ``canceling`` or ``ended``. The API may add further ones.
      request_counts: How many requests have which status; all are ``processing`` until the whole batch has ended.
      created_at: When the batch was created.
      expires_at: When the requests that have not been processed by then expire: 24 hours after the creation.
      ended_at: When the batch ended; None until then.
      cancel_initiated_at: When somebody cancelled the batch, or None.
      archived_at: When its results were removed, or None.
      results_url: Where its results are; None until it has ended. This library does not follow it: it asks its own
        base URL for the results, by the id.
      extra: The fields that the API sent and this version does not know.
    """

    type: ClassVar[Literal["message_batch"]] = "message_batch"
    strict_fields: ClassVar[frozenset[str]] = frozenset({"request_counts"})
    id: str
    processing_status: str
    request_counts: MessageBatchRequestCounts = msgspec.field(default_factory=MessageBatchRequestCounts)
    created_at: str | None = None
    expires_at: str | None = None
    ended_at: str | None = None
    cancel_initiated_at: str | None = None
    archived_at: str | None = None
    results_url: str | None = None

    @property
    def ended(self) -> bool:
        """Whether the results can be read."""
        return self.processing_status == "ended"

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Make a batch from decoded JSON.

        Raises:
          InvalidResponseError: It is not a batch, or a field has the wrong type.
        """
        return _make(cls, raw, "message batch")


@final
class DeletedMessageBatch(Tagged, frozen=True, kw_only=True, tag="message_batch_deleted"):
    """A batch that was deleted."""

    type: ClassVar[Literal["message_batch_deleted"]] = "message_batch_deleted"
    id: str

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Make this value from decoded JSON.

        Raises:
          InvalidResponseError: It is something else, or a field has the wrong type.
        """
        return _make(cls, raw, "answer to a deletion")


@final
class MessageBatchList(Extended, frozen=True, kw_only=True):
    """One page of the batches of a workspace, the newest first.

    Attributes:
      data: The batches.
      has_more: Whether there are further pages in the direction that was asked for.
      first_id: The id of the first batch on this page, or None.
      last_id: The id of the last batch on this page, or None.
    """

    data: tuple[MessageBatch, ...]
    has_more: bool = False
    first_id: str | None = None
    last_id: str | None = None

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Make a page from decoded JSON.

        Raises:
          InvalidResponseError: It is not a page, or a field has the wrong type.
        """
        return _make(cls, raw, "list of message batches")


# ----- results


@final
class MessageBatchSucceededResult(Tagged, frozen=True, kw_only=True, tag="succeeded"):
    """The request was answered, and is billed."""

    type: ClassVar[Literal["succeeded"]] = "succeeded"
    message: Message

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this result from a JSON object. Its message is taken for one also without a ``type``, as it is paid.

        Raises:
          msgspec.ValidationError: There is no message, or a field of it has the wrong JSON type.
        """
        message: object = raw.get("message")
        if not isinstance(message, dict) or "content" not in message:
            raise msgspec.ValidationError("a result without a message")
        fields = cast("dict[str, Any]", message)
        return super().from_wire({**raw, "message": {**fields, "type": fields.get("type") or Message.type}})


@final
class MessageBatchErroredResult(Tagged, frozen=True, kw_only=True, tag="errored"):
    """The request failed. It is not billed.

    Attributes:
      error: What the API says of it, in the form of an error in a stream: ``error.error.type`` and ``.message``.
    """

    type: ClassVar[Literal["errored"]] = "errored"
    error: ErrorEvent

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this result from whatever stands for its error: an error must not be lost."""
        error = raw.get("error")
        if isinstance(error, dict):
            event = ErrorEvent.from_wire(cast("dict[str, Any]", error))
        else:
            event = ErrorEvent.of_text("" if error is None else str(error))
        extra = {name: value for name, value in raw.items() if name not in ("type", "error")}
        return cls(error=event, extra=extra or NO_FIELDS)


@final
class MessageBatchCanceledResult(Tagged, frozen=True, kw_only=True, tag="canceled"):
    """The batch was cancelled before the request was sent to the model. It is not billed."""

    type: ClassVar[Literal["canceled"]] = "canceled"


@final
class MessageBatchExpiredResult(Tagged, frozen=True, kw_only=True, tag="expired"):
    """The batch expired before the request was sent to the model. It is not billed."""

    type: ClassVar[Literal["expired"]] = "expired"


MessageBatchResult: TypeAlias = (
    MessageBatchSucceededResult
    | MessageBatchErroredResult
    | MessageBatchCanceledResult
    | MessageBatchExpiredResult
    | UnknownObject
)
"""What became of one request. A kind that this version does not know is kept as it came."""


@final
class MessageBatchIndividualResponse(Extended, frozen=True, kw_only=True):
    """One line of the results of a batch.

    Attributes:
      custom_id: The id that the request was given. Results come in any order.
      result: What became of the request.
      extra: The fields that the API sent and this version does not know.
    """

    custom_id: str
    result: MessageBatchResult

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Self:
        """Make a result from decoded JSON.

        Raises:
          InvalidResponseError: It is not a result, or a field that must be right has the wrong type.
        """
        return _make(cls, raw, "result of a batch")

    @classmethod
    def from_json(cls, line: bytes | str) -> MessageBatchIndividualResponse:
        """Make a result from one line.

        Raises:
          InvalidResponseError: The line is not JSON, or not a result.
        """
        data = line.encode() if isinstance(line, str) else line
        usual = _decode_usual(data)
        if usual is not None:
            return usual
        try:
            raw = decode_json(data)
        except JSON_ERRORS as error:
            raise InvalidResponseError(f"invalid result of a batch: {error} ({len(data)} bytes)") from error
        if not isinstance(raw, dict):
            raise InvalidResponseError("invalid result of a batch: not a JSON object")
        return cls.from_dict(cast("dict[str, Any]", raw))


_NAME_OF_OURS: Final = f'"{OURS}'.encode()


@functools.cache
def _decoder() -> Callable[[bytes], MessageBatchIndividualResponse]:
    return one_step_decoder(MessageBatchIndividualResponse)


def _decode_usual(data: bytes) -> MessageBatchIndividualResponse | None:
    """Decode a line in one step, if that makes of it what two steps would make; None otherwise.

    Nearly all results are messages of text. A line of 2 kB is read in 7.8 us of CPU so, and otherwise in 15.6
    (`tests.bench.batch_results`).
    """
    if _NAME_OF_OURS in data:
        return None
    try:
        line = _decoder()(data)
    except JSON_ERRORS:
        return None
    result = line.result
    if type(result) is not MessageBatchSucceededResult:
        return None
    content = result.message.content
    is_usual = content and all(is_read_in_one_step(type(block)) for block in content)
    return line if is_usual else None


def _make(cls: type[ExtendedT], raw: Mapping[str, Any], what: str) -> ExtendedT:
    tag = cls.__struct_config__.tag
    if tag is not None and (raw.get("type") or tag) != tag:
        raise InvalidResponseError(f"invalid {what}: not an object of the type `{tag}`")
    try:
        return cls.from_wire(raw)
    except (msgspec.ValidationError, RecursionError) as error:
        raise InvalidResponseError(f"invalid {what}: {error}") from error
