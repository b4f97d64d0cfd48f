"""Every error this library raises about the API, the network or the wire.

What belongs here: the hierarchy, what each error knows, and how it says it. What does not: deciding which
one to raise (that is `_protocol` for answers, `_http` for the network, `_stream` for clocks).

::

    APIError                          .message  .request_id  .partial
    ├── APIStatusError                the API answered with an error: .status_code  .type  .error_code  .retry_after
    │   ├── BadRequestError           400  invalid_request_error
    │   ├── AuthenticationError       401  authentication_error
    │   ├── PaymentRequiredError      402  billing_error
    │   ├── PermissionDeniedError     403  permission_error
    │   ├── NotFoundError             404  not_found_error
    │   ├── RequestTimeoutError       408
    │   ├── ConflictError             409  conflict_error
    │   ├── PreconditionFailedError   412
    │   ├── ContentTooLargeError      413  request_too_large
    │   ├── UnprocessableEntityError  422
    │   ├── RateLimitError            429  rate_limit_error
    │   ├── RequestHeaderFieldsTooLargeError  431
    │   ├── ClientClosedRequestError  499
    │   └── InternalServerError       5xx  api_error
    │       ├── HTTPNotImplementedError  501
    │       ├── ServiceUnavailableError  503
    │       ├── GatewayTimeoutError      504  timeout_error
    │       └── OverloadedError          529  overloaded_error
    ├── APIConnectionError            the network failed
    │   └── APITimeoutError           a clock of `Timeouts` ran out (also a trio.TooSlowError)
    │       ├── ConnectTimeoutError  SendTimeoutError  FirstEventTimeoutError
    │       └── SilenceTimeoutError  StallTimeoutError  TotalTimeoutError
    ├── IncompleteStreamError         the stream ended before message_stop
    ├── InvalidResponseError          the answer breaks HTTP or the protocol, or a limit
    ├── InvalidToolInputError         a tool input that cannot be used (also a ValueError)
    ├── OutputParseError              a structured output that cannot be used (also a ValueError)
    └── CredentialsError              no usable key, found before any connection is made

Misuse of an object raises Trio's own `ClosedResourceError` and `BusyResourceError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeAlias

import trio

from trio_stream._response import ResponseInfo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_stream._protocol import Message, RateLimits


class APIError(Exception):
    """Something went wrong between this program and the Messages API.

    Attributes:
      message: A sentence that says what happened. It holds no secret and nothing of the prompt.
      request_id: The API's ``request-id``, when an answer got that far.
      partial: The message as far as it had been received, or None when nothing had.
      method: The HTTP method of the request, or None where the error is not of a request.
      url: Where the request went, without credentials, or None.
      response: The head of the HTTP answer (status, headers), or None when there was none.
      outcomes: Where it ended a fan-out: the `Outcome` of each other item that nobody had taken yet.
      may_have_been_accepted: True when the API may be working on the request (and billing for it) although no answer
        arrived: on this sending of it, or on an earlier one of the same call.
    """

    message: str
    request_id: str | None
    partial: Message | None
    method: str | None = None
    url: str | None = None
    response: ResponseInfo | None = None
    outcomes: tuple[Any, ...] = ()
    may_have_been_accepted: bool = False

    def __init__(self, message: str, *, request_id: str | None = None, partial: Message | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.request_id = request_id
        self.partial = partial

    def __str__(self) -> str:
        if self.request_id is None:
            return self.message
        return f"{self.message} (request-id {self.request_id})"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments need help to survive pickling (process pools, Ray).
        return (_rebuild, (type(self), self.__dict__.copy()))


def _rebuild(kind: type[APIError], state: dict[str, object]) -> APIError:
    error = kind.__new__(kind, state["message"])
    error.__dict__.update(state)
    error.args = (state["message"],)
    return error


_ABOUT_THE_ADDRESS = (404, 405, 410, 421)
"""Answers to which the address of the request belongs, as redirects do: often the base URL is wrong."""


class APIStatusError(APIError):
    """The API answered with an error.

    Attributes:
      status_code: The HTTP status. 200 for an ``error`` event inside a stream that had started well.
      type: The ``error.type`` of the answer, for example ``"overloaded_error"``; None when it did not say.
      error_code: ``error.details.error_code``: a stable name of the cause, when the API gives one.
      api_message: ``error.message`` as the API wrote it.
      retry_after: Seconds the server asked to wait; None when it did not ask. May be ``math.inf``.
      body: The decoded JSON of the answer, or None.
      should_retry: Whether ``x-should-retry`` asked for another attempt; None when it was not there.
      rate_limits: The rate limits that the answer's headers told; None for an ``error`` event.
    """

    status_code: int
    type: str | None
    error_code: str | None
    api_message: str | None
    retry_after: float | None
    body: object
    should_retry: bool | None
    rate_limits: RateLimits | None

    def __init__(
        self,
        message: str,
        *,
        status_code: int,
        type: str | None = None,  # noqa: A002 - the SDK's name
        error_code: str | None = None,
        api_message: str | None = None,
        retry_after: float | None = None,
        body: object = None,
        request_id: str | None = None,
        partial: Message | None = None,
        should_retry: bool | None = None,
        rate_limits: RateLimits | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id, partial=partial)
        self.status_code = status_code
        self.type = type
        self.error_code = error_code
        self.api_message = api_message
        self.retry_after = retry_after
        self.body = body
        self.should_retry = should_retry
        self.rate_limits = rate_limits

    def __str__(self) -> str:
        if self.url is None or not (300 <= self.status_code < 400 or self.status_code in _ABOUT_THE_ADDRESS):
            return super().__str__()
        # Without the query, in which there may be a key.
        place = f" ({self.method} {self.url.partition('?')[0]})"
        return f"{self.message}{place}" + super().__str__().removeprefix(self.message)


class BadRequestError(APIStatusError):
    """400: the request is not valid."""


class AuthenticationError(APIStatusError):
    """401: the key or token was refused."""


class PaymentRequiredError(APIStatusError):
    """402: billing."""


class PermissionDeniedError(APIStatusError):
    """403: the key may not do this."""


class NotFoundError(APIStatusError):
    """404: no such model or path."""


class RequestTimeoutError(APIStatusError):
    """408: the server stopped waiting for the request."""


class ConflictError(APIStatusError):
    """409: the request conflicts with another."""


class PreconditionFailedError(APIStatusError):
    """412: a condition of the request does not hold."""


class ContentTooLargeError(APIStatusError):
    """413: the request is larger than the API takes."""


class UnprocessableEntityError(APIStatusError):
    """422: the request was understood and cannot be processed."""


class RateLimitError(APIStatusError):
    """429: a rate or spend limit was reached; see ``retry_after``."""


class RequestHeaderFieldsTooLargeError(APIStatusError):
    """431: the request's headers are too large."""


