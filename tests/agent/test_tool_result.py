"""What goes to the model: any value, made into content that the API takes."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import json
import logging
from typing import Any

import msgspec
import pytest
import trio

from tests.agent.replies import a_tool, called, message
from trio_stream.agent import StopRun, ToolError, ToolRunner
from trio_stream.types import TextBlock

IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}}
PDF = {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}}
REFERENCE = {"type": "tool_reference", "tool_name": "search"}


async def result_of(value: Any, **options: Any) -> Any:
    """The ``tool_result`` block of a tool that returns, or raises, a value."""

    async def tool() -> Any:
        if isinstance(value, BaseException):
            raise value
        return value

    async with trio.open_nursery() as nursery:
        calls = ToolRunner([a_tool("a", tool, **options)], nursery)
        calls.start_all(message(called("a")))
        await calls.join()
    (block,) = calls.results()
    return block


class Colour(enum.StrEnum):
    RED = "red"


@dataclasses.dataclass
class Place:
    name: str
    at: datetime.date


class Point(msgspec.Struct):
    x: int


class Model:
    """As pydantic's models are, for this."""

    def model_dump(self, *, mode: str) -> dict[str, Any]:
        return {"mode": mode}


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("text", "text"),
        (Colour.RED, "red"),
        (None, ""),
        ("", ""),
        (" \n", ""),
        (42, "42"),
        ([], "[]"),
        (["a", "b"], '["a","b"]'),
        ({"a": "é"}, '{"a":"é"}'),
        (Place("Bern", datetime.date(2026, 11, 28)), '{"name":"Bern","at":"2026-11-28"}'),
        (Point(3), '{"x":3}'),
        (Model(), '{"mode":"json"}'),
        ({"type": "image", "url": "nothing the API knows"}, '{"type":"image","url":"nothing the API knows"}'),
        ({"type": ["text"]}, '{"type":["text"]}'),
        ([IMAGE, "and text"], json.dumps([IMAGE, "and text"], separators=(",", ":"))),
        (IMAGE, [IMAGE]),
        ((PDF, IMAGE, REFERENCE), [PDF, IMAGE, REFERENCE]),
        ([TextBlock(text="ours")], [{"type": "text", "text": "ours"}]),
        ([{"type": "text", "text": " "}, IMAGE, {"type": "text", "text": ""}], [IMAGE]),
        ([{"type": "text", "text": " "}], ""),
        (
            {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}},
            [{"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}],
        ),
    ],
)
async def test_what_a_tool_returns(value, content):
    """A text, content blocks, or JSON."""
    assert await result_of(value) == {"type": "tool_result", "tool_use_id": "toolu_a", "content": content}


async def test_surrogates_without_their_other_half(caplog):
    """They could not be sent; two that belong together are the character they mean."""
    caplog.set_level(logging.CRITICAL, "trio_stream")  # workers of the tests cannot send a log with surrogates either
    assert (await result_of("a\ud800b"))["content"] == "a\ufffdb"
    assert (await result_of("\ud83d\ude00"))["content"] == "😀"
    assert (await result_of(["\udc00", 1]))["content"] == '["\ufffd",1]'
    block = {"type": "text", "text": "\ud800", "citations": [{"\udc00": ("\udc00", 1)}]}
    assert (await result_of(block))["content"] == [
        {"type": "text", "text": "\ufffd", "citations": [{"\ufffd": ["\ufffd", 1]}]}
    ]
    assert (await result_of(ToolError("no \ud800")))["content"] == "no \ufffd"
    assert (await result_of(ValueError("no \ud800")))["content"] == "ValueError: no \ufffd"


async def test_a_result_of_24_megabytes():
    """It is cut, and says so (gemini-cli#27738)."""
    content = (await result_of("\ud800" + "x" * 24_000_000))["content"]
    assert content == (
        "\ufffd"
        + "x" * 199_999
        + "\n[Cut: this result has 24,000,001 characters, and only the first 200,000 are shown.]"
    )


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("1234", "1234"),
        ("12345", "1234\n[Cut: this result has 5 characters, and only the first 4 are shown.]"),
        ([1, 22], "[1,2\n[Cut: this result has 6 characters, and only the first 4 are shown.]"),
        (
            [{"type": "text", "text": t} for t in ("12", "345", "6")],
            [
                {"type": "text", "text": "12"},
                {"type": "text", "text": "34\n[Cut: this result has 6 characters, and only the first 4 are shown.]"},
            ],
        ),
        (
            [{"type": "text", "text": "1234"}, IMAGE, {"type": "text", "text": "5"}],
            [
                {"type": "text", "text": "1234"},
                IMAGE,
                {"type": "text", "text": "\n[Cut: this result has 5 characters, and only the first 4 are shown.]"},
            ],
        ),
        ([IMAGE, PDF, {"type": "text", "text": "1234"}], [IMAGE, PDF, {"type": "text", "text": "1234"}]),
    ],
)
async def test_text_beyond_the_limit_is_cut(value, content):
    """Over all blocks of text. Images and PDFs are not cut, and do not count."""
    assert (await result_of(value, max_result=4))["content"] == content


