"""Message batches without I/O: their values, the lines of their results, the body that creates one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

import trio_stream as ts
from trio_stream import types
from trio_stream._protocol import (
    BatchBody,
    JSONLinesParser,
    MessageBatchList,
    _batch_body as batch_body,
    may_have_been_done,
)

BATCH = {
    "id": "msgbatch_1",
    "type": "message_batch",
    "processing_status": "ended",
    "request_counts": {"processing": 0, "succeeded": 1, "errored": 2, "canceled": 3, "expired": 4},
    "created_at": "2026-11-28T12:00:00Z",
    "expires_at": "2026-11-29T12:00:00Z",
    "ended_at": "2026-11-28T13:00:00Z",
    "cancel_initiated_at": None,
    "archived_at": None,
    "results_url": "https://api.anthropic.com/v1/messages/batches/msgbatch_1/results",
}
MESSAGE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 2},
}
PARAMS: dict[str, Any] = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}


def of_wire(result: object) -> types.MessageBatchIndividualResponse:
    return types.MessageBatchIndividualResponse.from_json(json.dumps({"custom_id": "a", "result": result}))


# ----- values


def test_a_batch() -> None:
    """Its fields, and the number of its requests."""
    batch = types.MessageBatch.from_dict(BATCH)
    assert (batch.id, batch.ended, batch.request_counts.total) == ("msgbatch_1", True, 10)
    assert batch.to_dict() == {name: value for name, value in BATCH.items() if value is not None}


def test_a_batch_keeps_what_is_unknown() -> None:
    """New fields, new statuses, new counts."""
    raw = {**BATCH, "processing_status": "paused", "new": {"a": 1}, "request_counts": {"processing": 1, "paused": 5}}
    batch = types.MessageBatch.from_dict(raw)
    assert not batch.ended
    assert batch.extra == {"new": {"a": 1}}
    assert batch.request_counts.extra == {"paused": 5}
    assert batch.to_dict()["request_counts"]["paused"] == 5


@pytest.mark.parametrize("raw", [{}, {"type": "message"}, {**BATCH, "id": None}, {**BATCH, "request_counts": 3}])
def test_what_is_no_batch(raw: dict[str, Any]) -> None:
    """A wrong type, a missing id, counts that cannot be read."""
    with pytest.raises(ts.InvalidResponseError, match="invalid message batch"):
        types.MessageBatch.from_dict(raw)


def test_a_deleted_batch() -> None:
    """It has an id, and is nothing else."""
    raw = {"id": "msgbatch_1", "type": "message_batch_deleted"}
    assert types.DeletedMessageBatch.from_dict(raw).to_dict() == raw
    with pytest.raises(ts.InvalidResponseError, match="answer to a deletion"):
        types.DeletedMessageBatch.from_dict(BATCH)


def test_a_page() -> None:
    """Batches in order; what is no page is refused."""
    page = MessageBatchList.from_dict({"data": [BATCH], "has_more": True, "first_id": "a", "last_id": None})
    assert [batch.id for batch in page.data] == ["msgbatch_1"]
    assert (page.has_more, page.first_id, page.last_id) == (True, "a", None)
    with pytest.raises(ts.InvalidResponseError, match="list of message batches"):
        MessageBatchList.from_dict({"error": {}})


def test_succeeded() -> None:
    """The message is as any other, and can go back as it is."""
    result = of_wire({"type": "succeeded", "message": {**MESSAGE, "new": 1}}).result
    assert isinstance(result, types.MessageBatchSucceededResult)
    assert result.type == "succeeded"
    assert result.message.text == "Hello"
    assert result.message.extra == {"new": 1}
    assert result.message.to_param()["role"] == "assistant"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (
            {"type": "error", "error": {"type": "api_error", "message": "Oh", "details": {"a": 1}}, "request_id": "r"},
            "api_error",
            "Oh",
        ),
        ({"type": "invalid_request", "message": "Oh"}, "invalid_request", "Oh"),
        ("Oh", None, "Oh"),
        (None, None, ""),
    ],
)
def test_errored(error: object, kind: str | None, message: str) -> None:
    """An error is never lost, whatever its form."""
    result = of_wire({"type": "errored", "error": error, "new": 1}).result
    assert isinstance(result, types.MessageBatchErroredResult)
    assert (result.error.error.type, result.error.error.message) == (kind, message)
    assert result.extra == {"new": 1}


@pytest.mark.parametrize("kind", ["canceled", "expired"])
def test_not_processed(kind: str) -> None:
    """Both say no more than that."""
    line = of_wire({"type": kind})
    assert line.result.type == kind
    assert line.to_dict() == {"custom_id": "a", "result": {"type": kind}}


def test_an_unknown_result() -> None:
    """It is kept as it came."""
    raw = {"type": "postponed", "until": {"b": 1}}
    line = of_wire(raw)
    assert str(line.result.type) == "postponed"
    assert line.to_dict()["result"] == raw


@pytest.mark.parametrize("line", ["[1]", "{", '{"custom_id": "a"}', '{"custom_id": "a", "result": 3}', "nul"])
def test_what_is_no_result(line: str) -> None:
    """It is refused, and says so."""
    with pytest.raises(ts.InvalidResponseError, match="invalid result of a batch"):
        types.MessageBatchIndividualResponse.from_json(line)


def test_a_message_without_a_type() -> None:
    """It is taken for one, as it is paid; what has no content is none."""
    fields = {name: value for name, value in MESSAGE.items() if name != "type"}
    line = of_wire({"type": "succeeded", "message": fields})
    assert isinstance(line.result, types.MessageBatchSucceededResult)
    assert line.result.message.to_dict() == MESSAGE | {"usage": {"input_tokens": 1, "output_tokens": 2}}
    with pytest.raises(ts.InvalidResponseError, match="without a message"):
        of_wire({"type": "succeeded", "message": {"id": "msg_1"}})


def test_a_message_that_cannot_be_read() -> None:
    """Its content must be right, as anywhere."""
    with pytest.raises(ts.InvalidResponseError, match="invalid result of a batch: Expected `str`"):
        of_wire({"type": "succeeded", "message": {**MESSAGE, "content": [{"type": "text", "text": 1.5}]}})


# ----- lines


def lines_of(*pieces: bytes, limit: int = 100) -> list[bytes]:
    parser = JSONLinesParser(max_line_bytes=limit)
    found = [line for piece in pieces for line in parser.feed(piece)]
    assert parser.failure is None
    return [*found, parser.end()]


def test_lines_wherever_they_are_cut() -> None:
    """LF and CRLF end lines, blank ones are left out, and a BOM goes."""
    whole = b"\xef\xbb\xbf{1}\n{2}\r\n\n \r\n{\xe2\x80\xa8}\n{4}"
    expected = [b"{1}", b"{2}\r", b"{\xe2\x80\xa8}", b"{4}"]
    for first in range(len(whole)):
        for second in range(first, len(whole)):
            assert lines_of(whole[:first], whole[first:second], whole[second:]) == expected


def test_the_end() -> None:
    """What came after the last line end, if it is more than blanks."""
    assert lines_of(b"{1}\n") == [b"{1}", b""]
    assert lines_of(b"{1}\n  \r") == [b"{1}", b""]
    assert lines_of(b"\xef\xbb\xbf{1}") == [b"{1}"]
    assert lines_of() == [b""]


@pytest.mark.parametrize("rest", [b"", b"\n", b"\n{4}\n"])
def test_a_line_that_is_too_large(rest: bytes) -> None:
    """Lines before it are returned, nothing after it is; a line without end is not kept."""
    parser = JSONLinesParser(max_line_bytes=10)
    assert parser.feed(b"{1}\n{2}\n" + b"x" * 6) == [b"{1}", b"{2}"]
    assert parser.feed(b"x" * 5 + rest) == []
    assert "more than 10 bytes" in str(parser.failure)
    assert parser.feed(b"{5}\n") == []
    assert parser.end() == b""


def test_blank_lines_for_ever() -> None:
    """They are bounded as a line is, and begin anew with each line."""
    parser = JSONLinesParser(max_line_bytes=10)
    assert parser.feed(b"\n" * 8) == []
    assert parser.feed(b"\n{1}\n\n") == [b"{1}"]
    for _ in range(5):
        assert parser.feed(b"\n ") == []
        assert parser.failure is None
    assert parser.feed(b"\n") == []
    assert str(parser.failure) == "more than 10 bytes without a line"
    assert parser.feed(b"{2}\n") == []


# ----- the body


def body_of(*requests: object, version: str = "2026-10-21", **extra: object) -> Any:
    body = BatchBody(anthropic_version=version, extra_body=extra)
    for request in requests:
        body.add(request)
    assert body.requests == len(requests)
    return json.loads(body.finish())


def request_of(custom_id: object = "a", **params: object) -> dict[str, Any]:
    return {"custom_id": custom_id, "params": {**PARAMS, **params}}


def test_the_body() -> None:
    """The requests in order, as they were given, and what else there is to be."""
    message = types.Message.from_dict(MESSAGE)
    first = request_of("a-1", user_profile_id="u", stream=False)
    found = body_of(first, request_of("b_2", messages=iter([message])), new={"a": None})
    assert found["new"] == {"a": None}
    assert found["requests"][0] == first
    assert found["requests"][1]["params"]["messages"][0]["content"] == [{"type": "text", "text": "Hello"}]
    assert body_of(first) == {"requests": [first]}


@pytest.mark.parametrize(
    ("request_", "kind", "sentence"),
    [
        ("x", TypeError, r"requests\[1\] must be a mapping with custom_id and params, not str"),
        ({"params": PARAMS}, TypeError, r"requests\[1\].custom_id must be a str, not NoneType"),
        (request_of(7), TypeError, r"requests\[1\].custom_id must be a str, not int"),
        (request_of(""), ValueError, r"requests\[1\].custom_id '' is not 1 to 64 letters"),
        (request_of("b" * 65), ValueError, "is not 1 to 64 letters"),
        (request_of("b c"), ValueError, "is not 1 to 64 letters"),
        (request_of("ü"), ValueError, "is not 1 to 64 letters"),
        (request_of("b\n"), ValueError, "is not 1 to 64 letters"),
        (request_of("first"), ValueError, r"requests\[1\].custom_id 'first' is that of requests\[0\] too"),
        ({"custom_id": "b", "params": []}, TypeError, r"requests\[1\].params must be a mapping, not list"),
        ({"custom_id": "b", "params": PARAMS, "name": 1}, ValueError, r"requests\[1\] has members other than"),
        ({"custom_id": "b", "params": {"model": "m"}}, TypeError, r"requests\[1\].params: .*missing: max_tokens, mess"),
        (request_of("b", messages="Hi"), TypeError, r"requests\[1\].params: messages must be a list"),
        (request_of("b", temperature=1), ValueError, r"requests\[1\].params: .*does not take temperature"),
        (request_of("b", stream=True), ValueError, r"requests\[1\].params.stream: "),
        (request_of("b", speed="fast"), ValueError, r"requests\[1\].params.speed: "),
        (request_of("b", max_tokens=0), ValueError, r"requests\[1\].params.max_tokens: "),
        (request_of("b", betas=["x"]), ValueError, r"requests\[1\].params.betas: .*give it to create"),
        (request_of("b", workspace_id="w"), ValueError, r"requests\[1\].params.workspace_id: "),
        (
            request_of("b", billing_policy={"type": "billing_policy", "bill_to": "user_profile"}),
            ValueError,
            r"requests\[1\].params.billing_policy.bill_to: ",
        ),
        (
            request_of("b", fallbacks=[{"model": "n"}, {"model": "o", "speed": "fast"}]),
            ValueError,
            r"requests\[1\].params.fallbacks\[1\].speed: ",
        ),
        (request_of("b", metadata={"user_id": {1}}), TypeError, r"requests\[1\].params.metadata.user_id is not JSON"),
        (
            request_of("b", messages=[{"role": "user", "content": "\ud800"}]),
            ValueError,
            r"requests\[1\].params.messages\[0\].content cannot be encoded",
        ),
    ],
)
def test_what_cannot_be_in_a_batch(request_: object, kind: type[Exception], sentence: str) -> None:
    """It is refused at once, with its position."""
    body = BatchBody(anthropic_version="2026-10-21")
    body.add(request_of("first"))
    with pytest.raises(kind, match=f"^{sentence}" if sentence.startswith("requests") else sentence):
        body.add(request_)
    assert body.requests == 1


def test_what_can_be_in_a_batch() -> None:
    """Neighbours of what cannot."""
    requests = [
        request_of("a" * 64, billing_policy={"type": "billing_policy", "bill_to": "self"}),
        request_of("-_9", fallbacks="default", speed=None),
        request_of("c", fallbacks=[{"model": "n"}, "odd"], billing_policy=None),
    ]
    assert body_of(*requests) == {"requests": requests}
    old = request_of("t", temperature=0.5)
    assert body_of(old, version="2023-06-01") == {"requests": [old]}


def test_an_empty_batch() -> None:
    """The API would refuse it."""
    with pytest.raises(ValueError, match="at least one request"):
        body_of()


def test_extra_body_cannot_replace_the_requests() -> None:
    """It would be a batch that nobody checked."""
    with pytest.raises(ValueError, match="extra_body: requests cannot be replaced"):
        body_of(request_of(), requests=[])


def test_too_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one beyond the limit is refused, before an endless iterable fills the memory."""
    monkeypatch.setattr(batch_body, "MOST_REQUESTS", 2)
    with pytest.raises(ValueError, match=r"^requests\[2\]: a batch has at most 2 requests"):
        body_of(*(request_of(f"r{number}") for number in range(3)))


