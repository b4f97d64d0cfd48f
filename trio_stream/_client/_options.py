"""What a call takes beside the parameters of the API.

What belongs here: the keyword arguments of calls, for type checkers and for `_requests` to take apart. What does
not: the API's own parameters (`_protocol`).
"""

from __future__ import annotations

from typing import Final

from trio_stream._http import Timeout
from trio_stream._limiter import Lane
from trio_stream._protocol import (
    BatchListParams,
    BatchSharedParams,
    BetaCountTokensParams,
    BetaMessageCreateParams,
    BetasParam,
    CountTokensParams,
    MessageCreateParams,
    RequestOptions,
    SharedParams,
    WorkspaceParams,
)
from trio_stream._timeouts import Timeouts


class ManyCallOptions(RequestOptions, total=False):
    """The options of calls that make many requests. See `CallOptions`."""

    timeout: Timeouts | Timeout | float | None
    lane: Lane


class CallOptions(ManyCallOptions, total=False):
    """The options every call takes.

    ``timeout``, ``max_retries`` and ``lane`` replace the client's; ``extra_headers``, ``extra_query`` and
    ``extra_body`` are sent as they are, and win over what this library would send.

    ``lane`` says in which queue of the client's limiter a request waits: ``"interactive"``, or ``"batch"`` for what
    nobody waits for. Counting tokens and calls about message batches have limits of their own and wait for none.
    """

    max_retries: int


class MessageCall(MessageCreateParams, CallOptions):
    """Keyword arguments of ``client.messages.stream`` and ``create``."""


class BetaMessageCall(BetaMessageCreateParams, CallOptions):
    """Keyword arguments of ``client.beta.messages.stream`` and ``create``."""


class CountCall(CountTokensParams, CallOptions):
    """Keyword arguments of ``client.messages.count_tokens``."""


class BetaCountCall(BetaCountTokensParams, CallOptions):
    """Keyword arguments of ``client.beta.messages.count_tokens``."""


class SharedCall(SharedParams, ManyCallOptions):
    """The parameters and options that the requests of `fan_out`, `gather_texts` and `gather_outcomes` share."""


class RaceCall(SharedParams, CallOptions):
    """The parameters and options that the requests of `race` and `hedge` share."""


class BatchCreateCall(BatchSharedParams, CallOptions):
    """Keyword arguments of ``client.messages.batches.create`` beside ``requests``."""


class BatchListCall(BatchListParams, CallOptions):
    """Keyword arguments of ``client.messages.batches.list``."""


class BatchCall(WorkspaceParams, CallOptions):
    """Keyword arguments of the other calls of ``client.messages.batches``."""


class BetaBatchCreateCall(BatchCreateCall, BetasParam):
    """Keyword arguments of ``client.beta.messages.batches.create`` beside ``requests``."""


class BetaBatchListCall(BatchListCall, BetasParam):
    """Keyword arguments of ``client.beta.messages.batches.list``."""


class BetaBatchCall(BatchCall, BetasParam):
    """Keyword arguments of the other calls of ``client.beta.messages.batches``."""


ADMISSION: Final = "admission"
"""An option of this package alone: a function that returns the `Admission` of a request, whose permit a fan-out has
waited for already."""

OPTION_NAMES = frozenset(CallOptions.__annotations__) | frozenset(RequestOptions.__annotations__) | {ADMISSION}
