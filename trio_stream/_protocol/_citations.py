"""The citations of text blocks: the sources of what the text says. Nothing else belongs here."""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, final

from trio_stream._protocol._values import Tagged, UnknownObject


@final
class CitationCharLocation(Tagged, frozen=True, kw_only=True, tag="char_location"):
    """A span of characters in a plain text document."""

    type: ClassVar[Literal["char_location"]] = "char_location"
    param_nulls: ClassVar[frozenset[str]] = frozenset({"document_title"})
    cited_text: str = ""
    document_index: int = 0
    document_title: str | None = None
    file_id: str | None = None
    start_char_index: int = 0
    end_char_index: int = 0


@final
class CitationPageLocation(Tagged, frozen=True, kw_only=True, tag="page_location"):
    """A range of pages in a PDF."""

    type: ClassVar[Literal["page_location"]] = "page_location"
    param_nulls: ClassVar[frozenset[str]] = frozenset({"document_title"})
    cited_text: str = ""
    document_index: int = 0
    document_title: str | None = None
    file_id: str | None = None
    start_page_number: int = 0
    end_page_number: int = 0


@final
class CitationContentBlockLocation(Tagged, frozen=True, kw_only=True, tag="content_block_location"):
    """A range of content blocks in a document that is made of blocks."""

    type: ClassVar[Literal["content_block_location"]] = "content_block_location"
    param_nulls: ClassVar[frozenset[str]] = frozenset({"document_title"})
    cited_text: str = ""
    document_index: int = 0
    document_title: str | None = None
    file_id: str | None = None
    start_block_index: int = 0
    end_block_index: int = 0


@final
class CitationsWebSearchResultLocation(Tagged, frozen=True, kw_only=True, tag="web_search_result_location"):
    """A result of the web search tool."""

    type: ClassVar[Literal["web_search_result_location"]] = "web_search_result_location"
    param_nulls: ClassVar[frozenset[str]] = frozenset({"title"})
    cited_text: str = ""
    encrypted_index: str = ""
    title: str | None = None
    url: str = ""


@final
class CitationsSearchResultLocation(Tagged, frozen=True, kw_only=True, tag="search_result_location"):
    """A range of blocks in a search result that the request provided."""

    type: ClassVar[Literal["search_result_location"]] = "search_result_location"
    param_nulls: ClassVar[frozenset[str]] = frozenset({"title"})
    cited_text: str = ""
    search_result_index: int = 0
    source: str = ""
    title: str | None = None
    start_block_index: int = 0
    end_block_index: int = 0


Citation: TypeAlias = (
    CitationCharLocation
    | CitationPageLocation
    | CitationContentBlockLocation
    | CitationsWebSearchResultLocation
    | CitationsSearchResultLocation
    | UnknownObject
)
"""Any citation. One whose ``type`` this version does not know is an `UnknownObject`."""
