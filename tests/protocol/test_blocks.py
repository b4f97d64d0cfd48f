"""`_blocks`, `_citations`, `_tool_results`: what blocks hold, and that nothing of them is lost."""

from __future__ import annotations

import copy
import json
import typing
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from tests.protocol.feeding import without_nulls
from trio_stream import InvalidToolInputError
from trio_stream._protocol import TextBlock
from trio_stream._protocol._block_bases import Block
from trio_stream._protocol._blocks import BLOCKS, read_block
from trio_stream._protocol._values import UnknownObject, Value
from trio_stream.types import (
    CitationCharLocation,
    CitationContentBlockLocation,
    CitationPageLocation,
    CitationsSearchResultLocation,
    CitationsWebSearchResultLocation,
    CodeExecutionResultBlock,
    CodeExecutionToolResultBlock,
    CompactionBlock,
    DirectCaller,
    DocumentBlock,
    FallbackBlock,
    FallbackInfo,
    FallbackTrigger,
    MCPToolResultBlock,
    MCPToolUseBlock,
    PlainTextSource,
    ServerToolCaller20260120,
    ServerToolUseBlock,
    ThinkingBlock,
    ToolUseBlock,
    UnknownBlock,
    WebFetchBlock,
    WebFetchToolResultBlock,
    WebSearchResultBlock,
    WebSearchToolResultBlock,
    WebSearchToolResultError,
)

