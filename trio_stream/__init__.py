"""Streaming LLM messages over Anthropic's Messages API, the Trio way.

::

    import trio, trio_stream as ts

    async with ts.Client() as client:
        async with client.messages.stream(model=..., max_tokens=1024, messages=[...]) as stream:
            async for text in stream.text_stream:
                print(text, end="", flush=True)

The rooms, from the top: `cli`, `blocking`, `web`, `ray`, `agent`, `batch`, `_client`, `_stream`, `_http`,
`_instruments`, `_schemas`, `_money`, `_protocol`, and the ground below them; `testing` is beside. Each imports only
rooms below it.
"""

from typing import TYPE_CHECKING as _TYPE_CHECKING

from trio_stream._client import (
    BetaCountCall as BetaCountCall,
    BetaMessageCall as BetaMessageCall,
    CallOptions as CallOptions,
    Client as Client,
    CountCall as CountCall,
    MessageBatchPage as MessageBatchPage,
    MessageBatchPages as MessageBatchPages,
    MessageCall as MessageCall,
    RaceCall as RaceCall,
    SecretSource as SecretSource,
    SharedCall as SharedCall,
    Token as Token,
    TokenFunction as TokenFunction,
    TokenProvider as TokenProvider,
)
from trio_stream._errors import (
    APIConnectionError as APIConnectionError,
    APIError as APIError,
    APIStatusError as APIStatusError,
    APITimeoutError as APITimeoutError,
    AuthenticationError as AuthenticationError,
    BadRequestError as BadRequestError,
    ClientClosedRequestError as ClientClosedRequestError,
    ConflictError as ConflictError,
    ConnectTimeoutError as ConnectTimeoutError,
    ContentTooLargeError as ContentTooLargeError,
    CredentialsError as CredentialsError,
    FirstEventTimeoutError as FirstEventTimeoutError,
    GatewayTimeoutError as GatewayTimeoutError,
    HTTPNotImplementedError as HTTPNotImplementedError,
    IncompleteStreamError as IncompleteStreamError,
    InternalServerError as InternalServerError,
    InvalidResponseError as InvalidResponseError,
    InvalidToolInputError as InvalidToolInputError,
    NotFoundError as NotFoundError,
    OutputFault as OutputFault,
    OutputParseError as OutputParseError,
    OverloadedError as OverloadedError,
    PaymentRequiredError as PaymentRequiredError,
    PermissionDeniedError as PermissionDeniedError,
    PreconditionFailedError as PreconditionFailedError,
    RateLimitError as RateLimitError,
    RequestHeaderFieldsTooLargeError as RequestHeaderFieldsTooLargeError,
    RequestTimeoutError as RequestTimeoutError,
    SendTimeoutError as SendTimeoutError,
    ServiceUnavailableError as ServiceUnavailableError,
    SilenceTimeoutError as SilenceTimeoutError,
    StallTimeoutError as StallTimeoutError,
    TotalTimeoutError as TotalTimeoutError,
    UnprocessableEntityError as UnprocessableEntityError,
)
from trio_stream._http import ConnectionStatistics as ConnectionStatistics
from trio_stream._instruments import (
    AttemptStart as AttemptStart,
    Call as Call,
    CallEnd as CallEnd,
    CallMoment as CallMoment,
    CallOutcome as CallOutcome,
    CallStart as CallStart,
    Connected as Connected,
    FirstEvent as FirstEvent,
    HeadReceived as HeadReceived,
    Instrument as Instrument,
    JobInfo as JobInfo,
    Moment as Moment,
    RequestSent as RequestSent,
    Retry as Retry,
    instrumented as instrumented,
)
from trio_stream._limiter import (
    HeaderRateLimiter as HeaderRateLimiter,
    Lane as Lane,
    Permit as Permit,
    RateLimiter as RateLimiter,
)
from trio_stream._limits import Limits as Limits
from trio_stream._live import (
    Live as Live,
    LiveCall as LiveCall,
    LiveModel as LiveModel,
    LiveSnapshot as LiveSnapshot,
    LiveState as LiveState,
)
from trio_stream._money import (
    Budget as Budget,
    Charge as Charge,
    Costs as Costs,
    PriceLookup as PriceLookup,
    Prices as Prices,
)
from trio_stream._nursery import NurseryBlock as NurseryBlock
from trio_stream._response import Headers as Headers, ResponseInfo as ResponseInfo
from trio_stream._schemas import (
    Items as Items,
    MismatchError as MismatchError,
    OutputType as OutputType,
)
from trio_stream._stats import StreamStats as StreamStats
from trio_stream._stream import (
    BatchResults as BatchResults,
    EventStream as EventStream,
    MessageStream as MessageStream,
    MessageStreamManager as MessageStreamManager,
    PieceView as PieceView,
    TextChunks as TextChunks,
)
from trio_stream._timeouts import Timeouts as Timeouts
from trio_stream._version import __version__ as __version__
from trio_stream.agent import (
    AgentEvent as AgentEvent,
    ApprovalEvent as ApprovalEvent,
    Approve as Approve,
    CallState as CallState,
    Conversation as Conversation,
    ConversationUsage as ConversationUsage,
    Meter as Meter,
    NestedEvent as NestedEvent,
    Run as Run,
    RunEnd as RunEnd,
    RunEvent as RunEvent,
    RunInfo as RunInfo,
    RunMoment as RunMoment,
    RunOutcome as RunOutcome,
    RunStart as RunStart,
    RunStoppedError as RunStoppedError,
    SteerEvent as SteerEvent,
    StopRun as StopRun,
    Tool as Tool,
    ToolCall as ToolCall,
    ToolContext as ToolContext,
    ToolEnd as ToolEnd,
    ToolError as ToolError,
    ToolMoment as ToolMoment,
    ToolProgressEvent as ToolProgressEvent,
    ToolRunner as ToolRunner,
    ToolStart as ToolStart,
    ToolStartEvent as ToolStartEvent,
    ToolStopEvent as ToolStopEvent,
    TurnRestartEvent as TurnRestartEvent,
    TurnStartEvent as TurnStartEvent,
    TurnStopEvent as TurnStopEvent,
    tool as tool,
)
from trio_stream.batch import (
    Adaptive as Adaptive,
    ChargedJournal as ChargedJournal,
    CompactReport as CompactReport,
    FanOut as FanOut,
    FanOutStats as FanOutStats,
    FanOutStoppedError as FanOutStoppedError,
    GatherCall as GatherCall,
    Item as Item,
    ItemEnd as ItemEnd,
    ItemMoment as ItemMoment,
    ItemRetry as ItemRetry,
    ItemStart as ItemStart,
    JobEnd as JobEnd,
    JobMoment as JobMoment,
    JobRun as JobRun,
    JobStart as JobStart,
    Journal as Journal,
    JournalConflictError as JournalConflictError,
    JournalError as JournalError,
    JournalLike as JournalLike,
    JournalOverview as JournalOverview,
    MergeReport as MergeReport,
    Outcome as Outcome,
    Paused as Paused,
    RecordedError as RecordedError,
    StopReason as StopReason,
    UnfinishedError as UnfinishedError,
    ViaBatch as ViaBatch,
    compact_journal as compact_journal,
    fan_out as fan_out,
    gather_outcomes as gather_outcomes,
    gather_texts as gather_texts,
    hedge as hedge,
    journal_overview as journal_overview,
    merge as merge,
    merge_journals as merge_journals,
    race as race,
    read_journal as read_journal,
    request_hash as request_hash,
)
from trio_stream.types import (
    AdvisorToolResultBlock as AdvisorToolResultBlock,
    BashCodeExecutionToolResultBlock as BashCodeExecutionToolResultBlock,
    BatchRequest as BatchRequest,
    BetaBatchRequest as BetaBatchRequest,
    Citation as Citation,
    CitationEvent as CitationEvent,
    CitationsDelta as CitationsDelta,
    CodeExecutionToolResultBlock as CodeExecutionToolResultBlock,
    CompactionBlock as CompactionBlock,
    CompactionDelta as CompactionDelta,
    CompactionEvent as CompactionEvent,
    ContainerUploadBlock as ContainerUploadBlock,
    ContentBlock as ContentBlock,
    ContentBlockDeltaEvent as ContentBlockDeltaEvent,
    ContentBlockParam as ContentBlockParam,
    ContentBlockStartEvent as ContentBlockStartEvent,
    ContentBlockStopEvent as ContentBlockStopEvent,
    DeletedMessageBatch as DeletedMessageBatch,
    Delta as Delta,
    ErrorEvent as ErrorEvent,
    ErrorObject as ErrorObject,
    FallbackBlock as FallbackBlock,
    InputJSONDelta as InputJSONDelta,
    InputJsonEvent as InputJsonEvent,
    InputMessage as InputMessage,
    MCPToolListingBlock as MCPToolListingBlock,
    MCPToolResultBlock as MCPToolResultBlock,
    MCPToolUseBlock as MCPToolUseBlock,
    Message as Message,
    MessageBatch as MessageBatch,
    MessageBatchCanceledResult as MessageBatchCanceledResult,
    MessageBatchErroredResult as MessageBatchErroredResult,
    MessageBatchExpiredResult as MessageBatchExpiredResult,
    MessageBatchIndividualResponse as MessageBatchIndividualResponse,
    MessageBatchRequestCounts as MessageBatchRequestCounts,
    MessageBatchResult as MessageBatchResult,
    MessageBatchSucceededResult as MessageBatchSucceededResult,
    MessageDelta as MessageDelta,
    MessageDeltaEvent as MessageDeltaEvent,
    MessageParam as MessageParam,
    MessageStartEvent as MessageStartEvent,
    MessageStopEvent as MessageStopEvent,
    MessageStreamEvent as MessageStreamEvent,
    MessageTokensCount as MessageTokensCount,
    PingEvent as PingEvent,
    RateLimit as RateLimit,
    RateLimits as RateLimits,
    RawContentBlockStopEvent as RawContentBlockStopEvent,
    RawMessageStopEvent as RawMessageStopEvent,
    RawMessageStreamEvent as RawMessageStreamEvent,
    RedactedThinkingBlock as RedactedThinkingBlock,
    ServerToolUseBlock as ServerToolUseBlock,
    SignatureDelta as SignatureDelta,
    SignatureEvent as SignatureEvent,
    TextBlock as TextBlock,
    TextDelta as TextDelta,
    TextEditorCodeExecutionToolResultBlock as TextEditorCodeExecutionToolResultBlock,
    TextEvent as TextEvent,
    ThinkingBlock as ThinkingBlock,
    ThinkingDelta as ThinkingDelta,
    ThinkingEvent as ThinkingEvent,
    ToolParam as ToolParam,
    ToolSearchToolResultBlock as ToolSearchToolResultBlock,
    ToolUseBlock as ToolUseBlock,
    UnknownBlock as UnknownBlock,
    UnknownDelta as UnknownDelta,
    UnknownEvent as UnknownEvent,
    Usage as Usage,
    WebFetchToolResultBlock as WebFetchToolResultBlock,
    WebSearchToolResultBlock as WebSearchToolResultBlock,
)

if _TYPE_CHECKING:
    from trio_stream.agent import mcp as mcp
else:

    def __getattr__(name: str) -> object:
        # The package that it needs is an extra, and takes longer to import than all of this one.
        if name == "mcp":
            import importlib  # noqa: PLC0415 - hardly anybody needs it

            return importlib.import_module("trio_stream.agent.mcp")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
