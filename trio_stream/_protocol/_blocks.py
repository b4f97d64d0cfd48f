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

import msgspec

from trio_stream._errors import InvalidToolInputError
from trio_stream._protocol._citations import Citation
from trio_stream._protocol._deltas import (
    CitationsDelta,
    CompactionDelta,
    InputJSONDelta,
    SignatureDelta,
    TextDelta,
    ThinkingDelta,
    UnknownDelta,
)
from trio_stream._protocol._growth import Append, Collect, GrowsBy, Replace
from trio_stream._protocol._json import JSON_ERRORS, decode_json
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
    PLAIN,
    Tagged,
    Unknown,
    UnknownObject,
    Value,
    members_by_tag,
    read_fields,
    read_tagged,
    without_nulls,
)


class Block(Tagged, frozen=True, kw_only=True, tag="(abstract)"):
    """The base of all content blocks.

    Attributes:
      incomplete: True if the stream ended, or the snapshot was taken, before the end of the block; and for a tool
        block whose input was cut.
      unknown_deltas: The deltas of this block whose ``type`` this version does not know.
      extra: The fields that the API sent and this version does not know; `to_param` sends them back.
    """

    incomplete: bool = False
    unknown_deltas: tuple[UnknownDelta, ...] = ()
    extra: Mapping[str, Any] = {}

    reserved_names: ClassVar[frozenset[str]] = frozenset({"incomplete", "unknown_deltas", "extra", "input_json"})
    # The deltas that this block takes, and what each does to it.
    grows_by: ClassVar[GrowsBy] = {}

    def to_param(self) -> ContentBlockParam:
        """This block in the form that a request takes, with everything the API sent.

        Raises:
          InvalidToolInputError: a tool block whose input was cut or is not valid JSON.
        """
        return cast("ContentBlockParam", self.as_json(param=True))

    def as_json(self, *, param: bool) -> dict[str, Any]:
        """This block as JSON-able data: in the form that a request takes (``param``), or with everything about it."""
        out = super().as_json(param=param)
        del out["extra"]
        if param or not self.incomplete:
            del out["incomplete"]
        if param or not self.unknown_deltas:
            del out["unknown_deltas"]
        out.update((name, value) for name, value in self.extra.items() if param or value is not None)
        return out

    @classmethod
    def from_wire(cls, raw: Mapping[str, Any]) -> Self:
        """Make this block from a JSON object of the API, or one that `to_dict` made.

        Raises:
          msgspec.ValidationError: a field has the wrong JSON type.
        """
        theirs = dict(raw)
        ours = cls._take_ours(theirs)
        fields, extra = read_fields(cls, theirs)
        block = msgspec.convert(fields | ours, cls)
        held: dict[str, Any] | None = None
        for name in fields:
            value = theirs[name]
            # A plain value is kept as it is or refused. In any other there may be fields that its class does not know:
            # then the whole of it goes to `extra`. But not where deltas collect values, which keep such fields
            # themselves: `extra` would be an old copy of these, and `to_param` would send that.
            if type(value) in PLAIN or cls._collects(name):
                continue
            held = block.to_dict() if held is None else held
            if without_nulls(held[name]) != without_nulls(value):
                extra[name] = value
        return msgspec.structs.replace(block, extra=extra) if extra else block

    @classmethod
    def _collects(cls, field: str) -> bool:
        return any(type(growth) is Collect and growth.field == field for growth in cls.grows_by.values())

    @classmethod
    def _take_ours(cls, theirs: dict[str, Any]) -> dict[str, Any]:
        """Take the fields of ours, which `to_dict` has added, out of a JSON object and return them."""
        ours: dict[str, Any] = {}
        if theirs.get("incomplete") is True:
            ours["incomplete"] = theirs.pop("incomplete")
        if isinstance(theirs.get("unknown_deltas"), list):
            ours["unknown_deltas"] = [
                read_tagged({}, UnknownDelta, cast("dict[str, Any]", delta)) if isinstance(delta, dict) else delta
                for delta in cast("list[object]", theirs.pop("unknown_deltas"))
            ]
        return ours


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


class InputBlock(Block, frozen=True, kw_only=True, tag="(abstract)", dict=True):
    """The base of the blocks that call a tool.

    Attributes:
      id: The identifier of the call, to which the result of the tool refers.
      name: The name of the tool.
      input_json: The input as the model wrote it; empty for a tool without input.
    """

    # The deltas of an input are the whole of it, also where the block has started with one.
    grows_by: ClassVar[GrowsBy] = {InputJSONDelta: Append("partial_json", "input_json", continues=False)}
    id: str = ""
    name: str = ""
    input_json: str = ""

    @functools.cached_property
    def input(self) -> dict[str, Any]:
        """The input, parsed once.

        Raises:
          InvalidToolInputError: the input was cut, does not parse, or is not an object.
        """
        if self.incomplete:
            raise InvalidToolInputError(
                f"the input of the {self.type_name} block {self.id!r} is not complete",
                input_json=self.input_json,
                incomplete=True,
            )
        if not self.input_json.strip():
            return {}
        try:
            value = decode_json(self.input_json.encode())
        except JSON_ERRORS as error:
            raise InvalidToolInputError(
                f"the input of the {self.type_name} block {self.id!r} is not valid JSON",
                input_json=self.input_json,
            ) from error
        if not isinstance(value, dict):
            raise InvalidToolInputError(
                f"the input of the {self.type_name} block {self.id!r} is not a JSON object",
                input_json=self.input_json,
            )
        return cast("dict[str, Any]", value)

    @property
    def type_name(self) -> str:
        """The block's ``type``."""
        return cast("str", self.__struct_config__.tag)

    def as_json(self, *, param: bool) -> dict[str, Any]:
        """This block as JSON-able data. Outside requests ``input_json`` stands for an input that cannot be used."""
        out = super().as_json(param=param)
        try:
            out["input"] = self.input
        except InvalidToolInputError:
            if param:
                raise
            return out
        del out["input_json"]
        return out

    @classmethod
    def _take_ours(cls, theirs: dict[str, Any]) -> dict[str, Any]:
        ours = super()._take_ours(theirs)
        value = theirs.pop("input", None)
        if isinstance(value, dict):
            ours["input_json"] = msgspec.json.encode(value).decode() if value else ""
        elif value is not None:
            raise msgspec.ValidationError("Expected `object` - at `$.input`")
        elif isinstance(theirs.get("input_json"), str):
            ours["input_json"] = theirs.pop("input_json")
        return ours


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
class FallbackInfo(Value, frozen=True, kw_only=True):
    """The model on one side of a fallback."""

    model: str = ""


@final
class FallbackTrigger(Value, frozen=True, kw_only=True):
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


def read_block(raw: Mapping[str, Any]) -> ContentBlock:
    """Make a block from a JSON object of the API, or one that `to_dict` made.

    Raises:
      msgspec.ValidationError: there is no ``type``, or a field has the wrong JSON type.
    """
    return cast("ContentBlock", read_tagged(BLOCKS, UnknownBlock, raw))
