"""One message batch of the scripted API: where it stands at a moment, and what becomes of its requests.

What belongs here: the life of a batch by the clock, and running the scripts of its requests. What does not: paths,
faults and the list of batches (`_batches`), and what a script does to an answer (`_timeline`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, final

import msgspec

from trio_stream.testing._json import as_object
from trio_stream.testing._prompt_cache import PromptCache
from trio_stream.testing._requests import RecordedHeaders, RecordedRequest
from trio_stream.testing._steps import Step, checked
from trio_stream.testing._timeline import AnswerContext, Cut, Data, Wait, timeline
from trio_stream.testing._wire import error_fields, make_id

DAY = 24 * 3600.0

_HOST = "api.anthropic.com"

BATCH_STATUSES = ("processing", "succeeded", "errored", "canceled", "expired")

Planned: TypeAlias = Literal["script", "refused", "errored", "expired"]


class Billed(msgspec.Struct, frozen=True, kw_only=True):
    """A request of a batch that was answered, and so is billed.

    Attributes:
      batch_id: The id of the batch.
      custom_id: The id of the request.
      usage: The usage of its message, as the API writes it.
    """

    batch_id: str
    custom_id: str
    usage: Mapping[str, Any]


class BatchItem(msgspec.Struct, frozen=True, kw_only=True):
    """One request of a batch.

    Attributes:
      custom_id: The id that its author gave it.
      params: The parameters of the message.
      planned: What is to become of it once it runs.
      script: Answers it, if that is planned: steps, or a function that makes them.
      refusal: What is wrong with it, in the words of the API, where it is to be refused.
    """

    custom_id: str
    params: Mapping[str, Any]
    planned: Planned
    script: Iterable[Step] | Callable[[RecordedRequest], Iterable[Step]] = ()
    refusal: str = ""


@final
class ScriptedBatch:
    """A batch. It has no task: what it says is computed from the time at which it is asked.

    The requests are answered one after another, evenly over its seconds, and all results appear at its end.

    Args:
      number: Its number among the batches.
      items: Its requests.
      headers: Those of the request that created it.
      created: When it was created, in seconds of Trio's clock.
      seconds: How long it takes, if it is left alone.
      cancel_seconds: How long cancelling takes.
      epoch: What time it is when Trio's clock shows 0.
      foreign: Whether it belongs to somebody else in the workspace.
      prompt_cache: The prompt cache, if there is one.

    Attributes:
      id: Its identifier.
      cancelled: When cancelling began, or None.
      deleted: Whether it is gone.
      hidden: The names of the calls that do not find it yet, once each.
    """

    def __init__(
        self,
        number: int,
        items: Sequence[BatchItem],
        *,
        headers: RecordedHeaders,
        created: float,
        seconds: float,
        cancel_seconds: float,
        epoch: datetime,
        foreign: bool,
        prompt_cache: PromptCache | None = None,
    ) -> None:
        self.id: str = make_id("msgbatch", number)
        self.created: float = created
        self.foreign: bool = foreign
        self.cancelled: float | None = None
        self.deleted: bool = False
        self.hidden: set[str] = set()
        self._number = number
        self._items = items
        self._headers = headers
        # A port does not know whether there is TLS before it.
        host = headers.get("host", _HOST)
        self._base_url = f"{'https' if host == _HOST else 'http'}://{host}"
        self._seconds = seconds
        self._cancel_seconds = cancel_seconds
        self._epoch = epoch
        self._prompt_cache = prompt_cache
        self._results: list[dict[str, Any]] | None = None  # once it has ended

    @property
    def _ends(self) -> float:
        left_alone = self.created + min(self._seconds, DAY)
        return left_alone if self.cancelled is None else min(left_alone, self.cancelled + self._cancel_seconds)

    def has_ended(self, now: float) -> bool:
        """Whether there are results."""
        return now >= self._ends

    def cancel(self, now: float) -> None:
        """Begin to cancel it, unless that has begun."""
        if self.cancelled is None:
            self.cancelled = now

    def fields(self, now: float) -> dict[str, Any]:
        """The batch as the API writes it."""
        counts = dict.fromkeys(BATCH_STATUSES, 0)
        ended = self.has_ended(now)
        if ended:
            for result in self.results(now):
                counts[result["result"]["type"]] += 1
        else:
            counts["processing"] = len(self._items)
        status = "ended" if ended else "in_progress" if self.cancelled is None else "canceling"
        return {
            "id": self.id,
            "type": "message_batch",
            "processing_status": status,
            "request_counts": counts,
            "created_at": self._date(self.created),
            "expires_at": self._date(self.created + DAY),
            "ended_at": self._date(self._ends) if ended else None,
            "cancel_initiated_at": self._date(self.cancelled),
            "archived_at": None,
            "results_url": f"{self._base_url}/v1/messages/batches/{self.id}/results" if ended else None,
        }

    def results(self, now: float) -> list[dict[str, Any]]:
        """What became of each request, in the order of the requests; nothing before the end.

        Scripts run at the first call after the end, each once.
        """
        if self._results is None and self.has_ended(now):
            each = self._seconds / len(self._items)
            self._results = [
                {"custom_id": item.custom_id, "result": self._result(index, item, self.created + each * (index + 1))}
                for index, item in enumerate(self._items)
            ]
        return self._results or []

    def billed(self, now: float) -> list[Billed]:
        """The requests that were answered, once it has ended."""
        return [
            Billed(batch_id=self.id, custom_id=line["custom_id"], usage=line["result"]["message"]["usage"])
            for line in self.results(now)
            if line["result"]["type"] == "succeeded"
        ]

    def _result(self, index: int, item: BatchItem, finished: float) -> dict[str, Any]:
        if self.cancelled is not None and finished > self.cancelled:
            return {"type": "canceled"}
        if item.planned == "expired" or finished > self.created + DAY:
            return {"type": "expired"}
        request_id = make_id("req", self.id, index)
        if item.planned == "refused":
            return _errored("invalid_request_error", item.refusal, request_id)
        if item.planned == "errored":
            return _errored("api_error", "Internal server error", request_id)
        content = msgspec.json.encode(item.params)
        number = self._number * 1_000_000 + index
        request = RecordedRequest(
            number=number,
            at=self.created,
            method="POST",
            path="/v1/messages",
            params={},
            headers=self._headers,
            content=content,
            request_id=request_id,
        )
        steps = checked(item.script(request)) if callable(item.script) else item.script
        body = as_object(request.body)
        begins = finished - self._seconds / len(self._items)
        context = AnswerContext(
            number=number,
            request_id=request_id,
            body=body,
            stream=False,
            cache=self._prompt_cache and self._prompt_cache.look(body, lane="batches", now=begins),
            at=begins,
        )
        return _play(steps, context)

    def _date(self, moment: float | None) -> str | None:
        return None if moment is None else (self._epoch + timedelta(seconds=moment)).isoformat().replace("+00:00", "Z")


def _play(steps: Iterable[Step], context: AnswerContext) -> dict[str, Any]:
    """The result that the script of a message makes in a batch. A script that never goes on expires."""
    parts: list[bytes] = []
    for moment in timeline(steps, context):
        if isinstance(moment, Data):
            parts.append(moment.data)
        elif isinstance(moment, Cut):
            return _errored("api_error", "Internal server error", context.request_id)
        elif isinstance(moment, Wait) and math.isinf(moment.seconds):
            return {"type": "expired"}
    fields: Mapping[str, Any] = {}
    with suppress(msgspec.DecodeError):
        fields = as_object(msgspec.json.decode(b"".join(parts)))
    if fields.get("type") == "error":
        return {"type": "errored", "error": fields}
    if "usage" not in fields:
        return _errored("api_error", "Internal server error", context.request_id)
    return {"type": "succeeded", "message": {**fields, "usage": {**fields["usage"], "service_tier": "batch"}}}


def _errored(kind: str, message: str, request_id: str) -> dict[str, Any]:
    return {"type": "errored", "error": error_fields(kind, message, request_id=request_id)}
