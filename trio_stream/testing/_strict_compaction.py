"""What the Messages API refuses about compaction: asking for a summary of the conversation, and sending it back.

What belongs here: where the block of a summary may stand, and what does not go with it. What does not: other blocks
(`_strict`), making a summary (`_timeline`).

Only blocks with a signature are looked at closely. Those without one come from an edit of ``context_management``, which
leaves them in the middle of a conversation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from trio_stream.testing._faults import Fault, Fields, Placed, check_choice, check_known, check_str, fields_of
from trio_stream.testing._json import as_list, as_object
from trio_stream.testing._signing import is_altered_summary
from trio_stream.testing._strict_calls import unfinished

_EDIT: Final = "compact_"

_SHAPES_A_REPLY: Final = ("context_management", "output_format", "stop_sequences")
"""Parameters that do not go with ``compaction``, whose answer is a block that nothing shapes."""


def check_compaction(body: Fields, turns: Sequence[Sequence[Placed]]) -> None:
    """Check the blocks of summaries, and what goes with the parameter ``compaction``.

    Raises:
      Fault: The first that was found.
    """
    blocks = [placed for turn in turns for placed in turn if placed.block["type"] == "compaction"]
    for placed in blocks:
        if placed.block.get("content") == "":
            raise Fault(f"{placed.path}.compaction.content", "content can't be empty")
    signed = [placed for placed in blocks if placed.block.get("signature")]
    if signed:
        _check_signed(signed, [placed for placed in blocks if placed.block.get("content")], body)
    if body.get("compaction") is not None:
        _check_request(body, turns[-1])


def _check_signed(signed: Sequence[Placed], full: Sequence[Placed], body: Fields) -> None:
    path, _, block = signed[0]
    if len(full) > 1:
        what = "`messages` holds more than one `compaction` block with content. Send only the one returned last."
        raise Fault(full[1].path, what)
    if path != "messages.0.content.0":
        raise Fault(path, "the `compaction` block must be the first block of the conversation")
    if is_altered_summary(str(block["signature"]), str(block.get("content"))):
        raise Fault(path, "the `content` of the `compaction` block differs from the text its `signature` recorded")
    edits = as_list(as_object(body.get("context_management")).get("edits"))
    if any(str(as_object(edit).get("type")).startswith(_EDIT) for edit in edits):
        raise Fault("context_management", "a compaction edit cannot be combined with a `compaction` block")


def _check_request(body: Fields, last: Sequence[Placed]) -> None:
    config = fields_of(body["compaction"], "compaction")
    check_choice(config.get("type"), ("summarize",), "compaction.type")
    check_known(config, {"type", "instructions"}, "compaction")
    if config.get("instructions") is not None:
        check_str(config["instructions"], "compaction.instructions")
    for name in _SHAPES_A_REPLY:
        if body.get(name) is not None:
            raise Fault(name, "cannot be combined with `compaction`")
    if as_object(body.get("output_config")).get("format") is not None:
        raise Fault("output_config.format", "cannot be combined with `compaction`")
    if as_object(body.get("tool_choice")).get("type") in ("any", "tool"):
        raise Fault("tool_choice", 'type "any" and "tool" cannot be combined with `compaction`')
    if last[0].role == "assistant" and unfinished(last):
        raise Fault(last[-1].message, "the compaction request ends on an `assistant` turn that is not finished")
