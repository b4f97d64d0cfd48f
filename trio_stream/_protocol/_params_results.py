"""Parameters of a request: the results, in earlier turns, of the tools that the API runs.

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
    """A page that a web search found."""

    type: Required[Literal["web_search_result"]]
    title: Required[str]
    url: Required[str]
    encrypted_content: Required[str]
    page_age: str | None


class WebSearchToolRequestErrorParam(TypedDict):
    """The error of a search."""

    type: Literal["web_search_tool_result_error"]
    error_code: str


class WebSearchToolResultBlockParam(Cacheable, total=False):
    """The result of a web search."""

    type: Required[Literal["web_search_tool_result"]]
    tool_use_id: Required[str]
    content: Required[Iterable[WebSearchResultBlockParam] | WebSearchToolRequestErrorParam]
    caller: CallerParam


class WebFetchBlockParam(TypedDict, total=False):
    """A page that was fetched."""

    type: Required[Literal["web_fetch_result"]]
    content: Required[DocumentBlockParam]
    url: Required[str]
    retrieved_at: str | None


class WebFetchToolResultErrorBlockParam(TypedDict):
    """The error of a fetch."""

    type: Literal["web_fetch_tool_result_error"]
    error_code: str


class WebFetchToolResultBlockParam(Cacheable, total=False):
    """The result of a web fetch."""

    type: Required[Literal["web_fetch_tool_result"]]
    tool_use_id: Required[str]
    content: Required[WebFetchBlockParam | WebFetchToolResultErrorBlockParam]
    caller: CallerParam


# ----- code execution


class CodeExecutionOutputBlockParam(TypedDict):
    """A file that the code wrote."""

    type: Literal["code_execution_output"]
    file_id: str


class CodeExecutionResultBlockParam(TypedDict):
    """The output of code."""

    type: Literal["code_execution_result"]
    stdout: str
    stderr: str
    return_code: int
    content: Iterable[CodeExecutionOutputBlockParam]


class EncryptedCodeExecutionResultBlockParam(TypedDict):
    """The output of code, encrypted."""

    type: Literal["encrypted_code_execution_result"]
    encrypted_stdout: str
    stderr: str
    return_code: int
    content: Iterable[CodeExecutionOutputBlockParam]


class CodeExecutionToolResultErrorParam(TypedDict):
    """The error of code that could not be run."""

    type: Literal["code_execution_tool_result_error"]
    error_code: str


class CodeExecutionToolResultBlockParam(Cacheable, total=False):
    """The result of Python code."""

    type: Required[Literal["code_execution_tool_result"]]
    tool_use_id: Required[str]
    content: Required[
        CodeExecutionResultBlockParam | EncryptedCodeExecutionResultBlockParam | CodeExecutionToolResultErrorParam
    ]


class BashCodeExecutionOutputBlockParam(TypedDict):
    """A file that the command wrote."""

    type: Literal["bash_code_execution_output"]
    file_id: str


class BashCodeExecutionResultBlockParam(TypedDict):
    """The output of a shell command."""

    type: Literal["bash_code_execution_result"]
    stdout: str
    stderr: str
    return_code: int
    content: Iterable[BashCodeExecutionOutputBlockParam]


class BashCodeExecutionToolResultErrorParam(TypedDict):
    """The error of a command that could not be run."""

    type: Literal["bash_code_execution_tool_result_error"]
    error_code: str


class BashCodeExecutionToolResultBlockParam(Cacheable, total=False):
    """The result of a shell command."""

    type: Required[Literal["bash_code_execution_tool_result"]]
    tool_use_id: Required[str]
    content: Required[BashCodeExecutionResultBlockParam | BashCodeExecutionToolResultErrorParam]


class TextEditorCodeExecutionViewResultBlockParam(TypedDict, total=False):
    """The contents of a file, or of a part of it."""

    type: Required[Literal["text_editor_code_execution_view_result"]]
    content: Required[str]
    file_type: Required[Literal["text", "image", "pdf"]]
    num_lines: int | None
    start_line: int | None
    total_lines: int | None


class TextEditorCodeExecutionCreateResultBlockParam(TypedDict):
    """A file was created or overwritten."""

    type: Literal["text_editor_code_execution_create_result"]
    is_file_update: bool


class TextEditorCodeExecutionStrReplaceResultBlockParam(TypedDict, total=False):
    """Text in a file was replaced."""

    type: Required[Literal["text_editor_code_execution_str_replace_result"]]
    lines: Sequence[str] | None
    new_lines: int | None
    new_start: int | None
    old_lines: int | None
    old_start: int | None


class TextEditorCodeExecutionToolResultErrorParam(TypedDict, total=False):
    """The error of the text editor."""

    type: Required[Literal["text_editor_code_execution_tool_result_error"]]
    error_code: Required[str]
    error_message: str | None


class TextEditorCodeExecutionToolResultBlockParam(Cacheable, total=False):
    """The result of a command of the text editor."""

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
    """A reference to a tool that was found."""

    type: Required[Literal["tool_reference"]]
    tool_name: Required[str]


class ToolSearchToolSearchResultBlockParam(TypedDict):
    """The tools that a tool search found."""

    type: Literal["tool_search_tool_search_result"]
    tool_references: Iterable[ToolReferenceBlockParam]


class ToolSearchToolResultErrorParam(TypedDict, total=False):
    """The error of a search."""

    type: Required[Literal["tool_search_tool_result_error"]]
    error_code: Required[str]
    error_message: str | None


class ToolSearchToolResultBlockParam(Cacheable, total=False):
    """The result of a tool search."""

    type: Required[Literal["tool_search_tool_result"]]
    tool_use_id: Required[str]
    content: Required[ToolSearchToolSearchResultBlockParam | ToolSearchToolResultErrorParam]


# ----- beta: advisor, MCP


class AdvisorResultBlockParam(TypedDict, total=False):
    """The advice of the advisor."""

    type: Required[Literal["advisor_result"]]
    text: Required[str]
    stop_reason: str | None


class AdvisorRedactedResultBlockParam(TypedDict, total=False):
    """The advice of the advisor, encrypted."""

    type: Required[Literal["advisor_redacted_result"]]
    encrypted_content: Required[str]
    stop_reason: str | None


class AdvisorToolResultErrorParam(TypedDict):
    """The error of the advisor."""

    type: Literal["advisor_tool_result_error"]
    error_code: str


class AdvisorToolResultBlockParam(Cacheable, total=False):
    """The result of asking the advisor. Beta."""

    type: Required[Literal["advisor_tool_result"]]
    tool_use_id: Required[str]
    content: Required[AdvisorResultBlockParam | AdvisorRedactedResultBlockParam | AdvisorToolResultErrorParam]


class MCPToolResultBlockParam(Cacheable, total=False):
    """The result of a tool on an MCP server. Beta."""

    type: Required[Literal["mcp_tool_result"]]
    tool_use_id: Required[str]
    content: str | Iterable[TextBlockParam]
    is_error: bool


class MCPToolListingBlockParam(TypedDict):
    """The tools that an MCP server listed, sent back as they came. Beta."""

    type: Literal["mcp_tool_listing"]
    mcp_server_name: str
    tools: Iterable[MCPToolParam]
