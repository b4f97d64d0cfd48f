"""`Client`: the object a program holds, and whose connections its streams share.

What belongs here: making, copying and closing it. What does not: its calls (`_messages`) and its options
(`_settings`).
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import final

import trio

from trio_stream._http import (
    AsyncBaseTransport,
    AsyncClient,
    ConnectionStatistics,
    Timeout,
    check_http_client,
    check_transport,
    client_authenticates,
    open_sender,
)
from trio_stream._instruments import Instrument, Instruments
from trio_stream._limiter import Lane, RateLimiter, check_lane
from trio_stream._limits import Limits
from trio_stream._timeouts import Timeouts

from ._credentials import SecretSource, TokenProvider
from ._messages import Beta, Messages
from ._settings import (
    DEFAULT_VERSION,
    UNSET,
    UNSET_AUTH,
    Authentication,
    Connections,
    Settings,
    check_limiter,
    check_max_retries,
    merge_headers,
    read_settings,
)


@final
class Client:
    """A client of the Messages API for Trio programs.

    ::

        async with Client() as client:
            async with client.messages.stream(model=..., max_tokens=1024, messages=[...]) as stream:
                async for text in stream.text_stream:
                    print(text, end="", flush=True)

    Inside ``async with`` connections are kept for the next request, and leaving closes them and every stream that
    is still open. Without ``async with`` it works too, and keeps no idle connections.

    Args:
      api_key: Sent as ``x-api-key``: a str, or a function, async or not, that gives a str or a `Token`. It is asked
        before the first request, before its token ends, and after a 401. Default: ``ANTHROPIC_API_KEY``.
      auth_token: Sent as ``Authorization: Bearer``, in place of a key; as for ``api_key``. Default:
        ``ANTHROPIC_AUTH_TOKEN``.
      credentials: A provider of the official SDK, for ported code: as ``auth_token``, with the ``anthropic-beta``
        that the SDK sends with it.
      auth: None: this client adds no key and no token and reads none from the environment, because something else
        does, such as a gateway. It is not needed where ``default_headers``, ``ANTHROPIC_CUSTOM_HEADERS``, a user in
        ``base_url`` or an ``http_client`` authenticate requests.
      base_url: Default: ``ANTHROPIC_BASE_URL``, else ``https://api.anthropic.com``.
      anthropic_version: The ``anthropic-version`` header. ``2023-06-01`` alone takes ``temperature``, ``top_p``
        and ``top_k``.
      default_headers: Sent with every request; ``ANTHROPIC_CUSTOM_HEADERS`` adds to them.
      max_retries: How often a request is tried again while nothing of its answer has been handed out.
      timeout: `Timeouts`, or a number of seconds or an `httpx.Timeout` for connect, send, first_event and silence;
        None: no limit.
      max_connections: How many requests may be under way at once; further ones wait. None: no limit.
      limits: How large an answer may be.
      accept_missing_stop: Take a message for complete when its stream ends in order, with its ``stop_reason`` but
        without ``message_stop``, or with ``[DONE]`` in its place: for gateways that leave it out. A connection that
        was cut is never taken for the end.
      ssl_context: Trust this instead of what httpx trusts (``SSL_CERT_FILE``, ``SSL_CERT_DIR``, certifi). Not
        together with ``transport`` or ``http_client``.
      transport: An `httpx.AsyncBaseTransport` to use instead of ours (a proxy, HTTP/2, a test).
      http_client: An `httpx.AsyncClient` to use instead of ours. It is never closed here.
      limiter: Paces every message that is asked for through this client and its copies, those of agents and fan-outs
        included, such as a `HeaderRateLimiter`. None: only fan-outs are paced, each by itself.
      lane: In which queue of the limiter requests wait: ``"interactive"`` or ``"batch"``. None: those of fan-outs in
        ``"batch"``, all others in ``"interactive"``; what a tool asks in the lane of its run.
      instruments: Functions that are told every `Moment` of every call; see also `instrumented`.

    Raises:
      CredentialsError: No usable key or token. Its text holds nothing of it.
      ValueError: An option is invalid, or conflicts with another; or the base URL is not valid.
      TypeError: ``transport``, ``http_client`` or ``timeout`` is none of httpx's, or ``limiter`` no `RateLimiter`. It
        says what to give.
    """

    messages: Messages
    beta: Beta

    def __init__(
        self,
        *,
        api_key: SecretSource | None = None,
        auth_token: SecretSource | None = None,
        credentials: TokenProvider | None = None,
        auth: None = UNSET_AUTH,
        base_url: str | None = None,
        anthropic_version: str = DEFAULT_VERSION,
        default_headers: Mapping[str, str] | None = None,
        max_retries: int = 2,
        timeout: Timeouts | Timeout | float | None = UNSET,
        max_connections: int | None = None,
        limits: Limits | None = None,
        accept_missing_stop: bool = False,
        ssl_context: ssl.SSLContext | None = None,
        transport: AsyncBaseTransport | None = None,
        http_client: AsyncClient | None = None,
        limiter: RateLimiter | None = None,
        lane: Lane | None = None,
        instruments: Iterable[Instrument] = (),
    ) -> None:
        authentication = Authentication(api_key, auth_token, credentials, auth)
        # From here on no frame has them: tools that print the local variables of a traceback show what is a str.
        del api_key, auth_token, credentials, auth
        authentication.check()
        if transport is not None and http_client is not None:
            raise ValueError("give transport or http_client, not both")
        if http_client is not None:
            check_http_client(http_client)
        if transport is not None:
            check_transport(transport)
        if ssl_context is not None and (transport is not None or http_client is not None):
            raise ValueError("ssl_context is for our own transport: give it to yours")
        settings = read_settings(
            authentication,
            elsewhere=http_client is not None and client_authenticates(http_client),
            base_url=base_url,
            anthropic_version=anthropic_version,
            default_headers=default_headers,
            max_retries=max_retries,
            timeout=timeout,
            limits=limits,
            accept_missing_stop=accept_missing_stop,
            limiter=limiter,
            lane=lane,
            instruments=Instruments().with_more(instruments),
        )
        sender = open_sender(
            base_url=settings.base_url,
            http_client=http_client,
            transport=transport,
            ssl_context=ssl_context,
            max_connections=max_connections,
            limits=settings.limits,
        )
        self._set_up(settings, Connections(sender))

    def _set_up(self, settings: Settings, connections: Connections) -> None:
        self._settings = settings
        self._connections = connections
        self.messages = Messages(settings, connections)
        self.beta = Beta(settings, connections)

    def __repr__(self) -> str:
        settings: Settings | None = getattr(self, "_settings", None)
        if settings is None:  # it is shown in the traceback of its own `__init__`
            return "<trio_stream.Client>"
        return f"<trio_stream.Client base_url={settings.shown_base_url!r}>"

    def with_options(
        self,
        *,
        api_key: SecretSource | None = None,
        auth_token: SecretSource | None = None,
        credentials: TokenProvider | None = None,
        auth: None = UNSET_AUTH,
        anthropic_version: str | None = None,
        default_headers: Mapping[str, str] | None = None,
        max_retries: int | None = None,
        timeout: Timeouts | Timeout | float | None = UNSET,
        limiter: RateLimiter | None = UNSET,
        lane: Lane | None = None,
        instruments: Iterable[Instrument] = (),
    ) -> Client:
        """Copy this client with other options. The copy shares the connections, so closing one closes both.

        Args:
          api_key: In place of the present key or token.
          auth_token: In place of the present key or token.
          credentials: In place of the present key or token.
          auth: None: no key or token, neither of this client's nor of the environment.
          anthropic_version: In place of the present one.
          default_headers: Added to the present ones.
          max_retries: In place of the present number.
          timeout: In place of the present clocks.
          limiter: In place of the present one; None for none.
          lane: In place of the present one.
          instruments: Added to the present ones.
        """
        old = self._settings
        authentication = Authentication(api_key, auth_token, credentials, auth)
        del api_key, auth_token, credentials, auth  # as in `__init__`
        authentication.check()
        found = old.credentials
        if authentication.given:
            found = authentication.find({}, base_url=old.base_url, elsewhere=False)
        copy: Client = object.__new__(Client)
        copy._set_up(
            Settings(
                credentials=found,
                base_url=old.base_url,
                anthropic_version=old.anthropic_version if anthropic_version is None else anthropic_version,
                default_headers=merge_headers(
                    old.default_headers, default_headers or {}, new_credentials=authentication.brings_secret
                ),
                max_retries=old.max_retries if max_retries is None else check_max_retries(max_retries),
                timeouts=old.timeouts if timeout is UNSET else Timeouts.of(timeout),
                limits=old.limits,
                accept_missing_stop=old.accept_missing_stop,
                limiter=old.limiter if limiter is UNSET else check_limiter(limiter),
                lane=old.lane if lane is None else check_lane(lane),
                instruments=old.instruments.with_more(instruments),
            ),
            self._connections,
        )
        return copy

    @property
    def anthropic_version(self) -> str:
        """The ``anthropic-version`` that is sent with each request."""
        return self._settings.anthropic_version

    @property
    def instruments(self) -> Instruments:
        """The instruments of this client."""
        return self._settings.instruments

    @property
    def limiter(self) -> RateLimiter | None:
        """The limiter of this client, or None."""
        return self._settings.limiter

    @property
    def lane(self) -> Lane | None:
        """The lane that was given to this client, or None."""
        return self._settings.lane

    def statistics(self) -> ConnectionStatistics:
        """How many connections are active and idle, and how many requests wait for one."""
        return self._connections.sender.statistics()

    async def __aenter__(self) -> Client:
        """Keep connections for the next request from now on. A checkpoint.

        Raises:
          trio.ClosedResourceError: It has been closed.
          RuntimeError: This is not called within a run of Trio, or it is used in another one that goes on.
        """
        self._connections.run.enter()
        await trio.lowlevel.checkpoint()
        if self._connections.closed:
            raise trio.ClosedResourceError("this client is closed")
        self._connections.sender.keep_connections(keep=True)
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        """As `aclose`."""
        await self.aclose()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Close every stream that is still open, and every connection.

        A task that waits in a stream's ``receive`` gets `trio.ClosedResourceError`, and so does every request made
        afterwards. Effective even when cancelled; a checkpoint; never waits on a peer.
        """
        self._connections.run.enter()
        self._connections.closed = True
        for stream in list(self._connections.live):
            stream.close_now()
        try:
            await self._connections.sender.aclose()
        finally:
            self._connections.sender.close()
        await trio.lowlevel.checkpoint()
