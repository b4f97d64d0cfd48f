"""The results of the tools that the API runs.

What belongs here: the contents of the ``*_tool_result`` blocks. What does not: the blocks themselves (`_blocks`).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, TypeAlias, final

from trio_stream._protocol._values import Extended, Tagged, UnknownObject


@final
class WebSearchResultBlock(Tagged, frozen=True, kw_only=True, tag="web_search_result"):
    """One page that the web search tool found."""

    type: ClassVar[Literal["web_search_result"]] = "web_search_result"
    title: str = ""
    url: str = ""
    encrypted_content: str = ""
    page_age: str | None = None


@final
class WebSearchToolResultError(Tagged, frozen=True, kw_only=True, tag="web_search_tool_result_error"):
    """The error of the web search tool."""

    type: ClassVar[Literal["web_search_tool_result_error"]] = "web_search_tool_result_error"
    error_code: str = ""


@final
class CitationsConfig(Extended, frozen=True, kw_only=True):
    """Whether a document may be cited."""

    enabled: bool | None = None


@final
class Base64PDFSource(Tagged, frozen=True, kw_only=True, tag="base64"):
    """The bytes of a PDF."""

    type: ClassVar[Literal["base64"]] = "base64"
    media_type: str = ""
    data: str = ""


@final
class PlainTextSource(Tagged, frozen=True, kw_only=True, tag="text"):
    """Plain text."""

    type: ClassVar[Literal["text"]] = "text"
    media_type: str = ""
    data: str = ""


@final
class DocumentBlock(Tagged, frozen=True, kw_only=True, tag="document"):
    """A document that the web fetch tool fetched."""

    type: ClassVar[Literal["document"]] = "document"
    citations: CitationsConfig | None = None
    title: str | None = None
    source: Base64PDFSource | PlainTextSource | UnknownObject | None = None


@final
class WebFetchBlock(Tagged, frozen=True, kw_only=True, tag="web_fetch_result"):
    """A page that the web fetch tool fetched."""

    type: ClassVar[Literal["web_fetch_result"]] = "web_fetch_result"
    url: str = ""
    content: DocumentBlock | UnknownObject | None = None
    retrieved_at: str | None = None


@final
class WebFetchToolResultErrorBlock(Tagged, frozen=True, kw_only=True, tag="web_fetch_tool_result_error"):
    """The error of the web fetch tool."""

    type: ClassVar[Literal["web_fetch_tool_result_error"]] = "web_fetch_tool_result_error"
    error_code: str = ""


@final
class CodeExecutionOutputBlock(Tagged, frozen=True, kw_only=True, tag="code_execution_output"):
    """A file that the code wrote."""

    type: ClassVar[Literal["code_execution_output"]] = "code_execution_output"
    file_id: str = ""


@final
class CodeExecutionResultBlock(Tagged, frozen=True, kw_only=True, tag="code_execution_result"):
    """The output and the exit status of Python code."""

    type: ClassVar[Literal["code_execution_result"]] = "code_execution_result"
    stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    content: tuple[CodeExecutionOutputBlock | UnknownObject, ...] = ()


@final
class EncryptedCodeExecutionResultBlock(Tagged, frozen=True, kw_only=True, tag="encrypted_code_execution_result"):
    """The output of Python code, encrypted because the code used the web search tool, and its exit status."""

    type: ClassVar[Literal["encrypted_code_execution_result"]] = "encrypted_code_execution_result"
    encrypted_stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    content: tuple[CodeExecutionOutputBlock | UnknownObject, ...] = ()


@final
class CodeExecutionToolResultError(Tagged, frozen=True, kw_only=True, tag="code_execution_tool_result_error"):
    """The error of the code execution tool."""

    type: ClassVar[Literal["code_execution_tool_result_error"]] = "code_execution_tool_result_error"
    error_code: str = ""


@final
class BashCodeExecutionOutputBlock(Tagged, frozen=True, kw_only=True, tag="bash_code_execution_output"):
    """A file that the command wrote."""

    type: ClassVar[Literal["bash_code_execution_output"]] = "bash_code_execution_output"
    file_id: str = ""


@final
class BashCodeExecutionResultBlock(Tagged, frozen=True, kw_only=True, tag="bash_code_execution_result"):
    """The output and the exit status of a shell command."""

    type: ClassVar[Literal["bash_code_execution_result"]] = "bash_code_execution_result"
    stdout: str = ""
    stderr: str = ""
    return_code: int = 0
    content: tuple[BashCodeExecutionOutputBlock | UnknownObject, ...] = ()


@final
class BashCodeExecutionToolResultError(Tagged, frozen=True, kw_only=True, tag="bash_code_execution_tool_result_error"):
    """The error of the shell tool."""

    type: ClassVar[Literal["bash_code_execution_tool_result_error"]] = "bash_code_execution_tool_result_error"
    error_code: str = ""


@final
class TextEditorCodeExecutionViewResultBlock(
    Tagged, frozen=True, kw_only=True, tag="text_editor_code_execution_view_result"
):
    """The contents of a file, or of a part of it."""

    type: ClassVar[Literal["text_editor_code_execution_view_result"]] = "text_editor_code_execution_view_result"
    content: str = ""
    file_type: str = ""
    num_lines: int | None = None
    start_line: int | None = None
    total_lines: int | None = None


@final
class TextEditorCodeExecutionCreateResultBlock(
    Tagged, frozen=True, kw_only=True, tag="text_editor_code_execution_create_result"
):
    """A file was created or overwritten."""

    type: ClassVar[Literal["text_editor_code_execution_create_result"]] = "text_editor_code_execution_create_result"
    is_file_update: bool = False


@final
class TextEditorCodeExecutionStrReplaceResultBlock(
    Tagged, frozen=True, kw_only=True, tag="text_editor_code_execution_str_replace_result"
):
    """Text in a file was replaced."""

    type: ClassVar[Literal["text_editor_code_execution_str_replace_result"]] = (
        "text_editor_code_execution_str_replace_result"
    )
    lines: tuple[str, ...] | None = None
    new_lines: int | None = None
    new_start: int | None = None
    old_lines: int | None = None
    old_start: int | None = None


@final
class TextEditorCodeExecutionToolResultError(
    Tagged, frozen=True, kw_only=True, tag="text_editor_code_execution_tool_result_error"
):
    """The error of the text editor."""

    type: ClassVar[Literal["text_editor_code_execution_tool_result_error"]] = (
        "text_editor_code_execution_tool_result_error"
    )
    error_code: str = ""
    error_message: str | None = None


@final
class ToolReferenceBlock(Tagged, frozen=True, kw_only=True, tag="tool_reference"):
    """A tool that the tool search found."""

    type: ClassVar[Literal["tool_reference"]] = "tool_reference"
    tool_name: str = ""


@final
class ToolSearchToolSearchResultBlock(Tagged, frozen=True, kw_only=True, tag="tool_search_tool_search_result"):
    """The tools that the tool search found."""

    type: ClassVar[Literal["tool_search_tool_search_result"]] = "tool_search_tool_search_result"
    tool_references: tuple[ToolReferenceBlock | UnknownObject, ...] = ()


@final
class ToolSearchToolResultError(Tagged, frozen=True, kw_only=True, tag="tool_search_tool_result_error"):
    """The error of the tool search."""

    type: ClassVar[Literal["tool_search_tool_result_error"]] = "tool_search_tool_result_error"
    error_code: str = ""
    error_message: str | None = None


@final
class AdvisorResultBlock(Tagged, frozen=True, kw_only=True, tag="advisor_result"):
    """The advice of the advisor. Beta."""

    type: ClassVar[Literal["advisor_result"]] = "advisor_result"
    text: str = ""
    stop_reason: str | None = None


@final
class AdvisorRedactedResultBlock(Tagged, frozen=True, kw_only=True, tag="advisor_redacted_result"):
    """The advice of the advisor, encrypted. Beta."""

    type: ClassVar[Literal["advisor_redacted_result"]] = "advisor_redacted_result"
    encrypted_content: str = ""
    stop_reason: str | None = None


@final
class AdvisorToolResultError(Tagged, frozen=True, kw_only=True, tag="advisor_tool_result_error"):
    """The error of the advisor. Beta."""

    type: ClassVar[Literal["advisor_tool_result_error"]] = "advisor_tool_result_error"
    error_code: str = ""


@final
class MCPTool(Extended, frozen=True, kw_only=True):
    """A tool that an MCP server offers. Beta."""

    name: str = ""
    description: str | None = None
    input_schema: dict[str, Any] | None = None


WebSearchToolResultContent: TypeAlias = (
    WebSearchToolResultError | UnknownObject | tuple[WebSearchResultBlock | UnknownObject, ...]
)
WebFetchToolResultContent: TypeAlias = WebFetchBlock | WebFetchToolResultErrorBlock | UnknownObject
CodeExecutionToolResultContent: TypeAlias = (
    CodeExecutionResultBlock | EncryptedCodeExecutionResultBlock | CodeExecutionToolResultError | UnknownObject
)
BashCodeExecutionToolResultContent: TypeAlias = (
    BashCodeExecutionResultBlock | BashCodeExecutionToolResultError | UnknownObject
)
TextEditorCodeExecutionToolResultContent: TypeAlias = (
    TextEditorCodeExecutionViewResultBlock
    | TextEditorCodeExecutionCreateResultBlock
    | TextEditorCodeExecutionStrReplaceResultBlock
    | TextEditorCodeExecutionToolResultError
    | UnknownObject
)
ToolSearchToolResultContent: TypeAlias = ToolSearchToolSearchResultBlock | ToolSearchToolResultError | UnknownObject
AdvisorToolResultContent: TypeAlias = (
    AdvisorResultBlock | AdvisorRedactedResultBlock | AdvisorToolResultError | UnknownObject
)
