"""Parameters of a request: parts that blocks and tools have in common.

Typed dicts are for type checkers: nothing here runs. Names are the official SDK's; what is general and what is in
beta is one set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Required, TypeAlias, TypedDict


class CacheControlEphemeralParam(TypedDict, total=False):
    """Cache the prompt up to and including this part."""

    type: Required[Literal["ephemeral"]]
    ttl: Literal["5m", "1h"]


class Cacheable(TypedDict, total=False):
    """A part of a request at which a cached prompt may end."""

    cache_control: CacheControlEphemeralParam | None


class CitationsConfigParam(TypedDict, total=False):
    """Whether answers may cite the document."""

    enabled: bool


class DirectCallerParam(TypedDict):
    """The model itself called the tool."""

    type: Literal["direct"]


class ServerToolCallerParam(TypedDict):
    """Code that the model wrote called the tool."""

    type: Literal["code_execution_20250825"]
    tool_id: str


class ServerToolCaller20260120Param(TypedDict):
    """Code that the model wrote called the tool."""

    type: Literal["code_execution_20260120"]
    tool_id: str


CallerParam: TypeAlias = DirectCallerParam | ServerToolCallerParam | ServerToolCaller20260120Param
"""Who called a tool."""


class MCPToolParam(TypedDict, total=False):
    """A tool as an MCP server describes it."""

    name: Required[str]
    input_schema: Required[Mapping[str, object]]
    description: str | None
