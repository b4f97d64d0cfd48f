"""What may stand in ``messages`` of a reply that was whole, cut, malformed or empty.

What belongs here: which blocks of a reply go back, in which form, and the results of its calls. What does not: running
the calls, and which message of a conversation comes when.

The rules, each because the API answers 400 to anything else, and would again at every later request:

    text                      stays, also unfinished; not if it is empty, nor blank at the end
    thinking                  stays with its signature; not unfinished, nor at the end, nor after a gap (see below)
    a call of the caller's    stays if its input is whole. Input that is no JSON object goes back as `INVALID_JSON`
    a call of the API's own   stays with its result. Without one it stays only if the reply was not cut and another is
                              to answer it, or if a call that stays was made by it
    a result                  stays, unless its call is in this reply and goes
    anything else             stays if it is finished

A *gap* is where a block was left out or changed: signatures hold what came before, so later thinking of this reply
would not fit any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set as AbstractSet
from typing import Any, Final, NamedTuple, TypeAlias, TypeGuard, cast

import msgspec

from trio_stream._errors import InvalidToolInputError
from trio_stream._protocol._block_bases import InputBlock
from trio_stream._protocol._blocks import (
    ContentBlock,
    RedactedThinkingBlock,
    TextBlock,
    ThinkingBlock,
    ToolUseBlock,
)
from trio_stream._protocol._params_content import ContentBlockParam, ToolResultBlockParam
from trio_stream._protocol._params_turns import MessageParam
from trio_stream._protocol._values import Unknown

ToolResults: TypeAlias = Mapping[str, Any] | Iterable[ToolResultBlockParam]
"""The results of tools: ``tool_result`` blocks, or what each call's id leads to: its result as text or as blocks."""

_CUT: Final = frozenset({None, "max_tokens", "model_context_window_exceeded", "refusal"})
"""The stop reasons after which nothing goes on where the reply stopped. None: it has not come."""

_PAUSED: Final = "pause_turn"

_NOT_GIVEN: Final = "not started: no result was given."
_REPLY_CUT: Final = "not started: the reply was cut."
_MALFORMED: Final = "not started: its input is not a JSON object."


class Reply(NamedTuple):
    """A reply of the model, as far as it came, and the results of its calls.

    Attributes:
      content: The blocks of the reply.
      stop_reason: Why the model stopped, or None if the reply ended before it said so.
      results: What the caller's tools returned. A call that stays and has no result here gets one that says so.
    """

    content: Sequence[ContentBlock]
    stop_reason: str | None
    results: ToolResults | None = None

    @property
    def cut(self) -> bool:
        """Whether it ended where the model did not mean to end it."""
        return self.stop_reason in _CUT or any(block.incomplete for block in self.content)


def as_history(
    content: Sequence[ContentBlock], stop_reason: str | None, results: ToolResults | None
) -> list[MessageParam]:
    """Make the messages that may stand in ``messages`` for a reply.

    Args:
      content: The blocks of the reply.
      stop_reason: Why the model stopped, or None if the reply ended before it said so.
      results: What the caller's tools returned. A call that stays and has no result here gets one that says so.

    Returns:
      The turn of the assistant, if anything of it stays, and the turn of the user with the results, if any call stays.

    Raises:
      TypeError: ``results`` are not results.
      ValueError: there are two results for one call, or a result for a call that the reply does not have.
    """
    reply = Reply(content, stop_reason, results)
    ours = any(isinstance(block, ToolUseBlock) and not block.incomplete for block in content)
    # The reply that resumes this one, or the one after our results, begins with the results of the API's calls.
    return replies_as_history([reply], goes_on=not reply.cut and (stop_reason == _PAUSED or ours))