# One of each block, with all its fields, as the API sends them.
WHOLE: list[dict[str, Any]] = [
    {
        "type": "text",
        "text": "t",
        "citations": [
            {
                "type": "char_location",
                "cited_text": "c",
                "document_index": 1,
                "document_title": None,
                "file_id": "f",
                "start_char_index": 2,
                "end_char_index": 3,
            },
            {
                "type": "page_location",
                "cited_text": "c",
                "document_index": 1,
                "document_title": "t",
                "start_page_number": 2,
                "end_page_number": 3,
            },
            {
                "type": "content_block_location",
                "cited_text": "c",
                "document_index": 1,
                "document_title": None,
                "start_block_index": 2,
                "end_block_index": 3,
            },
            {
                "type": "web_search_result_location",
                "cited_text": "c",
                "encrypted_index": "e",
                "title": None,
                "url": "u",
            },
            {
                "type": "search_result_location",
                "cited_text": "c",
                "search_result_index": 1,
                "source": "s",
                "title": None,
                "start_block_index": 2,
                "end_block_index": 3,
            },
            {"type": "new_location", "x": None},
        ],
    },
    {"type": "thinking", "thinking": "t", "signature": "s"},
    {"type": "redacted_thinking", "data": "d"},
    {
        "type": "tool_use",
        "id": "i",
        "name": "n",
        "input": {"a": [1.5, None]},
        "caller": {"type": "direct"},
        "toolset_name": "s",
    },
    {
        "type": "server_tool_use",
        "id": "i",
        "name": "n",
        "input": {},
        "caller": {"type": "code_execution_20260120", "tool_id": "t"},
    },
    {
        "type": "web_search_tool_result",
        "tool_use_id": "i",
        "content": [{"type": "web_search_result", "title": "t", "url": "u", "encrypted_content": "e", "page_age": "p"}],
        "caller": {"type": "new_caller", "tool_id": "t"},
    },
    {
        "type": "web_search_tool_result",
        "tool_use_id": "i",
        "content": {"type": "web_search_tool_result_error", "error_code": "unavailable"},
    },
    {
        "type": "web_fetch_tool_result",
        "tool_use_id": "i",
        "content": {
            "type": "web_fetch_result",
            "url": "u",
            "retrieved_at": "r",
            "content": {
                "type": "document",
                "title": "t",
                "citations": {"enabled": True},
                "source": {"type": "text", "media_type": "text/plain", "data": "d"},
            },
        },
    },
    {
        "type": "web_fetch_tool_result",
        "tool_use_id": "i",
        "content": {"type": "web_fetch_tool_result_error", "error_code": "url_too_long"},
    },
    {
        "type": "code_execution_tool_result",
        "tool_use_id": "i",
        "content": {
            "type": "code_execution_result",
            "stdout": "o",
            "stderr": "e",
            "return_code": 1,
            "content": [{"type": "code_execution_output", "file_id": "f"}],
        },
    },
    {
        "type": "code_execution_tool_result",
        "tool_use_id": "i",
        "content": {
            "type": "encrypted_code_execution_result",
            "encrypted_stdout": "o",
            "stderr": "",
            "return_code": 0,
            "content": [],
        },
    },
    {
        "type": "bash_code_execution_tool_result",
        "tool_use_id": "i",
        "content": {
            "type": "bash_code_execution_result",
            "stdout": "o",
            "stderr": "",
            "return_code": 0,
            "content": [{"type": "bash_code_execution_output", "file_id": "f"}],
        },
    },
    {
        "type": "text_editor_code_execution_tool_result",
        "tool_use_id": "i",
        "content": {
            "type": "text_editor_code_execution_view_result",
            "content": "c",
            "file_type": "text",
            "num_lines": 1,
            "start_line": 1,
            "total_lines": 1,
        },
    },
    {
        "type": "text_editor_code_execution_tool_result",
        "tool_use_id": "i",
        "content": {"type": "text_editor_code_execution_create_result", "is_file_update": True},
    },
    {
        "type": "text_editor_code_execution_tool_result",
        "tool_use_id": "i",
        "content": {
            "type": "text_editor_code_execution_str_replace_result",
            "lines": ["a"],
            "new_lines": 1,
            "new_start": 1,
            "old_lines": 1,
            "old_start": 1,
        },
    },
    {
        "type": "text_editor_code_execution_tool_result",
        "tool_use_id": "i",
        "content": {
            "type": "text_editor_code_execution_tool_result_error",
            "error_code": "file_not_found",
            "error_message": "m",
        },
    },
    {
        "type": "tool_search_tool_result",
        "tool_use_id": "i",
        "content": {
            "type": "tool_search_tool_search_result",
            "tool_references": [{"type": "tool_reference", "tool_name": "n"}],
        },
    },
    {"type": "container_upload", "file_id": "f"},
    {"type": "mcp_tool_use", "id": "i", "name": "n", "server_name": "s", "input": {"a": 1}},
    {"type": "mcp_tool_result", "tool_use_id": "i", "is_error": True, "content": "text"},
    {
        "type": "mcp_tool_result",
        "tool_use_id": "i",
        "is_error": False,
        "content": [{"type": "text", "text": "t"}, {"type": "image", "x": 1}],
    },
    {
        "type": "advisor_tool_result",
        "tool_use_id": "i",
        "content": {"type": "advisor_result", "text": "t", "stop_reason": "end_turn"},
    },
    {
        "type": "advisor_tool_result",
        "tool_use_id": "i",
        "content": {"type": "advisor_redacted_result", "encrypted_content": "e", "stop_reason": "end_turn"},
    },
    {
        "type": "compaction",
        "content": "c",
        "encrypted_content": "e",
        "signature": "s",
        "tool_changes": [{"type": "tool_addition", "x": None}],
    },
    {"type": "fallback", "from": {"model": "a"}, "to": {"model": "b"}, "trigger": {"type": "refusal", "category": "c"}},
    {
        "type": "mcp_tool_listing",
        "mcp_server_name": "s",
        "tools": [{"name": "n", "description": "d", "input_schema": {"type": "object", "default": None}}],
    },
    {"type": "new_block", "x": {"y": [None]}},
]
IDS = [f"{block['type']}-{number}" for number, block in enumerate(WHOLE)]


def test_every_block_is_here() -> None:
    """The table above has them all."""
    assert {block["type"] for block in WHOLE} == {*BLOCKS, "new_block"}


@pytest.mark.parametrize("raw", WHOLE, ids=IDS)
def test_round_trip(raw: dict[str, Any]) -> None:
    """What the API sent goes back as it came, and needs no ``extra`` for that where all is known."""
    block = read_block(raw)
    assert block.to_param() == raw
    assert str(block.type) == raw["type"]
    assert not getattr(block, "extra", {})
    assert read_block(json.loads(json.dumps(block.to_dict()))) == block


@pytest.mark.parametrize("raw", WHOLE, ids=IDS)
def test_unknown_fields_and_nulls_go_back(raw: dict[str, Any]) -> None:
    """Fields that nobody knows survive, at the top and within."""
    raw = copy.deepcopy(raw)
    raw["new"] = {"a": None}
    raw["extra"] = 5
    raw["null"] = None
    for part in (raw.get("content"), raw.get("to"), raw.get("caller")):
        for item in part if isinstance(part, list) else [part]:
            if isinstance(item, dict):
                item["new"] = {"b": None}
    block = read_block(raw)
    assert block.to_param() == raw
    assert read_block(block.to_param()) == block


