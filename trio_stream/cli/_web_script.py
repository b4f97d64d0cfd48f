"""The model and the tools of `trio-stream web` where no real one was asked for.

What belongs here: choosing what of them answers a question. What does not: prose (`trio_stream.testing`).
"""

from __future__ import annotations

import copy
import datetime as dt
import random
import re
from collections.abc import Callable
from typing import Any, Final, cast

import trio

import trio_stream as ts
from trio_stream.testing import RecordedRequest, Step, say, scripted_model, think

_CODE: Final = """\
A stream is a **block**: however you leave it, the connection is closed.

```python
async with client.messages.stream(model="claude-sonnet-5-5", max_tokens=512, messages=messages) as stream:
    async for text in stream.text_stream:
        print(text, end="", flush=True)
print(stream.message.usage.output_tokens, "tokens")
```

Three things are worth knowing:

1. `text_stream` gives the text, and nothing else.
2. After the block, `stream.message` is the whole message.
3. A message that was cut short raises, and what had arrived is on `stream.partial`.
"""


@ts.tool
async def clock() -> str:
    """Tell the time."""
    await trio.lowlevel.checkpoint()
    return dt.datetime.now().astimezone().strftime("It is %H:%M:%S (%Z).")


@ts.tool(approve=True)
async def roll_dice() -> str:
    """Roll two dice."""
    await trio.lowlevel.checkpoint()
    return " and ".join(str(random.randint(1, 6)) for _ in range(2))  # noqa: S311 - dice


SCRIPTED_TOOLS: Final = (clock, roll_dice)

_WORDS: Final = {
    "clock": re.compile(r"\b(time|clock|late)\b", re.IGNORECASE),
    "roll_dice": re.compile(r"\b(dice|die|roll)\b", re.IGNORECASE),
}
"""The words of a question for which the model calls each of these tools."""

_ASKS_FOR_CODE: Final = re.compile(r"\b(code|example)\b", re.IGNORECASE)


def web_model(*, ttft: float, tps: float | None) -> Callable[[RecordedRequest], list[Step]]:
    """The scripted model, with tools that it calls when the question is about them, and an answer with code.

    Args:
      ttft: Seconds to the first token.
      tps: Tokens a second. None sends all of them at once.
    """
    model = scripted_model(ttft=ttft, tps=tps)

    def answer(request: RecordedRequest) -> list[Step]:
        body: dict[str, Any] = request.full_body
        question = _question(body)
        if _ASKS_FOR_CODE.search(question):
            return [think("An example says more than a description.", ttft=ttft, tps=tps), say(_CODE, tps=tps)]
        wanted = [tool for tool in body.get("tools", ()) if _is_wanted(tool, question)]
        asked = copy.copy(request)
        asked.full_body = {**body, "tools": wanted}
        return model(asked)

    return answer


def _is_wanted(tool: dict[str, Any], question: str) -> bool:
    """Whether a question is about a tool. Those that the user has given always are."""
    words = _WORDS.get(str(tool.get("name")))
    return words is None or words.search(question) is not None


def _question(body: dict[str, Any]) -> str:
    """What the user said last."""
    for message in reversed(cast("list[dict[str, Any]]", body.get("messages", []))):
        content = message.get("content")
        if message.get("role") != "user":
            continue
        if isinstance(content, str):
            return content
        texts = [str(block.get("text", "")) for block in content or () if block.get("type") == "text"]
        if texts:
            return " ".join(texts)
    return ""
