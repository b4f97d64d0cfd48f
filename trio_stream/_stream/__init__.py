"""One stream: its nursery, its clocks, and the events pulled through it.

What belongs here: everything that happens between entering and leaving one stream's block. What does not: which
request is made (`_client`), sockets (`_http`), the meaning of bytes (`_protocol`).
"""

from ._answers import (
    check_encoding as check_encoding,
    read_error_answer as read_error_answer,
    read_request_id as read_request_id,
)
from ._batch_results import BatchResults as BatchResults
from ._event_stream import EventStream as EventStream
from ._message_stream import (
    MessageStream as MessageStream,
    MessageStreamManager as MessageStreamManager,
    text_of as text_of,
)
from ._request import (
    Closable as Closable,
    StreamRequest as StreamRequest,
    locate as locate,
)
from ._retrying import EarlierAttempts as EarlierAttempts, Waiting as Waiting, with_retries as with_retries
from ._views import SENTENCE_ENDS as SENTENCE_ENDS, PieceView as PieceView, TextChunks as TextChunks
from ._watchdog import Watchdog as Watchdog
from ._watching import CallWatch as CallWatch, watch_call as watch_call
