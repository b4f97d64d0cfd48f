"""The content blocks of a message, general and beta, as one set of Structs.

What belongs here: what each block holds, which deltas it takes, and how it goes back into a request. What does not:
the contents of server tool results (`_tool_results`), and putting a block together from its deltas (`_accumulator`).

Whatever the API sent in a block comes out of its `to_param`, also what this version does not know: such
fields are in ``extra``, such blocks are `UnknownBlock`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeAlias, cast, final

from trio_stream._protocol._block_bases import Block, InputBlock, take_deltas
from trio_stream._protocol._citations import Citation
from trio_stream._protocol._deltas import (
    CitationsDelta,
    CompactionDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
)
from trio_stream._protocol._growth import Append, Collect, GrowsBy, Replace
from trio_stream._protocol._params_content import ContentBlockParam, ToolUseBlockParam
from trio_stream._protocol._params_documents import TextBlockParam
from trio_stream._protocol._tool_results import (
    AdvisorToolResultContent,
    BashCodeExecutionToolResultContent,
    CodeExecutionToolResultContent,
    MCPTool,
    TextEditorCodeExecutionToolResultContent,
    ToolSearchToolResultContent,
    WebFetchToolResultContent,
    WebSearchToolResultContent,
)
from trio_stream._protocol._values import (
    Extended,
    Tagged,
    Unknown,
    UnknownObject,
    members_by_tag,
    names_of_values,
    read_tagged,
)


@final
class TextBlock(Block, frozen=True, kw_only=True, tag="text"):
    """A piece of the text of the answer, with its citations."""

    if TYPE_CHECKING:  # programs add ``cache_control`` to it

        def to_param(self) -> TextBlockParam: ...

    type: ClassVar[Literal["text"]] = "text"
    grows_by: ClassVar[GrowsBy] = {
        TextDelta: Append("text", "text"),
        CitationsDelta: Collect("citation", "citations"),
    }
    strict_fields: ClassVar[frozenset[str]] = frozenset({"text"})
    text: str = ""
    citations: tuple[Citation, ...] | None = None


@final
class ThinkingBlock(Block, frozen=True, kw_only=True, tag="thinking"):
    """Thinking of the model, signed. Its text is empty if ``thinking.display`` is ``omitted``."""

    type: ClassVar[Literal["thinking"]] = "thinking"
    grows_by: ClassVar[GrowsBy] = {
        ThinkingDelta: Append("thinking", "thinking"),
        SignatureDelta: Replace(),
    }
    strict_fields: ClassVar[frozenset[str]] = frozenset({"thinking"})
    thinking: str = ""
    signature: str = ""


@final
class RedactedThinkingBlock(Block, frozen=True, kw_only=True, tag="redacted_thinking"):
    """Encrypted thinking, to be sent back as it is."""

    type: ClassVar[Literal["redacted_thinking"]] = "redacted_thinking"
    data: str = ""


@final
class DirectCaller(Tagged, frozen=True, kw_only=True, tag="direct"):
    """The model itself called the tool."""

    type: ClassVar[Literal["direct"]] = "direct"


@final
class ServerToolCaller(Tagged, frozen=True, kw_only=True, tag="code_execution_20250825"):
    """Code that the model wrote called the tool."""

    type: ClassVar[Literal["code_execution_20250825"]] = "code_execution_20250825"
    tool_id: str = ""


@final
class ServerToolCaller20260120(Tagged, frozen=True, kw_only=True, tag="code_execution_20260120"):
    """Code that the model wrote called the tool."""

    type: ClassVar[Literal["code_execution_20260120"]] = "code_execution_20260120"
    tool_id: str = ""


Caller: TypeAlias = DirectCaller | ServerToolCaller | ServerToolCaller20260120 | UnknownObject
"""Who called a tool: the model itself, or code that it wrote."""


@final
class ToolUseBlock(InputBlock, frozen=True, kw_only=True, tag="tool_use", dict=True):
    """The model calls a tool that the caller runs."""

    if TYPE_CHECKING:

        def to_param(self) -> ToolUseBlockParam: ...

    type: ClassVar[Literal["tool_use"]] = "tool_use"
    caller: Caller | None = None
    toolset_name: str | None = None


@final
class ServerToolUseBlock(InputBlock, frozen=True, kw_only=True, tag="server_tool_use", dict=True):
    """The model calls a tool that the API itself runs."""

    type: ClassVar[Literal["server_tool_use"]] = "server_tool_use"
    caller: Caller | None = None


@final
class MCPToolUseBlock(InputBlock, frozen=True, kw_only=True, tag="mcp_tool_use", dict=True):
    """The model calls a tool on an MCP server. Beta."""

    type: ClassVar[Literal["mcp_tool_use"]] = "mcp_tool_use"
    server_name: str = ""


@final
class WebSearchToolResultBlock(Block, frozen=True, kw_only=True, tag="web_search_tool_result"):
    """The result of a web search."""

    type: ClassVar[Literal["web_search_tool_result"]] = "web_search_tool_result"
    tool_use_id: str = ""
    content: WebSearchToolResultContent | None = None
    caller: Caller | None = None


@final
class WebFetchToolResultBlock(Block, frozen=True, kw_only=True, tag="web_fetch_tool_result"):
    """The result of a web fetch."""

    type: ClassVar[Literal["web_fetch_tool_result"]] = "web_fetch_tool_result"
    tool_use_id: str = ""
    content: WebFetchToolResultContent | None = None
    caller: Caller | None = None


@final
class CodeExecutionToolResultBlock(Block, frozen=True, kw_only=True, tag="code_execution_tool_result"):
    """The result of Python code."""

    type: ClassVar[Literal["code_execution_tool_result"]] = "code_execution_tool_result"
    tool_use_id: str = ""
    content: CodeExecutionToolResultContent | None = None


@final
class BashCodeExecutionToolResultBlock(Block, frozen=True, kw_only=True, tag="bash_code_execution_tool_result"):
    """The result of a shell command."""

    type: ClassVar[Literal["bash_code_execution_tool_result"]] = "bash_code_execution_tool_result"
    tool_use_id: str = ""
    content: BashCodeExecutionToolResultContent | None = None


@final
class TextEditorCodeExecutionToolResultBlock(
    Block, frozen=True, kw_only=True, tag="text_editor_code_execution_tool_result"
):
    """The result of a command of the text editor."""

    type: ClassVar[Literal["text_editor_code_execution_tool_result"]] = "text_editor_code_execution_tool_result"
    tool_use_id: str = ""
    content: TextEditorCodeExecutionToolResultContent | None = None


@final
class ToolSearchToolResultBlock(Block, frozen=True, kw_only=True, tag="tool_search_tool_result"):
    """The result of a tool search."""

    type: ClassVar[Literal["tool_search_tool_result"]] = "tool_search_tool_result"
    tool_use_id: str = ""
    content: ToolSearchToolResultContent | None = None


@final
class ContainerUploadBlock(Block, frozen=True, kw_only=True, tag="container_upload"):
    """A file that was uploaded to the container."""

    type: ClassVar[Literal["container_upload"]] = "container_upload"
    file_id: str = ""


@final
class MCPToolResultBlock(Block, frozen=True, kw_only=True, tag="mcp_tool_result"):
    """The result of a tool on an MCP server. Beta."""

    type: ClassVar[Literal["mcp_tool_result"]] = "mcp_tool_result"
    tool_use_id: str = ""
    is_error: bool = False
    content: str | tuple[TextBlock | UnknownObject, ...] = ()


@final
class AdvisorToolResultBlock(Block, frozen=True, kw_only=True, tag="advisor_tool_result"):
    """The result of asking the advisor. Beta."""

    type: ClassVar[Literal["advisor_tool_result"]] = "advisor_tool_result"
    tool_use_id: str = ""
    content: AdvisorToolResultContent | None = None


@final
class CompactionBlock(Block, frozen=True, kw_only=True, tag="compaction"):
    """A summary of the conversation so far, to be sent back as it is. Beta."""

    type: ClassVar[Literal["compaction"]] = "compaction"
    grows_by: ClassVar[GrowsBy] = {CompactionDelta: Replace(), SignatureDelta: Replace()}
    content: str | None = None
    encrypted_content: str | None = None
    signature: str | None = None
    tool_changes: tuple[Any, ...] | None = None

    # "Clients may round-trip compaction blocks with null content": the null says that there is no summary.
    param_nulls: ClassVar[frozenset[str]] = frozenset({"content"})


@final
class FallbackInfo(Extended, frozen=True, kw_only=True):
    """The model on one side of a fallback."""

    model: str = ""


@final
class FallbackTrigger(Extended, frozen=True, kw_only=True):
    """The reason why another model took over."""

    type: str = ""
    category: str | None = None


@final
class FallbackBlock(Block, frozen=True, kw_only=True, tag="fallback", rename={"from_": "from"}):
    """Marks the point from which another model answered. Beta."""

    type: ClassVar[Literal["fallback"]] = "fallback"
    from_: FallbackInfo | None = None
    to: FallbackInfo | None = None
    trigger: FallbackTrigger | None = None


@final
class MCPToolListingBlock(Block, frozen=True, kw_only=True, tag="mcp_tool_listing"):
    """The tools that an MCP server listed, to be sent back as they are. Beta."""

    type: ClassVar[Literal["mcp_tool_listing"]] = "mcp_tool_listing"
    mcp_server_name: str = ""
    tools: tuple[MCPTool, ...] = ()


@final
class UnknownBlock(Unknown, frozen=True, kw_only=True, tag="(unknown)"):
    """A content block whose ``type`` this version does not know.

    Attributes:
      incomplete: True if the stream ended, or the snapshot was taken, before the end of the block.
      deltas: The deltas of this block as they came. They are kept beside it, as only the API knows what they add.
    """

    incomplete: bool = False
    deltas: tuple[dict[str, Any], ...] = ()

    def to_param(self) -> ContentBlockParam:
        """The JSON object of ``content_block_start``, unchanged."""
        return cast("ContentBlockParam", self.as_json(param=True))

    def as_json(self, *, param: bool) -> dict[str, Any]:
        """The JSON object as it came; outside requests with what was added to it since."""
        out = super().as_json(param=param)
        if not param and self.deltas:
            out["unknown_deltas"] = list(self.deltas)
        if not param and self.incomplete:
            out["incomplete"] = True
        return out

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this block from a JSON object of the API, or one that ``to_dict`` made."""
        theirs = dict(raw)
        deltas = take_deltas(theirs)
        incomplete = theirs.get("incomplete") is True
        if incomplete:
            del theirs["incomplete"]
        return cls(raw=theirs, deltas=tuple(deltas), incomplete=incomplete)


