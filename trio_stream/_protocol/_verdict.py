"""What a failure means for asking again: one classification for a single stream and for a fan-out.

What belongs here: the table of failures, and reading it. What does not: how often and after which wait a request is
made again (`_retry` for one stream, `batch` for many), and making the errors (`_api_error`, `_http`, `_stream`).

Two rules stand above the rest:

* **A refused key and a spent account are never asked again**, whatever the status of the answer, and whatever its
  ``x-should-retry`` says. Proxies and gateways set that header by the status alone, and neither a key nor a balance
  changes in the seconds that a retry waits: asking again only counts against the caller. Once a
  person has put the key or the balance right, the program is started again; a fan-out goes on from its journal.
* For anything else **``x-should-retry`` is the last word**: it is the server's own about this very answer.
"""

from __future__ import annotations

import re
from collections.abc import Container
from enum import Enum
from typing import Final, Literal, NamedTuple, TypeAlias

from trio_stream._errors import (
    APIConnectionError,
    APIError,
    APIStatusError,
    CredentialsError,
    IncompleteStreamError,
    TotalTimeoutError,
)
from trio_stream._protocol._error_words import find_words


class Verdict(Enum):
    """What a failure means for asking again."""

    ACCOUNT = "the key is refused or the account spent: no request of this client will be taken"
    RATE_LIMITED = "a rate limit was reached: wait, and hold back everything else under the same limit"
    RAMP_LIMITED = "usage grows too fast: wait, then grow slowly"
    OVERLOADED = "the API is overloaded for everybody: ask again later"
    TRANSIENT = "this attempt failed: ask again"
    PERMANENT = "the same request will fail in the same way"


AccountReason: TypeAlias = Literal["authentication", "permission", "spend_limit"]
"""Why no request of a client will be taken: what it may not do, or cannot pay."""


class Judgement(NamedTuple):
    """A verdict, and what acting on it needs.

    Attributes:
      verdict: What the failure means.
      reason: Why no request will be taken; None unless the verdict is `Verdict.ACCOUNT`.
      retry_after: Seconds the server asked to wait; None where it did not. May be ``math.inf``.
    """

    verdict: Verdict
    reason: AccountReason | None = None
    retry_after: float | None = None

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        return self.verdict not in (Verdict.ACCOUNT, Verdict.PERMANENT)


class _Row(NamedTuple):
    """One row of the table: a verdict, and the conditions under which it is that. None stands for no condition."""

    verdict: Verdict
    reason: AccountReason | None = None
    kind: type[APIError] = APIStatusError  # the class of the error
    status: Container[int] | None = None
    type: str | None = None
    error_code: Container[str | None] | None = None
    words: re.Pattern[str] | None = None  # found in what the answer says
    asks_to_wait: bool | None = None  # by `retry-after`
    should_retry: bool | None = None
    retryable: bool | None = None  # of an APIConnectionError

    def fits(self, error: APIError) -> bool:
        """Whether an error meets all conditions of this row."""
        if not isinstance(error, self.kind):
            return False
        if isinstance(error, APIStatusError):
            return (
                (self.status is None or error.status_code in self.status)
                and (self.type is None or error.type == self.type)
                and (self.error_code is None or error.error_code in self.error_code)
                and (self.asks_to_wait is None or (error.retry_after is not None) is self.asks_to_wait)
                and (self.words is None or self.words.search(_words_of(error)) is not None)
                and (self.should_retry is None or error.should_retry is self.should_retry)
            )
        if isinstance(error, APIConnectionError):
            return self.retryable is None or error.retryable is self.retryable
        return True


_MOST_WORDS: Final = 8192
"""The number of characters of an error that are looked at."""


def _words_of(error: APIStatusError) -> str:
    """What an answer says, in lower case and with blanks between words: names of a cause are written in other ways.

    What is wrong with a request is told with words of the request, in quotes: those say nothing of the account.
    """
    said = (error.message, error.type or "", error.error_code or "", error.api_message or "", *find_words(error.body))
    words = "\n".join(said)[:_MOST_WORDS].lower()
    if error.status_code in _OF_THE_REQUEST:
        words = _QUOTED.sub(" ", words)
    return _BETWEEN_WORDS.sub(" ", words)


_OF_THE_REQUEST: Final = (400, 422)

# Not within a word, as an apostrophe is, and no value in JSON, in which gateways put the words of what is behind them.
_QUOTED: Final = re.compile(r"""(?<![\w:{\[,\\])(['"`])(?=[\w(]).{0,300}?(?<!\\)\1(?![\w:])""")


_BETWEEN_WORDS: Final = re.compile(r"[ _-]+")


# The status of an `error` event, and of an error object where an event stream should be. It says nothing, so
# `error.type` decides. For any other answer the status decides.
_IN_STREAM: Final = (200,)
_SERVER_ERRORS: Final = range(500, 1000)  # not all are below 600 in the wild

# Refusals that no waiting ends: a person has to do something.
_SPENT_CODES: Final = frozenset[str | None](
    {
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "linked_organization_spend_limit_reached",
        "organization_on_hold",
    }
)

