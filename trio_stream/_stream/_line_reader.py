"""Reading the results of a batch: bytes in, lines decoded one at a time.

What belongs here: the only loop over the parser of lines, its limits, and when results are whole. What does not:
waiting and counting (`_body_reader`), and what users see (`_batch_results`).
"""

from __future__ import annotations

from time import perf_counter
from typing import Final, final

import trio

from trio_stream._errors import APIError, IncompleteStreamError, InvalidResponseError
from trio_stream._http import ResponseBody
from trio_stream._limits import Limits
from trio_stream._protocol import JSONLinesParser, MessageBatchIndividualResponse, error_from_response, find_sentence
from trio_stream._response import ResponseInfo

from ._answers import check_encoding
from ._body_reader import SCHEDULE_EVERY, BodyReader
from ._clocks import Clocks
from ._request import StreamRequest
from ._watching import CallWatch

_OK: Final = 200


@final
class ResultLines:
    """The `AnswerFormat` of the results of a batch.

    Args:
      expected: How many lines there have to be at least, if that is known.
    """

    __slots__ = ("_expected",)

    def __init__(self, *, expected: int | None) -> None:
        self._expected = expected

    def reader(
        self,
        info: ResponseInfo,
        body: ResponseBody,
        *,
        request: StreamRequest,
        clocks: Clocks,
        watch: CallWatch | None,  # noqa: ARG002 - its taps are of events
        request_id: str | None,  # noqa: ARG002
    ) -> LineReader | None:
        """As `AnswerFormat.reader`. Whatever the ``content-type`` is: there are several for lines of JSON."""
        if info.status_code != _OK:
            return None
        check_encoding(info.headers)
        return LineReader(body, clocks=clocks, limits=request.limits, info=info, expected=self._expected)


@final
class LineReader(BodyReader[tuple[MessageBatchIndividualResponse]]):
    """The results in one answer, read on demand.

    Args:
      body: The bytes.
      clocks: Told since when this waits.
      limits: ``message_bytes`` bounds a line.
      info: The head of the answer.
      expected: How many lines there have to be at least, if that is known.
    """

    __slots__ = ("_expected", "_info", "_parser", "_pending")

    def __init__(
        self, body: ResponseBody, *, clocks: Clocks, limits: Limits, info: ResponseInfo, expected: int | None
    ) -> None:
        super().__init__(body, clocks=clocks)
        self._info = info
        self._expected = expected
        self._parser = JSONLinesParser(max_line_bytes=limits.message_bytes)
        self._pending: list[bytes] = []  # in reverse: the next one is the last

    def advance(self) -> tuple[MessageBatchIndividualResponse] | None:
        """As `BodyReader.advance`: decode one line of what has arrived."""
        while True:
            if self._pending:
                if perf_counter() - self._scheduled_at >= SCHEDULE_EVERY:
                    self._wants_schedule_point = True
                    return None
                line = self._pending.pop()
                try:
                    result = MessageBatchIndividualResponse.from_json(line)
                except InvalidResponseError as error:
                    raise self._what_else(line, error) from None
                self.events += 1
                return (result,)
            if self._parser.failure is not None:
                raise self._parser.failure
            if self._waiting:
                raise trio.BusyResourceError("another task is already receiving from these results")
            body = self.body
            if body.drained or (data := body.receive_nowait()) is None:
                return None
            if not data:
                return self._end()
            self.note_firsts()
            in_turn = self._note_read(data)
            self._pending = self._parser.feed(data)
            self._pending.reverse()
            if not in_turn:
                return None
            self._scheduled_at = perf_counter()

    def _end(self) -> tuple[MessageBatchIndividualResponse] | None:
        """The body has ended, as HTTP frames it.

        Raises:
          IncompleteStreamError: But not with a whole line, or with fewer lines than there are requests.
        """
        rest = self._parser.end()
        result = None
        if rest:
            # A last line without its end is as good as any, if it is whole.
            try:
                result = MessageBatchIndividualResponse.from_json(rest)
            except InvalidResponseError as error:
                if not self.events:
                    raise self._what_else(rest, error) from None
                raise IncompleteStreamError(
                    f"the results end in the middle of a line, after {self.events} lines and {self.bytes} bytes"
                ) from None
            self.events += 1
        if self._expected is not None and self.events < self._expected:
            raise IncompleteStreamError(
                f"the results end after {self.events} lines, of a batch with {self._expected} requests"
            )
        self.complete = True
        return None if result is None else (result,)

    def _what_else(self, line: bytes, error: InvalidResponseError) -> APIError:
        """The error for something that is not a result: some gateways answer 200 and an error."""
        if not self.events:
            answer = error_from_response(self._info.status_code, self._info.headers, line, now=0.0)
            if answer.type is not None or find_sentence(answer.body) is not None:
                return answer
        return InvalidResponseError(f"line {self.events + 1} of the results: {error.message}")
