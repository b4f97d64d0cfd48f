"""Parameters of a request: messages, and what a call takes (https://docs.claude.com/en/api/messages).

What belongs here: the arguments of ``create``, ``stream`` and ``count_tokens``, for ``**params: Unpack[...]``. What
does not: content blocks (`_params_content` and the modules it draws on), tools (`_params_tools`), and the options that
a client adds.

Typed dicts are for type checkers. `_request` encodes whatever it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Required, TypeAlias, TypedDict

import msgspec

from trio_stream._protocol._message import Message
from trio_stream._protocol._params_content import RequestToolAdditionBlockParam, RequestToolRemovalBlockParam
from trio_stream._protocol._params_documents import TextBlockParam
from trio_stream._protocol._params_shared import CacheControlEphemeralParam
from trio_stream._protocol._params_tools import ToolUnionParam
from trio_stream._protocol._params_turns import MessageParam as MessageParam

Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
"""How much effort the model puts into an answer."""

# ----- messages


class SystemMessageOutputConfigParam(TypedDict, total=False):
    """Settings of the output that change from this point of the conversation on. Beta."""

    effort: Effort | None


class SystemMessageParam(TypedDict, total=False):
    """Instructions between two turns. All fields but ``role`` and ``content`` are beta."""

    role: Required[Literal["system"]]
    content: str | Iterable[TextBlockParam | RequestToolAdditionBlockParam | RequestToolRemovalBlockParam] | msgspec.Raw
    clear_at: Literal["next_user_message", "never"] | None
    output_config: SystemMessageOutputConfigParam | None


InputMessage: TypeAlias = MessageParam | SystemMessageParam | Message | msgspec.Raw
"""What may stand in ``messages``: a turn as a typed dict, a `Message` as the API gave it, or a turn that is JSON
already, as a `msgspec.Raw`."""

# ----- thinking, output, tools


class ThinkingBlockBindingParam(TypedDict, total=False):
    """What the API does with a thinking block when the conversation before it has changed. Beta."""

    prefix_mismatch_behavior: Literal["error", "drop_block"] | None


class ThinkingConfigEnabledParam(TypedDict, total=False):
    """Think for at most ``budget_tokens`` tokens. The display ``updates`` and ``block_binding`` are beta."""

    type: Required[Literal["enabled"]]
    budget_tokens: Required[int]
    display: Literal["summarized", "omitted", "updates"] | None
    block_binding: ThinkingBlockBindingParam | None


class ThinkingConfigDisabledParam(TypedDict):
    """Do not think."""

    type: Literal["disabled"]


class ThinkingConfigBetweenToolsParam(TypedDict):
    """Think only between tool calls."""

    type: Literal["between_tools"]


class ThinkingConfigAdaptiveParam(TypedDict, total=False):
    """Let the model decide how much to think. The display ``updates`` and ``block_binding`` are beta."""

    type: Required[Literal["adaptive"]]
    display: Literal["summarized", "omitted", "updates"] | None
    block_binding: ThinkingBlockBindingParam | None


ThinkingConfigParam: TypeAlias = (
    ThinkingConfigEnabledParam
    | ThinkingConfigDisabledParam
    | ThinkingConfigBetweenToolsParam
    | ThinkingConfigAdaptiveParam
)
"""Whether the model thinks before it answers, and how much."""


class JSONOutputFormatParam(TypedDict):
    """Answer with JSON that matches this schema."""

    type: Literal["json_schema"]
    schema: Mapping[str, object]


class TokenTaskBudgetParam(TypedDict, total=False):
    """The number of tokens that a whole task may use. Beta."""

    type: Required[Literal["tokens"]]
    total: Required[int]
    remaining: int | None


class OutputConfigParam(TypedDict, total=False):
    """The format and the effort of the answer. ``task_budget`` is beta."""

    effort: Effort | None
    format: JSONOutputFormatParam | None
    task_budget: TokenTaskBudgetParam | None


class ToolChoiceAutoParam(TypedDict, total=False):
    """The model decides whether to call tools."""

    type: Required[Literal["auto"]]
    disable_parallel_tool_use: bool


class ToolChoiceAnyParam(TypedDict, total=False):
    """The model must call a tool, whichever it likes."""

    type: Required[Literal["any"]]
    disable_parallel_tool_use: bool


class ToolChoiceToolParam(TypedDict, total=False):
    """The model must call this tool."""

    type: Required[Literal["tool"]]
    name: Required[str]
    disable_parallel_tool_use: bool


class ToolChoiceNoneParam(TypedDict):
    """The model must not call any tool."""

    type: Literal["none"]


ToolChoiceParam: TypeAlias = ToolChoiceAutoParam | ToolChoiceAnyParam | ToolChoiceToolParam | ToolChoiceNoneParam
"""Whether the model calls tools, and which."""

# ----- the rest


class SkillParam(TypedDict, total=False):
    """A skill to load into the container."""

    type: Required[Literal["anthropic", "custom"]]
    skill_id: Required[str]
    version: str


class ContainerParam(TypedDict, total=False):
    """The container of the code execution tool."""

    id: str | None
    skills: Iterable[SkillParam] | None


class DiagnosticsParam(TypedDict, total=False):
    """Ask why the prompt cache could not reuse an earlier request."""

    previous_message_id: str | None


class MetadataParam(TypedDict, total=False):
    """Facts about the request. ``user_id`` is an opaque identifier, never a name or an address."""

    user_id: str | None


class BillingPolicyParam(TypedDict, total=False):
    """Who is billed for the request. Beta."""

    type: Required[Literal["billing_policy"]]
    bill_to: Literal["self", "user_profile"]


class CompactionConfigParam(TypedDict, total=False):
    """Answer with a summary of the conversation so far. Beta."""

    type: Required[Literal["summarize"]]
    instructions: str | None


class InputTokensParam(TypedDict):
    """A number of input tokens."""

    type: Literal["input_tokens"]
    value: int


class ToolUsesParam(TypedDict):
    """A number of tool uses."""

    type: Literal["tool_uses"]
    value: int


class ClearToolUses20250919EditParam(TypedDict, total=False):
    """Clear old tool results from the context. Beta."""

    type: Required[Literal["clear_tool_uses_20250919"]]
    trigger: InputTokensParam | ToolUsesParam
    keep: ToolUsesParam
    clear_at_least: InputTokensParam | None
    clear_tool_inputs: bool | Sequence[str] | None
    exclude_tools: Sequence[str] | None


class ThinkingTurnsParam(TypedDict):
    """A number of assistant turns that contain thinking."""

    type: Literal["thinking_turns"]
    value: int


class AllThinkingTurnsParam(TypedDict):
    """All assistant turns that contain thinking."""

    type: Literal["all"]


class ClearThinking20251015EditParam(TypedDict, total=False):
    """Clear old thinking from the context. Beta."""

    type: Required[Literal["clear_thinking_20251015"]]
    keep: ThinkingTurnsParam | AllThinkingTurnsParam | Literal["all"]


class Compact20260112EditParam(TypedDict, total=False):
    """Summarise the conversation once it has become long. Beta."""

    type: Required[Literal["compact_20260112"]]
    instructions: str | None
    pause_after_compaction: bool
    trigger: InputTokensParam | None


class ContextManagementConfigParam(TypedDict, total=False):
    """The edits that the API makes to the context before the model sees it. Beta."""

    edits: Iterable[ClearToolUses20250919EditParam | ClearThinking20251015EditParam | Compact20260112EditParam]


class FallbackCreditTokenParam(TypedDict, total=False):
    """The credit token of an answer that was refused. Beta."""

    token: Required[str]
    mode: Literal["strict", "best_effort"]


class FallbackParam(TypedDict, total=False):
    """A model that answers if the first one refuses. Beta."""

    model: Required[str]
    max_tokens: int | None
    output_config: OutputConfigParam | None
    speed: Literal["standard", "fast"] | None
    thinking: ThinkingConfigParam | None


class MCPServerToolConfigurationParam(TypedDict, total=False):
    """The tools of an MCP server that the model may use."""

    allowed_tools: Sequence[str] | None
    enabled: bool | None


class MCPServerURLDefinitionParam(TypedDict, total=False):
    """An MCP server that the API connects to. Beta."""

    type: Required[Literal["url"]]
    name: Required[str]
    url: Required[str]
    authorization_token: str | None
    tool_configuration: MCPServerToolConfigurationParam | None


class ThreadCreateParam(TypedDict):
    """Start a new thread. Beta."""

    type: Literal["create"]


class ThreadContinueParam(TypedDict):
    """Continue an existing thread. Beta."""

    type: Literal["continue"]
    previous_message_id: str


# ----- calls


# Whatever is not required is in a class of its own, so that `SharedParams` can have it without what is.


class _CountFields(TypedDict, total=False):
    cache_control: CacheControlEphemeralParam | None
    output_config: OutputConfigParam
    speed: Literal["standard", "fast"] | None
    system: str | Iterable[TextBlockParam]
    thinking: ThinkingConfigParam
    tool_choice: ToolChoiceParam
    tools: Iterable[ToolUnionParam]
    user_profile_id: str
    workspace_id: str


class _CreateFields(_CountFields, total=False):
    container: ContainerParam | str | None
    diagnostics: DiagnosticsParam | None
    inference_geo: str | None
    metadata: MetadataParam
    service_tier: Literal["auto", "standard_only"]
    stop_sequences: Sequence[str]
    temperature: float
    top_k: int
    top_p: float


class CountTokensParams(_CountFields, total=False):
    """The parameters of `Messages.count_tokens`. ``user_profile_id`` and ``workspace_id`` travel as headers."""

    model: Required[str]
    messages: Required[Iterable[InputMessage] | msgspec.Raw]


class MessageCreateParams(CountTokensParams, _CreateFields, total=False):
    """The parameters of `Messages.create` and `Messages.stream`.

    ``temperature``, ``top_k`` and ``top_p`` exist under ``anthropic-version`` 2023-06-01 only.
    """

    max_tokens: Required[int]


class BetaParams(TypedDict, total=False):
    """The parameters that every method of ``client.beta`` adds. ``betas`` travel in the header ``anthropic-beta``."""

    betas: Sequence[str]
    billing_policy: BillingPolicyParam | None
    compaction: CompactionConfigParam | None
    context_management: ContextManagementConfigParam | None
    mcp_servers: Iterable[MCPServerURLDefinitionParam]


class _BetaCreateFields(BetaParams, total=False):
    fallback_credit_token: str | FallbackCreditTokenParam | None
    fallbacks: Iterable[FallbackParam] | Literal["default"] | None
    thread: ThreadCreateParam | ThreadContinueParam | None


class BetaCountTokensParams(CountTokensParams, BetaParams, total=False):
    """The parameters of `BetaMessages.count_tokens`."""


class BetaMessageCreateParams(MessageCreateParams, _BetaCreateFields, total=False):
    """The parameters of `BetaMessages.create` and `BetaMessages.stream`."""


class SharedParams(_CreateFields, _BetaCreateFields, total=False):
    """The parameters that many requests share, as `fan_out` takes them. Each request may bring what is missing."""

    model: str
    messages: Iterable[InputMessage] | msgspec.Raw
    max_tokens: int


class RequestOptions(TypedDict, total=False):
    """Options of a single request beside the API's parameters.

    All of it is sent as it is, and wins over what this library would send.
    """

    extra_headers: Mapping[str, str]
    extra_query: Mapping[str, object]
    extra_body: Mapping[str, object]
