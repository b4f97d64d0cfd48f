"""The tools of ``trio-stream chat``: functions by their names, and MCP servers by their commands.

What belongs here: finding them, and saying what is wrong with a name. What does not: running them
(`trio_stream.agent`).
"""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Sequence
from functools import partial
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

import trio_stream as ts


class ToolNameError(Exception):
    """A ``--tool`` or ``--mcp`` cannot be used. The text says why, and what can be done."""


def load_tools(names: Sequence[str]) -> list[ts.Tool]:
    """Load each ``MODULE:FUNCTION``, where the module may also be the path of a file.

    Raises:
      ToolNameError: There is no such module or function, or it cannot be a tool.
    """
    return [_load(name) for name in names]


def _load(name: str) -> ts.Tool:
    where, colon, attribute = name.rpartition(":")
    if not colon or not where or not attribute:
        raise ToolNameError(f"--tool {name}: write MODULE:FUNCTION, as in mypackage.tools:search or tools.py:search")
    try:
        module = _import_file(where) if where.endswith(".py") else import_module(where)
    except Exception as error:
        raise ToolNameError(f"--tool {name}: cannot import {where}: {type(error).__name__}: {error}") from error
    found: Any = module
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if found is None:
        raise ToolNameError(f"--tool {name}: {where} has no {attribute}")
    if isinstance(found, ts.Tool):
        return found
    if not callable(found):
        raise ToolNameError(f"--tool {name}: {attribute} is no function")
    try:
        return ts.tool(approve=True)(found)
    except (TypeError, ValueError) as error:
        raise ToolNameError(f"--tool {name}: {error}") from error


def _import_file(path: str) -> ModuleType:
    spec = util.spec_from_file_location(Path(path).stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mcp_servers(commands: Sequence[str], *, approve: bool) -> list[ts.mcp.Server]:
    """Describe the MCP servers that commands start. Each is named after its program, with a number from the second on.

    Args:
      commands: The command lines, as for a shell.
      approve: Whether each call of their tools needs approval.

    Raises:
      ToolNameError: A command is empty, a quotation mark is not closed, or the extra ``mcp`` is missing.
    """
    if not commands:
        return []
    try:
        import mcp  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        raise ToolNameError("--mcp needs the extra mcp: pip install 'trio-stream[mcp]'") from error
    servers: list[ts.mcp.Server] = []
    names: Counter[str] = Counter()
    for command in commands:
        program, *arguments = _words_of(command)
        name = re.sub(r"[^a-zA-Z0-9_-]", "_", Path(program).stem)[:60] or "server"
        names[name] += 1
        connect = partial(mcp.Client, mcp.StdioServerParameters(command=program, args=arguments))
        unique = name if names[name] == 1 else f"{name}{names[name]}"
        servers.append(ts.mcp.Server(unique, connect, approve=approve))
    return servers


def _words_of(command: str) -> list[str]:
    """Split a command as a shell does."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise ToolNameError(f"--mcp {command}: {error}") from error
    if not words:
        raise ToolNameError("--mcp: write the command that starts the server")
    return words
