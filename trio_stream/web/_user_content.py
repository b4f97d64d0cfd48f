"""What the user has said, from the body of a page's request.

What belongs here: the last message of a request, in the three forms that pages send it in, and what of it may reach the
model. What does not: the conversation that it belongs to, which is the server's.

A page sends the whole conversation with each request. All of that but the last message of the user is the server's own
word coming back, and whoever controls the browser can change it: give a tool another result, have the model agree to
something, add a system prompt. So nothing but the last message is read here, and of that only text and the bytes of
files: an id of the Files API might be somebody else's file.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast, final

from trio_stream._protocol import JSON_ERRORS, decode_json
from trio_stream.types import DocumentBlockParam, ImageBlockParam, TextBlockParam

PageProtocol: TypeAlias = Literal["anthropic", "ai-sdk", "ag-ui"]
"""What a page speaks: the Messages API, `AISDK` or `AGUI`."""

UserContent: TypeAlias = list[TextBlockParam | ImageBlockParam | DocumentBlockParam]
"""The content of a message of the user."""

_MIB: Final = 1024 * 1024

_IMAGES: Final[Mapping[str, re.Pattern[bytes]]] = {
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}
"""The images that the API takes, and how their bytes begin: a conversation with an image that is none is refused for
ever after."""

_PDF: Final = "application/pdf"
_PDF_BEGINS: Final = re.compile(rb"%PDF-")
_TEXT: Final = "text/plain"


@final
class UserContentError(ValueError):
    """The body of a page's request is not one in which a user says something. The sentence is fit to be shown."""


class _File(NamedTuple):
    """A file of a message.

    Attributes:
      kind: Its media type.
      data: Its bytes, as base64.
      title: Its name, or None.
    """

    kind: str
    data: str
    title: str | None = None


_Piece: TypeAlias = str | _File
"""A text, or a file."""


def user_content(
    body: bytes | str | Mapping[str, Any],
    protocol: PageProtocol,
    *,
    max_body_bytes: int = 32 * _MIB,
    max_characters: int = 200_000,
    max_files: int = 20,
    max_file_bytes: int = 5 * _MIB,
) -> UserContent:
    """Take what the user has just said out of the body of a page's request.

    ::

        content = web.user_content(await request.body(), "ai-sdk")
        return web.Relay(chat.run(*content), web.AISDK())

    Only the last message is read, and it must be of the user, with nothing but text and files. Whatever else is in the
    body (earlier messages, roles, results of tools, a system prompt) could be forged, so it is for your server to
    keep: in a `Conversation`, for example. Files are JPEG, PNG, GIF and WebP images, PDFs and plain text, with their
    bytes in the body.

    Args:
      body: The body as it came, or its JSON decoded.
      protocol: What the page speaks: ``"anthropic"`` for the Messages API, ``"ai-sdk"`` for ``useChat``, and
        ``"ag-ui"`` for ``HttpAgent``.
      max_body_bytes: The largest body, in bytes. It counts only if the body is not decoded.
      max_characters: How many characters all texts may have together, text files included.
      max_files: How many files there may be.
      max_file_bytes: The largest file, in bytes.

    Returns:
      The content blocks of the message, in the form that a request takes, in their order; at least one.

    Raises:
      UserContentError: The body is anything else. It is a ValueError, and its text can be shown to the user.
      ValueError: There is no such protocol.
    """
    read = _READERS.get(protocol)
    if read is None:
        raise ValueError(f"there is no protocol {protocol!r}; there are {', '.join(map(repr, _READERS))}")
    collector = _Collector(max_characters, max_files, max_file_bytes)
    for piece in read(_last_message(_decode(body, max_body_bytes))):
        collector.add(piece)
    if not collector.content:
        raise UserContentError("the message is empty")
    return collector.content


@final
class _Collector:
    """Makes content of the pieces of a message, as long as they are within bounds."""

    def __init__(self, max_characters: int, max_files: int, max_file_bytes: int) -> None:
        self._max_characters = max_characters
        self._max_files = max_files
        self._max_file_bytes = max_file_bytes
        self._characters = 0
        self._files = 0
        self.content: UserContent = []

    def add(self, piece: _Piece) -> None:
        """Add a piece; one that is blank is left out, as the API refuses it.

        Raises:
          UserContentError: It cannot be sent, or is beyond a bound.
        """
        if isinstance(piece, _File):
            self._files += 1
            if self._files > self._max_files:
                raise UserContentError(f"there are more than {self._max_files} files in the message")
            self._add_file(piece)
        elif text := self._take_text(piece):
            self.content.append({"type": "text", "text": text})

    def _take_text(self, text: str) -> str:
        self._characters += len(text)
        if self._characters > self._max_characters:
            raise UserContentError(f"the message has more than {self._max_characters} characters")
        if "\0" in text:
            raise UserContentError("the message has a NUL character in it")
        # Half of a surrogate pair cannot be sent at all.
        return "" if text.isspace() else text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _add_file(self, file: _File) -> None:
        # The length is looked at first: it costs nothing, and decoding does.
        if len(file.data) > (self._max_file_bytes + 2) // 3 * 4:
            raise self._too_large()
        try:
            data = binascii.a2b_base64(file.data, strict_mode=True)
        except ValueError as error:  # `binascii.Error`, or something that is not ASCII
            raise UserContentError("a file is not valid base64") from error
        if len(data) > self._max_file_bytes:
            raise self._too_large()
        document: DocumentBlockParam
        if file.kind in _IMAGES:
            if _IMAGES[file.kind].match(data) is None:
                raise UserContentError(f"a file that is said to be {file.kind} is none")
            source = {"type": "base64", "media_type": file.kind, "data": file.data}
            self.content.append(cast("ImageBlockParam", {"type": "image", "source": source}))
            return
        if file.kind == _PDF:
            if _PDF_BEGINS.match(data) is None:
                raise UserContentError(f"a file that is said to be {_PDF} is none")
            document = {"type": "document", "source": {"type": "base64", "media_type": _PDF, "data": file.data}}
        elif file.kind == _TEXT:
            try:
                text = self._take_text(data.decode("utf-8-sig"))
            except UnicodeDecodeError as error:
                raise UserContentError("a text file is not UTF-8") from error
            if not text:
                raise UserContentError("a text file is empty")
            document = {"type": "document", "source": {"type": "text", "media_type": _TEXT, "data": text}}
        else:
            raise UserContentError("a file is neither an image (JPEG, PNG, GIF, WebP) nor a PDF nor plain text")
        if file.title is not None and (title := self._take_text(file.title)):
            document["title"] = title
        self.content.append(document)

    def _too_large(self) -> UserContentError:
        return UserContentError(f"a file is larger than {self._max_file_bytes} bytes")


