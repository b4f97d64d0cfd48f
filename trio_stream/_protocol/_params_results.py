"""Parameters of a request: what the tools that the API runs answered in earlier turns.

What belongs here: result blocks and their contents. What does not: the calls (`_params_content`) and the tools
(`_params_tools`). Error codes are `str`: they come from the API, and it may add some.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, Required, TypedDict

from trio_stream._protocol._params_documents import DocumentBlockParam, TextBlockParam
from trio_stream._protocol._params_shared import Cacheable, CallerParam, MCPToolParam

# ----- web


class WebSearchResultBlockParam(TypedDict, total=False):
    """A page that was found."""

    type: Required[Literal["web_search_result"]]
    title: Required[str]
    url: Required[str]
    encrypted_content: Required[str]
    page_age: str | None


class WebSearchToolRequestErrorParam(TypedDict):
    """A search that failed."""

    type: Literal["web_search_tool_result_error"]
    error_code: str


class WebSearchToolResultBlockParam(Cacheable, total=False):
    """What a web search found."""

    type: Required[Literal["web_search_tool_result"]]
    tool_use_id: Required[str]
    content: Required[Iterable[WebSearchResultBlockParam] | WebSearchToolRequestErrorParam]
    caller: CallerParam


class WebFetchBlockParam(TypedDict, total=False):
    """A fetched page."""

    type: Required[Literal["web_fetch_result"]]
    content: Required[DocumentBlockParam]
    url: Required[str]
    retrieved_at: str | None


class WebFetchToolResultErrorBlockParam(TypedDict):
    """A fetch that failed."""

    type: Literal["web_fetch_tool_result_error"]
    error_code: str


class WebFetchToolResultBlockParam(Cacheable, total=False):
    """What a web fetch brought."""

    type: Required[Literal["web_fetch_tool_result"]]
    tool_use_id: Required[str]
    content: Required[WebFetchBlockParam | WebFetchToolResultErrorBlockParam]
    caller: CallerParam


# ----- code execution


class CodeExecutionOutputBlockParam(TypedDict):
    """A file that code wrote."""

    type: Literal["code_execution_output"]
    file_id: str


class CodeExecutionResultBlockParam(TypedDict):
    """What code wrote."""

    type: Literal["code_execution_result"]
    stdout: str
    stderr: str
    return_code: int
    content: Iterable[CodeExecutionOutputBlockParam]


class EncryptedCodeExecutionResultBlockParam(TypedDict):
    """What code wrote, encrypted."""

    type: Literal["encrypted_code_execution_result"]
    encrypted_stdout: str
    stderr: str
    return_code: int
    content: Iterable[CodeExecutionOutputBlockParam]


class CodeExecutionToolResultErrorParam(TypedDict):
    """Code that could not run."""

    type: Literal["code_execution_tool_result_error"]
    error_code: str


class CodeExecutionToolResultBlockParam(Cacheable, total=False):
    """What Python code did."""

    type: Required[Literal["code_execution_tool_result"]]
    tool_use_id: Required[str]
    content: Required[
        CodeExecutionResultBlockParam | EncryptedCodeExecutionResultBlockParam | CodeExecutionToolResultErrorParam
    ]


class BashCodeExecutionOutputBlockParam(TypedDict):
    """A file that a command wrote."""

    type: Literal["bash_code_execution_output"]
    file_id: str


class BashCodeExecutionResultBlockParam(TypedDict):
    """What a command wrote."""

    type: Literal["bash_code_execution_result"]
    stdout: str
    stderr: str
    return_code: int
    content: Iterable[BashCodeExecutionOutputBlockParam]


class BashCodeExecutionToolResultErrorParam(TypedDict):
    """A command that could not run."""

    type: Literal["bash_code_execution_tool_result_error"]
    error_code: str


class BashCodeExecutionToolResultBlockParam(Cacheable, total=False):
    """What a shell command did."""

    type: Required[Literal["bash_code_execution_tool_result"]]
    tool_use_id: Required[str]
    content: Required[BashCodeExecutionResultBlockParam | BashCodeExecutionToolResultErrorParam]


class TextEditorCodeExecutionViewResultBlockParam(TypedDict, total=False):
    """A file that was looked at."""

    type: Required[Literal["text_editor_code_execution_view_result"]]
    content: Required[str]
    file_type: Required[Literal["text", "image", "pdf"]]
    num_lines: int | None
    start_line: int | None
    total_lines: int | None


class TextEditorCodeExecutionCreateResultBlockParam(TypedDict):
    """A file that was written."""

    type: Literal["text_editor_code_execution_create_result"]
    is_file_update: bool


class TextEditorCodeExecutionStrReplaceResultBlockParam(TypedDict, total=False):
    """A file that was changed."""

    type: Required[Literal["text_editor_code_execution_str_replace_result"]]
    lines: Sequence[str] | None
    new_lines: int | None
    new_start: int | None
    old_lines: int | None
    old_start: int | None


class TextEditorCodeExecutionToolResultErrorParam(TypedDict, total=False):
    """A file that could not be reached."""

    type: Required[Literal["text_editor_code_execution_tool_result_error"]]
    error_code: Required[str]
    error_message: str | None


class TextEditorCodeExecutionToolResultBlockParam(Cacheable, total=False):
    """What the file tool did."""

    type: Required[Literal["text_editor_code_execution_tool_result"]]
    tool_use_id: Required[str]
    content: Required[
        TextEditorCodeExecutionViewResultBlockParam
        | TextEditorCodeExecutionCreateResultBlockParam
        | TextEditorCodeExecutionStrReplaceResultBlockParam
        | TextEditorCodeExecutionToolResultErrorParam
    ]


# ----- search among tools


class ToolReferenceBlockParam(Cacheable, total=False):
    """A tool that a search found."""

    type: Required[Literal["tool_reference"]]
    tool_name: Required[str]


class ToolSearchToolSearchResultBlockParam(TypedDict):
    """Tools that were found."""

    type: Literal["tool_search_tool_search_result"]
    tool_references: Iterable[ToolReferenceBlockParam]


class ToolSearchToolResultErrorParam(TypedDict, total=False):
    """A search that failed."""

    type: Required[Literal["tool_search_tool_result_error"]]
    error_code: Required[str]
    error_message: str | None


class ToolSearchToolResultBlockParam(Cacheable, total=False):
    """What a search among the tools found."""

    type: Required[Literal["tool_search_tool_result"]]
    tool_use_id: Required[str]
    content: Required[ToolSearchToolSearchResultBlockParam | ToolSearchToolResultErrorParam]


# ----- beta: advisor, MCP


class AdvisorResultBlockParam(TypedDict, total=False):
    """Advice."""

    type: Required[Literal["advisor_result"]]
    text: Required[str]
    stop_reason: str | None


class AdvisorRedactedResultBlockParam(TypedDict, total=False):
    """Advice, encrypted."""

    type: Required[Literal["advisor_redacted_result"]]
    encrypted_content: Required[str]
    stop_reason: str | None


class AdvisorToolResultErrorParam(TypedDict):
    """An advisor that failed."""

    type: Literal["advisor_tool_result_error"]
    error_code: str


class AdvisorToolResultBlockParam(Cacheable, total=False):
    """What the advisor said. Beta."""

    type: Required[Literal["advisor_tool_result"]]
    tool_use_id: Required[str]
    content: Required[AdvisorResultBlockParam | AdvisorRedactedResultBlockParam | AdvisorToolResultErrorParam]


class MCPToolResultBlockParam(Cacheable, total=False):
    """What a tool of an MCP server answered. Beta."""

    type: Required[Literal["mcp_tool_result"]]
    tool_use_id: Required[str]
    content: str | Iterable[TextBlockParam]
    is_error: bool


class MCPToolListingBlockParam(TypedDict):
    """The tools that an MCP server listed, sent back as they came. Beta."""

    type: Literal["mcp_tool_listing"]
    mcp_server_name: str
    tools: Iterable[MCPToolParam]