@pytest.mark.parametrize("raw", WHOLE, ids=IDS)
def test_values(raw: dict[str, Any]) -> None:
    """Blocks are values: equal, frozen, copied, encoded."""
    block = read_block(raw)
    assert block == read_block(copy.deepcopy(raw))
    assert copy.copy(block) == copy.deepcopy(block) == block
    assert msgspec.json.decode(msgspec.json.encode(block))
    assert repr(block).startswith(type(block).__name__)
    with pytest.raises(AttributeError):
        block.incomplete = True  # type: ignore[misc]


@pytest.mark.parametrize("raw", [*WHOLE, *[{"type": block["type"], "content": None} for block in WHOLE]])
def test_nothing_but_the_type(raw: dict[str, Any]) -> None:
    """Every field may be missing or null."""
    bare = {"type": raw["type"], **({"content": None} if "content" in raw else {})}
    block = read_block(bare)
    assert str(block.type) == raw["type"]
    block.to_param()


def test_parts() -> None:
    """The parts of blocks are values of their own classes."""
    blocks = [read_block(raw) for raw in WHOLE]
    text = blocks[0]
    assert isinstance(text, TextBlock)
    assert [type(citation) for citation in text.citations or ()] == [
        CitationCharLocation,
        CitationPageLocation,
        CitationContentBlockLocation,
        CitationsWebSearchResultLocation,
        CitationsSearchResultLocation,
        UnknownObject,
    ]
    assert isinstance(blocks[3], ToolUseBlock)
    assert isinstance(blocks[3].caller, DirectCaller)
    assert isinstance(blocks[4], ServerToolUseBlock)
    assert isinstance(blocks[4].caller, ServerToolCaller20260120)
    assert isinstance(blocks[5], WebSearchToolResultBlock)
    assert isinstance(blocks[5].content, tuple)
    assert isinstance(blocks[5].content[0], WebSearchResultBlock)
    assert isinstance(blocks[5].caller, UnknownObject)
    assert isinstance(blocks[6], WebSearchToolResultBlock)
    assert isinstance(blocks[6].content, WebSearchToolResultError)
    assert isinstance(blocks[7], WebFetchToolResultBlock)
    assert isinstance(blocks[7].content, WebFetchBlock)
    assert isinstance(blocks[7].content.content, DocumentBlock)
    assert isinstance(blocks[7].content.content.source, PlainTextSource)
    fallback = blocks[IDS.index("fallback-24")]
    assert isinstance(fallback, FallbackBlock)
    assert fallback.from_ == FallbackInfo(model="a")
    assert fallback.trigger == FallbackTrigger(type="refusal", category="c")
    listing = blocks[IDS.index("mcp_tool_result-20")]
    assert isinstance(listing, MCPToolResultBlock)
    assert listing.content == (TextBlock(text="t"), UnknownObject(raw={"type": "image", "x": 1}))


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"type": 5},
        {"type": "text", "text": 5},
        {"type": "thinking", "thinking": {}},
    ],
)
def test_wrong_types(raw: dict[str, Any]) -> None:
    """A field without which the block would mean something else is refused if its type is wrong."""
    with pytest.raises(msgspec.ValidationError):
        read_block(raw)


@pytest.mark.parametrize(
    "raw",
    [
        {"type": "text", "text": "t", "citations": [5]},
        {"type": "text", "text": "t", "citations": [{}]},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": "x"},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": [{"type": "web_search_result", "url": [5]}]},
        {"type": "web_fetch_tool_result", "tool_use_id": "s", "content": ["x"]},
        {"type": "mcp_tool_result", "tool_use_id": "s", "is_error": "perhaps", "content": "c"},
        {"type": "mcp_tool_result", "tool_use_id": "s", "is_error": True, "content": [{"type": "text", "text": 5}]},
        {"type": "text", "text": "t", "unknown_deltas": [5]},
        {"type": "tool_use", "id": "i", "name": "n", "input": {}, "caller": 5},
        {"type": "compaction", "content": {"not": "text"}},
        {"type": "container_upload", "file_id": [1]},
    ],
)
def test_what_cannot_be_read_is_kept(raw: dict[str, Any]) -> None:
    """Any other field of the wrong type goes back as it came."""
    block = read_block(raw)
    assert block.to_param() == raw
    assert read_block(block.to_dict()) == block


