"""Parameters of a request: text with its citations, images, documents, search results.

What belongs here: what a caller, or a tool of the caller's, has to show. What does not: the other content blocks
(`_params_content`).

Data of images and documents is base64 text.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, Required, TypeAlias, TypedDict

from trio_stream._protocol._params_shared import Cacheable, CitationsConfigParam

# ----- citations


class CitationCharLocationParam(TypedDict):
    """A passage in a plain text document."""

    type: Literal["char_location"]
    cited_text: str
    document_index: int
    document_title: str | None
    start_char_index: int
    end_char_index: int


class CitationPageLocationParam(TypedDict):
    """A range of pages in a PDF."""

    type: Literal["page_location"]
    cited_text: str
    document_index: int
    document_title: str | None
    start_page_number: int
    end_page_number: int


class CitationContentBlockLocationParam(TypedDict):
    """A range of blocks in a document that is made of blocks."""

    type: Literal["content_block_location"]
    cited_text: str
    document_index: int
    document_title: str | None
    start_block_index: int
    end_block_index: int


class CitationWebSearchResultLocationParam(TypedDict):
    """A passage in a web page."""

    type: Literal["web_search_result_location"]
    cited_text: str
    encrypted_index: str
    title: str | None
    url: str


class CitationSearchResultLocationParam(TypedDict):
    """A passage in a search result that the caller provided."""

    type: Literal["search_result_location"]
    cited_text: str
    search_result_index: int
    source: str
    title: str | None
    start_block_index: int
    end_block_index: int


TextCitationParam: TypeAlias = (
    CitationCharLocationParam
    | CitationPageLocationParam
    | CitationContentBlockLocationParam
    | CitationWebSearchResultLocationParam
    | CitationSearchResultLocationParam
)
"""Any citation."""

# ----- text, images, documents


class TextBlockParam(Cacheable, total=False):
    """Text."""

    type: Required[Literal["text"]]
    text: Required[str]
    citations: Iterable[TextCitationParam] | None


class Base64ImageSourceParam(TypedDict):
    """An image whose bytes are in the request."""

    type: Literal["base64"]
    media_type: Literal["image/jpeg", "image/png", "image/gif", "image/webp"]
    data: str


class URLImageSourceParam(TypedDict):
    """An image that the API downloads from a URL."""

    type: Literal["url"]
    url: str


class FileImageSourceParam(TypedDict):
    """An image that was uploaded with the Files API."""

    type: Literal["file"]
    file_id: str


class ImageTransformationsParam(TypedDict, total=False):
    """What the API may do to an image before the model sees it."""

    oversized_image: Literal["downsize", "error"]


class ImageBlockParam(Cacheable, total=False):
    """An image."""

    type: Required[Literal["image"]]
    source: Required[Base64ImageSourceParam | URLImageSourceParam | FileImageSourceParam]
    transformations: ImageTransformationsParam | None


class Base64PDFSourceParam(TypedDict):
    """A PDF whose bytes are in the request."""

    type: Literal["base64"]
    media_type: Literal["application/pdf"]
    data: str


class PlainTextSourceParam(TypedDict):
    """Plain text that is in the request."""

    type: Literal["text"]
    media_type: Literal["text/plain"]
    data: str


class ContentBlockSourceParam(TypedDict):
    """A document made of blocks."""

    type: Literal["content"]
    content: str | Iterable[TextBlockParam | ImageBlockParam]


class URLPDFSourceParam(TypedDict):
    """A PDF that the API downloads from a URL."""

    type: Literal["url"]
    url: str


class FileDocumentSourceParam(TypedDict):
    """A document that was uploaded with the Files API."""

    type: Literal["file"]
    file_id: str


class DocumentBlockParam(Cacheable, total=False):
    """A document."""

    type: Required[Literal["document"]]
    source: Required[
        Base64PDFSourceParam
        | PlainTextSourceParam
        | ContentBlockSourceParam
        | URLPDFSourceParam
        | FileDocumentSourceParam
    ]
    citations: CitationsConfigParam | None
    context: str | None
    title: str | None


class SearchResultBlockParam(Cacheable, total=False):
    """A search result that the caller provides."""

    type: Required[Literal["search_result"]]
    content: Required[Iterable[TextBlockParam]]
    source: Required[str]
    title: Required[str]
    citations: CitationsConfigParam
