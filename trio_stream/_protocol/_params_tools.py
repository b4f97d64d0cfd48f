"""Parameters of a request: tools.

What belongs here: tools of the caller's, tools with an input that the API defines, and tools that the API runs. What
does not: their calls (`_params_content`) and results (`_params_results`).

Tools of the API carry the date of their version in ``type``. Those of one name with the same options are one typed
dict here, under the name the official SDK gives the latest of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Required, TypeAlias, TypedDict

from trio_stream._protocol._params_shared import (
    Cacheable,
    CacheControlEphemeralParam,
    CitationsConfigParam,
    MCPToolParam,
)

AllowedCaller: TypeAlias = Literal[
    "direct", "code_execution_20250825", "code_execution_20260120", "code_execution_20260521"
]
"""Who may call a tool: the model itself, or code that it wrote."""


class ToolOptions(Cacheable, total=False):
    """Options of every tool but the toolsets."""

    allowed_callers: Sequence[AllowedCaller]
    defer_loading: bool
    strict: bool


class ClientToolOptions(ToolOptions, total=False):
    """Options of every tool that the caller runs."""

    input_examples: Iterable[Mapping[str, object]]


# ----- run by the caller


class InputSchemaTyped(TypedDict, total=False):
    """The JSON schema of a tool's input. Other keywords of JSON schema are allowed too: see `InputSchema`."""

    type: Required[Literal["object"]]
    properties: Mapping[str, object] | None
    required: Sequence[str] | None


InputSchema: TypeAlias = InputSchemaTyped | Mapping[str, object]
"""The JSON schema of a tool's input."""


class ToolParam(ClientToolOptions, total=False):
    """A tool that the caller defines and runs."""

    name: Required[str]
    input_schema: Required[InputSchema]
    description: str
    eager_input_streaming: bool | None
    type: Literal["custom"] | None


class ToolBash20250124Param(ClientToolOptions, total=False):
    """A shell that the caller runs. ``bash_20241022`` is beta."""

    type: Required[Literal["bash_20250124", "bash_20241022"]]
    name: Required[Literal["bash"]]


class ToolTextEditor20250124Param(ClientToolOptions, total=False):
    """A text editor that the caller runs. ``text_editor_20241022`` is beta."""

    type: Required[Literal["text_editor_20250124", "text_editor_20241022"]]
    name: Required[Literal["str_replace_editor"]]


class ToolTextEditor20250429Param(ClientToolOptions, total=False):
    """A text editor that the caller runs."""

    type: Required[Literal["text_editor_20250429"]]
    name: Required[Literal["str_replace_based_edit_tool"]]


class ToolTextEditor20250728Param(ClientToolOptions, total=False):
    """A text editor that the caller runs."""

    type: Required[Literal["text_editor_20250728"]]
    name: Required[Literal["str_replace_based_edit_tool"]]
    max_characters: int | None


class MemoryTool20250818Param(ClientToolOptions, total=False):
    """Files, kept by the caller, that outlive the conversation."""

    type: Required[Literal["memory_20250818"]]
    name: Required[Literal["memory"]]


class ToolComputerUse20250124Param(ClientToolOptions, total=False):
    """A computer with a screen, a keyboard and a mouse. Beta."""

    type: Required[Literal["computer_20250124", "computer_20241022"]]
    name: Required[Literal["computer"]]
    display_height_px: Required[int]
    display_width_px: Required[int]
    display_number: int | None


class ToolComputerUse20251124Param(ClientToolOptions, total=False):
    """A computer with a screen, a keyboard and a mouse. Beta."""

    type: Required[Literal["computer_20251124"]]
    name: Required[Literal["computer"]]
    display_height_px: Required[int]
    display_width_px: Required[int]
    display_number: int | None
    enable_zoom: bool


class ToolsetToolConfigParam(TypedDict, total=False):
    """One tool of a toolset."""

    defer_loading: bool | None
    enabled: bool | None


class ComputerToolsetConfigsParam(TypedDict, total=False):
    """The tools of the computer toolset."""

    cursor_position: ToolsetToolConfigParam | None
    double_click: ToolsetToolConfigParam | None
    hold_key: ToolsetToolConfigParam | None
    key: ToolsetToolConfigParam | None
    left_click: ToolsetToolConfigParam | None
    left_click_drag: ToolsetToolConfigParam | None
    left_mouse_down: ToolsetToolConfigParam | None
    left_mouse_up: ToolsetToolConfigParam | None
    middle_click: ToolsetToolConfigParam | None
    mouse_move: ToolsetToolConfigParam | None
    right_click: ToolsetToolConfigParam | None
    screenshot: ToolsetToolConfigParam | None
    scroll: ToolsetToolConfigParam | None
    triple_click: ToolsetToolConfigParam | None
    type: ToolsetToolConfigParam | None
    wait: ToolsetToolConfigParam | None
    zoom: ToolsetToolConfigParam | None


