"""What authenticates the requests of a client: a key or token that was given, or a function that is asked for one.

What belongs here: finding out which of them it is, and when to ask, ask again, and not to use a token any more. What
does not: reading the environment (`_settings`), what may be in a key (`_protocol`), and making a request again after a
401 (`_stream`).

A function is asked

* before the first request, and then from `RENEW_SECONDS` before its token's expiry on,
* after the API has refused its token (401). A token that was refused is not sent again.

One asks for all: whoever needs a token meanwhile waits for the answer, or for the failure. Only if the one who asks
is cancelled, the next asks. Where asking fails and the token at hand is still good, that is used, and asking rests for
`REST_SECONDS`.
"""

from __future__ import annotations

import inspect
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final, Literal, Protocol, TypeAlias, final

import msgspec
import trio

from trio_stream._errors import CredentialsError
from trio_stream._hidden import Hidden
from trio_stream._protocol import check_api_key, check_auth_token

_log = logging.getLogger("trio_stream")

RENEW_SECONDS: Final = 60.0
"""How many seconds before its expiry a token is asked for again."""

REST_SECONDS: Final = 5.0
"""How many seconds asking rests after a failure, while there is a token that is still good."""

_MOST_REFUSED: Final = 64
"""Tokens that are remembered as refused."""

_OAUTH_BETA: Final = "oauth-2025-04-20"
"""The ``anthropic-beta`` that the official SDK sends with the tokens of its ``credentials=`` providers."""


@final
class Token(Hidden, msgspec.Struct, frozen=True):
    """A key or token with the time at which it ends, for functions given as ``api_key`` or ``auth_token``.

    Args:
      value: The key or token. ``repr`` does not show it.
      expires_at: Seconds since the epoch, as ``time.time()``; None if it does not end.
    """

    value: str
    expires_at: float | None = None

    def __repr__(self) -> str:
        return f"Token(<hidden>, expires_at={self.expires_at!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("expires_at", self.expires_at)]


class AccessTokenLike(Protocol):
    """The ``AccessToken`` that the official SDK's providers give."""

    @property
    def token(self) -> str:
        """The token."""
        ...

    @property
    def expires_at(self) -> float | None:
        """Seconds since the epoch, or None."""
        ...


GivenToken: TypeAlias = str | Token | AccessTokenLike
TokenFunction: TypeAlias = Callable[[], GivenToken | Awaitable[GivenToken]]
"""A function that is asked for a key or token. One that is not async is called in place, so it should not wait."""


class TokenProvider(Protocol):
    """A provider of the official SDK: a function that is told when what it has kept itself is of no use any more."""

    def __call__(self, *, force_refresh: bool = False) -> GivenToken | Awaitable[GivenToken]:
        """Give a token; with ``force_refresh`` a new one."""
        ...


SecretSource: TypeAlias = str | TokenFunction | TokenProvider
"""What ``api_key`` and ``auth_token`` may be."""

Kind: TypeAlias = Literal["api_key", "auth_token", "credentials"]
"""The argument of the client that a source was given as."""


@final
class Secret(Hidden):
    """The header that authenticates a request.

    Attributes:
      name: The name of the header.
      value: Its value.
    """

    __slots__ = ("name", "value")

    def __init__(self, name: str, value: str) -> None:
        self.name: str = name
        self.value: str = value

    def items(self) -> Iterable[tuple[str, str]]:
        """Name and value, as a layer of `HiddenHeaders`."""
        return ((self.name, self.value),)

    @classmethod
    def of(cls, kind: Kind, value: str) -> Secret:
        """The header for a key or token.

        Raises:
          CredentialsError: No header can carry it. The text has nothing of it.
        """
        if kind == "api_key":
            return cls("x-api-key", check_api_key(value))
        return cls("authorization", f"Bearer {check_auth_token(value)}")


class Credentials(Protocol):
    """What authenticates requests. Shared by a client and its copies."""

    @property
    def renewable(self) -> bool:
        """Whether another secret may follow one that was refused."""
        ...

    @property
    def betas(self) -> tuple[str, ...]:
        """The names for ``anthropic-beta`` that it needs."""
        ...

    def at_hand(self) -> Secret | None:
        """The header of the next request, if there is no need to ask."""
        ...

    async def ask(self, on_change: Callable[[], None]) -> Secret | None:
        """Ask for the header of the next request, or wait for whoever is asking; None where none is needed.

        A checkpoint. If it is cancelled, the next one who waits asks.

        Args:
          on_change: Called when there is another secret than before.

        Raises:
          CredentialsError: There is none to be had. The text has the type of the failure, and nothing else of it.
        """
        ...

    def refuse(self, secret: Secret) -> None:
        """The API has refused this one: it is not used again if there may be another."""
        ...


