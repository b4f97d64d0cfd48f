"""Parameters of a request: content blocks, as typed dicts discriminated by ``type``.

What belongs here: what may stand in a message's ``content``, but for text, images and documents (`_params_documents`)
and what server tools answered (`_params_results`). What does not: tools (`_params_tools`) and the other parameters
(`_params`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, Required, TypeAlias, TypedDict

from trio_stream._protocol._params_documents import (
    DocumentBlockParam,
    ImageBlockParam,
    SearchResultBlockParam,
    TextBlockParam,
)
from trio_stream._protocol._params_results import (
    AdvisorToolResultBlockParam,
    BashCodeExecutionToolResultBlockParam,
    CodeExecutionToolResultBlockParam,
    MCPToolListingBlockParam,
    MCPToolResultBlockParam,
    TextEditorCodeExecutionToolResultBlockParam,
    ToolReferenceBlockParam,
    ToolSearchToolResultBlockParam,
    WebFetchToolResultBlockParam,
    WebSearchToolResultBlockParam,
)
from trio_stream._protocol._params_shared import Cacheable, CallerParam
from trio_stream._protocol._params_tools import ToolUnionParam

# ----- thinking


class ThinkingBlockParam(TypedDict):
    """Thinking of an earlier turn, with its signature."""

    type: Literal["thinking"]
    thinking: str
    signature: str


class RedactedThinkingBlockParam(TypedDict):
    """Encrypted thinking of an earlier turn."""

    type: Literal["redacted_thinking"]
    data: str


class ContainerUploadBlockParam(Cacheable, total=False):
    """A file to be uploaded to the container."""

    type: Required[Literal["container_upload"]]
    file_id: Required[str]


# ----- calls of tools and their results


class ToolUseBlockParam(Cacheable, total=False):
    """A call of a tool that the caller runs."""

    type: Required[Literal["tool_use"]]
    id: Required[str]
    name: Required[str]
    input: Required[Mapping[str, object]]
    caller: CallerParam
    toolset_name: str | None


class ServerToolUseBlockParam(Cacheable, total=False):
    """A call of a tool that the API ran. ``advisor`` is beta."""

    type: Required[Literal["server_tool_use"]]
    id: Required[str]
    name: Required[
        Literal[
            "advisor",
            "web_search",
            "web_fetch",
            "code_execution",
            "bash_code_execution",
            "text_editor_code_execution",
            "tool_search_tool_regex",
            "tool_search_tool_bm25",
        ]
    ]
    input: Required[Mapping[str, object]]
    caller: CallerParam


class MCPToolUseBlockParam(Cacheable, total=False):
    """A call of a tool on an MCP server. Beta."""

    type: Required[Literal["mcp_tool_use"]]
    id: Required[str]
    name: Required[str]
    server_name: Required[str]
    input: Required[Mapping[str, object]]


class BrowserStateTabEntryParam(TypedDict, total=False):
    """A tab of a browser."""

    tab_id: Required[str]
    title: Required[str]
    url: Required[str]
    active: bool


class BrowserStateChangeTabOpenedParam(TypedDict):
    """The browser opened a tab."""

    type: Literal["tab_opened"]
    tab_id: str


class BrowserStateChangeDownloadStartedParam(TypedDict):
    """A download has started."""

    type: Literal["download_started"]
    download_id: str
    url: str


class BrowserStateChangeDownloadCompletedParam(TypedDict, total=False):
    """A download has completed."""

    type: Required[Literal["download_completed"]]
    download_id: Required[str]
    url: Required[str]
    path: str | None
    size_bytes: int | None


class BrowserStateChangeDownloadFailedParam(TypedDict, total=False):
    """A download has failed."""

    type: Required[Literal["download_failed"]]
    download_id: Required[str]
    url: Required[str]
    error: str | None


class BrowserStateBlockParam(Cacheable, total=False):
    """The state of a browser after an action."""

    type: Required[Literal["browser_state"]]
    tabs: Required[Iterable[BrowserStateTabEntryParam]]
    state_changes: (
        Iterable[
            BrowserStateChangeTabOpenedParam
            | BrowserStateChangeDownloadStartedParam
            | BrowserStateChangeDownloadCompletedParam
            | BrowserStateChangeDownloadFailedParam
        ]
        | None
    )


class ToolResultBlockParam(Cacheable, total=False):
    """The result of a tool that the caller ran."""

    type: Required[Literal["tool_result"]]
    tool_use_id: Required[str]
    content: (
        str
        | Iterable[
            TextBlockParam
            | ImageBlockParam
            | SearchResultBlockParam
            | DocumentBlockParam
            | ToolReferenceBlockParam
            | BrowserStateBlockParam
        ]
    )
    is_error: bool
    toolset_name: str | None


# ----- beta: tools that come and go, compaction, fallback


class ToolChangeToolReferenceParam(TypedDict):
    """A reference to a tool of the request, by its name."""

    type: Literal["tool_reference"]
    name: str


class ToolChangeMCPToolReferenceParam(TypedDict):
    """A reference to a tool of an MCP server, by its name."""

    type: Literal["mcp_tool_reference"]
    name: str
    server_name: str


class ToolChangeMCPToolsetReferenceParam(TypedDict):
    """A reference to all tools of an MCP server."""

    type: Literal["mcp_toolset_reference"]
    server_name: str


class ToolChangeToolDefinitionParam(TypedDict):
    """A tool that is defined where it is added."""

    type: Literal["tool_definition"]
    definition: ToolUnionParam


class RequestToolAdditionBlockParam(Cacheable, total=False):
    """Adds a tool from this point of the conversation on. Beta."""

    type: Required[Literal["tool_addition"]]
    tool: Required[
        ToolChangeToolReferenceParam
        | ToolChangeMCPToolReferenceParam
        | ToolChangeMCPToolsetReferenceParam
        | ToolChangeToolDefinitionParam
    ]


class RequestToolRemovalBlockParam(Cacheable, total=False):
    """Removes a tool from this point of the conversation on. Beta."""

    type: Required[Literal["tool_removal"]]
    tool: Required[ToolChangeToolReferenceParam | ToolChangeMCPToolReferenceParam | ToolChangeMCPToolsetReferenceParam]


class CompactionBlockParam(Cacheable, total=False):
    """A summary of the conversation so far, sent back as it came. Beta."""

    type: Required[Literal["compaction"]]
    content: str | None
    encrypted_content: str | None
    signature: str | None
    tool_changes: Iterable[RequestToolAdditionBlockParam | RequestToolRemovalBlockParam] | None


class FallbackInfoParam(TypedDict):
    """The model on one side of a fallback."""

    model: str


FallbackBlockParam = TypedDict(
    "FallbackBlockParam",
    {
        "type": Required[Literal["fallback"]],
        "from": Required[FallbackInfoParam],
        "to": Required[FallbackInfoParam],
        "trigger": object,
    },
    total=False,
)
"""Marks the point from which another model answered. Beta."""

ContentBlockParam: TypeAlias = (
    TextBlockParam
    | ImageBlockParam
    | DocumentBlockParam
    | SearchResultBlockParam
    | ThinkingBlockParam
    | RedactedThinkingBlockParam
    | ToolUseBlockParam
    | ToolResultBlockParam
    | ServerToolUseBlockParam
    | WebSearchToolResultBlockParam
    | WebFetchToolResultBlockParam
    | CodeExecutionToolResultBlockParam
    | BashCodeExecutionToolResultBlockParam
    | TextEditorCodeExecutionToolResultBlockParam
    | ToolSearchToolResultBlockParam
    | ContainerUploadBlockParam
    | AdvisorToolResultBlockParam
    | MCPToolUseBlockParam
    | MCPToolResultBlockParam
    | MCPToolListingBlockParam
    | CompactionBlockParam
    | RequestToolAdditionBlockParam
    | RequestToolRemovalBlockParam
    | FallbackBlockParam
)
"""Any content block of a request."""