# The body.


def _decode(body: bytes | str | Mapping[str, Any], max_bytes: int) -> Mapping[str, Any]:
    value: object = body
    if isinstance(body, bytes | bytearray | memoryview | str):
        if len(body) > max_bytes:
            raise UserContentError(f"the request is larger than {max_bytes} bytes")
        try:
            value = decode_json(body.encode("utf-8", "surrogatepass") if isinstance(body, str) else bytes(body))
        except JSON_ERRORS as error:
            raise UserContentError("the request is not JSON") from error
    return _object(value, "the request")


def _last_message(body: Mapping[str, Any]) -> Mapping[str, Any]:
    messages: object = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise UserContentError("the request has no `messages`")
    message = _object(cast("list[object]", messages)[-1], "the last message")
    if message.get("role") != "user":
        raise UserContentError("the last message is not of the user")
    return message


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise UserContentError(f"{what} is not a JSON object")
    return cast("Mapping[str, Any]", value)


def _objects(value: object, what: str) -> Iterator[Mapping[str, Any]]:
    if not isinstance(value, list):
        raise UserContentError(f"{what} is not a list")
    for item in cast("list[object]", value):
        yield _object(item, f"an item of {what}")


def _text(fields: Mapping[str, Any], name: str) -> str:
    value: object = fields.get(name)
    if not isinstance(value, str):
        raise UserContentError(f"`{name}` in the last message is not a text")
    return value


def _title(fields: Mapping[str, Any], name: str) -> str | None:
    return _text(fields, name) if fields.get(name) is not None else None


def _foreign(kind: object) -> UserContentError:
    shown = repr(kind[:50]) if isinstance(kind, str) else "no `type`"
    return UserContentError(f"the last message holds {shown}: a user says text and sends files, and nothing else")


def _no_bytes() -> UserContentError:
    return UserContentError("a file comes without its bytes")


# The protocols.


def _read_anthropic(message: Mapping[str, Any]) -> Iterator[_Piece]:
    """A message of the Messages API."""
    content: object = message.get("content")
    if isinstance(content, str):
        yield content
        return
    for block in _objects(content, "`content`"):
        kind: object = block.get("type")
        if kind == "text":
            yield _text(block, "text")
        elif kind in ("image", "document"):
            source = _object(block.get("source"), "a `source`")
            if source.get("type") == "base64":
                yield _File(_text(source, "media_type"), _text(source, "data"), _title(block, "title"))
            elif source.get("type") == "text" and kind == "document":
                data = base64.b64encode(_text(source, "data").encode("utf-8", "replace")).decode()
                yield _File(_TEXT, data, _title(block, "title"))
            else:
                raise _no_bytes()
        else:
            raise _foreign(kind)


def _read_ai_sdk(message: Mapping[str, Any]) -> Iterator[_Piece]:
    """A UI message of the AI SDK."""
    for part in _objects(message.get("parts"), "`parts`"):
        kind: object = part.get("type")
        if kind == "text":
            yield _text(part, "text")
        elif kind == "file":
            head, _, data = _text(part, "url").partition(",")
            if not head.startswith("data:") or not head.lower().endswith(";base64"):
                raise _no_bytes()
            kind = _text(part, "mediaType")
            if "/" not in kind or kind.endswith("/*"):  # it may say no more than that it is an image
                kind = head.removeprefix("data:")
            yield _File(_without_parameters(kind), data, _title(part, "filename"))
        elif not (isinstance(kind, str) and kind.startswith("data-")):  # those are between the page and its program
            raise _foreign(kind)


def _read_ag_ui(message: Mapping[str, Any]) -> Iterator[_Piece]:
    """A user message of AG-UI."""
    content: object = message.get("content")
    if isinstance(content, str):
        yield content
        return
    for part in _objects(content, "`content`"):
        kind: object = part.get("type")
        if kind == "text":
            yield _text(part, "text")
        elif kind in ("image", "document"):
            source = _object(part.get("source"), "a `source`")
            if source.get("type") != "data":
                raise _no_bytes()
            yield _File(_without_parameters(_text(source, "mimeType")), _text(source, "value"))
        elif kind == "binary":  # before 1.0
            if not isinstance(part.get("data"), str):
                raise _no_bytes()
            yield _File(_without_parameters(_text(part, "mimeType")), _text(part, "data"), _title(part, "filename"))
        else:
            raise _foreign(kind)


def _without_parameters(kind: str) -> str:
    """``text/plain`` of ``text/plain;charset=utf-8``."""
    return kind.partition(";")[0].strip().lower()


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Iterator[_Piece]]]] = {
    "anthropic": _read_anthropic,
    "ai-sdk": _read_ai_sdk,
    "ag-ui": _read_ag_ui,
}
