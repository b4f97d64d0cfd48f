"""A message of the API, complete or as far as it has arrived, and its parts other than blocks and usage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias, cast, final

import msgspec

from trio_stream._errors import InvalidResponseError, InvalidToolInputError
from trio_stream._protocol._blocks import ContentBlock, TextBlock
from trio_stream._protocol._history import ToolResults, as_history, refuse_input
from trio_stream._protocol._json import JSON_ERRORS, decode_json
from trio_stream._protocol._params_content import ContentBlockParam
from trio_stream._protocol._params_turns import MessageParam
from trio_stream._protocol._stop_reason import MessageStopReason
from trio_stream._protocol._usage import Usage
from trio_stream._protocol._values import Extended, Tagged, UnknownObject


@final
class Skill(Extended, frozen=True, kw_only=True):
    """A skill that is loaded in a container."""

    skill_id: str = ""
    type: str = ""
    version: str = ""


@final
class Container(Extended, frozen=True, kw_only=True):
    """The container in which the code execution tool ran."""

    id: str = ""
    expires_at: str | None = None
    skills: tuple[Skill, ...] | None = None


@final
class CacheMissModelChanged(Tagged, frozen=True, kw_only=True, tag="model_changed"):
    """The request is for another model than the previous one."""

    type: ClassVar[Literal["model_changed"]] = "model_changed"
    cache_missed_input_tokens: int = 0


@final
class CacheMissSystemChanged(Tagged, frozen=True, kw_only=True, tag="system_changed"):
    """The system prompt differs from that of the previous request."""

    type: ClassVar[Literal["system_changed"]] = "system_changed"
    cache_missed_input_tokens: int = 0


@final
class CacheMissToolsChanged(Tagged, frozen=True, kw_only=True, tag="tools_changed"):
    """The tools differ from those of the previous request."""

    type: ClassVar[Literal["tools_changed"]] = "tools_changed"
    cache_missed_input_tokens: int = 0


@final
class CacheMissMessagesChanged(Tagged, frozen=True, kw_only=True, tag="messages_changed"):
    """The messages differ from those of the previous request."""

    type: ClassVar[Literal["messages_changed"]] = "messages_changed"
    cache_missed_input_tokens: int = 0


@final
class CacheMissPreviousMessageNotFound(Tagged, frozen=True, kw_only=True, tag="previous_message_not_found"):
    """The previous message was not found, so there is nothing to compare with."""

    type: ClassVar[Literal["previous_message_not_found"]] = "previous_message_not_found"


@final
class CacheMissUnavailable(Tagged, frozen=True, kw_only=True, tag="unavailable"):
    """The API has no diagnosis."""

    type: ClassVar[Literal["unavailable"]] = "unavailable"


CacheMissReason: TypeAlias = (
    CacheMissModelChanged
    | CacheMissSystemChanged
    | CacheMissToolsChanged
    | CacheMissMessagesChanged
    | CacheMissPreviousMessageNotFound
    | CacheMissUnavailable
    | UnknownObject
)
"""The reason why the prompt cache could not reuse the previous request."""


@final
class Diagnostics(Extended, frozen=True, kw_only=True):
    """Why the prompt cache could not reuse the previous request. The reason is None while the diagnosis is pending."""

    cache_miss_reason: CacheMissReason | None = None


@final
class RefusalStopDetails(Tagged, frozen=True, kw_only=True, tag="refusal"):
    """The details of a refusal."""

    type: ClassVar[Literal["refusal"]] = "refusal"
    category: str | None = None
    explanation: str | None = None
    fallback_credit_token: str | None = None
    fallback_has_prefill_claim: bool | None = None
    recommended_model: str | None = None


StopDetails: TypeAlias = RefusalStopDetails | UnknownObject


@final
class ClearToolUsesEdit(Tagged, frozen=True, kw_only=True, tag="clear_tool_uses_20250919"):
    """Old tool results were cleared from the context. Beta."""

    type: ClassVar[Literal["clear_tool_uses_20250919"]] = "clear_tool_uses_20250919"
    cleared_input_tokens: int = 0
    cleared_tool_uses: int = 0


@final
class ClearThinkingEdit(Tagged, frozen=True, kw_only=True, tag="clear_thinking_20251015"):
    """Old thinking was cleared from the context. Beta."""

    type: ClassVar[Literal["clear_thinking_20251015"]] = "clear_thinking_20251015"
    cleared_input_tokens: int = 0
    cleared_thinking_turns: int = 0


@final
class ContextManagement(Extended, frozen=True, kw_only=True):
    """The edits that the API made to the context. Beta."""

    applied_edits: tuple[ClearToolUsesEdit | ClearThinkingEdit | UnknownObject, ...] = ()


@final
class InputTransformation(Extended, frozen=True, kw_only=True):
    """A change that the API made to the request before the model saw it. Beta."""

    type: str = ""
    path: str = ""
    reason: str = ""


@final
class MessageTokensCount(Extended, frozen=True):
    """How many input tokens a request has.

    Args:
      input_tokens: System prompt, tools, and messages together, in tokens.

    Attributes:
      extra: What else the API said about the count.
    """

    input_tokens: int


@final
class Message(Tagged, frozen=True, kw_only=True, tag="message"):
    """A message of the assistant.

    Attributes:
      id: The identifier of the message.
      model: The model that wrote it; after a fallback, the one that took over.
      content: The content blocks, in order.
      stop_reason: Why the model stopped, or None until it has. The API may add new reasons.
      usage: The tokens that the message cost.
      extra: The fields that the API sent and this version does not know.
    """

    type: ClassVar[Literal["message"]] = "message"
    strict_fields: ClassVar[frozenset[str]] = frozenset({"content", "stop_reason"})
    id: str = ""
    role: str = "assistant"
    model: str = ""
    content: tuple[ContentBlock, ...] = ()
    stop_reason: MessageStopReason | None = None
    stop_sequence: str | None = None
    stop_details: StopDetails | None = None
    container: Container | None = None
    diagnostics: Diagnostics | None = None
    usage: Usage = msgspec.field(default_factory=Usage)
    context_management: ContextManagement | None = None
    input_transformations: tuple[InputTransformation, ...] | None = None

    @property
    def text(self) -> str:
        """The text of all text blocks, joined."""
        return "".join([block.text for block in self.content if isinstance(block, TextBlock)])

    def to_param(self) -> MessageParam:
        """This message as one of a request's ``messages``, with everything the API sent in its content.

        For a complete message. Of one that was cut, or whose tool input is malformed, `as_history` makes what can be
        sent.

        Raises:
          InvalidToolInputError: a tool block's input was cut or is not valid JSON. The text says which block it is.
        """
        content: list[ContentBlockParam] = []
        for index, block in enumerate(self.content):
            try:
                content.append(block.to_param())
            except InvalidToolInputError as error:
                raise refuse_input(error, f"content[{index}]") from error
        return {"role": "assistant", "content": content}

    def as_history(self, results: ToolResults | None = None) -> list[MessageParam]:
        """What may stand in ``messages`` of this message, whether it is whole, cut, malformed or empty.

        ::

            messages += message.as_history(results)

        What the API would refuse is left out: unfinished blocks other than text, empty text, thinking that has no
        signature or is the last of the message, and calls that were cut. Tool input that is not a JSON object goes back
        as ``{"INVALID_JSON": text}``. Calls of the API's own tools that have no result are left out of a message that
        was cut. Each call of your tools that stays gets its result, in the order of the calls; a call without one in
        ``results`` gets one that says that it was not started.

        A message that stopped with ``pause_turn`` comes back whole. Send it with nothing after it, to let the model go
        on.

        Args:
          results: What your tools returned: ``tool_result`` blocks in any order, or a mapping from the ids of calls to
            results, each a text or a list of blocks. Results of calls that were cut are left out with them.

        Returns:
          No message if nothing of it can stay; otherwise the turn of the assistant, followed by a turn of the user with
          the results if it has calls of your tools.

        Raises:
          TypeError: ``results`` are neither blocks nor such a mapping.
          ValueError: there are two results for one call, or a result for a call that this message does not have.
        """
        return as_history(self.content, self.stop_reason, results)

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Message:
        """Make a message from decoded JSON.

        Raises:
          InvalidResponseError: a field has the wrong type.
        """
        if (raw.get("type") or "message") != "message" or "content" not in raw:
            raise InvalidResponseError("invalid message: not an object of the type `message`")
        try:
            return cls.from_wire(raw)
        except (msgspec.ValidationError, RecursionError) as error:
            raise InvalidResponseError(f"invalid message: {error}") from error

    @classmethod
    def from_json(cls, data: bytes | str) -> Message:
        """Make a message from the body of an answer that is not streamed.

        Raises:
          InvalidResponseError: it is not JSON, not an object, or a field has the wrong type.
        """
        try:
            raw = decode_json(data.encode() if isinstance(data, str) else data)
        except JSON_ERRORS as error:
            raise InvalidResponseError(f"invalid message: {error} ({len(data)} bytes)") from error
        if not isinstance(raw, dict):
            raise InvalidResponseError("invalid message: not a JSON object")
        return cls.from_dict(cast("dict[str, Any]", raw))