ContentBlock: TypeAlias = (
    TextBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ToolUseBlock
    | ServerToolUseBlock
    | WebSearchToolResultBlock
    | WebFetchToolResultBlock
    | CodeExecutionToolResultBlock
    | BashCodeExecutionToolResultBlock
    | TextEditorCodeExecutionToolResultBlock
    | ToolSearchToolResultBlock
    | ContainerUploadBlock
    | MCPToolUseBlock
    | MCPToolResultBlock
    | AdvisorToolResultBlock
    | CompactionBlock
    | FallbackBlock
    | MCPToolListingBlock
    | UnknownBlock
)
"""Any content block. One whose ``type`` this version does not know is an `UnknownBlock`."""

BLOCKS: Mapping[str, type[Block]] = members_by_tag(ContentBlock)


@functools.cache
def is_read_in_one_step(block: type[ContentBlock]) -> bool:
    """Whether a decoder that makes a block of this class in one step makes what `read_block` would make of it.

    Of other blocks something would be lost there: the input of a tool as it came, or fields of values within that were
    not sent.
    """
    if issubclass(block, (InputBlock, UnknownBlock)):
        return False
    return all(block.collects(name) for name in names_of_values(block))


def read_block(raw: Mapping[str, Any]) -> ContentBlock:
    """Make a block from a JSON object of the API, or one that `to_dict` made.

    Raises:
      msgspec.ValidationError: there is no ``type``, or a field has the wrong JSON type.
    """
    return cast("ContentBlock", read_tagged(BLOCKS, UnknownBlock, raw))
