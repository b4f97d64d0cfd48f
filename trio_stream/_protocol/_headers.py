"""The headers of a request: which ones there are, and what may be in them.

What belongs here: putting headers together, checking keys, and looking headers up. What does not: the body
(`_request`), and what an answer's headers mean (`_retry`, `_rate_limits`, `_api_error`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from trio_stream._errors import CredentialsError

_KEY = "x-api-key"
_AUTHORIZATION = "authorization"
_BETA = "anthropic-beta"

# RFC 9110, 5.6.2: a field name is a token.
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# RFC 9110, 5.5: "CTL characters" other than HTAB never belong in a value; what is not Latin-1 has no octet.
_NOT_IN_VALUES = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VISIBLE = re.compile(r"[!-~]+")

# These parameters of the API travel as headers.
_PARAMETER_HEADERS: Final = {
    "user_profile_id": "anthropic-user-profile-id",
    "workspace_id": "anthropic-workspace-id",
}


def check_api_key(key: str) -> str:
    """Strip blanks from an API key, and refuse a key that no header can carry.

    Raises:
      CredentialsError: The key is empty, or has a blank, a control or a non-ASCII character in it. The text of the
        error has nothing of the key.
    """
    return _check_secret(key, "the API key")


def check_auth_token(token: str) -> str:
    """Strip blanks from an auth token, and refuse a token that no header can carry.

    Raises:
      CredentialsError: As for `check_api_key`.
    """
    return _check_secret(token, "the auth token")


def _check_secret(secret: str, what: str) -> str:
    # A line end is not stripped: it may be a file that was read carelessly, but also an injected header.
    secret = secret.strip(" \t")
    if not secret:
        raise CredentialsError(f"{what} is empty")
    if _CONTROL.search(secret):
        raise CredentialsError(f"{what} holds a line end or another control character, which no header can carry")
    if not secret.isascii():
        raise CredentialsError(f"{what} holds characters outside ASCII")
    if not _VISIBLE.fullmatch(secret):
        raise CredentialsError(f"{what} holds a blank; give it alone, without a scheme such as 'Bearer'")
    return secret


def parse_custom_headers(text: str) -> dict[str, str]:
    """Read the headers in ``ANTHROPIC_CUSTOM_HEADERS``: one ``Name: value`` per line. Blank lines are skipped.

    Raises:
      ValueError: A line is not a header that can be sent. The text of the error has nothing of its value.
    """
    headers: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        name, colon, value = line.partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not _TOKEN.fullmatch(name):
            raise ValueError(f"line {number} of the custom headers is not 'Name: value'")
        _check_value(name, value)
        headers[name] = value
    return headers


def param_headers(params: Mapping[str, object]) -> dict[str, str]:
    """The headers that carry parameters of the API: ``user_profile_id`` and ``workspace_id``.

    The ``extra_headers`` of the caller win over them. `build_body` leaves these parameters out of the body.

    Raises:
      TypeError: One of them is not a str.
    """
    headers: dict[str, str] = {}
    for parameter, name in _PARAMETER_HEADERS.items():
        value = params.get(parameter)
        if value is None:
            continue
        if not isinstance(value, str):
            raise TypeError(f"{parameter} must be a str, not {type(value).__name__}")
        headers[name] = value
    return headers


def is_header_param(name: str) -> bool:
    """Whether a parameter of a call is sent as a header and not in the body."""
    return name == "betas" or name in _PARAMETER_HEADERS


def build_headers(
    *,
    api_key: str | None,
    auth_token: str | None,
    anthropic_version: str,
    betas: Iterable[str] | None = None,
    default_headers: Mapping[str, str] | None = None,
    extra_headers: Mapping[str, str] | None = None,
    user_agent: str,
    stream: bool,
) -> dict[str, str]:
    """The headers of one request, under lower-case names.

    Later layers win: our own headers, then ``default_headers``, then ``betas``, which are added to those of
    ``default_headers``, then ``extra_headers``. A request has one kind of authentication: a layer that has one replaces
    that of the layers before.

    Args:
      api_key: What `check_api_key` returned, or None. Sent as ``x-api-key``.
      auth_token: What `check_auth_token` returned, or None. Sent as ``Authorization: Bearer``.
      anthropic_version: ``2026-10-21`` or ``2023-06-01``.
      betas: The names for ``anthropic-beta``.
      default_headers: The headers of the client.
      extra_headers: The headers of the call.
      user_agent: The value of ``user-agent``.
      stream: Whether the answer is to be an event stream.

    Raises:
      CredentialsError: Both a key and a token were given, or a layer has both.
      ValueError: A header cannot be sent. The text of the error names it and has nothing of its value.
    """
    if api_key is not None and auth_token is not None:
        raise CredentialsError("an API key and an auth token were given; a request carries one of them")
    headers = {
        "accept": "text/event-stream" if stream else "application/json",
        # A small compressed body may decode to a huge one, and compressing an event stream delays its events.
        "accept-encoding": "identity",
        "content-type": "application/json",
        "user-agent": user_agent,
        "anthropic-version": anthropic_version,
    }
    if api_key is not None:
        headers[_KEY] = api_key
    if auth_token is not None:
        headers[_AUTHORIZATION] = f"Bearer {auth_token}"
    _add(headers, default_headers)
    names = [*_split(headers.get(_BETA, "")), *_check_betas(betas)]
    if names:
        headers[_BETA] = ",".join(dict.fromkeys(names))
    _add(headers, extra_headers)
    for name, value in headers.items():
        _check_value(name, value)
    return headers


def count_retries(headers: dict[str, str], retries_taken: int) -> dict[str, str]:
    """The headers of one attempt. From the first retry on they tell how many retries there were."""
    return {"trio-stream-retry-count": str(retries_taken), **headers} if retries_taken else headers


def _add(headers: dict[str, str], layer: Mapping[str, str] | None) -> None:
    lowered: dict[str, str] = {}
    for name, value in (layer or {}).items():
        if not _TOKEN.fullmatch(name):
            raise ValueError("a header's name holds characters that no name can")
        lowered[name.lower()] = value
    if _KEY in lowered and _AUTHORIZATION in lowered:
        raise CredentialsError("the headers hold x-api-key and authorization; a request carries one of them")
    if _KEY in lowered or _AUTHORIZATION in lowered:
        headers.pop(_KEY, None)
        headers.pop(_AUTHORIZATION, None)
    headers.update(lowered)


def _check_betas(betas: Iterable[str] | None) -> list[str]:
    if isinstance(betas, str):
        raise TypeError("betas must be a list of names, not one str")
    names = list(betas or ())
    for name in names:
        # A comma would split the name in two.
        if not _VISIBLE.fullmatch(name) or "," in name:
            raise ValueError("betas: a name is empty, or holds a character that no name can")
    return names


def _split(value: str) -> list[str]:
    return [name.strip() for name in value.split(",") if name.strip()]


def _check_value(name: str, value: str) -> None:
    if _NOT_IN_VALUES.search(value):
        raise ValueError(f"the value of the header {name!r} holds characters that cannot be sent")


def check_added_header(name: str, value: str) -> None:
    """Refuse a header that is to be added to a finished request, if it cannot be sent or is authentication.

    Raises:
      TypeError: The name or the value is not a str.
      ValueError: The header is authentication, or has characters that no header can carry. The text of the error has
        nothing of its value.
    """
    if not _TOKEN.fullmatch(name) or name.lower() in (_KEY, _AUTHORIZATION):
        raise ValueError("a header that is added has a name that cannot be sent, or is authentication")
    _check_value(name, value)


def find_header(headers: Mapping[str, str], name: str) -> str | None:
    """Look up a header whose name may be in any case. ``name`` is in lower case."""
    value = headers.get(name)
    if value is not None:
        return value
    for other, value in headers.items():
        if other.lower() == name:
            return value
    return None
