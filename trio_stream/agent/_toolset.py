"""The tools of a request: what it tells the model, and which tool a call is for.

What belongs here: the definitions in their order, and finding a tool. What does not: a single tool (`_tool`), and
running one (`_tool_runner`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast, final

from trio_stream._protocol import ToolUseBlock
from trio_stream.agent._tool import Tool


@final
class Toolset:
    """Tools of this program beside those that the API runs itself.

    Args:
      tools: `Tool` objects, and definitions of tools that the API runs, as they are to be sent.

    Attributes:
      definitions: What goes into ``tools`` of a request, in the order of ``tools``. Built once, as prompt caching
        needs it.
      tools: The tools of this program, by toolset and name.

    Raises:
      TypeError: Something in it is neither a tool nor a definition.
      ValueError: Two tools have one name.
    """

    __slots__ = ("definitions", "tools")

    definitions: list[dict[str, Any]]
    tools: dict[tuple[str | None, str | None], Tool]

    def __init__(self, tools: Iterable[Tool | Mapping[str, Any]] = ()) -> None:
        self.definitions = []
        self.tools = {}
        names: set[object] = set()
        for entry in tools:
            definition = _definition(entry)
            if isinstance(entry, Tool):
                key = (entry.toolset_name, entry.name)
                if key in self.tools:
                    raise ValueError(f"there are two tools of the name {entry.name or entry.toolset_name!r}")
                self.tools[key] = entry
            if definition is None:
                continue
            name = definition.get("name")
            if name is not None and name in names:
                raise ValueError(f"there are two tools of the name {name!r}")
            names.add(name)
            self.definitions.append(definition)

    def find(self, block: ToolUseBlock) -> Tool | None:
        """The tool that a call is for; None if there is none."""
        found = self.tools.get((block.toolset_name, block.name))
        return found or self.tools.get((block.toolset_name, None))


def _definition(entry: object) -> dict[str, Any] | None:
    if isinstance(entry, Tool):
        return None if entry.definition is None else dict(entry.definition)
    if isinstance(entry, Mapping):
        return dict(cast("Mapping[str, Any]", entry))
    hint = ": write @trio_stream.tool above the function" if callable(entry) else ""
    raise TypeError(f"tools are made with trio_stream.tool, or are definitions of the API's tools, not {entry!r}{hint}")
