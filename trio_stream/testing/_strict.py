"""What the Messages API refuses about a request, and how it says so.

What belongs here: the rules, pure: a decoded body in, the first fault's sentence out, beginning with its path
as the API writes it. What does not: headers and keys (`_scripted`), signatures themselves (`_signing`).

The rules are those a client can break by a mistake in keeping a conversation: they are not a full schema.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from trio_stream.testing._json import as_list, as_object
from trio_stream.testing._signing import first_mismatch

_Fields: TypeAlias = Mapping[str, Any]

NEWEST_VERSION = "2026-10-21"
VERSIONS = frozenset({"2023-06-01", NEWEST_VERSION})

_FIELDS = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "metadata",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    ]
)
_BETA_FIELDS = frozenset(
    [
        "billing_policy",
        "compaction",
        "context_management",
        "fallback_credit_token",
        "fallbacks",
        "mcp_servers",
        "output_format",
        "thread",
    ]
)
_COUNT_FIELDS = frozenset(
    [
        "model",
        "messages",
        "cache_control",
        "output_config",
        "speed",
        "system",
        "thinking",
        "tool_choice",
        "tools",
    ]
)
_SAMPLING = ("temperature", "top_p", "top_k")

_NONE: frozenset[str] = frozenset()
_ANY = frozenset({"type", "cache_control"})
_FIELDS_OF = {
    "text": _ANY | {"text", "citations"},
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": _ANY | {"id", "name", "input", "caller", "toolset_name"},
    "tool_result": _ANY | {"tool_use_id", "content", "is_error", "toolset_name"},
    "image": _ANY | {"source"},
    "document": _ANY | {"source", "title", "context", "citations"},
}
"""Where a wrong field is a likely mistake; other blocks may hold what they like."""

_REQUIRED = {
    "text": ("text",),
    "thinking": ("thinking", "signature"),
    "redacted_thinking": ("data",),
    "tool_use": ("id", "name", "input"),
    "tool_result": ("tool_use_id",),
    "image": ("source",),
    "document": ("source",),
}

_SERVER_BLOCKS = frozenset(
    [
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
    ]
)
_BETA_SERVER_BLOCKS = frozenset(
    ["mcp_tool_use", "mcp_tool_result", "mcp_tool_listing", "advisor_tool_result", "compaction", "fallback"]
)
_USER_BLOCKS = frozenset(["text", "image", "document", "search_result", "tool_result", "container_upload"])
_BETA_USER_BLOCKS = frozenset(["tool_addition", "tool_removal"])
_ASSISTANT_BLOCKS = (
    frozenset(["text", "thinking", "redacted_thinking", "tool_use", "container_upload"]) | _SERVER_BLOCKS
)
_BLOCKS = _USER_BLOCKS | _ASSISTANT_BLOCKS
_BETA_BLOCKS = _BLOCKS | _BETA_SERVER_BLOCKS | _BETA_USER_BLOCKS
_MOST_BREAKPOINTS = 4

_NEW_NAME = re.compile(r"claude-[a-z]+-(\d{1,2})(?:-(\d{1,2}))?(?:-|$)")
_OLD_NAME = re.compile(r"claude-(\d)(?:-(\d))?-[a-z]+")
_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")


def find_fault(
    body: _Fields, *, version: str | None = NEWEST_VERSION, beta: bool = False, counting: bool = False
) -> str | None:
    """The first thing that the API would refuse, in its words, or None.

    Args:
      body: The decoded body.
      version: The ``anthropic-version`` header.
      beta: Whether fields and blocks of betas are allowed.
      counting: Whether the request is to count tokens.
    """
    try:
        _check_fields(body, version, beta=beta, counting=counting)
        _check_tools(body)
        messages = _list(body["messages"], "messages")
        if not messages:
            raise _Fault("messages", "at least one message is required")
        turns = [_check_message(message, f"messages.{number}", beta=beta) for number, message in enumerate(messages)]
        if turns[0].role != "user":
            raise _Fault("messages", 'first message must use the "user" role')
        _check_pairs(turns)
        _check_ends(turns, str(body["model"]))
        _check_breakpoints(body)
        mismatch = first_mismatch(body)
        if mismatch is not None:
            raise _Fault(
                mismatch,
                "Invalid `signature` in `thinking` block: it, or what comes before it, is not what was signed",
            )
    except _Fault as fault:
        return str(fault)
    return None


def takes_prefill(model: str) -> bool:
    """Whether a model continues an assistant turn at the end. Those before 4.6 do."""
    match = _OLD_NAME.match(model) or _NEW_NAME.match(model)
    return match is not None and (int(match[1]), int(match[2] or 0)) < (4, 6)


class _Fault(Exception):  # noqa: N818 - a finding; turned into a sentence
    def __init__(self, path: str, problem: str) -> None:
        super().__init__(f"{path}: {problem}")


class _Turn:
    """A message whose own form has been found right."""

    def __init__(self, path: str, role: str, blocks: Sequence[_Fields]) -> None:
        self.path = path
        self.role = role
        self.blocks = blocks


def _check_fields(body: _Fields, version: str | None, *, beta: bool, counting: bool) -> None:
    if version is None:
        raise _Fault("anthropic-version", "header is required")
    if version not in VERSIONS:
        raise _Fault("anthropic-version", f'"{version}" is not a valid version')
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if name not in body:
            raise _Fault(name, "Field required")
    known = (_COUNT_FIELDS if counting else _FIELDS) | (_BETA_FIELDS if beta else _NONE)
    for name in body:
        if name in _SAMPLING and not counting:
            if version == NEWEST_VERSION:
                raise _Fault(name, f"Extra inputs are not permitted with anthropic-version {NEWEST_VERSION}")
        elif name not in known:
            raise _Fault(name, "Extra inputs are not permitted")
    if not isinstance(body["model"], str) or not body["model"]:
        raise _Fault("model", "Input should be a valid string")
    if not counting:
        _check_max_tokens(body)
    stream = body.get("stream")
    if stream is not None and not isinstance(stream, bool):
        raise _Fault("stream", "Input should be a valid boolean")
    system = body.get("system")
    if system is not None and not isinstance(system, str):
        for index, item in enumerate(_list(system, "system")):
            _check_block(item, f"system.{index}", frozenset({"text"}))


def _check_max_tokens(body: _Fields) -> None:
    most = body["max_tokens"]
    if not isinstance(most, int) or isinstance(most, bool):
        raise _Fault("max_tokens", "Input should be a valid integer")
    if most < 0 or (most == 0 and body.get("stream")):
        raise _Fault("max_tokens", "Input should be greater than or equal to 1")
    thinking = body.get("thinking")
    if thinking is None:
        return
    config = _fields(thinking, "thinking")
    if config.get("type") not in ("enabled", "adaptive", "disabled", "between_tools"):
        raise _Fault("thinking", f"Input tag {config.get('type')!r} does not match any of the expected tags")
    if config["type"] == "enabled":
        budget = config.get("budget_tokens")
        if not isinstance(budget, int):
            raise _Fault("thinking.enabled.budget_tokens", "Field required")
        if budget < 1024:
            raise _Fault("thinking.enabled.budget_tokens", "Input should be greater than or equal to 1024")
        if budget >= most:
            raise _Fault("max_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`")


def _check_tools(body: _Fields) -> None:
    names: set[str] = set()
    for index, item in enumerate(_list(body.get("tools") or [], "tools")):
        path = f"tools.{index}"
        tool = _fields(item, path)
        custom = tool.get("type") in (None, "custom")
        name = tool.get("name")
        if name is None:
            if custom:
                raise _Fault(f"{path}.custom.name", "Field required")
            continue
        if custom and not (isinstance(name, str) and _TOOL_NAME.fullmatch(name)):
            raise _Fault(f"{path}.custom.name", "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
        if name in names:
            raise _Fault("tools", "Tool names must be unique.")
        names.add(str(name))
        if custom:
            schema = tool.get("input_schema")
            if not isinstance(schema, Mapping):
                raise _Fault(f"{path}.custom.input_schema", "Field required")
            if as_object(schema).get("type") != "object":
                raise _Fault(f"{path}.custom.input_schema.type", "Input should be 'object'")
    choice = body.get("tool_choice")
    if choice is not None:
        wanted = _fields(choice, "tool_choice")
        if wanted.get("type") == "tool" and wanted.get("name") not in names:
            raise _Fault("tool_choice", f"Tool '{wanted.get('name')}' not found in provided tools")


def _check_message(message: Any, path: str, *, beta: bool) -> _Turn:
    fields = _fields(message, path)
    role = fields.get("role")
    if role is None:
        raise _Fault(f"{path}.role", "Field required")
    if role not in ("user", "assistant", "system"):
        raise _Fault(f"{path}.role", "Input should be 'user', 'assistant' or 'system'")
    extra = {"clear_at", "output_config"} if beta and role == "system" else _NONE
    for name in fields:
        if name not in ("role", "content") and name not in extra:
            raise _Fault(f"{path}.{name}", "Extra inputs are not permitted")
    if "content" not in fields:
        if beta and role == "system" and "output_config" in fields:
            return _Turn(path, "system", ())
        raise _Fault(f"{path}.content", "Field required")
    content = fields["content"]
    if isinstance(content, str):
        blocks: list[Any] = [{"type": "text", "text": content}]
        if not content:
            raise _Fault(path, "all messages must have non-empty content")
    else:
        blocks = _list(content, f"{path}.content")
        if not blocks:
            raise _Fault(path, "all messages must have non-empty content")
    kinds = _BETA_BLOCKS if beta else _BLOCKS
    checked = [_check_block(item, f"{path}.content.{index}", kinds) for index, item in enumerate(blocks)]
    _check_role(checked, path, str(role), beta=beta)
    return _Turn(path, str(role), checked)


def _check_block(item: Any, path: str, kinds: frozenset[str]) -> _Fields:
    block = _fields(item, path)
    kind = block.get("type")
    if kind is None:
        raise _Fault(f"{path}.type", "Field required")
    if kind not in kinds:
        tags = ", ".join(f"'{name}'" for name in sorted(kinds))
        raise _Fault(path, f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}")
    for name in _REQUIRED.get(kind, ()):
        if name not in block:
            raise _Fault(f"{path}.{kind}.{name}", "Field required")
    known = _FIELDS_OF.get(kind)
    if known is not None:
        for name in block:
            if name not in known:
                raise _Fault(f"{path}.{kind}.{name}", "Extra inputs are not permitted")
    if kind == "text":
        if not isinstance(block["text"], str):
            raise _Fault(f"{path}.text.text", "Input should be a valid string")
        if not block["text"]:
            raise _Fault(path, "text content blocks must be non-empty")
    elif kind == "thinking" and not block["signature"]:
        raise _Fault(path, "Invalid `signature` in `thinking` block")
    elif kind == "tool_use" and not isinstance(block["input"], Mapping):
        raise _Fault(f"{path}.tool_use.input", "Input should be a valid dictionary")
    elif kind == "tool_result":
        _check_result(block, path, kinds)
    return block


def _check_result(block: _Fields, path: str, kinds: frozenset[str]) -> None:
    content = block.get("content")
    if content is None or isinstance(content, str):
        return
    inner = (kinds & {"text", "image", "document", "search_result"}) | {"tool_reference", "browser_state"}
    for index, item in enumerate(_list(content, f"{path}.tool_result.content")):
        _check_block(item, f"{path}.tool_result.content.{index}", inner)


def _check_role(blocks: Sequence[_Fields], path: str, role: str, *, beta: bool) -> None:
    """Check that every block stands in a turn of the right role."""
    if role == "system":
        allowed = frozenset({"text"}) | (_BETA_USER_BLOCKS if beta else _NONE)
    elif role == "assistant":
        allowed = _ASSISTANT_BLOCKS | (_BETA_SERVER_BLOCKS if beta else _NONE)
    else:
        allowed = _USER_BLOCKS | (_BETA_USER_BLOCKS if beta else _NONE)
    for index, block in enumerate(blocks):
        kind = block["type"]
        if kind not in allowed:
            raise _Fault(f"{path}.content.{index}", f"`{kind}` blocks are not permitted in `{role}` messages")
        if kind == "text" and not block["text"].strip() and (role != "assistant" or index == len(blocks) - 1):
            raise _Fault(f"{path}.content.{index}", "text content blocks must contain non-whitespace text")


def _merged(turns: Sequence[_Turn]) -> list[list[tuple[str, str, _Fields]]]:
    """The blocks as (path, role, block). To the API, consecutive messages of one role are one turn."""
    merged: list[list[tuple[str, str, _Fields]]] = []
    for turn in turns:
        blocks = [(f"{turn.path}.content.{index}", turn.role, block) for index, block in enumerate(turn.blocks)]
        if merged and blocks and merged[-1][0][1] == turn.role:
            merged[-1].extend(blocks)
        elif blocks:
            merged.append(blocks)
    return merged


def _check_pairs(turns: Sequence[_Turn]) -> None:
    """Check that every ``tool_use`` has its ``tool_result`` first in the next turn, and the other way round."""
    asked: dict[str, str] = {}  # id -> path of the turn's message
    for blocks in _merged(turns):
        answered: set[str] = set()
        other = False
        for path, _, block in blocks:
            if block["type"] != "tool_result":
                other = True
                continue
            use = str(block["tool_use_id"])
            if use not in asked:
                raise _Fault(
                    path,
                    f"unexpected `tool_use_id` found in `tool_result` blocks: {use}. Each `tool_result` block must "
                    "have a corresponding `tool_use` block in the previous message.",
                )
            if use in answered:
                raise _Fault(
                    path,
                    f"each tool_use must have a single result. Found multiple `tool_result` blocks with id: {use}",
                )
            if other:
                raise _Fault(path, "`tool_result` blocks must come first in the content after `tool_use`")
            answered.add(use)
        _all_answered(asked, answered)
        asked = {}
        for path, _, block in blocks:
            if block["type"] == "tool_use":
                if block["id"] in asked:
                    raise _Fault(path, "`tool_use` ids must be unique")
                asked[str(block["id"])] = path
    _all_answered(asked, set())


def _all_answered(asked: Mapping[str, str], answered: set[str]) -> None:
    missing = [use for use in asked if use not in answered]
    if missing:
        raise _Fault(
            asked[missing[0]].partition(".content.")[0],
            f"`tool_use` ids were found without `tool_result` blocks immediately after: {', '.join(missing)}. Each "
            "`tool_use` block must have a corresponding `tool_result` block in the next message.",
        )


def _check_ends(turns: Sequence[_Turn], model: str) -> None:
    """Check how assistant turns, and the conversation, end."""
    for blocks in _merged(turns):
        path, role, block = blocks[-1]
        if role == "assistant" and block["type"] in ("thinking", "redacted_thinking"):
            raise _Fault(path, "The final block in an assistant message cannot be `thinking`.")
    last = turns[-1]
    if last.role != "assistant":
        return
    final = last.blocks[-1]
    if final["type"] == "server_tool_use" or final["type"] in _SERVER_BLOCKS | _BETA_SERVER_BLOCKS:
        return  # a paused turn is sent back as it is, to go on
    if not takes_prefill(model):
        raise _Fault(
            last.path,
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        )
    if final["type"] == "text" and final["text"] != final["text"].rstrip():
        raise _Fault(last.path, "final assistant content cannot end with trailing whitespace")


def _check_breakpoints(body: _Fields) -> None:
    found = _breakpoints([body.get("system"), body.get("tools"), body.get("messages")])
    if found > _MOST_BREAKPOINTS:
        raise _Fault(
            "messages",
            f"A maximum of {_MOST_BREAKPOINTS} blocks with cache_control may be provided. Found {found}.",
        )


def _breakpoints(value: Any) -> int:
    fields = as_object(value)
    own = 1 if fields.get("cache_control") else 0
    inner = as_list(value) or as_list(fields.get("content"))
    return own + sum(map(_breakpoints, inner))


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise _Fault(path, "Input should be a valid list")
    return as_list(value)


def _fields(value: Any, path: str) -> _Fields:
    if not isinstance(value, Mapping):
        raise _Fault(path, "Input should be an object")
    return as_object(value)
