"""What the Messages API refuses about a request, and how it says so.

What belongs here: the rules for a conversation, pure: a decoded body in, the first fault's sentence out, beginning with
its path as the API writes it. What does not: the other parameters (`_strict_params`), calls and their results
(`_strict_calls`), images and documents (`_strict_sources`), summaries (`_strict_compaction`), cache breakpoints
(`_strict_cache`), headers and keys (`_scripted`), signatures themselves (`_signing`).

The rules are those a client can break by a mistake in keeping a conversation: they are not a full schema.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from trio_stream.testing._faults import EXTRA, Betas, Fault, Fields, Placed, check_str, fields_of, list_of
from trio_stream.testing._json import at_path
from trio_stream.testing._models import preserves_thinking, takes_prefill as takes_prefill
from trio_stream.testing._signing import Mismatch, mismatches
from trio_stream.testing._strict_cache import check_breakpoints
from trio_stream.testing._strict_calls import check_calls
from trio_stream.testing._strict_compaction import check_compaction
from trio_stream.testing._strict_params import NEWEST_VERSION as NEWEST_VERSION, VERSIONS as VERSIONS, check_params
from trio_stream.testing._strict_sources import check_source, check_transformations

_NONE: frozenset[str] = frozenset()
_ANY = frozenset({"type", "cache_control"})
_FIELDS_OF = {
    "text": _ANY | {"text", "citations"},
    "thinking": frozenset({"type", "thinking", "signature"}),
    "redacted_thinking": frozenset({"type", "data"}),
    "tool_use": _ANY | {"id", "name", "input", "caller", "toolset_name"},
    "tool_result": _ANY | {"tool_use_id", "content", "is_error", "toolset_name"},
    "image": _ANY | {"source", "transformations"},
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

_NON_EMPTY = "all messages must have non-empty content except for the optional final assistant message"


def find_fault(
    body: Fields,
    *,
    version: str | None = NEWEST_VERSION,
    beta: bool = False,
    betas: Iterable[str] = (),
    counting: bool = False,
) -> str | None:
    """The first thing that the API would refuse, in its words, or None.

    Args:
      body: The decoded body.
      version: The ``anthropic-version`` header.
      beta: Whether fields and blocks of betas are allowed.
      betas: The names in ``anthropic-beta``, where a rule depends on one. If there are none, ``beta`` is for all.
      counting: Whether the request is to count tokens.
    """
    names = frozenset(betas)
    asked = Betas(beta or bool(names), names)
    try:
        check_params(body, version, asked, counting=counting)
        _check_conversation(body, beta=asked.any, counting=counting)
    except Fault as fault:
        return str(fault)
    return None


def dropped_thinking(body: Fields) -> list[str]:
    """The paths of the thinking blocks that the API leaves out, because the request asks for that in place of an error.

    Args:
      body: A decoded body in which `find_fault` found nothing.
    """
    return _bound_elsewhere(body, mismatches(body)) if _drops(body) else []


def _drops(body: Fields) -> bool:
    wanted: object = at_path(body, "thinking", "block_binding", "prefix_mismatch_behavior")
    return wanted == "drop_block"


def _bound_elsewhere(body: Fields, found: Iterable[Mismatch]) -> list[str]:
    """The paths of the thinking blocks that were signed after another conversation, where the model looks at that."""
    if not preserves_thinking(str(body.get("model"))):
        return []
    return [mismatch.path for mismatch in found if mismatch.genuine]


class _Turn:
    """A message whose own form has been found right."""

    def __init__(self, path: str, role: str, blocks: Sequence[Fields]) -> None:
        self.path = path
        self.role = role
        self.blocks = blocks


def _check_conversation(body: Fields, *, beta: bool, counting: bool) -> None:
    system = body.get("system")
    if system is not None and not isinstance(system, str):
        for index, item in enumerate(list_of(system, "system")):
            _check_block(item, f"system.{index}", frozenset({"text"}))
    messages = list_of(body["messages"], "messages")
    if not messages:
        raise Fault("messages", "at least one message is required")
    turns = [
        _check_message(message, f"messages.{number}", beta=beta, last=number == len(messages) - 1)
        for number, message in enumerate(messages)
    ]
    if turns[0].role != "user" and not _begins_with_summary(turns[0]):
        raise Fault("messages", 'first message must use the "user" role')
    merged = _merged(turns)
    check_calls(merged, container=body.get("container"), counting=counting)
    check_compaction(body, merged)
    _check_ends(turns, merged, body)
    check_breakpoints(body)
    _check_signatures(body)


def _begins_with_summary(first: _Turn) -> bool:
    return bool(first.blocks) and first.blocks[0]["type"] == "compaction"


def _check_signatures(body: Fields) -> None:
    found = mismatches(body)
    damaged = [mismatch.path for mismatch in found if not mismatch.genuine]
    if damaged:
        raise Fault(damaged[0], "Invalid `signature` in `thinking` block")
    elsewhere = [] if _drops(body) else _bound_elsewhere(body, found)
    if elsewhere:
        raise Fault(
            elsewhere[0],
            "Invalid `signature` in `thinking` block. The block is bound to a different conversation. Remove the "
            'block, or set `thinking.block_binding.prefix_mismatch_behavior` to "drop_block".',
        )


def _check_message(message: Any, path: str, *, beta: bool, last: bool) -> _Turn:
    fields = fields_of(message, path)
    role = fields.get("role")
    if role is None:
        raise Fault(f"{path}.role", "Field required")
    if role not in ("user", "assistant", "system"):
        raise Fault(f"{path}.role", "Input should be 'user', 'assistant' or 'system'")
    extra = {"clear_at", "output_config"} if beta and role == "system" else _NONE
    for name in fields:
        if name not in ("role", "content") and name not in extra:
            raise Fault(f"{path}.{name}", EXTRA)
    if "content" not in fields:
        if beta and role == "system" and "output_config" in fields:
            return _Turn(path, "system", ())
        raise Fault(f"{path}.content", "Field required")
    content = fields["content"]
    if content in ("", []):
        if not last or role != "assistant":
            raise Fault(path, _NON_EMPTY)
        return _Turn(path, "assistant", ())
    if isinstance(content, str):
        blocks: list[Any] = [{"type": "text", "text": content}]
    else:
        blocks = list_of(content, f"{path}.content")
    kinds = _BETA_BLOCKS if beta else _BLOCKS
    checked = [_check_block(item, f"{path}.content.{index}", kinds) for index, item in enumerate(blocks)]
    _check_role(checked, path, str(role), beta=beta)
    return _Turn(path, str(role), checked)


def _check_block(item: Any, path: str, kinds: frozenset[str]) -> Fields:
    block = fields_of(item, path)
    kind = block.get("type")
    if kind is None:
        raise Fault(f"{path}.type", "Field required")
    if kind not in kinds:
        tags = ", ".join(f"'{name}'" for name in sorted(kinds))
        raise Fault(path, f"Input tag '{kind}' found using 'type' does not match any of the expected tags: {tags}")
    for name in _REQUIRED.get(kind, ()):
        if name not in block:
            raise Fault(f"{path}.{kind}.{name}", "Field required")
    known = _FIELDS_OF.get(kind)
    if known is not None:
        for name in block:
            if name not in known:
                raise Fault(f"{path}.{kind}.{name}", EXTRA)
    if kind == "text":
        check_str(block["text"], f"{path}.text.text")
        if not block["text"]:
            raise Fault(path, "text content blocks must be non-empty")
    elif kind == "thinking" and not block["signature"]:
        raise Fault(path, "Invalid `signature` in `thinking` block")
    elif kind == "tool_use" and not isinstance(block["input"], Mapping):
        raise Fault(f"{path}.tool_use.input", "Input should be a valid dictionary")
    elif kind == "tool_result":
        _check_result(block, path, kinds)
    elif kind in ("image", "document"):
        check_source(block, path)
        check_transformations(block.get("transformations"), f"{path}.{kind}.transformations")
    return block


def _check_result(block: Fields, path: str, kinds: frozenset[str]) -> None:
    content = block.get("content")
    if content is None or isinstance(content, str):
        return
    inner = (kinds & {"text", "image", "document", "search_result"}) | {"tool_reference", "browser_state"}
    for index, item in enumerate(list_of(content, f"{path}.tool_result.content")):
        part = _check_block(item, f"{path}.tool_result.content.{index}", inner)
        if block.get("is_error") and part["type"] != "text":
            raise Fault(f"{path}.tool_result.content", "all content must be type `text` if `is_error` is true")


def _check_role(blocks: Sequence[Fields], path: str, role: str, *, beta: bool) -> None:
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
            raise Fault(f"{path}.content.{index}", f"`{kind}` blocks are not permitted in `{role}` messages")
        if kind == "text" and not block["text"].strip() and (role != "assistant" or index == len(blocks) - 1):
            raise Fault(f"{path}.content.{index}", "text content blocks must contain non-whitespace text")


def _merged(turns: Sequence[_Turn]) -> list[list[Placed]]:
    """The blocks by turns. To the API, consecutive messages of one role are one turn."""
    merged: list[list[Placed]] = []
    for turn in turns:
        blocks = [Placed(f"{turn.path}.content.{index}", turn.role, block) for index, block in enumerate(turn.blocks)]
        if merged and blocks and merged[-1][0].role == turn.role:
            merged[-1].extend(blocks)
        elif blocks:
            merged.append(blocks)
    return merged


def _check_ends(turns: Sequence[_Turn], merged: Sequence[Sequence[Placed]], body: Fields) -> None:
    """Check how assistant turns, and the conversation, end."""
    for blocks in merged:
        path, role, block = blocks[-1]
        if role == "assistant" and block["type"] in ("thinking", "redacted_thinking"):
            raise Fault(path, "The final block in an assistant message cannot be `thinking`.")
    last = turns[-1]
    if last.role != "assistant" or not last.blocks or body.get("compaction") is not None:
        return
    final = last.blocks[-1]
    if final["type"] == "server_tool_use" or final["type"] in _SERVER_BLOCKS | _BETA_SERVER_BLOCKS:
        return  # a paused turn is sent back as it is, to go on
    if not takes_prefill(str(body["model"])):
        raise Fault(
            last.path,
            "This model does not support assistant message prefill. The conversation must end with a user message.",
        )
    if final["type"] == "text" and final["text"] != final["text"].rstrip():
        raise Fault(last.path, "final assistant content cannot end with trailing whitespace")