# Some tell an empty balance by their words alone. The API itself says in a 400 `invalid_request_error`: "Your credit
# balance is too low to access the Anthropic API. ...", "You have reached your specified workspace API usage limits. You
# will regain access on ...". Gateways say it with any status from 400 to 500, in their own languages, under names of
# their own: `insufficient_user_quota` (one-api, 403), "Budget has been exceeded!" (LiteLLM, 400), "insufficient balance
# (1008)" (MiniMax, 500), "Insufficient balance or no resource package. Please recharge." (Z.ai, 429).
_SPENT_WORDS: Final = re.compile(
    r"credit balance (is )?too low|specified (\w+ )?api usage limits|(spend|spending|monthly usage) limit"
    r"|(insufficient|not enough) (\w+ )?(balance|credits?|funds)\b|out of (\w+ )?(credits|funds)\b"
    r"|(balance|credits?|funds) (is|are) (insufficient|not enough|exhausted|used up)"
    r"|budget has been exceeded|^budget exceeded$|crossed budget|billing hard limit|payment required"
    r"|billing (is )?(disabled|not active)|organization has been disabled"
    r"|余额不足|餘額不足|额度不足|額度不足|欠费|残高不足|残高が不足|잔액.{0,3} ?부족"
    r"|(saldo|crédito|credito)s? insuficientes?|(solde|crédits?) insuffisants?|guthaben.{0,30} (aufgebraucht|erschöpft)"
    r"|(nicht genügend|kein|unzureichendes) guthaben|guthaben.{0,20} (reicht nicht|zu niedrig)|недостаточно средств",
    re.MULTILINE,
)

# These too, unless the answer asks to wait: then some other APIs mean the quota of a minute.
_QUOTA_WORDS: Final = re.compile(
    r"insufficient (\w+ )?quota|quota is not enough|exceeded current quota|check your plan and billing(?!.*retry)"
)
_RAMP_CODES: Final = ("ramp_limit_exceeded",)

# The first row that fits decides.
_TABLE: Final = (
    # The account: whatever the status is, and whatever x-should-retry says.
    _Row(Verdict.ACCOUNT, "spend_limit", error_code=_SPENT_CODES),
    _Row(Verdict.ACCOUNT, "spend_limit", words=_SPENT_WORDS),
    _Row(Verdict.ACCOUNT, "spend_limit", words=_QUOTA_WORDS, asks_to_wait=False),
    _Row(Verdict.ACCOUNT, "authentication", status=(401,)),
    _Row(Verdict.ACCOUNT, "authentication", type="authentication_error"),
    _Row(Verdict.ACCOUNT, "spend_limit", status=(402,)),
    _Row(Verdict.ACCOUNT, "spend_limit", type="billing_error"),
    # By its type only: a bare 403 may be a filter on the way that dislikes one prompt.
    _Row(Verdict.ACCOUNT, "permission", type="permission_error"),
    _Row(Verdict.ACCOUNT, "authentication", kind=CredentialsError),
    # The server asks not to be asked again.
    _Row(Verdict.PERMANENT, should_retry=False),
    # Limits and load. x-should-retry: true changes nothing about them.
    _Row(Verdict.RAMP_LIMITED, status=(429,), error_code=_RAMP_CODES),
    _Row(Verdict.RAMP_LIMITED, status=_IN_STREAM, type="rate_limit_error", error_code=_RAMP_CODES),
    _Row(Verdict.RATE_LIMITED, status=(429,)),
    _Row(Verdict.RATE_LIMITED, status=_IN_STREAM, type="rate_limit_error"),
    _Row(Verdict.OVERLOADED, status=(529,)),
    _Row(Verdict.OVERLOADED, status=_IN_STREAM, type="overloaded_error"),
    # The server asks to be asked again.
    _Row(Verdict.TRANSIENT, should_retry=True),
    # Other answers.
    _Row(Verdict.TRANSIENT, status=_IN_STREAM, type="api_error"),
    _Row(Verdict.TRANSIENT, status=_IN_STREAM, type="timeout_error"),
    _Row(Verdict.TRANSIENT, status=(408, 409)),
    # Not implemented, HTTP version not supported, a captive portal that wants a login (RFC 6585, 6).
    _Row(Verdict.PERMANENT, status=(501, 505, 511)),
    _Row(Verdict.TRANSIENT, status=_SERVER_ERRORS),
    # The network, the clocks, the stream. That a request may have been accepted is no reason not to repeat it:
    # messages have no side effects.
    _Row(Verdict.PERMANENT, kind=TotalTimeoutError),
    _Row(Verdict.PERMANENT, kind=APIConnectionError, retryable=False),
    _Row(Verdict.TRANSIENT, kind=APIConnectionError),
    _Row(Verdict.TRANSIENT, kind=IncompleteStreamError),
    # Anything else: a request the API does not take, an answer that breaks the protocol.
    _Row(Verdict.PERMANENT, kind=APIError),
)


def judge(error: APIError) -> Judgement:
    """Judge a failure. Who acts on it decides how often to ask again, and how long a wait is too long."""
    row = next(row for row in _TABLE if row.fits(error))
    return Judgement(row.verdict, row.reason, error.retry_after if isinstance(error, APIStatusError) else None)


_UNKNOWN_STATUSES: Final = frozenset({*range(200, 300), 408, *_SERVER_ERRORS} - {529})


def may_have_been_done(error: APIError) -> bool:
    """Whether the API may have done what a request asked for, although this error is all that came back.

    It matters where doing it twice costs something, as creating a batch does; a `Message` has no side effects.

    ====================================================  ==============================================
    how the attempt ended                                 what is known
    ====================================================  ==============================================
    not sent to its last byte (no connection, a clock)    not done: half a request cannot be read
    4xx other than 408, among them 401, 409, 413 and 429  not done: the API looked at it and refused
    529                                                   not done: the API was too busy to look at it
    3xx                                                   not done: it is somewhere else
    408, any other 5xx                                    unknown: what answers may stand before the API
    sent, then a cut, a reset, or a clock                 unknown
    an answer that breaks HTTP or is not what was due     unknown
    an error in an answer with a 2xx                      unknown
    ====================================================  ==============================================
    """
    if isinstance(error, CredentialsError):
        return False
    if isinstance(error, APIStatusError):
        return error.status_code in _UNKNOWN_STATUSES
    return error.may_have_been_accepted if isinstance(error, APIConnectionError) else True
