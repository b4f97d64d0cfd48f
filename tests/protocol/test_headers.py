"""The headers of a request."""

from __future__ import annotations

import contextlib
import traceback
from typing import Any

import pytest
from hypothesis import given, strategies as st

from trio_stream import CredentialsError
from trio_stream._protocol._headers import (
    build_headers,
    check_api_key,
    check_auth_token,
    count_retries,
    find_header,
    param_headers,
    parse_custom_headers,
)

KEY = "sk-ant-SECRET-0123"


def headers(**options: Any) -> dict[str, str]:
    given: dict[str, Any] = {
        "api_key": KEY,
        "auth_token": None,
        "anthropic_version": "2026-10-21",
        "user_agent": "trio-stream/1",
        "stream": True,
    }
    return build_headers(**{**given, **options})


# ----- keys


@pytest.mark.parametrize("check", [check_api_key, check_auth_token])
@pytest.mark.parametrize(
    ("given", "kept"), [(KEY, KEY), (f"  {KEY}", KEY), (f"{KEY} \t ", KEY), ("a", "a"), ("~!{}=+/", "~!{}=+/")]
)
def test_blanks_around_a_key_are_stripped(check: Any, given: Any, kept: Any) -> None:
    assert check(given) == kept


@pytest.mark.parametrize("check", [check_api_key, check_auth_token])
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ("", "empty"),
        ("  \t", "empty"),
        (f"{KEY}\r\n", "line end"),
        (f"{KEY}\r\nX-Evil: 1", "line end"),
        (f"\n{KEY}", "line end"),
        (f"{KEY}\0", "control"),
        (f"{KEY}\x7f", "control"),
        (f"{KEY}\t{KEY}", "control"),
        (f"{KEY}é", "outside ASCII"),
        (f"{KEY}\u2028", "outside ASCII"),
        (f"{KEY}\ud800", "outside ASCII"),
        (f"Bearer {KEY}", "'Bearer'"),
    ],
)
def test_a_key_that_cannot_be_sent_is_refused_without_echo(check: Any, given: Any, reason: Any) -> None:
    with pytest.raises(CredentialsError, match=reason) as caught:
        check(given)
    said = "".join(traceback.format_exception_only(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert "SECRET" not in said
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@given(st.text())
def test_a_checked_key_can_always_be_sent(text: Any) -> None:
    with contextlib.suppress(CredentialsError):
        key = check_api_key(text)
        assert key.isascii()
        assert key.isprintable()
        assert " " not in key


# ----- what is sent


def test_the_headers_of_a_stream() -> None:
    assert headers() == {
        "accept": "text/event-stream",
        "accept-encoding": "identity",
        "anthropic-version": "2026-10-21",
        "content-type": "application/json",
        "user-agent": "trio-stream/1",
        "x-api-key": KEY,
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"stream": False}, {"accept": "application/json"}),
        ({"api_key": None, "auth_token": "t"}, {"authorization": "Bearer t", "x-api-key": None}),
        ({"api_key": None}, {"authorization": None, "x-api-key": None}),
        ({"anthropic_version": "2023-06-01"}, {"anthropic-version": "2023-06-01"}),
        ({"betas": None}, {"anthropic-beta": None}),
        ({"betas": []}, {"anthropic-beta": None}),
        ({"betas": ["a", "b-1"]}, {"anthropic-beta": "a,b-1"}),
        ({"betas": (name for name in "aba")}, {"anthropic-beta": "a,b"}),
        ({"betas": ["b"], "default_headers": {"Anthropic-Beta": "a, c,"}}, {"anthropic-beta": "a,c,b"}),
        ({"betas": ["b"], "extra_headers": {"Anthropic-Beta": "c"}}, {"anthropic-beta": "c"}),
        ({"default_headers": {"X-A": "1"}}, {"x-a": "1"}),
        ({"default_headers": {"X-A": "1"}, "extra_headers": {"x-a": "2"}}, {"x-a": "2"}),
        ({"extra_headers": {"X-A": "1", "x-a": "2"}}, {"x-a": "2"}),
        ({"extra_headers": {"User-Agent": "me"}}, {"user-agent": "me"}),
        ({"extra_headers": {"x-a": "caf\xe9\tau lait"}}, {"x-a": "caf\xe9\tau lait"}),
        ({"default_headers": {"X-API-Key": "other"}}, {"x-api-key": "other", "authorization": None}),
        ({"default_headers": {"Authorization": "Basic b"}}, {"x-api-key": None, "authorization": "Basic b"}),
        ({"extra_headers": {"AUTHORIZATION": "Bearer b"}}, {"x-api-key": None, "authorization": "Bearer b"}),
        (
            {"default_headers": {"x-api-key": "d"}, "extra_headers": {"authorization": "e"}},
            {"x-api-key": None, "authorization": "e"},
        ),
        (
            {"api_key": None, "auth_token": "t", "extra_headers": {"X-Api-Key": "e"}},
            {"x-api-key": "e", "authorization": None},
        ),
    ],
)
def test_options_and_layers(options: Any, expected: Any) -> None:
    built = headers(**options)
    assert {name: built.get(name) for name in expected} == expected
    assert all(name == name.lower() for name in built)
    assert not ("x-api-key" in built and "authorization" in built)