@final
class FixedCredentials(Hidden):
    """A key or token that was given; or none, for requests that something else authenticates."""

    __slots__ = ("_secret",)

    def __init__(self, secret: Secret | None) -> None:
        self._secret = secret

    @property
    def renewable(self) -> bool:
        """As `Credentials.renewable`."""
        return False

    @property
    def betas(self) -> tuple[str, ...]:
        """As `Credentials.betas`."""
        return ()

    def at_hand(self) -> Secret | None:
        """As `Credentials.at_hand`."""
        return self._secret

    async def ask(self, on_change: Callable[[], None]) -> Secret | None:  # noqa: ARG002
        """As `Credentials.ask`. Not a checkpoint: nobody has to be asked, and sending is one."""
        return self._secret

    def refuse(self, secret: Secret) -> None:
        """As `Credentials.refuse`: there is no other."""


@final
class _Asking:
    """One question that is under way, for all who wait for its answer.

    Attributes:
      over: Set when it has been answered, has failed, or was cancelled.
      secret: The answer, once there is one.
      failure: The sentence of its failure, once it has failed. Neither: it was cancelled.
    """

    __slots__ = ("failure", "over", "secret")

    def __init__(self) -> None:
        self.over = trio.Event()
        self.secret: Secret | None = None
        self.failure: str | None = None


@final
class _Deadline:
    """A moment some seconds from now.

    Two clocks measure it, and the one that is there first counts: the wall clock goes on while a machine sleeps, and
    Trio's goes on where a test has a clock of its own. A time of Trio's means something on the same clock only.
    """

    __slots__ = ("_at", "_clock", "_unix_time")

    def __init__(self, seconds: float) -> None:
        self._clock = trio.lowlevel.current_clock()
        self._at = trio.current_time() + seconds
        self._unix_time = time.time() + seconds

    def within(self, seconds: float) -> bool:
        """Whether it comes within so many seconds from now, or has passed."""
        if time.time() + seconds >= self._unix_time:
            return True
        return trio.lowlevel.current_clock() is self._clock and trio.current_time() + seconds >= self._at


@final
class _Held(Hidden):
    """A secret that a function gave, and when it ends."""

    __slots__ = ("_end", "secret")

    def __init__(self, secret: Secret, expires_at: float | None) -> None:
        self.secret: Secret = secret
        self._end = None if expires_at is None else _Deadline(expires_at - time.time())

    def good_for(self, seconds: float) -> bool:
        """Whether it can still be used after so many seconds."""
        return self._end is None or not self._end.within(seconds)