async def test_a_value_that_json_cannot_hold(caplog):
    """The model is told, and the log has the rest: it is the tool's mistake."""
    block = await result_of({"file": object()})
    assert block["is_error"]
    assert block["content"] == "TypeError: a tool returned an object of object, which cannot be sent as JSON"
    assert "the tool a failed" in caplog.text
    assert (await result_of(ToolError(object())))["content"].startswith("TypeError: ")


async def test_tool_error(caplog):
    """The words are the tool's, and nothing is logged."""
    expected = {"type": "tool_result", "tool_use_id": "toolu_a", "content": "no such file", "is_error": True}
    assert await result_of(ToolError("no such file")) == expected
    assert (await result_of(ToolError({"code": 7})))["content"] == '{"code":7}'
    assert (await result_of(ToolError("x" * 30), max_result=3))["content"].startswith("xxx\n[Cut")
    assert (await result_of(ToolError("")))["content"] == "The tool failed."
    blocks = [{"type": "text", "text": "no such file"}]
    assert await result_of(ToolError(blocks)) == {**expected, "content": blocks}
    assert caplog.text == ""


@pytest.mark.parametrize("data", ["", "aa", "ä", 5, None])
async def test_an_image_without_content(data, caplog):
    """The model is told, rather than that the API refuses the conversation from here on."""
    broken = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}
    for value in ([{"type": "text", "text": "Here."}, broken], ToolError(broken)):
        block = await result_of(value)
        assert block["is_error"]
        assert block["content"] == "ValueError: the data of the image that the tool returned is not base64, or empty"


async def test_an_error_with_an_image():
    """The API refuses any block but text in a result that is marked as an error, so the word stands in it."""
    block = await result_of(ToolError([{"type": "text", "text": "The page did not load:"}, IMAGE]))
    assert block == {
        "type": "tool_result",
        "tool_use_id": "toolu_a",
        "content": [{"type": "text", "text": "Error:"}, {"type": "text", "text": "The page did not load:"}, IMAGE],
    }


class BrokenError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even this works")


@pytest.mark.parametrize(
    ("error", "content"),
    [
        (ValueError("no such thing"), "ValueError: no such thing"),
        (ValueError(), "ValueError"),
        (BrokenError(), "BrokenError"),
        (ExceptionGroup("one", [ExceptionGroup("in one", [KeyError("x")])]), "KeyError: 'x'"),
        (ExceptionGroup("two", [KeyError("x"), OSError("full")]), "KeyError: 'x'; OSError: full"),
        (ExceptionGroup("one", [ToolError("in the tool's nursery")]), "in the tool's nursery"),
    ],
)
async def test_other_exceptions(error, content):
    """Their types and messages."""
    block = await result_of(error)
    assert block["content"] == content
    assert block["is_error"] is True


async def test_a_long_exception_is_cut():
    """Exceptions of validation can hold whole documents."""
    content = (await result_of(ValueError("x" * 10_000)))["content"]
    assert content == "ValueError: " + "x" * 1_988 + "..."


async def test_exceptions_can_be_hidden(caplog):
    """The model sees a fixed text, the log the exception; `ToolError` is meant to be seen."""
    assert (await result_of(ValueError("the password is 1234"), errors="hide"))["content"] == "The tool failed."
    assert "the password is 1234" in caplog.text
    assert (await result_of(ToolError("no such file"), errors="hide"))["content"] == "no such file"


async def test_a_result_that_ends_the_run():
    """It is a result like any other."""
    assert (await result_of(StopRun()))["content"] == ""
    assert (await result_of(StopRun([IMAGE])))["content"] == [IMAGE]


async def test_reasons_are_parts_of_a_sentence():
    """Whatever they look like."""
    async with trio.open_nursery() as nursery:
        calls = ToolRunner([], nursery)
        calls.start_all(message(called("a"), stop_reason="end_turn"))
        calls = ToolRunner([], nursery)
        calls.stop(" The user\ud800 left. ")
        calls.start_all(message(called("a")))
    assert calls.results()[0]["content"] == "not started: The user\ufffd left."
