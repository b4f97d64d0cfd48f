"""What a strict scripted API refuses, rule by rule, and that it takes what is right."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from trio_stream.testing._signing import sign, sign_summary
from trio_stream.testing._strict import dropped_thinking, find_fault, takes_prefill

JSON = dict[str, Any]


def user(*content: Any) -> JSON:
    return {"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}


def assistant(*content: Any) -> JSON:
    return {"role": "assistant", "content": content[0] if isinstance(content[0], str) else list(content)}


def text(value: Any = "x", **fields: Any) -> JSON:
    return {"type": "text", "text": value, **fields}


def use(use_id: str = "t1", **fields: Any) -> JSON:
    return {"type": "tool_use", "id": use_id, "name": "f", "input": {}, **fields}


def result(use_id: str = "t1", **fields: Any) -> JSON:
    return {"type": "tool_result", "tool_use_id": use_id, "content": "y", **fields}


def thinking(signature: str = "recorded") -> JSON:
    return {"type": "thinking", "thinking": "hm", "signature": signature}


TOOL: JSON = {"name": "f", "input_schema": {"type": "object"}}
OLD = "claude-sonnet-4-20250514"


def body(*messages: JSON, **fields: Any) -> JSON:
    return {"model": "claude-opus-5", "max_tokens": 10, "messages": list(messages or [user("hi")]), **fields}


def searched(use_id: str = "s1", **fields: Any) -> JSON:
    return {"type": "server_tool_use", "id": use_id, "name": "web_search", "input": {}, **fields}


def found(use_id: str = "s1") -> JSON:
    return {"type": "web_search_tool_result", "tool_use_id": use_id, "content": []}


def program() -> JSON:
    return searched(name="code_execution")


def by_program(use_id: str = "t1", program_id: str = "s1") -> JSON:
    return use(use_id, caller={"type": "code_execution_20260120", "tool_id": program_id})


MARKED = text(cache_control={"type": "ephemeral"})
SUMMARIZE = {"type": "summarize"}
LONG = text(cache_control={"type": "ephemeral", "ttl": "1h"})

GOOD: list[tuple[str, JSON]] = [
    ("plain", body()),
    ("blocks", body(user(text(), {"type": "image", "source": {}}, {"type": "document", "source": {}, "title": "t"}))),
    ("system text", body(system="be brief")),
    ("system blocks", body(system=[text(cache_control={"type": "ephemeral"})])),
    ("system message", body(user("a"), {"role": "system", "content": "b"}, user("c"))),
    ("turns in a row", body(user("a"), user("b"), assistant("c"), assistant("d"), user("e"))),
    ("tool", body(user("a"), assistant(text(), use()), user(result(), text()))),
    ("two tools", body(user("a"), assistant(use(), use("t2")), user(result("t2"), result()))),
    ("results in two messages", body(user("a"), assistant(use(), use("t2")), user(result()), user(result("t2")))),
    ("same id in another turn", body(user("a"), assistant(use()), user(result()), assistant(use()), user(result()))),
    ("result of blocks", body(user("a"), assistant(use()), user(result(content=[text()], is_error=True)))),
    ("result without content", body(user("a"), assistant(use()), user({"type": "tool_result", "tool_use_id": "t1"}))),
    ("signed thinking", body(user("a"), assistant(thinking(), text()), user("b"))),
    ("thinking before a tool", body(user("a"), assistant(thinking(), use()), user(result()))),
    ("blank text between blocks", body(user("a"), assistant(text("\n\n"), thinking(), text()), user("b"))),
    ("prefill on an old model", body(user("a"), assistant("The answer is ("), model=OLD)),
    ("paused turn", body(user("a"), assistant({"type": "server_tool_use", "id": "s", "name": "n", "input": {}}))),
    ("thinking on", body(max_tokens=2048, thinking={"type": "enabled", "budget_tokens": 1024})),
    ("adaptive thinking", body(thinking={"type": "adaptive", "display": "omitted"})),
    (
        "tools",
        body(tools=[TOOL, {"type": "web_search_20260318", "name": "web_search"}, {"type": "a_toolset_20260801"}]),
    ),
    ("tool choice", body(tools=[TOOL], tool_choice={"type": "tool", "name": "f"})),
    ("stream", body(stream=True, stop_sequences=["x"], metadata={}, service_tier="auto", output_config={})),
    ("nothing to write", body(max_tokens=0)),
    ("four breakpoints", body(user(*[text(cache_control={"type": "ephemeral"})] * 4))),
    (
        "caller and toolset",
        body(user("a"), assistant(use(caller={"type": "direct"}, toolset_name=None)), user(result())),
    ),
    ("nulls", body(thinking=None, system=None, tools=None, tool_choice=None)),
    ("the API's call and its result", body(user("a"), assistant(searched(), found(), text()), user("b"))),
    ("a paused turn that went on", body(user("a"), assistant(searched()), assistant(found(), text()), user("b"))),
    ("and paused again", body(user("a"), assistant(searched()), assistant(found(), searched("s2")))),
    (
        "the API's call beside ours",
        body(user("a"), assistant(searched(), use()), user(result()), assistant(found(), text()), user("b")),
    ),
    ("and not answered yet", body(user("a"), assistant(searched(), use()), user(result()))),
    ("a program's call", body(user("a"), assistant(program(), by_program()), user(result()), container="c1")),
    (
        "a program that goes on calling",
        body(
            user("a"),
            assistant(program(), by_program()),
            user(result()),
            assistant(by_program("t2")),
            user(result("t2")),
            assistant({**found(), "type": "code_execution_tool_result"}, text()),
            user("b"),
        ),
    ),
    ("a toolset", body(user("a"), assistant(use(toolset_name="x")), user(result(toolset_name="x")))),
    ("an automatic breakpoint", body(user(*[MARKED] * 3, text()), cache_control=MARKED["cache_control"])),
    ("one where there is one already", body(user(*[MARKED] * 4), cache_control=MARKED["cache_control"])),
    ("longer before shorter", body(user(LONG, MARKED, text()), system=[LONG], cache_control=MARKED["cache_control"])),
    ("one on text alone", body(user(MARKED, MARKED), user("x"), cache_control=MARKED["cache_control"])),
]


@pytest.mark.parametrize(("request_body"), [b for _, b in GOOD], ids=[name for name, _ in GOOD])
def test_what_is_right_passes(request_body: JSON) -> None:
    before = copy.deepcopy(request_body)
    assert find_fault(request_body) is None
    assert request_body == before


BAD: list[tuple[JSON, str]] = [
    # Fields
    ({"max_tokens": 1, "messages": [user("a")]}, "model: Field required"),
    ({"model": "m", "messages": [user("a")]}, "max_tokens: Field required"),
    ({"model": "m", "max_tokens": 1}, "messages: Field required"),
    (body(model=7), "model: Input should be a valid string"),
    (body(model=""), "model: Input should be a valid string"),
    (body(max_tokens="10"), "max_tokens: Input should be a valid integer"),
    (body(max_tokens=True), "max_tokens: Input should be a valid integer"),
    (body(max_tokens=-1), "max_tokens: Input should be greater"),
    (body(max_tokens=0, stream=True), "max_tokens: Input should be greater"),
    (body(max_token=10), "max_token: Extra inputs are not permitted"),
    (body(betas=["x"]), "betas: Extra inputs are not permitted"),
    (body(context_management={}), "context_management: Extra inputs are not permitted"),
    (body(temperature=1.0), "temperature: Extra inputs are not permitted with anthropic-version"),
    (body(top_p=1.0), "top_p: Extra inputs"),
    (body(top_k=1), "top_k: Extra inputs"),
    (body(stream="yes"), "stream: Input should be a valid boolean"),
    (body(system=7), "system: Input should be a valid list"),
    (body(system=[{"type": "image", "source": {}}]), "system.0: Input tag 'image'"),
    (body(thinking=7), "thinking: Input should be an object"),
    (body(thinking={"type": "on"}), "thinking: Input tag 'on'"),
    (body(thinking={"type": "enabled"}), "thinking.enabled.budget_tokens: Field required"),
    (body(thinking={"type": "enabled", "budget_tokens": 5}), "thinking.enabled.budget_tokens: Input should be"),
    (body(thinking={"type": "enabled", "budget_tokens": 1024}), "max_tokens: `max_tokens` must be greater"),
    # Tools
    (body(tools={"a": 1}), "tools: Input should be a valid list"),
    (body(tools=[7]), "tools.0: Input should be an object"),
    (body(tools=[{"input_schema": {}}]), "tools.0.custom.name: Field required"),
    (body(tools=[{**TOOL, "name": "has space"}]), "tools.0.custom.name: String should match"),
    (body(tools=[TOOL, TOOL]), "tools: Tool names must be unique."),
    (body(tools=[{"name": "f"}]), "tools.0.custom.input_schema: Field required"),
    (body(tools=[{"name": "f", "input_schema": {}}]), "tools.0.custom.input_schema.type: Input should be 'object'"),
    (body(tools=[TOOL], tool_choice={"type": "tool", "name": "g"}), "tool_choice: Tool 'g' not found"),
    # Messages
    ({**body(), "messages": []}, "messages: at least one message is required"),
    ({**body(), "messages": {}}, "messages: Input should be a valid list"),
    ({**body(), "messages": ["x"]}, "messages.0: Input should be an object"),
    (body({"content": "x"}), "messages.0.role: Field required"),
    (body({"role": "tool", "content": "x"}), "messages.0.role: Input should be 'user'"),
    (body({"role": "user"}), "messages.0.content: Field required"),
    (body({"role": "user", "content": 7}), "messages.0.content: Input should be a valid list"),
    (body({"role": "user", "content": "x", "id": "m"}), "messages.0.id: Extra inputs are not permitted"),
    (body(assistant("a"), user("b")), 'messages: first message must use the "user" role'),
    (body({"role": "system", "content": "a"}, user("b")), 'messages: first message must use the "user" role'),
    (body(user("a"), {"role": "assistant", "content": []}, user("b")), "messages.1: all messages must have non-empty"),
    (body(user("")), "messages.0: all messages must have non-empty content"),
    # Blocks
    (body(user("a"), assistant({"text": "x"}), user("b")), "messages.1.content.0.type: Field required"),
    (body(user(7)), "messages.0.content.0: Input should be an object"),
    (body(user({"type": "brand_new"})), "messages.0.content.0: Input tag 'brand_new' found using 'type'"),
    (body(user(text(""))), "messages.0.content.0: text content blocks must be non-empty"),
    (body(user(text(" \n"))), "messages.0.content.0: text content blocks must contain non-whitespace"),
    (body(user("  ")), "messages.0.content.0: text content blocks must contain non-whitespace"),
    (
        body(user("a"), assistant(text(), text("\n")), user("b")),
        "messages.1.content.1: text content blocks must contain",
    ),
    (body(user(text(7))), "messages.0.content.0.text.text: Input should be a valid string"),
    (body(user({"type": "text"})), "messages.0.content.0.text.text: Field required"),
    (body(user(text(id="x"))), "messages.0.content.0.text.id: Extra inputs are not permitted"),
    (body(user("a"), assistant(thinking("")), user("b")), "messages.1.content.0: Invalid `signature`"),
    (
        body(user("a"), assistant({"type": "thinking", "thinking": "x"}), user("b")),
        "messages.1.content.0.thinking.signature: Field required",
    ),
    (
        body(user("a"), assistant(use(input="{}")), user(result())),
        "messages.1.content.0.tool_use.input: Input should be",
    ),
    (
        body(user("a"), assistant(use(incomplete=True)), user(result())),
        "messages.1.content.0.tool_use.incomplete: Extra",
    ),
    (
        body(user("a"), assistant(use()), user(result(content=[text("")]))),
        "messages.2.content.0.tool_result.content.0: text content",
    ),
    (
        body(user("a"), assistant(use()), user(result(content=[use()]))),
        "messages.2.content.0.tool_result.content.0: Input tag 'tool_use'",
    ),
    (
        body(user("a"), assistant(use()), user(result(content=7))),
        "messages.2.content.0.tool_result.content: Input should be a valid list",
    ),
    (
        body(
            user("a"),
            assistant(use()),
            user(result(content=[text(), {"type": "image", "source": {}}], is_error=True)),
        ),
        "messages.2.content.0.tool_result.content: all content must be type `text` if `is_error` is true",
    ),
    (body(user(use())), "messages.0.content.0: `tool_use` blocks are not permitted in `user` messages"),
    (body(user("a"), assistant(result()), user("b")), "messages.1.content.0: `tool_result` blocks are not permitted"),
    (
        body(user("a"), {"role": "system", "content": [{"type": "image", "source": {}}]}, user("b")),
        "messages.1.content.0: `image`",
    ),
    (body(user({"type": "compaction", "content": "x"})), "messages.0.content.0: Input tag 'compaction'"),
    # Pairs
    (
        body(user("a"), assistant(text(), use()), user("b")),
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t1.",
    ),
    (
        body(user("a"), assistant(use(), use("t2")), user(result())),
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: t2.",
    ),
    (body(user("a"), assistant(use())), "messages.1: `tool_use` ids were found without"),
    (
        body(user("a"), assistant(use()), {"role": "system", "content": "x"}, user(result())),
        "messages.1: `tool_use` ids were found without",
    ),
    (body(user(result())), "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: t1."),
    (body(user("a"), assistant(use()), user(result(), result("t9"))), "messages.2.content.1: unexpected `tool_use_id`"),
    (
        body(user("a"), assistant(use()), user(result()), assistant("b"), user(result())),
        "messages.4.content.0: unexpected",
    ),
    (
        body(user("a"), assistant(use()), user(result(), result())),
        "messages.2.content.1: each tool_use must have a single result",
    ),
    (
        body(user("a"), assistant(use()), user(text(), result())),
        "messages.2.content.1: `tool_result` blocks must come first",
    ),
    (
        body(user("a"), assistant(use()), user("b"), user(result())),
        "messages.3.content.0: `tool_result` blocks must come first",
    ),
    (body(user("a"), assistant(use(), use()), user(result())), "messages.1.content.1: `tool_use` ids must be unique"),
    (
        body(user("a"), assistant(use(toolset_name="x")), user(result())),
        "messages.2.content.0.tool_result.toolset_name: must be",
    ),
    # Calls of the API's own tools
    (
        body(user("a"), assistant(searched(), text()), user("b")),
        "messages.1: `web_search` tool use with id `s1` was found without a corresponding `web_search_tool_result` block",
    ),
    (
        body(user("a"), assistant(searched(name="tool_search_tool_regex")), user("b")),
        "messages.1: `tool_search_tool_regex` tool use with id `s1` was found without a corresponding `tool_search_tool_",
    ),
    (
        body(user("a"), assistant(searched(), use()), user(result()), assistant(text()), user("b")),
        "messages.1: `web_search` tool use with id `s1` was found without",
    ),
    (
        body(user("a"), assistant(searched()), {"role": "system", "content": "b"}),
        "messages.1: `web_search` tool use with id `s1` was found without",
    ),
    (
        body(user("a"), assistant(found(), text()), user("b")),
        "messages.1.content.0: unexpected `tool_use_id` found in `web_search_tool_result` blocks: s1.",
    ),
    # Calls of programs
    (
        body(user("a"), assistant(program(), by_program()), user(result(), text()), container="c1"),
        "messages.2.content.1: only `tool_result` blocks are permitted",
    ),
    (
        body(user("a"), assistant(program(), by_program()), user(result()), user("b"), container="c1"),
        "messages.3.content.0: only `tool_result` blocks are permitted",
    ),
    (
        body(user("a"), assistant(by_program()), user(result()), container="c1"),
        "messages.1.content.0.tool_use.caller.tool_id: no `server_tool_use` block before it has the id s1",
    ),
    (
        body(user("a"), assistant(program(), by_program()), user(result())),
        "container_id is required when there are pending tool uses",
    ),
    # Ends
    (
        body(user("a"), assistant(text(), thinking()), user("b")),
        "messages.1.content.1: The final block in an assistant message cannot be `thinking`.",
    ),
    (
        body(user("a"), assistant({"type": "redacted_thinking", "data": "x"}), user("b")),
        "messages.1.content.0: The final block",
    ),
    (body(user("a"), assistant("b")), "messages.1: This model does not support assistant message prefill."),
    (
        body(user("a"), assistant("b "), model=OLD),
        "messages.1: final assistant content cannot end with trailing whitespace",
    ),
    (
        body(user(*[text(cache_control={"type": "ephemeral"})] * 5)),
        "messages: A maximum of 4 blocks with cache_control",
    ),
    (
        body(
            user(text(cache_control={"type": "ephemeral"})),
            system=[text(cache_control={"type": "ephemeral"})] * 3,
            tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}],
        ),
        "messages: A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        body(user(*[MARKED] * 4, text()), cache_control=MARKED["cache_control"]),
        "messages: A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        body(user("a"), assistant(use()), user(result(content=[*[MARKED] * 4])), cache_control=MARKED["cache_control"]),
        "messages: A maximum of 4 blocks with cache_control may be provided. Found 5.",
    ),
    (
        body(user(text(), LONG), cache_control=MARKED["cache_control"]),
        "cache_control.ttl: the last block has a breakpoint with another ttl: messages.0.content.1",
    ),
    (
        body(user(MARKED, text()), cache_control=LONG["cache_control"]),
        "messages.0.content.1.cache_control.ttl: a ttl='1h' cache_control block must not come after",
    ),
    (
        body(user(LONG), tools=[{**TOOL, "cache_control": {"type": "ephemeral", "ttl": "5m"}}]),
        "messages.0.content.0.cache_control.ttl: a ttl='1h' cache_control block must not come after",
    ),
]


@pytest.mark.parametrize(("request_body", "start"), BAD, ids=[start for _, start in BAD])
def test_what_is_wrong_is_refused_by_its_path(request_body: JSON, start: str) -> None:
    fault = find_fault(request_body)
    assert fault is not None
    assert fault.startswith(start), fault


@pytest.mark.parametrize(
    ("version", "request_body", "start"),
    [
        (None, body(), "anthropic-version: header is required"),
        ("2020-01-01", body(), 'anthropic-version: "2020-01-01" is not a valid version'),
        ("2023-06-01", body(temperature=0.5, top_p=0.9, top_k=5), None),
        ("2026-10-21", body(), None),
    ],
)
def test_versions(version: str | None, request_body: JSON, start: str | None) -> None:
    fault = find_fault(request_body, version=version)
    assert fault == start or (fault or "").startswith(start or "nothing")


def test_betas_know_more() -> None:
    compaction = {"type": "compaction", "content": "so far"}
    messages = [user("a"), assistant(compaction, text()), user("b")]
    assert find_fault(body(*messages)) is not None
    assert find_fault(body(*messages), beta=True) is None
    assert find_fault(body(context_management={}, mcp_servers=[], fallbacks=[]), beta=True) is None
    system = {"role": "system", "content": "x", "clear_at": "never"}
    assert find_fault(body(user("a"), system), beta=True) is None
    assert find_fault(body(user("a"), system)) == "messages.1.clear_at: Extra inputs are not permitted"
    assert find_fault(body(user("a"), {"role": "system", "output_config": {}}, user("b")), beta=True) is None


SUMMARY: JSON = {"type": "compaction", "content": "so far", "signature": sign_summary("so far")}
EDITED: JSON = {"type": "compaction", "content": "so far", "encrypted_content": "x"}
RECORDED: JSON = {**SUMMARY, "signature": "recorded"}


@pytest.mark.parametrize(
    "messages",
    [
        [assistant(SUMMARY), user("a")],
        [assistant(RECORDED), user("a")],
        [assistant(SUMMARY)],
        [assistant(EDITED, text()), user("a")],
        [user("a"), assistant(EDITED, text()), user("b"), assistant(EDITED, text()), user("c")],
        [assistant(SUMMARY), user("a"), assistant({**EDITED, "content": None}, text()), user("b")],
    ],
)
def test_summaries_that_are_taken_back(messages: list[JSON]) -> None:
    """One with a signature at the beginning; those of an edit wherever they came."""
    assert find_fault(body(*messages), beta=True) is None


@pytest.mark.parametrize(
    ("request_body", "start"),
    [
        (
            body(user("a"), assistant(SUMMARY), user("b")),
            "messages.1.content.0: the `compaction` block must be the first",
        ),
        (
            body(assistant(SUMMARY), assistant(EDITED), user("b")),
            "messages.1.content.0: `messages` holds more than one `compaction` block with content.",
        ),
        (
            body(assistant({**EDITED, "content": ""}, text()), user("b")),
            "messages.0.content.0.compaction.content: content",
        ),
        (body(assistant({**SUMMARY, "content": "other"}), user("b")), "messages.0.content.0: the `content` of the"),
        (
            body(assistant(SUMMARY), user("b"), context_management={"edits": [{"type": "compact_20260112"}]}),
            "context_management: a compaction edit cannot be combined",
        ),
        (body(compaction={"type": "other"}), "compaction.type: Input should be 'summarize'"),
        (body(compaction={"type": "summarize", "x": 1}), "compaction.x: Extra inputs"),
        (body(compaction={"type": "summarize", "instructions": 1}), "compaction.instructions: Input should be"),
        (body(compaction=SUMMARIZE, stop_sequences=["x"]), "stop_sequences: cannot be combined with `compaction`"),
        (body(compaction=SUMMARIZE, context_management={}), "context_management: cannot be combined"),
        (
            body(compaction=SUMMARIZE, output_config={"format": {"type": "json_schema", "schema": {}}}),
            "output_config.format: cannot be combined",
        ),
        (body(compaction=SUMMARIZE, tools=[TOOL], tool_choice={"type": "any"}), 'tool_choice: type "any" and "tool"'),
        (
            body(user("a"), assistant(searched()), compaction=SUMMARIZE),
            "messages.1: the compaction request ends on an `assistant` turn that is not finished",
        ),
        (
            body(user("a"), assistant(searched(), found()), compaction=SUMMARIZE),
            "messages.1: the compaction request ends on an `assistant` turn that is not finished",
        ),
        (body(user("a"), assistant(use()), compaction=SUMMARIZE), "messages.1: `tool_use` ids were found without"),
    ],
)
def test_what_is_wrong_about_summaries(request_body: JSON, start: str) -> None:
    fault = find_fault(request_body, beta=True)
    assert fault is not None
    assert fault.startswith(start), fault


def test_a_whole_conversation_can_be_summarized() -> None:
    """It may end with the assistant, also on models that take no prefill."""
    config = {"type": "summarize", "instructions": "In one line."}
    for messages in ([user("a")], [user("a"), assistant("b")], [assistant(SUMMARY), user("a"), assistant("b")]):
        assert (
            find_fault(body(*messages, compaction=config, tools=[TOOL], tool_choice={"type": "auto"}), beta=True)
            is None
        )


def test_an_mcp_call_of_the_apis_is_answered_too() -> None:
    """Under its own names."""
    asked = {"type": "mcp_tool_use", "id": "m1", "name": "read", "server_name": "files", "input": {}}
    told = {"type": "mcp_tool_result", "tool_use_id": "m1", "is_error": False, "content": []}
    assert find_fault(body(user("a"), assistant(asked, told, text()), user("b")), beta=True) is None
    fault = find_fault(body(user("a"), assistant(asked, text()), user("b")), beta=True)
    assert fault == "messages.1: `read` tool use with id `m1` was found without a corresponding `mcp_tool_result` block"
    fault = find_fault(body(user("a"), assistant(told, text()), user("b")), beta=True)
    assert fault is not None
    assert "Each `mcp_tool_result` block must have a corresponding `mcp_tool_use` block before it." in fault


def test_counting_needs_no_container() -> None:
    """It has no such parameter."""
    counted = body(user("a"), assistant(program(), by_program()), user(result()))
    del counted["max_tokens"]
    assert find_fault(counted, counting=True) is None


def test_counting_takes_less() -> None:
    counted = {"model": "claude-opus-5", "messages": [user("a")]}
    assert find_fault(counted, counting=True) is None
    assert find_fault(body(), counting=True) == "max_tokens: Extra inputs are not permitted"
    assert find_fault({**counted, "temperature": 1}, counting=True) == "temperature: Extra inputs are not permitted"


def signed_after(*messages: JSON, text_of: str = "hm") -> JSON:
    """Thinking as the API would have signed it after these messages."""
    return {"type": "thinking", "thinking": text_of, "signature": sign(body(*messages), [], text_of)}


PRESERVING = ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-fable-5-1", "claude-mythos-5-2"]
OTHERS = [
    "claude-opus-5",
    "claude-sonnet-5",
    "claude-fable-5",
    "claude-haiku-4-5-20251001",
    OLD,
    "a-model-nobody-knows",
]


@pytest.mark.parametrize("model", PRESERVING)
def test_thinking_that_does_not_fit_what_came_before(model: str) -> None:
    signed = signed_after(user("a"))
    assert find_fault(body(user("a"), assistant(signed, text()), user("b"), model=model)) is None
    fault = find_fault(body(user("another"), assistant(signed, text()), user("b"), model=model))
    assert fault is not None
    assert fault.startswith("messages.1.content.0: Invalid `signature` in `thinking` block")
    assert "bound to a different conversation" in fault


@pytest.mark.parametrize("model", OTHERS)
def test_models_without_preserved_thinking_do_not_look_at_what_came_before(model: str) -> None:
    changed = body(user("another"), assistant(signed_after(user("a")), text()), user("b"), model=model, system="new")
    assert find_fault(changed) is None


@pytest.mark.parametrize("model", [PRESERVING[0], OTHERS[0]])
@pytest.mark.parametrize(
    "change",
    [
        {"thinking": "hm!"},
        {"signature": signed_after(user("a"))["signature"][:-8]},
        {"signature": signed_after(user("a"))["signature"][:-8] + "?" * 8},
    ],
)
def test_thinking_that_was_changed_itself_is_refused_by_every_model(model: str, change: JSON) -> None:
    block = {**signed_after(user("a")), **change}
    for binding in ({}, {"thinking": DROP}):
        fault = find_fault(body(user("a"), assistant(block, text()), user("b"), model=model, **binding), beta=True)
        assert fault == "messages.1.content.0: Invalid `signature` in `thinking` block"


DROP: JSON = {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}


def test_drop_block_takes_thinking_of_another_conversation() -> None:
    changed = body(
        user("another"),
        assistant(signed_after(user("a")), text()),
        user("b"),
        model="claude-opus-5-5",
        thinking=DROP,
        max_tokens=2048,
    )
    assert find_fault(changed, beta=True) is None
    assert dropped_thinking(changed) == ["messages.1.content.0"]
    for same in (None, {}, {"prefix_mismatch_behavior": None}, {"prefix_mismatch_behavior": "error"}):
        config = {"type": "adaptive", "block_binding": same}
        fault = find_fault({**changed, "thinking": config}, beta=True)
        assert fault is not None, same
        assert "bound to a different conversation" in fault
        assert dropped_thinking({**changed, "thinking": config}) == []
    assert find_fault(changed) == "thinking.adaptive.block_binding: Extra inputs are not permitted"  # it is a beta
    assert dropped_thinking({**changed, "model": "claude-opus-5"}) == []


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("claude-3-opus-latest", True),
        ("claude-3-7-sonnet-20250219", True),
        ("claude-sonnet-4-20250514", True),
        ("claude-opus-4-1-20250805", True),
        ("claude-opus-4-5", True),
        ("claude-opus-4-6", False),
        ("claude-sonnet-4-7-20260101", False),
        ("claude-opus-5", False),
        ("claude-fable-5-1", False),
        ("a-model-nobody-knows", False),
    ],
)
def test_prefill_ends_with_4_6(model: str, takes: bool) -> None:
    assert takes_prefill(model) is takes