class ClientClosedRequestError(APIStatusError):
    """499: an intermediary saw this client close the request."""


class InternalServerError(APIStatusError):
    """5xx: the API failed."""


class HTTPNotImplementedError(InternalServerError):
    """501."""


class ServiceUnavailableError(InternalServerError):
    """503."""


class GatewayTimeoutError(InternalServerError):
    """504, or a ``timeout_error`` event."""


class OverloadedError(InternalServerError):
    """529, or an ``overloaded_error`` event: the API is overloaded for everybody."""


STATUS_ERRORS: Mapping[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PaymentRequiredError,
    403: PermissionDeniedError,
    404: NotFoundError,
    408: RequestTimeoutError,
    409: ConflictError,
    412: PreconditionFailedError,
    413: ContentTooLargeError,
    422: UnprocessableEntityError,
    429: RateLimitError,
    431: RequestHeaderFieldsTooLargeError,
    499: ClientClosedRequestError,
    501: HTTPNotImplementedError,
    503: ServiceUnavailableError,
    504: GatewayTimeoutError,
    529: OverloadedError,
}
"""The class for each HTTP status; any other 5xx is `InternalServerError`, anything else `APIStatusError`."""

ERROR_TYPE_ERRORS: Mapping[str, type[APIStatusError]] = {
    "invalid_request_error": BadRequestError,
    "authentication_error": AuthenticationError,
    "billing_error": PaymentRequiredError,
    "permission_error": PermissionDeniedError,
    "not_found_error": NotFoundError,
    "conflict_error": ConflictError,
    "request_too_large": ContentTooLargeError,
    "rate_limit_error": RateLimitError,
    "api_error": InternalServerError,
    "timeout_error": GatewayTimeoutError,
    "overloaded_error": OverloadedError,
}
"""The class for each ``error.type`` of an ``error`` event; any other is `APIStatusError`."""


