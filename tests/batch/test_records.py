"""Items, outcomes, and the form by which a journal knows a request again."""

from __future__ import annotations

import pytest

import trio_stream as ts
from trio_stream.batch._records import canonical_request, merge_params

PARAMS = {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    "other",
    [
        dict(reversed(PARAMS.items())),
        {**PARAMS, "timeout": 3},
        {**PARAMS, "extra_headers": {"x": "y"}},
        merge_params("hi", {"model": "m", "max_tokens": 5}),
    ],
    ids=str,
)
def test_equal_questions_have_equal_hashes(other):
    assert ts.request_hash(other) == ts.request_hash(PARAMS)


@pytest.mark.parametrize(
    "change", [{"model": "n"}, {"system": ""}, {"betas": ["b"]}, {"extra_body": {"x": 1}}, {"max_tokens": 6}], ids=str
)
def test_other_questions_have_other_hashes(change):
    assert ts.request_hash({**PARAMS, **change}) != ts.request_hash(PARAMS)


def test_the_canonical_form_is_pinned():
    """Journals outlive versions: this must not change."""
    assert canonical_request(PARAMS) == b'{"max_tokens":5,"messages":[{"content":"hi","role":"user"}],"model":"m"}'
    assert ts.request_hash(PARAMS) == "8e75ba1fd4b7cc9862c66c4c4432fb66"


@pytest.mark.parametrize("status", ["ok", "cached"])
def test_unwrap_gives_the_text(status):
    assert ts.Outcome(status=status, text="t").unwrap() == "t"


def test_unwrap_raises_the_items_own_error():
    error = ts.BadRequestError("x", status_code=400)
    outcome = ts.Outcome(status="error", error=error)
    for _ in range(2):
        with pytest.raises(ts.BadRequestError) as caught:
            outcome.unwrap()
        assert caught.value is error


def test_unwrap_of_what_never_finished():
    why = ts.FanOutStoppedError("no money", reason="budget")
    with pytest.raises(ts.UnfinishedError, match=r"item 'a' was skipped: no money") as caught:
        ts.Outcome(status="skipped", id="a", error=why).unwrap()
    assert caught.value.__cause__ is why
    assert caught.value.outcome.id == "a"
    with pytest.raises(ts.UnfinishedError, match="item 3 was cancelled"):
        ts.Outcome(status="cancelled", index=3).unwrap()
