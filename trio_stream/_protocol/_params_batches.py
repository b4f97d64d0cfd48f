"""Parameters of the calls of ``client.messages.batches``.

What belongs here: typed dicts for type checkers. What does not: checking and encoding them (`_batch_body`), and the
parameters of a single message (`_params`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Required, TypedDict

from trio_stream._protocol._params import BetaMessageCreateParams, MessageCreateParams


class BatchRequest(TypedDict):
    """One request of a batch.

    ``custom_id`` is yours: 1 to 64 letters, digits, ``-`` and ``_``, unique within the batch. It is how a result tells
    to which request it belongs. ``params`` are those of `Messages.create`, without ``stream``.
    """

    custom_id: str
    params: MessageCreateParams


class BetaBatchRequest(TypedDict):
    """As `BatchRequest`. ``betas`` are given for the whole batch."""

    custom_id: str
    params: BetaMessageCreateParams


class WorkspaceParams(TypedDict, total=False):
    """The parameter that every call about batches takes. It travels as a header."""

    workspace_id: str


class BatchSharedParams(WorkspaceParams, total=False):
    """The parameters of `Batches.create` beside the requests. They travel as headers."""

    user_profile_id: str


class BatchCreateParams(BatchSharedParams, total=False):
    """The parameters of `Batches.create`."""

    requests: Required[Iterable[BatchRequest]]


class BatchListParams(WorkspaceParams, total=False):
    """The parameters of `Batches.list`.

    ``limit`` is the number of batches on a page, from 1 to 1,000; the API's default is 20. ``after_id`` asks for what
    comes after a batch in the list, which is older; ``before_id`` for what comes before it.
    """

    after_id: str
    before_id: str
    limit: int


class BetasParam(TypedDict, total=False):
    """The names for ``anthropic-beta``."""

    betas: Sequence[str]


class BetaBatchCreateParams(BatchSharedParams, BetasParam, total=False):
    """The parameters of `BetaBatches.create`."""

    requests: Required[Iterable[BetaBatchRequest]]


class BetaBatchListParams(BatchListParams, BetasParam, total=False):
    """The parameters of `BetaBatches.list`."""
