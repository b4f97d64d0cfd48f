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
from trio_stream._hidden import Hidden
from trio_stream._http import Sender
from trio_stream._instruments import Instruments
from trio_stream._limiter import Lane, RateLimiter, check_lane
from trio_stream._limits import Limits
from trio_stream._protocol import (
    build_headers,
    parse_custom_headers,
)
from trio_stream._runs import OneRun
from trio_stream._stream import Closable, Watchdog
from trio_stream._timeouts import Timeouts
from trio_stream._version import __version__

from ._credentials import Credentials, FixedCredentials, Kind, read_source

DEFAULT_BASE_URL = "https://api.anthropic.com"
# RFC 3986, 3.2.1: what stands before an @ in the authority may be a password.
_USERINFO = re.compile(r"//[^/?#]*@")

_AUTHENTICATION = frozenset({"x-api-key", "authorization"})
_VARIABLES: tuple[tuple[Kind, str], ...] = (("api_key", "ANTHROPIC_API_KEY"), ("auth_token", "ANTHROPIC_AUTH_TOKEN"))
DEFAULT_VERSION = "2026-10-21"
USER_AGENT = f"trio-stream/{__version__} Python/{platform.python_version()}"


class _Unset:
    """Stands for an argument that was not given, where None says something."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown


UNSET: Any = _Unset("<the client's>")
UNSET_AUTH: Any = _Unset("<not given>")


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


@final
class Authentication(Hidden):
    """The arguments of a client that say how its requests authenticate; at most one of the first three.

    Args:
      api_key: A key, or a function that gives one.
      auth_token: A token, or a function that gives one.
      credentials: A provider of the official SDK.
      auth: None: requests carry nothing of this client's. `UNSET_AUTH`: they do.
    """

    __slots__ = ("_auth", "_given")

    def __init__(self, api_key: object, auth_token: object, credentials: object, auth: object) -> None:
        sources: tuple[tuple[Kind, object], ...] = (
            ("api_key", api_key),
            ("auth_token", auth_token),
            ("credentials", credentials),
        )
        self._given: list[tuple[Kind, object]] = [(kind, source) for kind, source in sources if source is not None]
        self._auth = auth

    def check(self) -> None:
        """Refuse what cannot be together. Apart from `__init__`, whose frame has the secrets in it.

        Raises:
          CredentialsError: Two ways to authenticate were given.
          TypeError: ``auth`` is something other than None.
        """
        kinds = [kind for kind, _ in self._given]
        if len(kinds) > 1:
            raise CredentialsError(
                f"give {kinds[0]} or {kinds[1]}, not both: the API refuses a request with two kinds of authentication"
            )
        if self._auth is not None and self._auth is not UNSET_AUTH:
            raise TypeError(
                "auth can only be None, for requests that something else authenticates: give api_key or auth_token"
            )
        if self._auth is None and kinds:
            raise CredentialsError(f"give {kinds[0]} or auth=None, not both")

    @property
    def given(self) -> bool:
        """Whether there is anything in it."""
        return self._auth is None or bool(self._given)

    @property
    def brings_secret(self) -> bool:
        """Whether a key, a token or a function was given."""
        return bool(self._given)

    def find(self, environ: Mapping[str, str], *, base_url: str, elsewhere: bool) -> Credentials:
        """What was given, else ``ANTHROPIC_API_KEY``, else ``ANTHROPIC_AUTH_TOKEN``. Blank ones count as not set.

        Args:
          environ: The environment.
          base_url: Where requests go.
          elsewhere: Whether something else authenticates the requests, so that there need not be any.

        Raises:
          CredentialsError: There is none, or it cannot be sent. Its text holds nothing of it.
        """
        try:
            found = self._find(environ, base_url)
        except CredentialsError as error:
            failure = error.message
        else:
            if found is not None:
                return found
            if elsewhere or self._auth is None:
                return FixedCredentials(None)
            failure = (
                "no authentication: set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN), or pass api_key= to Client; "
                "auth=None is for a gateway that adds it"
            )
        # Not the error that was caught: the frames of its traceback have the secret in them.
        raise CredentialsError(failure)

    def _find(self, environ: Mapping[str, str], base_url: str) -> Credentials | None:
        for kind, source in self._given:
            return read_source(kind, source, base_url=base_url)
        if self._auth is not None:
            for kind, variable in _VARIABLES:
                value = environ.get(variable, "")
                if value.strip(" \t"):
                    return read_source(kind, value, base_url=base_url)
        return None


class Settings(Hidden, msgspec.Struct, frozen=True, kw_only=True):
    """The options of one client. `Client.with_options` makes a copy with some of them replaced."""

    credentials: Credentials
    base_url: str
    anthropic_version: str
    default_headers: Mapping[str, str]
    max_retries: int
    timeouts: Timeouts
    limits: Limits
    accept_missing_stop: bool
    limiter: RateLimiter | None
    lane: Lane | None
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
        """The headers of a request, without what `credentials` adds to each attempt.

        Raises:
          CredentialsError: A layer brings both kinds of authentication.
          ValueError: A header cannot be sent.
        """
        if self.credentials.betas and not isinstance(betas, str):
            betas = (*self.credentials.betas, *(betas or ()))
        return build_headers(
            api_key=None,
            auth_token=None,
            anthropic_version=self.anthropic_version,
            betas=betas,
            default_headers=self.default_headers,
            extra_headers=extra_headers,
            user_agent=USER_AGENT,
            stream=streaming,
        )


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


def check_limiter(value: object) -> RateLimiter | None:
    """Return ``value`` if it is a limiter, or None.

    Raises:
      TypeError: It is neither.
    """
    if value is None or isinstance(value, RateLimiter):
        return value
    raise TypeError(f"limiter must be a RateLimiter or None, not {value!r}")


def authenticates(headers: Iterable[str]) -> bool:
    """Whether headers of these names authenticate a request."""
    return any(name.lower() in _AUTHENTICATION for name in headers)


def read_settings(
    authentication: Authentication,
    *,
    elsewhere: bool,
    base_url: str | None,
    anthropic_version: str,
    default_headers: Mapping[str, str] | None,
    max_retries: int,
    timeout: Any,
    limits: Limits | None,
    accept_missing_stop: bool,
    limiter: RateLimiter | None,
    lane: Lane | None,
    instruments: Instruments,
    environ: Mapping[str, str] | None = None,
) -> Settings:
    """Read arguments and environment, and check what can be checked.

    Args:
      authentication: How requests authenticate.
      elsewhere: Whether the transport authenticates requests.
      base_url: As for `Client`, and so are the others.
      anthropic_version: See `Client`.
      default_headers: See `Client`.
      max_retries: See `Client`.
      timeout: See `Client`.
      limits: See `Client`.
      accept_missing_stop: See `Client`.
      limiter: See `Client`.
      lane: See `Client`.
      instruments: See `Client`.
      environ: The environment, if not that of the process.
    """
    environ = os.environ if environ is None else environ
    headers = parse_custom_headers(environ.get("ANTHROPIC_CUSTOM_HEADERS", ""))
    headers = merge_headers(headers, default_headers or {}, new_credentials=False)
    base_url = (base_url or environ.get("ANTHROPIC_BASE_URL", "")).strip() or DEFAULT_BASE_URL
    elsewhere = elsewhere or authenticates(headers) or _USERINFO.search(base_url) is not None
    return Settings(
        credentials=authentication.find(environ, base_url=base_url, elsewhere=elsewhere),
        base_url=base_url,
        anthropic_version=anthropic_version,
        default_headers=headers,
        max_retries=check_max_retries(max_retries),
        timeouts=Timeouts() if timeout is UNSET else Timeouts.of(timeout),
        limits=Limits() if limits is None else limits,
        accept_missing_stop=accept_missing_stop,
        limiter=check_limiter(limiter),
        lane=None if lane is None else check_lane(lane),
        instruments=instruments,
    )
