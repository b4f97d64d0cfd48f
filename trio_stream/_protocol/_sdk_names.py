"""Names by which the official SDK knows values that have another name here, for code that comes from there.

What belongs here: the names alone; `tests/protocol/test_sdk.py` compares them with the SDK's list. What does not: the
values.
"""

from __future__ import annotations

from typing import TypeAlias

from trio_stream._protocol._events import (
    ContentBlockDeltaEvent,
    ContentBlockStartEvent,
    ErrorEvent,
    ErrorObject,
    MessageDeltaEvent,
    MessageStartEvent,
)
from trio_stream._protocol._message import Skill
from trio_stream._protocol._tool_results import (
    BashCodeExecutionToolResultError,
    CodeExecutionToolResultError,
    TextEditorCodeExecutionToolResultError,
    ToolSearchToolResultError,
    WebSearchToolResultError,
)

RawMessageStartEvent: TypeAlias = MessageStartEvent
RawMessageDeltaEvent: TypeAlias = MessageDeltaEvent
RawContentBlockStartEvent: TypeAlias = ContentBlockStartEvent
RawContentBlockDeltaEvent: TypeAlias = ContentBlockDeltaEvent
ContainerSkill: TypeAlias = Skill

BashCodeExecutionToolResultErrorObject: TypeAlias = BashCodeExecutionToolResultError
CodeExecutionToolResultErrorObject: TypeAlias = CodeExecutionToolResultError
TextEditorCodeExecutionToolResultErrorObject: TypeAlias = TextEditorCodeExecutionToolResultError
ToolSearchToolResultErrorObject: TypeAlias = ToolSearchToolResultError
WebSearchToolResultErrorObject: TypeAlias = WebSearchToolResultError

# The SDK has a class for each type of error; here all have one, whose `type` says which it is.
ErrorResponse: TypeAlias = ErrorEvent
APIErrorObject: TypeAlias = ErrorObject
AuthenticationErrorObject: TypeAlias = ErrorObject
BillingErrorObject: TypeAlias = ErrorObject
GatewayTimeoutErrorObject: TypeAlias = ErrorObject
InvalidRequestErrorObject: TypeAlias = ErrorObject
NotFoundErrorObject: TypeAlias = ErrorObject
OverloadedErrorObject: TypeAlias = ErrorObject
PermissionErrorObject: TypeAlias = ErrorObject
RateLimitErrorObject: TypeAlias = ErrorObject