@pytest.mark.parametrize(
    "options",
    [
        {"auth_token": "t"},
        {"default_headers": {"X-Api-Key": "SECRET", "Authorization": "SECRET"}},
        {"extra_headers": {"X-Api-Key": "SECRET", "Authorization": "SECRET"}},
    ],
)
def test_two_kinds_of_authentication_are_refused(options: Any) -> None:
    with pytest.raises(CredentialsError) as caught:
        headers(**options)
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("layer", ["default_headers", "extra_headers"])
@pytest.mark.parametrize("value", ["SECRET\r\nX-Evil: 1", "SECRET\n", "\rSECRET", "SECRET\0", "SECRET\x7f", "SECRET☃"])
def test_a_value_that_cannot_be_sent_is_refused_by_name_without_echo(layer: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="'x-mine'") as caught:
        headers(**{layer: {"X-Mine": value}})
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize("name", ["", "X Mine", "X:Mine", "X\r\nEvil", "Ä"])
def test_a_name_that_cannot_be_sent_is_refused(name: Any) -> None:
    with pytest.raises(ValueError, match="a header's name") as caught:
        headers(extra_headers={name: "1"})
    assert not name or name not in str(caught.value)


@pytest.mark.parametrize("options", [{"anthropic_version": "a\nb"}, {"user_agent": "a\nb"}])
def test_our_own_headers_are_checked_too(options: Any) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        headers(**options)


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a\nb", "ä"])
def test_names_of_betas_are_checked(name: Any) -> None:
    with pytest.raises(ValueError, match="betas"):
        headers(betas=[name])


def test_betas_are_a_list() -> None:
    with pytest.raises(TypeError, match="list of names"):
        headers(betas="mcp-client-2025-11-20")


def test_retries_are_counted_from_the_first_one_on() -> None:
    headers = {"a": "1"}
    assert count_retries(headers, 0) is headers
    assert count_retries(headers, 2) == {"a": "1", "trio-stream-retry-count": "2"}
    assert count_retries({"trio-stream-retry-count": "mine"}, 2) == {"trio-stream-retry-count": "mine"}


def test_some_parameters_travel_as_headers() -> None:
    assert param_headers({"user_profile_id": "u", "workspace_id": "w", "model": "m"}) == {
        "anthropic-user-profile-id": "u",
        "anthropic-workspace-id": "w",
    }
    assert param_headers({"user_profile_id": None}) == {}
    with pytest.raises(TypeError, match="workspace_id must be a str, not int"):
        param_headers({"workspace_id": 5})


# ----- ANTHROPIC_CUSTOM_HEADERS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("\n  \n", {}),
        ("X-A: 1", {"X-A": "1"}),
        ("X-A:1\r\n  X-B :  2 ; c: d\n\n", {"X-A": "1", "X-B": "2 ; c: d"}),
        ("X-A:", {"X-A": ""}),
        ("X-A: 1\nX-A: 2", {"X-A": "2"}),
    ],
)
def test_custom_headers(text: Any, expected: Any) -> None:
    assert parse_custom_headers(text) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SECRET", "line 1 "),
        ("X-A: 1\n\nX B: SECRET", "line 3 "),
        (": SECRET", "line 1 "),
        ("X-A: SECRET\0", "'X-A'"),
        ("X-A: SECRET☃", "'X-A'"),
    ],
)
def test_custom_headers_that_cannot_be_sent(text: Any, reason: Any) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_custom_headers(text)
    assert "SECRET" not in str(caught.value)


# ----- lookup


@pytest.mark.parametrize(
    ("given", "expected"), [({"Retry-After": "1"}, "1"), ({"retry-after": ""}, ""), ({"x": "1"}, None), ({}, None)]
)
def test_finding_a_header(given: Any, expected: Any) -> None:
    assert find_header(given, "retry-after") == expected