def replies_as_history(
    replies: Sequence[Reply],
    *,
    goes_on: bool,
    container_known: bool = True,
    waiting: AbstractSet[str] = frozenset(),
) -> list[MessageParam]:
    """Make the messages for replies of which each goes on where the one before it stopped.

    A reply that was paused, or that has calls of the API's beside calls of the caller's, is answered by the next one:
    it may hold the results of the former's calls. So what stays of one depends on what has come of the others.

    Args:
      replies: The replies in their order.
      goes_on: Whether another reply is to go on where the last one stopped. If not, calls of the API's own without a
        result go, unless a call that stays was made by one.
      container_known: Whether the container in which the model's programs run is known. Without it results for a
        program cannot be sent, so calls that a program made go if the reply was cut before its end told.
      waiting: The ids of calls of the API's own that stand before these replies without a result.

    Returns:
      For each reply what `as_history` returns.

    Raises:
      Exception: As `as_history`.
    """
    given = [
        _by_call(reply.results, {block.id for block in reply.content if isinstance(block, ToolUseBlock)})
        for reply in replies
    ]
    content = [block for reply in replies for block in reply.content]
    lost = set[str]()
    if not container_known:
        lost = {block.id for reply in replies if reply.cut for block in reply.content if is_by_program(block)}
    kept = _calls_that_stay(content, lost, goes_on=goes_on)
    gone = {block.id for block in content if isinstance(block, InputBlock)} - kept.keys()
    turns: list[MessageParam] = []
    gap = False
    for reply, results in zip(replies, given, strict=True):
        turn = _turn(reply.content, kept, gone, gap=gap)
        # The next reply was signed over this one as it was sent then, which was with the calls that go now.
        gap = gap or any(not block.incomplete and getattr(block, "id", None) in gone for block in reply.content)
        if not turn:
            continue
        turns.append({"role": "assistant", "content": cast("list[ContentBlockParam]", turn)})
        answers = [
            _answer(call, results, cut=reply.cut)
            for call in reply.content
            if isinstance(call, ToolUseBlock) and kept.get(call.id) is call
        ]
        if answers:
            turns.append({"role": "user", "content": answers})
    if not goes_on and replies and replies[-1].cut:
        answered = _calls(content)[1]
        if (waiting - answered) or (_unanswered(content) & kept.keys()):
            # A program still waits for the results before: only the reply that goes on from them may follow, and this
            # is not the whole of it.
            while turns and turns[-1]["role"] == "assistant":
                turns.pop()
    return turns


def is_unanswered(replies: Sequence[Reply]) -> bool:
    """Whether a call of the API's own is complete in the replies and has no result in them."""
    return bool(_unanswered(block for reply in replies for block in reply.content))


def is_by_program(block: ContentBlock) -> TypeGuard[ToolUseBlock]:
    """Whether a block is a call that a program of the model's has made: nothing but results may follow it."""
    return isinstance(block, ToolUseBlock) and _field(block.caller, "tool_id") is not None


def _unanswered(content: Iterable[ContentBlock]) -> set[str]:
    """The ids of the API's own calls that have no result."""
    calls, answered = _calls(content)
    return {name for name, call in calls.items() if not isinstance(call, ToolUseBlock) and name not in answered}


def _calls(content: Iterable[ContentBlock]) -> tuple[dict[str, InputBlock], set[str | None]]:
    """The complete calls by their ids, and the ids of those that have a result."""
    calls: dict[str, InputBlock] = {}
    answered: set[str | None] = set()
    for block in content:
        if block.incomplete:
            continue
        if isinstance(block, InputBlock) and block.id:
            calls.setdefault(block.id, block)  # the API takes an id once
        answered.add(_field(block, "tool_use_id"))
    return calls, answered


def _calls_that_stay(
    content: Iterable[ContentBlock], lost: AbstractSet[str], *, goes_on: bool
) -> dict[str, InputBlock]:
    """The calls that stay, by their ids and in their order; none of those that are ``lost``."""
    calls, answered = _calls(content)
    calls = {name: call for name, call in calls.items() if name not in lost}
    if goes_on:
        return calls
    stay = {name for name, call in calls.items() if isinstance(call, ToolUseBlock) or name in answered}
    reached = 0
    while reached < len(stay):
        # A call that was made by another one's program needs that one, which may need another.
        reached = len(stay)
        callers = {_field(getattr(calls[name], "caller", None), "tool_id") for name in stay}
        stay |= {name for name in calls if name in callers}
    return {name: call for name, call in calls.items() if name in stay}


