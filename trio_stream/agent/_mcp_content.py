"""From MCP to the Messages API: the definitions of tools, and the content of their results.

What belongs here: pure functions from one form to the other. What does not: sessions and calls (`_mcp_session`), and
the size of results (`_tool_result`).

A server is not under anybody's control, and what the API refuses once it refuses in every later request of the
conversation. So names, schemas and images are made what the API takes, and what it has no form for is told in words.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import mcp_types

Block = dict[str, Any]

_NOT_IN_A_NAME: Final = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME: Final = 128

_NOT_AT_THE_ROOT: Final = ("oneOf", "anyOf", "allOf")
"""Keywords that the API refuses at the root of a schema."""

_TEXTS: Final = ("text/", "application/json")
"""How the types of files begin that are texts."""

_IMAGES: Final[Mapping[bytes, str]] = {
    b"\x89PNG\r\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF8": "image/gif",
}


def definition_of(tool: mcp_types.Tool, server: str, taken: Collection[str]) -> Block:
    """The definition of a tool, for a request.

    Args:
      tool: The tool, as its server describes it.
      server: The name of the server.
      taken: The names of other tools, which this one cannot have.
    """
    definition: Block = {"name": _name_of(f"{server}__{tool.name}", taken)}
    schema = {name: part for name, part in tool.input_schema.items() if name not in _NOT_AT_THE_ROOT}
    beside = {name: part for name, part in tool.input_schema.items() if name in _NOT_AT_THE_ROOT}
    description = tool.description or tool.title or ""
    if beside:
        description = f"{description}\n\nThe input also has to fit this JSON schema: {json.dumps(beside)}".lstrip()
    if description:
        definition["description"] = description
    definition["input_schema"] = {**schema, "type": "object"}
    return definition


def _name_of(wanted: str, taken: Collection[str]) -> str:
    base = name = _NOT_IN_A_NAME.sub("_", wanted)[:_LONGEST_NAME]
    number = 2
    while name in taken:
        ending = f"_{number}"
        name = base[: _LONGEST_NAME - len(ending)] + ending
        number += 1
    return name


def content_of(result: mcp_types.CallToolResult) -> list[Block] | str:
    """The content of a result.

    Structured content is what the text says too (a server "SHOULD also return the serialized JSON"), so it counts only
    where there is nothing else.
    """
    content = [block for part in result.content for block in _blocks_of(part)]
    if not content and result.structured_content is not None:
        return json.dumps(result.structured_content, ensure_ascii=False)
    return content


def _blocks_of(part: mcp_types.ContentBlock) -> Iterator[Block]:
    match part:
        case mcp_types.TextContent(text=text):
            yield _text(text)
        case mcp_types.ImageContent(data=data, mime_type=mime_type):
            yield _file(data, mime_type, "an image")
        case mcp_types.AudioContent(data=data, mime_type=mime_type):
            yield _text(f"[a recording ({mime_type}, {_size(data)}), which cannot be shown]")
        case mcp_types.ResourceLink():
            yield _text(_link(part))
        case _:
            resource = part.resource
            if isinstance(resource, mcp_types.TextResourceContents):
                yield _text(f"[{resource.uri}]\n{resource.text}")
            else:
                yield _text(f"[{resource.uri}]")
                yield _file(resource.blob, resource.mime_type or "of a kind not told", "a file")


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _link(link: mcp_types.ResourceLink) -> str:
    facts = ", ".join(filter(None, (link.title, link.description, link.mime_type)))
    return f"[resource {link.name}: {link.uri}{f' ({facts})' if facts else ''}]"


def _file(data: str, mime_type: str, what: str) -> Block:
    """An image or a PDF as what its bytes say it is, for the API refuses one that is something else; or a text."""
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return _text(f"[{what} ({mime_type}) that is not valid base64]")
    source: Block = {"type": "base64", "data": data}
    if content.startswith(b"%PDF-"):
        return {"type": "document", "source": {**source, "media_type": "application/pdf"}}
    media_type = _image_type(content)
    if media_type is None and mime_type.startswith(_TEXTS):
        return _text(content.decode(errors="replace"))
    if media_type is None:
        return _text(f"[{what} ({mime_type}, {_size(data)}), which cannot be shown]")
    return {"type": "image", "source": {**source, "media_type": media_type}}


def _image_type(content: bytes) -> str | None:
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for start, media_type in _IMAGES.items() if content.startswith(start)), None)


def _size(data: str) -> str:
    return f"{len(data) * 3 // 4:,} bytes"
