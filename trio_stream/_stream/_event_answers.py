"""The format of the answers that streams of messages get.

What belongs here: choosing how an answer to a request for a message is read. What does not: reading it (`_reader`,
`_answers`).
"""

from __future__ import annotations

from functools import partial
from typing import Final, final

from trio_stream._http import ResponseBody
from trio_stream._protocol import decode_event
from trio_stream._response import ResponseInfo

from ._answers import AnswerKind, JSONAnswer, kind_of_answer
from ._clocks import Clocks
from ._reader import EventReader
from ._request import StreamRequest
from ._watching import CallWatch


@final
class EventAnswers:
    """The `AnswerFormat` of a message: an event stream, or the whole message as JSON.

    Args:
      raw_events: Deliver wire events alone.
      keep_data: Keep the data of each event.
    """

    __slots__ = ("_keep_data", "_raw_events")

    def __init__(self, *, raw_events: bool, keep_data: bool = False) -> None:
        self._raw_events = raw_events
        self._keep_data = keep_data

    def reader(
        self,
        info: ResponseInfo,
        body: ResponseBody,
        *,
        request: StreamRequest,
        clocks: Clocks,
        watch: CallWatch | None,
        request_id: str | None,
    ) -> EventReader | None:
        """As `AnswerFormat.reader`."""
        kind = kind_of_answer(info.status_code, info.headers)
        if kind is AnswerKind.OTHER:
            return None
        reader = EventReader(
            body,
            clocks=clocks,
            limits=request.limits,
            raw_events=self._raw_events,
            json_answer=partial(
                JSONAnswer, info, limit_bytes=request.limits.message_bytes, unix_time=request.unix_time
            ),
            is_json=kind is AnswerKind.JSON,
            accept_missing_stop=request.accept_missing_stop,
            request_id=request_id,
            decode=decode_event if watch is None else watch.decode,
        )
        if self._keep_data:
            reader.keep_data()
        return reader


# One of each for all streams: it has no state.
ALL_EVENTS: Final = EventAnswers(raw_events=False)
RAW_EVENTS: Final = EventAnswers(raw_events=True)
ALL_EVENTS_WITH_DATA: Final = EventAnswers(raw_events=False, keep_data=True)
RAW_EVENTS_WITH_DATA: Final = EventAnswers(raw_events=True, keep_data=True)
