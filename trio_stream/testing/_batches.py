"""The Message Batches API of the scripted API.

What belongs here: its endpoints, its faults, and the list of batches. What does not: one batch by the clock
(`_batch_run`), and rules about single messages (`_strict`).

Written from the documentation and from recordings of the API, and deliberately not with the code of the client: a
mistake there must not hide here.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Literal, TypeAlias, final, get_args

import msgspec
import trio

from trio_stream.testing._batch_run import BatchItem, Billed, ScriptedBatch
from trio_stream.testing._json import as_list, as_object, is_object
from trio_stream.testing._prompt_cache import PromptCache
from trio_stream.testing._requests import RecordedRequest
from trio_stream.testing._steps import HTTPError, Step, say
from trio_stream.testing._timeline import AnswerContext, AnswerHead, Cut, Data, Moment, error_answer
from trio_stream.testing._wire import base_headers

BatchFault: TypeAlias = Literal[
    "lost_answer",
    "not_found",
    "queue_full",
    "foreign",
    "errored",
    "expired",
    "results_cut",
    "shuffled",
    "doubled",
    "missing",
]
"""What may go wrong with batches; see `Batches`."""

BATCH_FAULTS: tuple[str, ...] = get_args(BatchFault)

PATH = "/v1/messages/batches"

_MOST_REQUESTS = 100_000
_CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_USUAL_PAGE, _LARGEST_PAGE = 20, 1000

TakeScript: TypeAlias = Callable[[], "Iterable[Step] | Callable[[RecordedRequest], Iterable[Step]] | None"]
"""Gives the script for the next request, or None if there is none."""

FindFault: TypeAlias = Callable[[Mapping[str, Any]], str | None]
"""Says what is wrong with the parameters of a message, or None."""


@final
class Batches:
    """The message batches of a scripted API: ``ScriptedAPI(batches=Batches(seconds=60))``.

    Each request of a batch uses one script, as a request for a message does, in the order in which they arrive; what is
    wrong with its parameters is said in its result. The requests are answered evenly over the seconds of the batch, and
    the results appear at its end. Where a batch stands is computed from Trio's clock when somebody asks, so it works
    under a mock clock too.

    In a batch a script takes no time of its own. One that holds `stall` expires; one that ends with an error or a
    disconnection is ``errored``.

    Faults happen once for each time that they are listed, at the next opportunity:

    ================  ==========================================================================================
    ``lost_answer``   a batch is created, and the connection is closed in place of the answer
    ``queue_full``    a batch is refused with 429, because too many requests are queued
    ``not_found``     a batch is created that its first ``retrieve`` and its first ``results`` do not find
    ``foreign``       somebody else creates a batch with as many requests, a moment before
    ``errored``       the first request of a batch fails with an ``api_error``
    ``expired``       the last request of a batch expires
    ``results_cut``   the results break off in the middle
    ``missing``       the results lack a line, and end in order
    ``doubled``       the results have a line twice
    ``shuffled``      the results are in another order than the requests
    ================  ==========================================================================================

    Args:
      seconds: How long a batch takes.
      cancel_seconds: How long cancelling a batch takes.
      list_lag: How many seconds after its creation a batch appears in the list.
      faults: What goes wrong.

    Attributes:
      prompt_cache: The prompt cache that the requests use; that of the scripted API, if it has one.
    """

    def __init__(
        self,
        *,
        seconds: float = 60.0,
        cancel_seconds: float = 10.0,
        list_lag: float = 0.0,
        faults: Iterable[BatchFault] = (),
    ) -> None:
        for name, value in (("seconds", seconds), ("cancel_seconds", cancel_seconds), ("list_lag", list_lag)):
            if not value >= 0:
                raise ValueError(f"{name} is a number of seconds from 0 on, not {value!r}")
        self._faults = Counter[str](faults)
        unknown = sorted(self._faults.keys() - set(BATCH_FAULTS))
        if unknown:
            raise ValueError(f"faults of batches are {', '.join(BATCH_FAULTS)}; not {', '.join(unknown)}")
        self._seconds = seconds
        self._cancel_seconds = cancel_seconds
        self._list_lag = list_lag
        self.prompt_cache: PromptCache | None = None
        self._batches: list[ScriptedBatch] = []
        self._epoch: datetime | None = None

    def __repr__(self) -> str:
        return f"<Batches: {len(self.created)} created>"

    @property
    def created(self) -> list[str]:
        """The ids of the batches that were created here, without somebody else's, in that order."""
        return [batch.id for batch in self._batches if not batch.foreign]

    @property
    def billed(self) -> list[Billed]:
        """The requests that are billed by now, which are those that succeeded in a batch that has ended."""
        now = trio.current_time()
        return [billed for batch in self._batches if not batch.foreign for billed in batch.billed(now)]

    @property
    def faults_left(self) -> list[str]:
        """The faults that have not happened yet."""
        return sorted(self._faults.elements())

    # Answering.

    def answer(
        self, request: RecordedRequest, context: AnswerContext, *, take_script: TakeScript, find_fault: FindFault
    ) -> Iterator[Moment]:
        """The answer to a request about batches.

        Args:
          request: The request.
          context: Its number and id.
          take_script: Gives the scripts for the requests of a new batch.
          find_fault: Says what is wrong with those.
        """
        try:
            return self._answer(request, context, take_script, find_fault)
        except _RefusedError as refused:
            return error_answer(HTTPError(refused.status, None, str(refused), None, {}, None), context)

    def _answer(
        self, request: RecordedRequest, context: AnswerContext, take_script: TakeScript, find_fault: FindFault
    ) -> Iterator[Moment]:
        now = request.at
        more: list[tuple[str, str]] = []
        match (request.method, *filter(None, request.path.removeprefix(PATH).split("/"))):
            case ("POST",):
                fields = self._create(request, take_script, find_fault).fields(now)
                if self._takes("lost_answer"):
                    return iter([Cut(reset=False)])
            case ("GET",):
                fields = self._page(request.params, now)
            case ("GET", batch_id):
                fields = self._find(batch_id, "retrieve").fields(now)
                more = [("retry-after", "10")]
            case ("DELETE", batch_id):
                batch = self._find(batch_id, "delete")
                _check_ended(batch, now, "cannot be deleted")
                batch.deleted = True
                fields = {"id": batch.id, "type": "message_batch_deleted"}
            case ("POST", batch_id, "cancel"):
                batch = self._find(batch_id, "cancel")
                if batch.has_ended(now):
                    raise _RefusedError(400, f"Message batch {batch.id} cannot be canceled: it has ended")
                batch.cancel(now)
                fields = batch.fields(now)
            case ("GET", batch_id, "results"):
                batch = self._find(batch_id, "results")
                _check_ended(batch, now, "has no results yet")
                return self._results(batch, context, now)
            case ("GET" | "POST" | "DELETE", *_):
                raise _RefusedError(404, f"Not found: {request.path}")
            case _:
                raise _RefusedError(405, "Method Not Allowed")
        return self._json(fields, context, now, *more)

    def _find(self, batch_id: str, call: str) -> ScriptedBatch:
        for batch in self._batches:
            if batch.id == batch_id and not batch.deleted:
                if call not in batch.hidden:
                    return batch
                batch.hidden.remove(call)
        raise _RefusedError(404, f"Message batch {batch_id[:80]} was not found")

    def _create(self, request: RecordedRequest, take_script: TakeScript, find_fault: FindFault) -> ScriptedBatch:
        asked = _read_requests(request.body)
        if self._takes("queue_full"):
            raise _RefusedError(429, "This request would exceed the number of batch requests that may be queued")
        if self._takes("foreign"):
            others = [
                BatchItem(custom_id=f"somebody-elses-{number}", params={}, planned="script", script=[say("Not yours.")])
                for number in range(len(asked))
            ]
            self._begin(request, others, foreign=True)
        items = [_plan(each, take_script, find_fault) for each in asked]
        if self._takes("errored"):
            items[0] = msgspec.structs.replace(items[0], planned="errored")
        if self._takes("expired"):
            items[-1] = msgspec.structs.replace(items[-1], planned="expired")
        batch = self._begin(request, items, foreign=False)
        if self._takes("not_found"):
            batch.hidden.update(("retrieve", "results"))
        return batch

    def _begin(self, request: RecordedRequest, items: list[BatchItem], *, foreign: bool) -> ScriptedBatch:
        batch = ScriptedBatch(
            len(self._batches) + 1,
            items,
            headers=request.headers,
            created=request.at,
            seconds=self._seconds,
            cancel_seconds=self._cancel_seconds,
            epoch=self._find_epoch(request.at),
            foreign=foreign,
            prompt_cache=self.prompt_cache,
        )
        self._batches.append(batch)
        return batch

    def _page(self, params: Mapping[str, str], now: float) -> dict[str, Any]:
        limit = params.get("limit", str(_USUAL_PAGE))
        if not limit.isdecimal() or not 1 <= int(limit) <= _LARGEST_PAGE:
            raise _RefusedError(400, f"limit: Input should be from 1 to {_LARGEST_PAGE}")
        shown = [batch for batch in self._batches if not batch.deleted and now >= batch.created + self._list_lag]
        shown.reverse()  # the newest first
        most = int(limit)
        ids = [batch.id for batch in shown]
        after, before = params.get("after_id"), params.get("before_id")
        if after is not None and before is not None:
            raise _RefusedError(400, "only one of after_id and before_id can be given")
        cursor = after or before
        if cursor is not None and cursor not in ids:
            raise _RefusedError(400, f"after_id, before_id: {cursor[:80]} is not a batch of this workspace")
        if before is not None:
            newer = shown[: ids.index(before)]
            page, more = newer[-most:], len(newer) > most
        else:
            older = shown if after is None else shown[ids.index(after) + 1 :]
            page, more = older[:most], len(older) > most
        return {
            "data": [batch.fields(now) for batch in page],
            "has_more": more,
            "first_id": page[0].id if page else None,
            "last_id": page[-1].id if page else None,
        }

    def _results(self, batch: ScriptedBatch, context: AnswerContext, now: float) -> Iterator[Moment]:
        lines = list(batch.results(now))
        middle = len(lines) // 2
        if self._takes("missing"):
            del lines[middle]
        if self._takes("doubled"):
            lines.append(lines[-1])
        if self._takes("shuffled"):
            random.Random(len(lines)).shuffle(lines)  # noqa: S311 - the same order each time
        cut = self._takes("results_cut")
        yield AnswerHead(200, (("content-type", "application/x-jsonl"), *self._headers(context, now)))
        for line in lines[:middle] if cut else lines:
            yield Data(msgspec.json.encode(line) + b"\n")
        if cut:
            half = msgspec.json.encode(lines[middle])
            yield Data(half[: len(half) // 2])
            yield Cut(reset=False)

    def _json(
        self, fields: Mapping[str, Any], context: AnswerContext, now: float, *more: tuple[str, str]
    ) -> Iterator[Moment]:
        body = msgspec.json.encode(fields)
        length = ("content-length", str(len(body)))
        yield AnswerHead(200, (("content-type", "application/json"), length, *more, *self._headers(context, now)))
        yield Data(body)

    def _headers(self, context: AnswerContext, now: float) -> list[tuple[str, str]]:
        """The headers of an answer about batches: none of rate limits, and the date by the clock of the batches."""
        usual = [(name, value) for name, value in base_headers(context.number) if "ratelimit" not in name]
        date = self._find_epoch(now) + timedelta(seconds=now)
        return [*usual, ("date", format_datetime(date, usegmt=True))]

    def _find_epoch(self, now: float) -> datetime:
        """What time it is when Trio's clock shows 0: from then on the batches go by that clock alone."""
        if self._epoch is None:
            self._epoch = datetime.now(UTC) - timedelta(seconds=now)
        return self._epoch

    def _takes(self, fault: BatchFault) -> bool:
        """Whether a fault happens now."""
        if not self._faults[fault]:
            return False
        self._faults[fault] -= 1
        return True


class _RefusedError(Exception):
    """The API refuses a request, with a status and a sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def _check_ended(batch: ScriptedBatch, now: float, otherwise: str) -> None:
    if not batch.has_ended(now):
        raise _RefusedError(400, f"Message batch {batch.id} {otherwise}: it has not ended")


def _plan(each: Mapping[str, Any], take_script: TakeScript, find_fault: FindFault) -> BatchItem:
    """What is to become of a request of a new batch, once the batch runs."""
    params = as_object(each["params"])
    refusal = find_fault(params) or _find_batch_fault(params)
    script = None if refusal else take_script()
    if not refusal and script is None:
        refusal = "ScriptedAPI: no script is left for this request"
    return BatchItem(
        custom_id=str(each["custom_id"]),
        params=params,
        planned="refused" if refusal else "script",
        script=script or (),
        refusal=refusal or "",
    )


def _read_requests(body: Any) -> list[Mapping[str, Any]]:
    """The requests of a new batch. The API judges all but the parameters of the messages at once."""
    if not is_object(body):
        raise _RefusedError(400, "The request body is not valid JSON: an object is expected")
    _check_members(body, {"requests"}, "")
    requests = body.get("requests")
    if not isinstance(requests, list) or not 1 <= len(as_list(requests)) <= _MOST_REQUESTS:
        raise _RefusedError(400, f"requests: a list of 1 to {_MOST_REQUESTS} requests is expected")
    asked = list(map(as_object, as_list(requests)))
    places: dict[str, int] = {}
    for number, fields in enumerate(asked):
        place = f"requests.{number}"
        _check_members(fields, {"custom_id", "params"}, f"{place}.")
        custom_id = fields.get("custom_id")
        if not isinstance(custom_id, str) or not _CUSTOM_ID.fullmatch(custom_id):
            raise _RefusedError(400, f"{place}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
        if custom_id in places:
            raise _RefusedError(400, f"{place}.custom_id: `{custom_id}` is that of requests.{places[custom_id]} too")
        if not is_object(fields.get("params")):
            raise _RefusedError(400, f"{place}.params: Input should be an object")
        places[custom_id] = number
    return asked


def _check_members(fields: Mapping[str, Any], known: set[str], place: str) -> None:
    for name in fields:
        if name not in known:
            raise _RefusedError(400, f"{place}{name}: Extra inputs are not permitted")


def _find_batch_fault(params: Mapping[str, Any]) -> str | None:
    """What the API takes in a message of its own, and not in a batch. It says so only when the batch runs."""
    if params.get("stream"):
        return "stream: Streaming is not supported in batches"
    if params.get("speed") is not None:
        return "speed: Extra inputs are not permitted"
    if params.get("max_tokens") == 0:
        return "max_tokens: Input should be greater than 0"
    if as_object(params.get("billing_policy")).get("bill_to") == "user_profile":
        return "billing_policy.bill_to: `user_profile` is not supported in batches"
    for number, fallback in enumerate(as_list(params.get("fallbacks"))):
        if as_object(fallback).get("speed") is not None:
            return f"fallbacks.{number}.speed: Extra inputs are not permitted"
    return None