class ComputerToolset20260801Param(Cacheable, total=False):
    """A computer with a screen, a keyboard and a mouse, as one tool for each action."""

    type: Required[Literal["computer_toolset_20260801"]]
    configs: ComputerToolsetConfigsParam | None


class BrowserToolsetConfigsParam(TypedDict, total=False):
    """The tools of the browser toolset."""

    close_tab: ToolsetToolConfigParam | None
    double_click: ToolsetToolConfigParam | None
    file_upload: ToolsetToolConfigParam | None
    find: ToolsetToolConfigParam | None
    form_input: ToolsetToolConfigParam | None
    get_page_text: ToolsetToolConfigParam | None
    hold_key: ToolsetToolConfigParam | None
    hover: ToolsetToolConfigParam | None
    javascript_exec: ToolsetToolConfigParam | None
    key: ToolsetToolConfigParam | None
    left_click: ToolsetToolConfigParam | None
    left_click_drag: ToolsetToolConfigParam | None
    left_mouse_down: ToolsetToolConfigParam | None
    left_mouse_up: ToolsetToolConfigParam | None
    list_tabs: ToolsetToolConfigParam | None
    middle_click: ToolsetToolConfigParam | None
    mouse_move: ToolsetToolConfigParam | None
    navigate: ToolsetToolConfigParam | None
    new_tab: ToolsetToolConfigParam | None
    read_console: ToolsetToolConfigParam | None
    read_network: ToolsetToolConfigParam | None
    read_page: ToolsetToolConfigParam | None
    right_click: ToolsetToolConfigParam | None
    screenshot: ToolsetToolConfigParam | None
    scroll: ToolsetToolConfigParam | None
    scroll_to: ToolsetToolConfigParam | None
    switch_tab: ToolsetToolConfigParam | None
    triple_click: ToolsetToolConfigParam | None
    type: ToolsetToolConfigParam | None
    wait: ToolsetToolConfigParam | None
    zoom: ToolsetToolConfigParam | None


class BrowserToolset20260801Param(Cacheable, total=False):
    """A browser, as one tool for each action."""

    type: Required[Literal["browser_toolset_20260801"]]
    configs: BrowserToolsetConfigsParam | None


# ----- run by the API


class UserLocationParam(TypedDict, total=False):
    """The approximate location of the user."""

    type: Required[Literal["approximate"]]
    city: str | None
    country: str | None
    region: str | None
    timezone: str | None


class WebSearchTool20260209Param(ToolOptions, total=False):
    """Search the web."""

    type: Required[Literal["web_search_20260209", "web_search_20250305"]]
    name: Required[Literal["web_search"]]
    allowed_domains: Sequence[str] | None
    blocked_domains: Sequence[str] | None
    max_uses: int | None
    user_location: UserLocationParam | None


class WebSearchTool20260318Param(ToolOptions, total=False):
    """Search the web."""

    type: Required[Literal["web_search_20260318"]]
    name: Required[Literal["web_search"]]
    allowed_domains: Sequence[str] | None
    blocked_domains: Sequence[str] | None
    max_uses: int | None
    response_inclusion: Literal["full", "excluded"]
    user_location: UserLocationParam | None


class WebFetchURLSourceAllParam(TypedDict):
    """Any address of this origin may be fetched."""

    type: Literal["all"]


class WebFetchURLSourceNoneParam(TypedDict):
    """No address of this origin may be fetched."""

    type: Literal["none"]


class WebFetchURLSourceToolReferenceParam(TypedDict):
    """A reference to a tool, by its name."""

    type: Literal["tool_reference"]
    name: str


class WebFetchURLSourceOnlyParam(TypedDict):
    """Only addresses that these tools returned may be fetched."""

    type: Literal["only"]
    tools: Iterable[WebFetchURLSourceToolReferenceParam]


class WebFetchURLSourceExceptParam(TypedDict):
    """Only addresses that other tools than these returned may be fetched."""

    type: Literal["except"]
    tools: Iterable[WebFetchURLSourceToolReferenceParam]


