"""Where requests go: put together once, and not for ever more of them."""

from __future__ import annotations

from trio_stream._http._target import MOST_KEPT, Targets


def test_a_target_is_put_together_once():
    targets = Targets("http://host:81/base?a=1")
    target = targets.find("/v1/messages", {"beta": "true"})
    assert target is targets.find("/v1/messages", {"beta": "true"})
    assert target.shown_url == str(target.url) == "http://host:81/base/v1/messages?a=1&beta=true"
    assert str(target.origin) == "host:81"
    assert target.authorization is None


def test_no_more_than_so_many_are_kept():
    targets = Targets("http://host")
    first = targets.find("/", {"n": 0})
    for n in range(1, MOST_KEPT + 1):
        targets.find("/", {"n": n})
    again = targets.find("/", {"n": 0})
    assert again is not first
    assert again.url == first.url


def test_a_url_is_shown_if_there_is_one():
    assert Targets("http://user:pass@host/below").show("/v1", {"n": 1}) == "http://host/below/v1?n=1"
    assert Targets("http://host:port").show("/v1", None) is None


def test_credentials_leave_the_url():
    target = Targets("http://user:pass@host").find("/v1", None)
    assert target.authorization == b"Basic dXNlcjpwYXNz"
    assert "pass" not in target.shown_url
