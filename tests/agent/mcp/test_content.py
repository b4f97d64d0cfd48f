"""What a server sends, in the forms that the API takes."""

from __future__ import annotations

import base64
import json
from typing import Any

import mcp_types as mcp
import pytest

from tests.agent.mcp.server import PNG
from trio_stream.agent._mcp_content import content_of, definition_of
from trio_stream.testing._strict import find_fault


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def text(value: str) -> dict[str, Any]:
    return {"type": "text", "text": value}


def picture(media_type: str, data: bytes) -> dict[str, Any]:
    return {"type": "image", "source": {"type": "base64", "media_type": media_type, "data": encoded(data)}}


JPEG, GIF, WEBP = b"\xff\xd8\xff\xe0", b"GIF89a", b"RIFF\0\0\0\0WEBPVP8 "
PDF = b"%PDF-1.7"


def file(data: bytes, mime_type: str | None = None) -> mcp.EmbeddedResource:
    return mcp.EmbeddedResource(
        resource=mcp.BlobResourceContents(uri="file:///x", blob=encoded(data), mime_type=mime_type)
    )


@pytest.mark.parametrize(
    ("part", "blocks"),
    [
        (mcp.TextContent(text="x"), [text("x")]),
        (mcp.ImageContent(data=encoded(PNG), mime_type="image/png"), [picture("image/png", PNG)]),
        (mcp.ImageContent(data=encoded(JPEG), mime_type="image/png"), [picture("image/jpeg", JPEG)]),
        (mcp.ImageContent(data=encoded(GIF), mime_type="image/gif"), [picture("image/gif", GIF)]),
        (mcp.ImageContent(data=encoded(WEBP), mime_type="image/webp"), [picture("image/webp", WEBP)]),
        (
            mcp.ImageContent(data=encoded(b"<svg/>"), mime_type="image/svg+xml"),
            [text("[an image (image/svg+xml, 6 bytes), which cannot be shown]")],
        ),
        (
            mcp.ImageContent(data="no!", mime_type="image/png"),
            [text("[an image (image/png) that is not valid base64]")],
        ),
        (
            mcp.AudioContent(data=encoded(b"x" * 3000), mime_type="audio/wav"),
            [text("[a recording (audio/wav, 3,000 bytes), which cannot be shown]")],
        ),
        (mcp.ResourceLink(name="log", uri="file:///log"), [text("[resource log: file:///log]")]),
        (
            mcp.ResourceLink(name="log", uri="file:///log", description="all of it", mime_type="text/plain"),
            [text("[resource log: file:///log (all of it, text/plain)]")],
        ),
        (
            mcp.EmbeddedResource(resource=mcp.TextResourceContents(uri="file:///x", text="y")),
            [text("[file:///x]\ny")],
        ),
        (file(PNG), [text("[file:///x]"), picture("image/png", PNG)]),
        (
            file(PDF, "application/pdf"),
            [
                text("[file:///x]"),
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf", "data": encoded(PDF)},
                },
            ],
        ),
        (file("é".encode(), "text/plain"), [text("[file:///x]"), text("é")]),
        (file(b"{\xff}", "application/json"), [text("[file:///x]"), text("{\ufffd}")]),
        (
            file(b"zip"),
            [text("[file:///x]"), text("[a file (of a kind not told, 3 bytes), which cannot be shown]")],
        ),
    ],
)
def test_parts(part: mcp.ContentBlock, blocks: list[dict[str, Any]]) -> None:
    """An image is what its bytes say, and what the API has no form for is told in words; so the API takes all of it."""
    content = content_of(mcp.CallToolResult(content=[part]))
    assert content == blocks
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": content}]},
    ]
    assert find_fault({"model": "m", "max_tokens": 1, "messages": messages}) is None


def test_structured_content() -> None:
    """The text says it too; without any text it is the content."""
    structured = {"n": [1, "é"]}
    both = mcp.CallToolResult(content=[mcp.TextContent(text="one")], structured_content=structured)
    assert content_of(both) == [text("one")]
    assert content_of(mcp.CallToolResult(content=[], structured_content=structured)) == '{"n": [1, "é"]}'
    assert content_of(mcp.CallToolResult(content=[])) == []


def offered(name: str, **fields: Any) -> mcp.Tool:
    return mcp.Tool(name=name, **{"input_schema": {"type": "object"}, **fields})


@pytest.mark.parametrize(
    ("name", "taken", "given"),
    [
        ("read", [], "files__read"),
        ("notes.read/all", [], "files__notes_read_all"),
        ("read", ["files__read"], "files__read_2"),
        ("read", ["files__read", "files__read_2"], "files__read_3"),
        ("x" * 200, [], "files__" + "x" * 121),
        ("x" * 200, ["files__" + "x" * 121], "files__" + "x" * 119 + "_2"),
    ],
)
def test_names(name: str, taken: list[str], given: str) -> None:
    """They are made what the API takes, and each is one tool's."""
    assert definition_of(offered(name), "files", taken)["name"] == given


def test_definitions() -> None:
    """The description and the schema; keywords that the API refuses at the root are told in words."""
    plain = definition_of(offered("a", title="A", input_schema={"properties": {}}), "s", [])
    assert plain == {"name": "s__a", "description": "A", "input_schema": {"properties": {}, "type": "object"}}
    assert "description" not in definition_of(offered("a"), "s", [])
    either = [{"required": ["x"]}, {"required": ["y"]}]
    for description, start in (("Reads.", "Reads.\n\nThe input also"), (None, "The input also")):
        schema = {"type": "object", "properties": {"x": {}, "y": {}}, "anyOf": either}
        made = definition_of(offered("a", description=description, input_schema=schema), "s", [])
        assert made["input_schema"] == {"type": "object", "properties": {"x": {}, "y": {}}}
        assert made["description"] == f"{start} has to fit this JSON schema: {json.dumps({'anyOf': either})}"
