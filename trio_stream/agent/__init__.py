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
from trio_stream.agent._approval import (
    Approve as Approve,
)
from trio_stream.agent._conversation import (
    Conversation as Conversation,
)
from trio_stream.agent._dialogue import (
    ConversationUsage as ConversationUsage,
)
from trio_stream.agent._meter import (
    Meter as Meter,
)
from trio_stream.agent._moments import (
    RunEnd as RunEnd,
    RunInfo as RunInfo,
    RunMoment as RunMoment,
    RunStart as RunStart,
    ToolEnd as ToolEnd,
    ToolMoment as ToolMoment,
    ToolStart as ToolStart,
)
from trio_stream.agent._run import (
    Run as Run,
    RunStoppedError as RunStoppedError,
)
from trio_stream.agent._run_options import (
    RunOutcome as RunOutcome,
)
from trio_stream.agent._tool import (
    Tool as Tool,
    tool as tool,
)
from trio_stream.agent._tool_call import (
    CallState as CallState,
    ToolCall as ToolCall,
)
from trio_stream.agent._tool_context import (
    StopRun as StopRun,
    ToolContext as ToolContext,
    ToolError as ToolError,
)
from trio_stream.agent._tool_runner import (
    RUNS_CALLS as RUNS_CALLS,
    ToolRunner as ToolRunner,
)