def _turn(
    content: Sequence[ContentBlock], kept: Mapping[str, InputBlock], gone: AbstractSet[str], *, gap: bool
) -> list[dict[str, Any]]:
    """The blocks that stay, in the form that a request takes."""
    turn: list[dict[str, Any]] = []
    for block in content:
        if isinstance(block, TextBlock) and not block.text:
            continue  # it adds nothing, so leaving it out makes no gap
        if not _stays(block, kept, gone) or (gap and isinstance(block, ThinkingBlock | RedactedThinkingBlock)):
            gap = True
            continue
        param, changed = _param(block)
        gap = gap or changed
        turn.append(param)
    while turn and _cannot_be_last(turn[-1]):
        turn.pop()
    return turn


def _stays(block: ContentBlock, kept: Mapping[str, InputBlock], gone: AbstractSet[str]) -> bool:
    if isinstance(block, TextBlock):
        return True
    if block.incomplete or _field(block, "tool_use_id") in gone:
        return False
    if isinstance(block, InputBlock):
        return kept.get(block.id) is block
    if isinstance(block, ThinkingBlock):
        return bool(block.signature)
    return True


def _param(block: ContentBlock) -> tuple[dict[str, Any], bool]:
    """The block in the form that a request takes, and whether that is another than the one it came in."""
    if isinstance(block, InputBlock) and _is_malformed(block):
        # The API's own advice for input that is not JSON, which it takes in no other form.
        repaired = msgspec.structs.replace(block, input_json="")
        return {**repaired.as_json(param=True), "input": {"INVALID_JSON": block.input_json}}, True
    return block.as_json(param=True), False


def _is_malformed(block: InputBlock) -> bool:
    try:
        block.input  # noqa: B018 - it is parsed when looked at
    except InvalidToolInputError:
        return True
    return False


def _cannot_be_last(param: Mapping[str, Any]) -> bool:
    kind = param["type"]
    return kind in ("thinking", "redacted_thinking") or (kind == "text" and not param["text"].strip())


def _field(value: object, name: str) -> str | None:
    """A field of a value, also where this version does not know the value's ``type``."""
    found: object = value.raw.get(name) if isinstance(value, Unknown) else getattr(value, name, None)
    return found if isinstance(found, str) else None


def _answer(call: ToolUseBlock, given: Mapping[str, ToolResultBlockParam], *, cut: bool) -> ToolResultBlockParam:
    """The result of a call: the caller's, or one that says why there is none."""
    reason = _MALFORMED if _is_malformed(call) else _REPLY_CUT if cut else _NOT_GIVEN
    none: ToolResultBlockParam = {
        "type": "tool_result",
        "tool_use_id": call.id,
        "content": reason,
        "is_error": True,
    }
    answer = given.get(call.id, none)
    if call.toolset_name is None or "toolset_name" in answer:
        return answer
    return cast("ToolResultBlockParam", {**answer, "toolset_name": call.toolset_name})


def _by_call(results: ToolResults | None, calls: AbstractSet[str]) -> dict[str, ToolResultBlockParam]:
    """The results by the ids of their calls.

    Raises:
      TypeError: they are not results.
      ValueError: there are two for one call, or one for none of ``calls``.
    """
    by_call: dict[str, ToolResultBlockParam] = {}
    for call, answer in _pairs({} if results is None else results):
        if call not in calls:
            raise ValueError(f"a result is for the call {call!r}, which this reply does not have")
        if call in by_call:
            raise ValueError(f"there are two results for the call {call!r}")
        by_call[call] = answer
    return by_call


def _pairs(results: ToolResults) -> Iterator[tuple[str, ToolResultBlockParam]]:
    if isinstance(results, Mapping):
        by_id = cast("Mapping[str, Any]", results)
        if "tool_use_id" in by_id:
            raise TypeError("results must be a list of tool_result blocks, not one of them")
        for call, result in by_id.items():
            yield call, {"type": "tool_result", "tool_use_id": call, "content": result}
        return
    for block in results:
        fields = cast("object", block)
        if not isinstance(fields, Mapping) or "tool_use_id" not in fields:
            raise TypeError("results must be tool_result blocks, or a mapping from the ids of calls to their results")
        yield block["tool_use_id"], block


def refuse_input(error: InvalidToolInputError, place: str) -> InvalidToolInputError:
    """The error for a block that cannot be sent because of its input.

    Args:
      error: What is wrong with the input.
      place: Where the block is, in the form of Python.
    """
    return InvalidToolInputError(
        f"{place}: {error.message}; message.as_history() makes of any message what can be sent",
        input_json=error.input_json,
        incomplete=error.incomplete,
    )
