"""Parameters of a request: messages, and what a call takes (https://docs.claude.com/en/api/messages).

What belongs here: the arguments of ``create``, ``stream`` and ``count_tokens``, for ``**params: Unpack[...]``. What
does not: content blocks (`_params_content` and the modules it draws on), tools (`_params_tools`), and the options that
a client adds.

Typed dicts are for type checkers. `_request` encodes whatever it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Required, TypeAlias, TypedDict

from trio_stream._protocol._blocks import ContentBlock
from trio_stream._protocol._message import Message
from trio_stream._protocol._params_content import (
    ContentBlockParam,
    RequestToolAdditionBlockParam,
    RequestToolRemovalBlockParam,
)
from trio_stream._protocol._params_documents import TextBlockParam
from trio_stream._protocol._params_shared import CacheControlEphemeralParam
from trio_stream._protocol._params_tools import ToolUnionParam

Effort: TypeAlias = Literal["low", "medium", "high", "xhigh", "max"]
"""How hard the model tries."""

# ----- messages


class MessageParam(TypedDict):
    """A turn. Its content is text, or blocks: typed dicts, and blocks of an answer."""

    role: Literal["user", "assistant", "system"]
    content: str | Iterable[ContentBlockParam | ContentBlock]


class SystemMessageOutputConfigParam(TypedDict, total=False):
    """What changes about the output from here on. Beta."""

    effort: Effort | None


class SystemMessageParam(TypedDict, total=False):
    """Instructions between two turns. All but ``role`` and ``content`` is beta."""

    role: Required[Literal["system"]]
    content: str | Iterable[TextBlockParam | RequestToolAdditionBlockParam | RequestToolRemovalBlockParam]
    clear_at: Literal["next_user_message", "never"] | None
    output_config: SystemMessageOutputConfigParam | None


# ----- thinking, output, tools


class ThinkingBlockBindingParam(TypedDict, total=False):
    """What happens to thinking whose conversation has changed. Beta."""

    prefix_mismatch_behavior: Literal["error", "drop_block"] | None


class ThinkingConfigEnabledParam(TypedDict, total=False):
    """Think, up to a number of tokens. The display ``updates`` and ``block_binding`` are beta."""

    type: Required[Literal["enabled"]]
    budget_tokens: Required[int]
    display: Literal["summarized", "omitted", "updates"] | None
    block_binding: ThinkingBlockBindingParam | None


class ThinkingConfigDisabledParam(TypedDict):
    """Do not think."""

    type: Literal["disabled"]


class ThinkingConfigBetweenToolsParam(TypedDict):
    """Think between calls of tools only."""

    type: Literal["between_tools"]


class ThinkingConfigAdaptiveParam(TypedDict, total=False):
    """Think as much as it takes. The display ``updates`` and ``block_binding`` are beta."""

    type: Required[Literal["adaptive"]]
    display: Literal["summarized", "omitted", "updates"] | None
    block_binding: ThinkingBlockBindingParam | None


ThinkingConfigParam: TypeAlias = (
    ThinkingConfigEnabledParam
    | ThinkingConfigDisabledParam
    | ThinkingConfigBetweenToolsParam
    | ThinkingConfigAdaptiveParam
)
"""Whether and how to think."""


class JSONOutputFormatParam(TypedDict):
    """Answer in JSON of this schema."""

    type: Literal["json_schema"]
    schema: Mapping[str, object]


class TokenTaskBudgetParam(TypedDict, total=False):
    """How many tokens a whole task may take. Beta."""

    type: Required[Literal["tokens"]]
    total: Required[int]
    remaining: int | None


class OutputConfigParam(TypedDict, total=False):
    """How to answer. ``task_budget`` is beta."""

    effort: Effort | None
    format: JSONOutputFormatParam | None
    task_budget: TokenTaskBudgetParam | None


class ToolChoiceAutoParam(TypedDict, total=False):
    """Call tools or do not."""

    type: Required[Literal["auto"]]
    disable_parallel_tool_use: bool


class ToolChoiceAnyParam(TypedDict, total=False):
    """Call some tool."""

    type: Required[Literal["any"]]
    disable_parallel_tool_use: bool


class ToolChoiceToolParam(TypedDict, total=False):
    """Call this tool."""

    type: Required[Literal["tool"]]
    name: Required[str]
    disable_parallel_tool_use: bool


class ToolChoiceNoneParam(TypedDict):
    """Call no tool."""

    type: Literal["none"]


ToolChoiceParam: TypeAlias = ToolChoiceAutoParam | ToolChoiceAnyParam | ToolChoiceToolParam | ToolChoiceNoneParam
"""Which tools to call."""

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
    """About the request. ``user_id`` is an opaque name, never a person's."""

    user_id: str | None


class BillingPolicyParam(TypedDict, total=False):
    """Who pays. Beta."""

    type: Required[Literal["billing_policy"]]
    bill_to: Literal["self", "user_profile"]