def test_too_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that goes beyond the limit is refused."""
    monkeypatch.setattr(batch_body, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match=r"^requests\[1\]: the batch is larger than 256 MB"):
        body_of(request_of("a"), request_of("b", system="x" * 1000))


def test_the_body_exists_once() -> None:
    """A batch of 64 MB needs no more than an eighth more while it is put together."""
    import tracemalloc

    text = "x" * 1_000_000

    def requests() -> Iterator[object]:
        for number in range(64):
            yield request_of(f"r{number}", system=text)

    body = BatchBody(anthropic_version="2026-10-21")
    tracemalloc.start()
    try:
        for request in requests():
            body.add(request)
        content = body.finish()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(content) > 64_000_000
    assert peak < 1.25 * len(content)


# ----- whether a request that failed may have been done


def status(code: int, **fields: Any) -> ts.APIStatusError:
    return ts.APIStatusError("x", status_code=code, **fields)


@pytest.mark.parametrize(
    ("error", "unknown"),
    [
        (ts.APIConnectionError("x"), False),
        (ts.ConnectTimeoutError("x", seconds=1), False),
        (ts.SendTimeoutError("x", seconds=1), False),
        (ts.CredentialsError("x"), False),
        *((status(code), False) for code in (302, 400, 401, 402, 403, 404, 409, 413, 422, 429, 499, 529)),
        *((status(code), True) for code in (200, 202, 408, 500, 501, 502, 503, 504, 520, 599)),
        (status(500, should_retry=True), True),
        (ts.APIConnectionError("x", may_have_been_accepted=True), True),
        (ts.FirstEventTimeoutError("x", seconds=1, may_have_been_accepted=True), True),
        (ts.TotalTimeoutError("x", seconds=1), False),
        (ts.IncompleteStreamError("x"), True),
        (ts.InvalidResponseError("x"), True),
    ],
    ids=repr,
)
def test_may_have_been_done(error: ts.APIError, unknown: bool) -> None:
    """The table: what the API refused, and what never reached it as a whole, has not been done."""
    assert may_have_been_done(error) is unknown