class APIConnectionError(APIError):
    """The network failed: no connection, a connection lost, or TLS refused.

    Attributes:
      may_have_been_accepted: True when the request had been sent, so that the API may be working on it (and
        billing for it) although no answer arrived; or when that holds for an earlier sending.
      retryable: False when trying again cannot help (a TLS certificate that is not trusted).
    """

    retryable: bool

    def __init__(
        self,
        message: str,
        *,
        may_have_been_accepted: bool = False,
        retryable: bool = True,
        request_id: str | None = None,
        partial: Message | None = None,
    ) -> None:
        super().__init__(message, request_id=request_id, partial=partial)
        self.may_have_been_accepted = may_have_been_accepted
        self.retryable = retryable


class APITimeoutError(APIConnectionError, trio.TooSlowError):
    """A clock of `Timeouts` ran out.

    Attributes:
      clock: The field of `Timeouts` that ran out.
      seconds: What it was set to.
    """

    clock: ClassVar[str] = ""
    seconds: float

    def __init__(
        self,
        message: str,
        *,
        seconds: float,
        may_have_been_accepted: bool = False,
        request_id: str | None = None,
        partial: Message | None = None,
    ) -> None:
        super().__init__(message, may_have_been_accepted=may_have_been_accepted, request_id=request_id, partial=partial)
        self.seconds = seconds


class ConnectTimeoutError(APITimeoutError):
    """``connect`` ran out: TCP connection and TLS handshake."""

    clock = "connect"


class SendTimeoutError(APITimeoutError):
    """``send`` ran out: the server took not one byte of the request any more."""

    clock = "send"


class FirstEventTimeoutError(APITimeoutError):
    """``first_event`` ran out: no answer, or no event other than ``ping``, since the request was sent."""

    clock = "first_event"


class SilenceTimeoutError(APITimeoutError):
    """``silence`` ran out: not one byte arrived, not even a ``ping``."""

    clock = "silence"


class StallTimeoutError(APITimeoutError):
    """``stall`` ran out: bytes arrived, but no event other than ``ping``."""

    clock = "stall"


class TotalTimeoutError(APITimeoutError):
    """``total`` ran out: the whole stream, its consumer included."""

    clock = "total"


class IncompleteStreamError(APIError):
    """The stream ended before ``message_stop``: what arrived is on ``partial`` and is not the whole message."""


class InvalidResponseError(APIError):
    """The answer breaks HTTP or the Messages protocol, or is larger than a limit of this client."""


class InvalidToolInputError(APIError, ValueError):
    """A tool input that cannot be used: its JSON does not parse, is not an object, or was cut.

    Attributes:
      input_json: The raw text as the model wrote it.
      incomplete: True when the input was cut rather than malformed.
    """

    input_json: str
    incomplete: bool

    def __init__(self, message: str, *, input_json: str, incomplete: bool = False) -> None:
        super().__init__(message)
        self.input_json = input_json
        self.incomplete = incomplete


OutputFault: TypeAlias = Literal["truncated", "refused", "invalid"]
"""Why a structured output cannot be used."""


class OutputParseError(APIError, ValueError):
    """A structured output that cannot be used: cut, refused, or not of the type asked for.

    Attributes:
      text: The raw text as the model wrote it.
      fault: ``"truncated"`` if the answer was cut, ``"refused"`` if the model would not answer, and ``"invalid"`` if
        the text is not JSON, or does not fit the type.
      stop_reason: Why the model stopped.
    """

    text: str
    fault: OutputFault
    stop_reason: str | None

    def __init__(
        self,
        message: str,
        *,
        text: str,
        fault: OutputFault = "invalid",
        stop_reason: str | None = None,
        partial: Message | None = None,
    ) -> None:
        super().__init__(message, partial=partial)
        self.text = text
        self.fault = fault
        self.stop_reason = stop_reason


class CredentialsError(APIError, ValueError):
    """Authentication cannot work with what was given: no key, a blank one, or characters no header can carry."""