class CompactionConfigParam(TypedDict, total=False):
    """Answer with a summary of the conversation. Beta."""

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
    """Clear old results of tools. Beta."""

    type: Required[Literal["clear_tool_uses_20250919"]]
    trigger: InputTokensParam | ToolUsesParam
    keep: ToolUsesParam
    clear_at_least: InputTokensParam | None
    clear_tool_inputs: bool | Sequence[str] | None
    exclude_tools: Sequence[str] | None


class ThinkingTurnsParam(TypedDict):
    """A number of turns with thinking."""

    type: Literal["thinking_turns"]
    value: int


class AllThinkingTurnsParam(TypedDict):
    """All turns with thinking."""

    type: Literal["all"]


class ClearThinking20251015EditParam(TypedDict, total=False):
    """Clear old thinking. Beta."""

    type: Required[Literal["clear_thinking_20251015"]]
    keep: ThinkingTurnsParam | AllThinkingTurnsParam | Literal["all"]


class Compact20260112EditParam(TypedDict, total=False):
    """Summarise the conversation when it has become long. Beta."""

    type: Required[Literal["compact_20260112"]]
    instructions: str | None
    pause_after_compaction: bool
    trigger: InputTokensParam | None


class ContextManagementConfigParam(TypedDict, total=False):
    """What to edit out of the context. Beta."""

    edits: Iterable[ClearToolUses20250919EditParam | ClearThinking20251015EditParam | Compact20260112EditParam]


class FallbackCreditTokenParam(TypedDict, total=False):
    """The token of an answer that was refused. Beta."""

    token: Required[str]
    mode: Literal["strict", "best_effort"]


class FallbackParam(TypedDict, total=False):
    """A model to answer when the first one refuses. Beta."""

    model: Required[str]
    max_tokens: int | None
    output_config: OutputConfigParam | None
    speed: Literal["standard", "fast"] | None
    thinking: ThinkingConfigParam | None


class MCPServerToolConfigurationParam(TypedDict, total=False):
    """Which tools of an MCP server there are."""

    allowed_tools: Sequence[str] | None
    enabled: bool | None


class MCPServerURLDefinitionParam(TypedDict, total=False):
    """An MCP server. Beta."""

    type: Required[Literal["url"]]
    name: Required[str]
    url: Required[str]
    authorization_token: str | None
    tool_configuration: MCPServerToolConfigurationParam | None


class ThreadCreateParam(TypedDict):
    """Begin a thread. Beta."""

    type: Literal["create"]


class ThreadContinueParam(TypedDict):
    """Go on with a thread. Beta."""

    type: Literal["continue"]
    previous_message_id: str


# ----- calls


class CountTokensParams(TypedDict, total=False):
    """What `Messages.count_tokens` takes. ``user_profile_id`` and ``workspace_id`` travel as headers."""

    model: Required[str]
    messages: Required[Iterable[MessageParam | SystemMessageParam | Message]]
    cache_control: CacheControlEphemeralParam | None
    output_config: OutputConfigParam
    speed: Literal["standard", "fast"] | None
    system: str | Iterable[TextBlockParam]
    thinking: ThinkingConfigParam
    tool_choice: ToolChoiceParam
    tools: Iterable[ToolUnionParam]
    user_profile_id: str
    workspace_id: str


class MessageCreateParams(CountTokensParams, total=False):
    """What `Messages.create` and `Messages.stream` take.

    ``temperature``, ``top_k`` and ``top_p`` exist under ``anthropic-version`` 2023-06-01 only.
    """

    max_tokens: Required[int]
    container: ContainerParam | str | None
    diagnostics: DiagnosticsParam | None
    inference_geo: str | None
    metadata: MetadataParam
    service_tier: Literal["auto", "standard_only"]
    stop_sequences: Sequence[str]
    temperature: float
    top_k: int
    top_p: float


class BetaParams(TypedDict, total=False):
    """What every call of ``client.beta`` adds. ``betas`` travel as the header ``anthropic-beta``."""

    betas: Sequence[str]
    billing_policy: BillingPolicyParam | None
    compaction: CompactionConfigParam | None
    context_management: ContextManagementConfigParam | None
    mcp_servers: Iterable[MCPServerURLDefinitionParam]


class BetaCountTokensParams(CountTokensParams, BetaParams, total=False):
    """What `BetaMessages.count_tokens` takes."""


class BetaMessageCreateParams(MessageCreateParams, BetaParams, total=False):
    """What `BetaMessages.create` and `BetaMessages.stream` take."""

    fallback_credit_token: str | FallbackCreditTokenParam | None
    fallbacks: Iterable[FallbackParam] | Literal["default"] | None
    thread: ThreadCreateParam | ThreadContinueParam | None


class RequestOptions(TypedDict, total=False):
    """What goes with a request beside the API's parameters.

    All of it is sent as it is, and wins over what this library would send.
    """

    extra_headers: Mapping[str, str]
    extra_query: Mapping[str, object]
    extra_body: Mapping[str, object]
