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
    """Strip blanks from an API key, and refuse one that no header can carry.

    Raises:
      CredentialsError: It is empty, or holds blanks, control or non-ASCII characters. The text holds nothing of it.
    """
    return _check_secret(key, "the API key")


def check_auth_token(token: str) -> str:
    """As `check_api_key`, for what goes after ``Bearer``.

    Raises:
      CredentialsError: As `check_api_key`.
    """
    return _check_secret(token, "the auth token")


def _check_secret(secret: str, what: str) -> str:
    # A line end is not stripped: it is the mark of an injected header as much as of a file read carelessly.
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
    """Read the headers of ``ANTHROPIC_CUSTOM_HEADERS``: one ``Name: value`` per line; blank lines are skipped.

    Raises:
      ValueError: A line is not a header that can be sent. The text holds nothing of its value.
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

    They go under the caller's ``extra_headers``. `build_body` leaves these parameters out.

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
    """Whether a parameter of a call travels as a header."""
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

    Later ones win: ours, then ``default_headers``, then ``betas``, which join those of ``default_headers``, then
    ``extra_headers``. There is one kind of authentication: a layer that brings its own replaces what was there.

    Args:
      api_key: As `check_api_key` returned it; sent as ``x-api-key``.
      auth_token: As `check_auth_token` returned it; sent as ``Authorization: Bearer``.
      anthropic_version: ``2026-10-21`` or ``2023-06-01``.
      betas: Names for ``anthropic-beta``.
      default_headers: The client's.
      extra_headers: The call's.
      user_agent: Who we are.
      stream: Whether an event stream is asked for.

    Raises:
      CredentialsError: A key and a token were given, or a layer brings both kinds.
      ValueError: A header cannot be sent. The text names it and holds nothing of its value.
    """
    if api_key is not None and auth_token is not None:
        raise CredentialsError("an API key and an auth token were given; a request carries one of them")
    headers = {
        "accept": "text/event-stream" if stream else "application/json",
        # Decoding is a way to be flooded, and compressing an event stream delays its events.
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
    """The headers of one attempt: from the first retry on they say how many there were."""
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
        # A comma would make two names of it.
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
    """Look a header up, whatever the case of its name; ``name`` is in lower case."""
    value = headers.get(name)
    if value is not None:
        return value
    for other, value in headers.items():
        if other.lower() == name:
            return value
    return None
