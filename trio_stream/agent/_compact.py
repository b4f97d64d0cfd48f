"""Putting a summary in the place of a conversation.

What belongs here: asking for the summary, and what stays beside it. What does not: the API's own compaction, which is a
parameter of requests (``context_management``).
"""

from __future__ import annotations

from typing import Final

from trio_stream.agent._dialogue import Dialogue
from trio_stream.agent._transcript import Transcript

_ASK: Final = (
    "Summarise this conversation for yourself: it will be replaced by your summary, and you go on from there. Keep "
    "what was asked for, what was decided and why, what was found out (names, numbers, places in files, results of "
    "tools), and what is left to do. Answer with the summary alone."
)
_SUMMARY: Final = "(What came before is summarised here.)\n\n"
_WHOLE: Final = frozenset({"end_turn", "stop_sequence"})


async def compact(dialogue: Dialogue, instructions: str | None) -> None:
    """Put a summary in the place of the messages: all of them, or none.

    Messages of the system's stay as they are: the tools that they took away would be back without them. So do texts of
    the user's that the model has not answered yet.

    Raises:
      APIError: The request failed.
      RuntimeError: There is nothing to summarise, the model did not come to an end, or a program of the model's waits
        for results.
    """
    transcript = dialogue.transcript
    if not transcript.entries:
        raise RuntimeError("there is nothing to summarise: the conversation is empty")
    if transcript.takes_only_a_reply:
        raise RuntimeError("a program of the model's waits for results, so nothing else can be asked: run first")
    ask = _ASK if instructions is None else f"{_ASK}\n\n{instructions}"
    params = {"tool_choice": {"type": "none"}} if dialogue.fixed.get("tools") else {}
    async with dialogue.request(params, first=True, more=[{"role": "user", "content": ask}]) as stream:
        try:
            await stream.until_done()
        except BaseException:
            if stream.partial is not None:
                dialogue.count(stream.partial, cut=True)
            raise
    message = stream.message
    dialogue.count(message, cut=False)
    if message.stop_reason not in _WHOLE or not message.text.strip():
        raise RuntimeError(f"there is no whole summary ({message.stop_reason}): the conversation is as it was")
    compacted = Transcript()
    compacted.append([{"role": "user", "content": _SUMMARY + message.text}])
    compacted.extend(transcript.beside_summary())
    # One assignment: before it nothing has changed, and after it everything has.
    dialogue.transcript = compacted
