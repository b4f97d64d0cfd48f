"""What a client was told: key, address, options; and the request that each call makes of them.

What belongs here: reading arguments and environment once, checking them early, and sending one prepared request.
What does not: the surface that users call (`_client`, `_messages`).
"""

from __future__ import annotations

import logging
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, final

import msgspec
import trio

from trio_stream._errors import CredentialsError
from trio_stream._http import Response, Sender
from trio_stream._limits import Limits
from trio_stream._protocol import (
    build_headers,
    check_api_key,
    check_auth_token,
    count_retries,
    parse_custom_headers,
)
from trio_stream._stream import Closable, StreamRequest, Watchdog
from trio_stream._timeouts import Timeouts
from trio_stream._version import __version__

_log = logging.getLogger("trio_stream")

DEFAULT_BASE_URL = "https://api.anthropic.com"
_AUTHENTICATION = frozenset({"x-api-key", "authorization"})
DEFAULT_VERSION = "2026-10-21"
USER_AGENT = f"trio-stream/{__version__} Python/{platform.python_version()}"


@final
class Connections:
    """What a client and its `with_options` copies share: connections, open streams, and who watches their clocks."""

    __slots__ = ("closed", "live", "sender", "watchdog")

    def __init__(self, sender: Sender) -> None:
        self.sender: Sender = sender
        self.live: set[Closable] = set()
        self.watchdog: Watchdog = Watchdog()
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
    """The options of one client. `with_options` replaces some of them."""

    credentials: Credentials
    base_url: str
    anthropic_version: str
    default_headers: Mapping[str, str]
    max_retries: int
    timeouts: Timeouts
    limits: Limits

    def __repr__(self) -> str:
        return f"Settings(anthropic_version={self.anthropic_version!r}, max_retries={self.max_retries}, ...)"

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

    def prepare(
        self,
        connections: Connections,
        *,
        path: str,
        content: bytes,
        headers: dict[str, str],
        query: Mapping[str, object] | None,
        timeout: Any,
        max_retries: int | None,
    ) -> StreamRequest:
        """Put one request together. Nothing is sent before `StreamRequest.send` is called."""
        timeouts = self.timeouts if timeout is UNSET else Timeouts.of(timeout)
        retries = self.max_retries if max_retries is None else check_max_retries(max_retries)
        prepared = _Prepared(
            connections=connections, path=path, headers=headers, query=query, content=content, timeouts=timeouts
        )
        return StreamRequest(
            send=prepared,
            timeouts=timeouts,
            max_retries=retries,
            limits=self.limits,
            unix_time=time.time,
            live=connections.live,
            watchdog=connections.watchdog,
        )


class _Prepared(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One request, ready to be sent any number of times."""

    connections: Connections
    path: str
    headers: dict[str, str]
    query: Mapping[str, object] | None
    content: bytes
    timeouts: Timeouts

    def __repr__(self) -> str:
        return f"<request for {self.path}>"  # the others hold key and prompt

    @trio.lowlevel.enable_ki_protection
    async def __call__(self, retries_taken: int, on_sent: Callable[[], None]) -> Response:
        """As `StreamRequest.send`. Not a method of that name: it would be one more object for every open stream."""
        if self.connections.closed:
            raise trio.ClosedResourceError("this client is closed")
        _log.debug("POST %s, attempt %d, %d bytes", self.path, retries_taken + 1, len(self.content))
        response = await self.connections.sender.send(
            method="POST",
            url=self.path,
            headers=count_retries(self.headers, retries_taken),
            params=self.query,
            content=self.content,
            timeouts=self.timeouts,
            on_sent=on_sent,
        )
        if _log.isEnabledFor(logging.DEBUG):
            request_id = response.info.headers.find(b"request-id") or None
            _log.debug("%d for %s, request-id %s", response.info.status_code, self.path, request_id)
        return response


class _Unset:
    """No ``timeout`` was given; None means no limit."""

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
    """Refuse what is not a number of retries."""
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
    )