@pytest.mark.parametrize(
    ("raw", "field", "value"),
    [
        (
            {"type": "code_execution_tool_result", "content": {"type": "code_execution_result", "return_code": "0"}},
            "",
            0,
        ),
        ({"type": "mcp_tool_result", "is_error": 1}, "is_error", True),
        ({"type": "mcp_tool_result", "is_error": "true"}, "is_error", True),
        ({"type": "mcp_tool_result", "is_error": "false"}, "is_error", False),
        ({"type": "tool_use", "id": 17, "input": {}}, "id", "17"),
        ({"type": "thinking", "thinking": "t", "signature": None}, "signature", ""),
        ({"type": "tool_use", "id": "i", "input": ""}, "input", {}),
        ({"type": "tool_use", "id": "i", "input": " "}, "input", {}),
        ({"type": "tool_use", "id": "i", "input": '{"a": 1}'}, "input", {"a": 1}),
    ],
)
def test_plain_meanings(raw: dict[str, Any], field: str, value: object) -> None:
    """A field of the wrong type is read if it can only mean one thing."""
    block = read_block(raw)
    if field:
        assert getattr(block, field) == value
    else:
        assert isinstance(block, CodeExecutionToolResultBlock)
        assert isinstance(block.content, CodeExecutionResultBlock)
        assert block.content.return_code == value


@pytest.mark.parametrize("value", [[], [1], 5, True, "x", '["x"]'])
def test_input_that_is_no_object(value: object) -> None:
    """The block is good all the same: its `input` says what is wrong."""
    block = read_block({"type": "tool_use", "id": "i", "name": "n", "input": value})
    assert isinstance(block, ToolUseBlock)
    with pytest.raises(InvalidToolInputError):
        _ = block.input
    assert read_block(block.to_dict()) == block


def test_made_by_hand() -> None:
    """Blocks that a program makes are good requests; what the API requires is there even if it is null."""
    assert TextBlock(text="t").to_param() == {"type": "text", "text": "t"}
    assert ThinkingBlock(thinking="", signature="s").to_param() == {
        "type": "thinking",
        "thinking": "",
        "signature": "s",
    }
    assert CompactionBlock().to_param() == {"type": "compaction", "content": None}
    block = TextBlock(text="t", citations=(CitationCharLocation(cited_text="c"),))
    assert block.to_param()["citations"][0]["document_title"] is None
    assert "document_title" not in block.to_dict()["citations"][0]


@pytest.mark.parametrize("cls", [ToolUseBlock, ServerToolUseBlock, MCPToolUseBlock])
def test_input(cls: type[ToolUseBlock]) -> None:
    """It is parsed once."""
    block = cls(id="i", name="n", input_json='{"a": {"b": null}}')
    assert block.input == {"a": {"b": None}}
    assert block.input is block.input
    assert block.to_param()["input"] == {"a": {"b": None}}
    assert "input_json" not in block.to_param()


@pytest.mark.parametrize("text", ["", " \n"])
def test_no_input(text: str) -> None:
    """A tool without arguments gets an empty object."""
    assert ToolUseBlock(id="i", name="n", input_json=text).input == {}


@pytest.mark.parametrize(
    ("text", "incomplete"),
    [
        ("{", False),
        ("[]", False),
        ("null", False),
        ("NaN", False),
        ('{"a": NaN}', False),
        ("[" * 100_000, False),
        ("\ud800", False),
        ("{}", True),
        ("", True),
    ],
)
def test_unusable_input(text: str, *, incomplete: bool) -> None:
    """It raises, keeps the text, and never reaches a request; a log shows it as it is."""
    block = ToolUseBlock(id="toolu_1", name="n", input_json=text, incomplete=incomplete)
    with pytest.raises(InvalidToolInputError) as first:
        _ = block.input
    with pytest.raises(InvalidToolInputError) as second:
        block.to_param()
    for caught in (first, second):
        assert caught.value.input_json == text
        assert caught.value.incomplete is incomplete
        assert "tool_use block 'toolu_1'" in str(caught.value)
    found = block.to_dict()
    assert found["input_json"] == text
    assert "input" not in found
    assert found.get("incomplete", False) is incomplete
    assert read_block(found) == block


def test_incomplete_and_unknown_deltas_stay_here() -> None:
    """They are ours, so they are in `to_dict` and not in a request."""
    raw = {"type": "text", "text": "t", "incomplete": True, "unknown_deltas": [{"type": "new", "x": 1}]}
    block = read_block(raw)
    assert isinstance(block, TextBlock)
    assert block.incomplete
    assert block.unknown_deltas[0].raw == {"type": "new", "x": 1}
    assert block.to_dict() == raw
    assert block.to_param() == {"type": "text", "text": "t"}


