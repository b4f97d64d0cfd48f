"""A conversation as a tool of another one.

What belongs here: what a call of such a tool does. What does not: the run that it makes (`_run`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from trio_stream.agent._meter import Meter
from trio_stream.agent._run import Run
from trio_stream.agent._tool import Tool
from trio_stream.agent._tool_context import ToolContext, ToolError

_PARAMETER: Final = "prompt"


def sub_agent_tool(start: Callable[[str, Meter | None], Run], name: str, description: str) -> Tool:
    """Make the tool.

    Args:
      start: Makes the run for a prompt, with the meter that it shares with the run around it.
      name: The name of the tool.
      description: What the model is told about it.
    """

    async def call(given: dict[str, Any], ctx: ToolContext) -> str:
        prompt = given.get(_PARAMETER)
        if not isinstance(prompt, str) or not prompt.strip():
            raise ToolError(f"{_PARAMETER} must be a text that is not empty")
        async with start(prompt, ctx.meter) as run:
            async for event in run:
                ctx.bubble(event)
        text = "" if run.message is None else run.message.text
        if run.outcome == "completed":
            return text
        raise ToolError(f"it ended before it was done ({run.outcome}: {run.reason}). What it said last: {text}")

    schema = {
        "type": "object",
        "properties": {_PARAMETER: {"type": "string", "description": "The whole task: it knows nothing else."}},
        "required": [_PARAMETER],
        "additionalProperties": False,
    }
    return Tool(definition={"name": name, "description": description, "input_schema": schema}, call=call)