WebFetchURLSourceParam: TypeAlias = (
    WebFetchURLSourceAllParam | WebFetchURLSourceNoneParam | WebFetchURLSourceOnlyParam | WebFetchURLSourceExceptParam
)
"""Which addresses from one source may be fetched."""


class WebFetchURLSourcesParam(TypedDict, total=False):
    """The sources from which an address must have come to be fetched."""

    client_tool_results: WebFetchURLSourceParam
    server_tool_results: WebFetchURLSourceParam
    user_input: WebFetchURLSourceAllParam | WebFetchURLSourceNoneParam


class WebFetchTool20260209Param(ToolOptions, total=False):
    """Fetch pages and documents."""

    type: Required[Literal["web_fetch_20260209", "web_fetch_20250910"]]
    name: Required[Literal["web_fetch"]]
    allowed_domains: Sequence[str] | None
    blocked_domains: Sequence[str] | None
    citations: CitationsConfigParam | None
    max_content_tokens: int | None
    max_uses: int | None
    url_sources: WebFetchURLSourcesParam | None


class WebFetchTool20260309Param(ToolOptions, total=False):
    """Fetch pages and documents."""

    type: Required[Literal["web_fetch_20260309"]]
    name: Required[Literal["web_fetch"]]
    allowed_domains: Sequence[str] | None
    blocked_domains: Sequence[str] | None
    citations: CitationsConfigParam | None
    max_content_tokens: int | None
    max_uses: int | None
    url_sources: WebFetchURLSourcesParam | None
    use_cache: bool


class WebFetchTool20260318Param(ToolOptions, total=False):
    """Fetch pages and documents."""

    type: Required[Literal["web_fetch_20260318"]]
    name: Required[Literal["web_fetch"]]
    allowed_domains: Sequence[str] | None
    blocked_domains: Sequence[str] | None
    citations: CitationsConfigParam | None
    max_content_tokens: int | None
    max_uses: int | None
    response_inclusion: Literal["full", "excluded"]
    url_sources: WebFetchURLSourcesParam | None
    use_cache: bool


class CodeExecutionTool20260521Param(ToolOptions, total=False):
    """Run code in a container."""

    type: Required[
        Literal[
            "code_execution_20260521", "code_execution_20260120", "code_execution_20250825", "code_execution_20250522"
        ]
    ]
    name: Required[Literal["code_execution"]]


class ToolSearchToolBm25_20251119Param(ToolOptions, total=False):  # noqa: N801 - the SDK's name
    """Search the deferred tools by keywords."""

    type: Required[Literal["tool_search_tool_bm25_20251119", "tool_search_tool_bm25"]]
    name: Required[Literal["tool_search_tool_bm25"]]


class ToolSearchToolRegex20251119Param(ToolOptions, total=False):
    """Search the deferred tools with a regular expression."""

    type: Required[Literal["tool_search_tool_regex_20251119", "tool_search_tool_regex"]]
    name: Required[Literal["tool_search_tool_regex"]]


class AdvisorTool20260301Param(ToolOptions, total=False):
    """Ask another model for advice. Beta."""

    type: Required[Literal["advisor_20260301"]]
    name: Required[Literal["advisor"]]
    model: Required[str]
    caching: CacheControlEphemeralParam | None
    max_tokens: int | None
    max_uses: int | None


class MCPToolConfigParam(TypedDict, total=False):
    """Options of one tool of an MCP server, or of all its tools."""

    defer_loading: bool
    enabled: bool


class MCPToolsetParam(Cacheable, total=False):
    """The tools of one of ``mcp_servers``. Beta."""

    type: Required[Literal["mcp_toolset"]]
    mcp_server_name: Required[str]
    configs: Mapping[str, MCPToolConfigParam] | None
    default_config: MCPToolConfigParam
    tools: Iterable[MCPToolParam] | None


ToolUnionParam: TypeAlias = (
    ToolParam
    | ToolBash20250124Param
    | ToolTextEditor20250124Param
    | ToolTextEditor20250429Param
    | ToolTextEditor20250728Param
    | MemoryTool20250818Param
    | ToolComputerUse20250124Param
    | ToolComputerUse20251124Param
    | ComputerToolset20260801Param
    | BrowserToolset20260801Param
    | WebSearchTool20260209Param
    | WebSearchTool20260318Param
    | WebFetchTool20260209Param
    | WebFetchTool20260309Param
    | WebFetchTool20260318Param
    | CodeExecutionTool20260521Param
    | ToolSearchToolBm25_20251119Param
    | ToolSearchToolRegex20251119Param
    | AdvisorTool20260301Param
    | MCPToolsetParam
)
"""Any tool of a request."""
