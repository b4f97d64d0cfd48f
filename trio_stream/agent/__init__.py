"""Agents: tools beside the stream, and a conversation whose history is always valid.

What belongs in this package: tools and running them, conversations and their runs, steering, and what they cost. What
does not: one stream (`_stream`), and many independent requests (`batch`).
"""

from trio_stream.agent._agent_events import (
    AgentEvent as AgentEvent,
    ApprovalEvent as ApprovalEvent,
    NestedEvent as NestedEvent,
    RunEvent as RunEvent,
    SteerEvent as SteerEvent,
    ToolProgressEvent as ToolProgressEvent,
    ToolStartEvent as ToolStartEvent,
    ToolStopEvent as ToolStopEvent,
    TurnRestartEvent as TurnRestartEvent,
    TurnStartEvent as TurnStartEvent,
    TurnStopEvent as TurnStopEvent,
)
