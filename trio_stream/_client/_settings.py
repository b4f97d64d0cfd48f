"""What a client was told: key, address, options.

What belongs here: reading arguments and environment once, and checking them early. What does not: the request that a
call makes of them (`_requests`), and the surface that users call (`_client`, `_messages`).
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable, Mapping
from typing import Any, final

import msgspec

from trio_stream._errors import CredentialsError
from trio_stream._http import Sender
from trio_stream._instruments import Instruments
from trio_stream._limits import Limits
from trio_stream._protocol import (
    build_headers,
    check_api_key,
    check_auth_token,
    parse_custom_headers,
)
from trio_stream._runs import OneRun
from trio_stream._stream import Closable, Watchdog
from trio_stream._timeouts import Timeouts
from trio_stream._version import __version__

DEFAULT_BASE_URL = "https://api.anthropic.com"
# RFC 3986, 3.2.1: what stands before an @ in the authority may be a password.
_USERINFO = re.compile(r"//[^/?#]*@")

_AUTHENTICATION = frozenset({"x-api-key", "authorization"})
DEFAULT_VERSION = "2026-10-21"
USER_AGENT = f"trio-stream/{__version__} Python/{platform.python_version()}"


@final
class Connections:
    """Shared by a client and its `with_options` copies: the connections, the open streams, and the watchdog."""

    __slots__ = ("closed", "live", "run", "sender", "watchdog")

    def __init__(self, sender: Sender) -> None:
        self.sender: Sender = sender
        self.live: set[Closable] = set()
        self.watchdog: Watchdog = Watchdog()
        self.run: OneRun = OneRun()
        self.closed: bool = False


class Credentials(msgspec.Struct, frozen=True, repr_omit_defaults=True):
    """One key or one token, checked; never both, and never shown."""

    api_key: str | None = None
    auth_token: str | None = None

    def __repr__(self) -> str:
        return "Credentials(<hidden>)"

    @classmethod
    def find(cls, api_key: str | None, auth_token: str | None, environ: Mapping[str, str]) -> Credentials:
        """Take what was given, else ``ANTHROPIC_API_KEY``, else ``ANTHROPIC_AUTH_TOKEN``.

        Raises:
          CredentialsError: There is none, there are two, or it cannot be sent. Its text holds nothing of it.
        """
        if api_key is not None and auth_token is not None:
            raise CredentialsError("give api_key or auth_token, not both: the API refuses a request with two")
        if api_key is None and auth_token is None:
            api_key = environ.get("ANTHROPIC_API_KEY")
            auth_token = environ.get("ANTHROPIC_AUTH_TOKEN") if api_key is None else None
        if api_key is not None:
            return cls(api_key=check_api_key(api_key))
        if auth_token is not None:
            return cls(auth_token=check_auth_token(auth_token))
        raise CredentialsError(
            "no authentication: set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN), or pass api_key= to Client"
        )


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """The options of one client. `Client.with_options` makes a copy with some of them replaced."""

    credentials: Credentials
    base_url: str
    anthropic_version: str
    default_headers: Mapping[str, str]
    max_retries: int
    timeouts: Timeouts
    limits: Limits
    instruments: Instruments

    def __repr__(self) -> str:
        return f"Settings(anthropic_version={self.anthropic_version!r}, max_retries={self.max_retries}, ...)"

    @property
    def shown_base_url(self) -> str:
        """The base URL without credentials."""
        return _USERINFO.sub("//", self.base_url)

    def headers(
        self, *, streaming: bool, betas: Iterable[str] | None = None, extra_headers: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The headers of a request.

        Raises:
          CredentialsError: A layer brings both kinds of authentication.
          ValueError: A header cannot be sent.
        """
        return build_headers(
            api_key=self.credentials.api_key,
            auth_token=self.credentials.auth_token,
            anthropic_version=self.anthropic_version,
            betas=betas,
            default_headers=self.default_headers,
            extra_headers=extra_headers,
            user_agent=USER_AGENT,
            stream=streaming,
        )


class _Unset:
    """Stands for a ``timeout`` that was not given: None means no limit."""

    def __repr__(self) -> str:
        return "<the client's>"


UNSET: Any = _Unset()


def merge_headers(old: Mapping[str, str], new: Mapping[str, str], *, new_credentials: bool) -> dict[str, str]:
    """Put ``new`` over ``old``, whatever the case of names; one kind of authentication replaces the other."""
    replaced = {name.lower() for name in new}
    if new_credentials or replaced & _AUTHENTICATION:
        replaced |= _AUTHENTICATION
    return {**{name: value for name, value in old.items() if name.lower() not in replaced}, **new}


def check_max_retries(value: int) -> int:
    """Return ``value`` if it is a number of retries.

    Raises:
      ValueError: It is not a whole number from 0 on.
    """
    if type(value) is not int or value < 0:
        raise ValueError(f"max_retries must be a whole number from 0 on, not {value!r}")
    return value


def read_settings(
    *,
    api_key: str | None,
    auth_token: str | None,
    base_url: str | None,
    anthropic_version: str,
    default_headers: Mapping[str, str] | None,
    max_retries: int,
    timeout: Any,
    limits: Limits | None,
    instruments: Instruments,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read arguments and environment, and check what can be checked."""
    environ = os.environ if environ is None else environ
    headers = parse_custom_headers(environ.get("ANTHROPIC_CUSTOM_HEADERS", ""))
    headers.update(default_headers or {})
    return Settings(
        credentials=Credentials.find(api_key, auth_token, environ),
        base_url=base_url or environ.get("ANTHROPIC_BASE_URL") or DEFAULT_BASE_URL,
        anthropic_version=anthropic_version,
        default_headers=headers,
        max_retries=check_max_retries(max_retries),
        timeouts=Timeouts() if timeout is UNSET else Timeouts.of(timeout),
        limits=Limits() if limits is None else limits,
        instruments=instruments,
    )