@final
class AskedCredentials(Hidden):
    """A function that is asked for a key or token.

    Args:
      kind: The argument that it was given as.
      function: It is asked.
    """

    __slots__ = ("_asking", "_forces", "_function", "_held", "_kind", "_refused", "_rest", "_was_refused")

    def __init__(self, kind: Kind, function: Callable[..., Any]) -> None:
        self._kind: Kind = kind
        self._function = function
        self._forces = _takes_force_refresh(function)
        self._held: _Held | None = None
        self._asking: _Asking | None = None
        self._refused: deque[str] = deque(maxlen=_MOST_REFUSED)
        self._was_refused = False  # the last secret was, and there has been no other since
        self._rest: _Deadline | None = None  # asking rests until then

    @property
    def renewable(self) -> bool:
        """As `Credentials.renewable`."""
        return True

    @property
    def betas(self) -> tuple[str, ...]:
        """As `Credentials.betas`."""
        return (_OAUTH_BETA,) if self._kind == "credentials" else ()

    def at_hand(self) -> Secret | None:
        """As `Credentials.at_hand`."""
        held = self._held
        if held is None:
            return None
        rests = self._rest is not None and not self._rest.within(0.0)
        return held.secret if held.good_for(0.0 if rests else RENEW_SECONDS) else None

    def refuse(self, secret: Secret) -> None:
        """As `Credentials.refuse`."""
        if secret.value not in self._refused:
            self._refused.append(secret.value)
        # Many requests may have been under way with it: those that come late must not throw away its successor.
        if self._held is not None and self._held.secret.value == secret.value:
            self._held = None
            self._was_refused = True

    async def ask(self, on_change: Callable[[], None]) -> Secret:
        """As `Credentials.ask`."""
        while True:
            asking = self._asking
            if asking is None:
                return await self._ask_for_all(on_change)
            await asking.over.wait()
            # Taken as it is, also if it ends soon: whoever asked again at once would get no better one.
            if asking.secret is not None and asking.secret.value not in self._refused:
                return asking.secret
            if asking.failure is not None:
                return self._make_do(asking.failure)

    async def _ask_for_all(self, on_change: Callable[[], None]) -> Secret:
        asking = self._asking = _Asking()
        try:
            # Whoever needs one in this step of the loop is to wait for it too, also where the function does not wait.
            await trio.lowlevel.checkpoint()
            before = self._held
            held, asking.failure = await self._call()
            if held is not None:
                self._held, self._was_refused = held, False
                asking.secret = held.secret
                if before is None or before.secret.value != held.secret.value:
                    on_change()
                return held.secret
        finally:
            # Also when this was cancelled, or the function raised KeyboardInterrupt: then the next one asks.
            self._asking = None
            asking.over.set()
        assert asking.failure is not None
        self._rest = _Deadline(REST_SECONDS)
        secret = self._make_do(asking.failure)
        _log.warning("%s; the one at hand is still good and is used", asking.failure)
        return secret

    async def _call(self) -> tuple[_Held | None, str | None]:
        """Ask the function.

        Returns:
          What it gave, or the sentence that says why that is of no use. That has nothing of an exception but its type:
          whatever asks for tokens has secrets in its texts, and in the frames of its traceback.
        """
        try:
            given = await _call(self._function, {"force_refresh": True} if self._forces and self._was_refused else {})
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told by its type
            return None, f"asking {self._kind} for a token failed: {type(error).__name__}"
        read = _read(given)
        if read is None:
            return None, f"{self._kind} gave {type(given).__name__} when asked, not a str or a Token"
        value, expires_at = read
        try:
            secret = Secret.of(self._kind, value)
        except CredentialsError as error:
            return None, f"{self._kind} was asked: {error.message}"
        if secret.value in self._refused:
            return None, f"{self._kind} was asked and gave once more what the API had refused (401)"
        return _Held(secret, expires_at), None

    def _make_do(self, failure: str) -> Secret:
        """The secret that there was, if it is still good.

        Raises:
          CredentialsError: There is none.
        """
        held = self._held
        if held is None or not held.good_for(0.0):
            raise CredentialsError(failure)
        return held.secret


@trio.lowlevel.disable_ki_protection
async def _call(function: Callable[..., Any], options: dict[str, bool]) -> object:
    """Call a function of the caller's, async or not. Ctrl-C interrupts it as it does any code of theirs."""
    given = function(**options)
    return await given if inspect.isawaitable(given) else given


def _read(given: Any) -> tuple[str, float | None] | None:
    """The token and its end, in whichever form a function gave them; None if it gave something else."""
    if isinstance(given, str):
        return given, None
    value: object = given.value if isinstance(given, Token) else getattr(given, "token", None)
    expires_at: object = getattr(given, "expires_at", None)
    if not isinstance(value, str) or isinstance(expires_at, bool):
        return None
    return (value, expires_at) if expires_at is None or isinstance(expires_at, (int, float)) else None


def _takes_force_refresh(function: Callable[..., Any]) -> bool:
    try:
        return "force_refresh" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False  # written in C, and says nothing about its parameters


def read_source(kind: Kind, source: object, *, base_url: str) -> Credentials:
    """Make credentials of what a client was given.

    Raises:
      CredentialsError: It is a str that no header can carry, or neither a str nor a function.
    """
    if isinstance(source, str) and kind != "credentials":
        return FixedCredentials(Secret.of(kind, source))
    bind = getattr(source, "for_base_url", None)  # providers of the official SDK that ask a server of the same host
    if callable(bind):
        source = bind(base_url)
    if not callable(source):
        raise CredentialsError(f"{kind} must be a str, or a function that gives one, not {type(source).__name__}")
    return AskedCredentials(kind, source)
