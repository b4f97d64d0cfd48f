"""Many streams at once: fan-out, its rate control, its journal.

What belongs here: making many requests, pacing them, gathering their answers. What does not: how one stream works
(`_stream`), and the command line (`cli`). `_fan_out` describes how the parts of a fan-out work together.
"""

from trio_stream.batch._caching import CacheDuration as CacheDuration, with_prefix as with_prefix
from trio_stream.batch._compact import CompactReport as CompactReport, compact_journal as compact_journal
from trio_stream.batch._fan_out import FanOut as FanOut, fan_out as fan_out
from trio_stream.batch._file_lock import lock_file as lock_file
from trio_stream.batch._gather import gather_outcomes as gather_outcomes, gather_texts as gather_texts
from trio_stream.batch._items import Items as Items
from trio_stream.batch._journal import (
    Journal as Journal,
)
from trio_stream.batch._journal_batches import (
    BatchBook as BatchBook,
    BatchJournal as BatchJournal,
    StartedItem as StartedItem,
)
from trio_stream.batch._journal_format import (
    JournalError as JournalError,
    RecordedError as RecordedError,
    describe_error as describe_error,
    is_journal as is_journal,
    may_be_journal as may_be_journal,
    read_head as read_head,
    read_line as read_line,
    read_outcome as read_outcome,
    restore_error as restore_error,
)
from trio_stream.batch._journal_index import JobRun as JobRun
from trio_stream.batch._journal_overview import (
    JournalOverview as JournalOverview,
    journal_overview as journal_overview,
    whole_lines as whole_lines,
)
from trio_stream.batch._merge import (
    MergeReport as MergeReport,
    merge as merge,
    merge_into as merge_into,
    merge_journals as merge_journals,
)
from trio_stream.batch._moments import (
    ItemEnd as ItemEnd,
    ItemMoment as ItemMoment,
    ItemRetry as ItemRetry,
    ItemStart as ItemStart,
    JobEnd as JobEnd,
    JobMoment as JobMoment,
    JobStart as JobStart,
    Paused as Paused,
)
from trio_stream.batch._options import FanOutOptions as FanOutOptions, GatherCall as GatherCall, OnEvent as OnEvent
from trio_stream.batch._race import hedge as hedge, race as race
from trio_stream.batch._read_journal import read_journal as read_journal
from trio_stream.batch._records import (
    ChargedJournal as ChargedJournal,
    Item as Item,
    JournalConflictError as JournalConflictError,
    JournalLike as JournalLike,
    Outcome as Outcome,
    Request as Request,
    Status as Status,
    UnfinishedError as UnfinishedError,
    as_item as as_item,
    canonical_request as canonical_request,
    merge_params as merge_params,
    request_hash as request_hash,
)
from trio_stream.batch._stats import FanOutStats as FanOutStats
from trio_stream.batch._stopping import FanOutStoppedError as FanOutStoppedError, StopReason as StopReason
from trio_stream.batch._via_batch_options import ViaBatch as ViaBatch
from trio_stream.batch._window import Adaptive as Adaptive