def test_an_unknown_block_that_was_cut() -> None:
    """It can be written and read again with what was added to it, and goes back as it came."""
    raw = {"type": "hologram", "n": 1}
    block = UnknownBlock(raw=raw, deltas=({"type": "sparkle_delta", "n": 2},), incomplete=True)
    assert block.to_param() == raw
    again = read_block(block.to_dict())
    assert again == block
    assert again.incomplete
    assert again.to_param() == raw


def test_fields_of_the_api_with_our_names() -> None:
    """Should the API ever use these names for something else, nothing is lost."""
    raw = {"type": "text", "text": "t", "incomplete": 0, "unknown_deltas": "x", "extra": [1], "input_json": "y"}
    assert read_block(raw).to_param() == raw
    raw = {"type": "tool_use", "id": "i", "name": "n", "input": {"a": 1}, "incomplete": "z"}
    assert read_block(raw).to_param() == raw


@pytest.mark.parametrize(
    ("raw", "extra"),
    [
        ({"type": "text", "text": "t", "citations": None}, {}),
        ({"type": "text", "text": "t", "citations": [], "new": 1}, {"new": 1}),
        ({"type": "text", "text": None, "new": None}, {"new": None}),
        ({"type": "text", "text": "t", "incomplete": False}, {"incomplete": False}),
        ({"type": "text", "text": "t", "unknown_deltas": None}, {"unknown_deltas": None}),
        ({"type": "tool_use", "id": "i", "name": "n", "input": {}, "toolset_name": None, "new": True}, {"new": True}),
        ({"type": "tool_use", "input": {"a": 1}, "input_json": "x"}, {"input_json": "x"}),
        ({"type": "tool_use", "caller": {"type": "direct", "x": None}}, {}),
        ({"type": "tool_use", "caller": {"type": "direct", "x": 1}}, {}),
        (
            {"type": "tool_use", "caller": {"type": "code_execution_20260120"}},
            {"caller": {"type": "code_execution_20260120"}},
        ),
        ({"type": "mcp_tool_result", "is_error": True, "content": "c"}, {}),
        (
            {"type": "mcp_tool_result", "is_error": None, "content": [{"type": "text", "text": "t", "x": 1}]},
            {},
        ),
        ({"type": "fallback", "to": {"model": "b", "x": 1}}, {}),
        ({"type": "compaction", "content": None, "tool_changes": [{"x": None}]}, {}),
    ],
)
def test_extra(raw: dict[str, Any], extra: dict[str, Any]) -> None:
    """What the fields of a block cannot give back, and nothing else: values within keep their own."""
    block = read_block(raw)
    assert block.extra == extra  # type: ignore[union-attr]
    param = without_nulls(block.to_param())
    assert isinstance(param, dict)
    expected = without_nulls(raw)
    assert isinstance(expected, dict)
    assert {name: param[name] for name in expected} == expected


def leaves(annotation: Any) -> set[Any]:
    arguments = typing.get_args(annotation)
    return set().union(*map(leaves, arguments)) if arguments else {annotation}


@pytest.mark.parametrize("cls", BLOCKS.values(), ids=BLOCKS)
def test_plain_values_are_held_as_they_are(cls: type[Block]) -> None:
    """No field has a type that something else is made of: a block relies on it when it looks for what it may lose."""
    for field in msgspec.structs.fields(cls):
        for leaf in leaves(field.type):
            assert leaf in (str, int, bool, type(None), Any, ...) or issubclass(leaf, Value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(WHOLE), st.dictionaries(st.text(max_size=6), JSON, max_size=3))
def test_any_unknown_fields(raw: dict[str, Any], fields: dict[str, Any]) -> None:
    """Whatever else a block holds goes back with it."""
    block = read_block({**fields, **raw})
    assert block.to_param() == {**fields, **raw}


@given(
    st.text(min_size=1).filter(lambda tag: tag not in BLOCKS), st.dictionaries(st.text(max_size=6), JSON, max_size=3)
)
def test_any_unknown_block(tag: str, fields: dict[str, Any]) -> None:
    """A block that nobody knows is kept as it is."""
    block = read_block({**fields, "type": tag})
    assert isinstance(block, UnknownBlock)
    assert block.raw == block.to_param() == block.to_dict() == {**fields, "type": tag}


def test_code_execution_result_by_name() -> None:
    """A result's fields are there to be used."""
    block = read_block(WHOLE[9])
    assert isinstance(block.content, CodeExecutionResultBlock)  # type: ignore[union-attr]
    assert block.content.stdout == "o"  # type: ignore[union-attr]
