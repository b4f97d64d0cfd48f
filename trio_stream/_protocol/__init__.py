"""The Messages API without I/O: bytes in, values out.

What belongs in this package: the event-stream parser, the values of the API, and pure functions about requests,
answers and retries. What does not: anything that waits, reads a clock, or draws random numbers.

This face hands out what other rooms use, and nothing else. The values are many, and are for annotations: `types` has
all of them.
"""

from trio_stream._protocol._accumulator import (
    MessageAccumulator as MessageAccumulator,
)
from trio_stream._protocol._api_error import (
    error_from_event as error_from_event,
    error_from_response as error_from_response,
)
from trio_stream._protocol._batch_body import (
    BatchBody as BatchBody,
    BatchContent as BatchContent,
    encode_batch_params as encode_batch_params,
)
from trio_stream._protocol._batches import (
    DeletedMessageBatch as DeletedMessageBatch,
    MessageBatch as MessageBatch,
    MessageBatchIndividualResponse as MessageBatchIndividualResponse,
    MessageBatchList as MessageBatchList,
)
from trio_stream._protocol._block_bases import (
    InputBlock as InputBlock,
)
from trio_stream._protocol._blocks import (
    FallbackBlock as FallbackBlock,
    TextBlock as TextBlock,
    ThinkingBlock as ThinkingBlock,
    ToolUseBlock as ToolUseBlock,
)
from trio_stream._protocol._content import (
    Content as Content,
)
from trio_stream._protocol._decode import (
    TEXT_FIELDS as TEXT_FIELDS,
    decode_event as decode_event,
)
from trio_stream._protocol._error_words import (
    find_sentence as find_sentence,
)
from trio_stream._protocol._events import (
    HELPER_EVENTS as HELPER_EVENTS,
    ContentBlockDeltaEvent as ContentBlockDeltaEvent,
    ContentBlockStartEvent as ContentBlockStartEvent,
    ContentBlockStopEvent as ContentBlockStopEvent,
    ErrorEvent as ErrorEvent,
    MessageDeltaEvent as MessageDeltaEvent,
    MessageStartEvent as MessageStartEvent,
    MessageStopEvent as MessageStopEvent,
    MessageStreamEvent as MessageStreamEvent,
    PingEvent as PingEvent,
    RawContentBlockStopEvent as RawContentBlockStopEvent,
    RawMessageStopEvent as RawMessageStopEvent,
    RawMessageStreamEvent as RawMessageStreamEvent,
    UnknownEvent as UnknownEvent,
)
from trio_stream._protocol._headers import (
    build_headers as build_headers,
    check_added_header as check_added_header,
    check_api_key as check_api_key,
    check_auth_token as check_auth_token,
    count_retries as count_retries,
    param_headers as param_headers,
    parse_custom_headers as parse_custom_headers,
)
from trio_stream._protocol._history import (
    Reply as Reply,
    is_by_program as is_by_program,
    is_unanswered as is_unanswered,
    replies_as_history as replies_as_history,
)
from trio_stream._protocol._json import (
    JSON_ERRORS as JSON_ERRORS,
    decode_json as decode_json,
    decode_with as decode_with,
)
from trio_stream._protocol._json_lines import (
    JSONLinesParser as JSONLinesParser,
)
from trio_stream._protocol._message import (
    Message as Message,
    MessageTokensCount as MessageTokensCount,
)
from trio_stream._protocol._oddities import (
    Oddity as Oddity,
)
from trio_stream._protocol._params import (
    BetaCountTokensParams as BetaCountTokensParams,
    BetaMessageCreateParams as BetaMessageCreateParams,
    CountTokensParams as CountTokensParams,
    MessageCreateParams as MessageCreateParams,
    RequestOptions as RequestOptions,
    SharedParams as SharedParams,
)
from trio_stream._protocol._params_batches import (
    BatchListParams as BatchListParams,
    BatchRequest as BatchRequest,
    BatchSharedParams as BatchSharedParams,
    BetaBatchRequest as BetaBatchRequest,
    BetasParam as BetasParam,
    WorkspaceParams as WorkspaceParams,
)
from trio_stream._protocol._params_content import (
    ToolResultBlockParam as ToolResultBlockParam,
)
from trio_stream._protocol._partial_json import (
    PartialJSON as PartialJSON,
)
from trio_stream._protocol._rate_limits import (
    RateLimit as RateLimit,
    RateLimits as RateLimits,
)
from trio_stream._protocol._request import (
    SAMPLING as SAMPLING,
    SAMPLING_VERSION as SAMPLING_VERSION,
    build_body as build_body,
    check_sampling_params as check_sampling_params,
    encode_json as encode_json,
    encode_params as encode_params,
)
from trio_stream._protocol._retry import (
    decide_retry as decide_retry,
    retry_delay as retry_delay,
)
from trio_stream._protocol._sse import (
    EventStreamParser as EventStreamParser,
    RawEvent as RawEvent,
)
from trio_stream._protocol._stop_reason import (
    MessageStopReason as MessageStopReason,
)
from trio_stream._protocol._usage import (
    CacheCreation as CacheCreation,
    CompactionIterationUsage as CompactionIterationUsage,
    MessageIterationUsage as MessageIterationUsage,
    Usage as Usage,
)
from trio_stream._protocol._values import (
    UnknownObject as UnknownObject,
)
from trio_stream._protocol._verdict import (
    AccountReason as AccountReason,
    Judgement as Judgement,
    Verdict as Verdict,
    judge as judge,
    may_have_been_done as may_have_been_done,
)
from trio_stream._protocol._whole_message import (
    events_of_message as events_of_message,
    is_message as is_message,
)
