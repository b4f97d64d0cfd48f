"""The options of ``trio-stream batch``, as a value.

What belongs here: the options, and the defaults that several modules need. What does not: reading them
from a command line (`_batch_commands`), and acting on them (`_batch`).
"""

from __future__ import annotations

from typing import Literal

import msgspec

from trio_stream._money import Prices

MODEL = "claude-sonnet-5-5"
"""The model if neither ``--model`` nor ``ANTHROPIC_MODEL`` nor the line of the input names one."""


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options, named as on the command line, in seconds, tokens and dollars."""

    input: str
    output: str
    journal: str | None
    model: str
    max_tokens: int
    system: str | None
    template: str | None
    concurrency: tuple[int, int, int] | None
    rpm: int | None
    itpm: int | None
    otpm: int | None
    max_attempts: int
    via: Literal["stream", "batch"]
    deadline: float | None
    detach: bool
    item_timeout: float | None
    first_event_timeout: float | None
    silence_timeout: float | None
    max_cost: float | None
    max_output_tokens: int | None
    price: tuple[tuple[str, Prices], ...]
    warmup: bool
    cache: Literal["5m", "1h"] | None
    prefix: str | None
    shard: tuple[int, int] | None
    limit: int | None
    sample: int | None
    retry_errors: bool
    inflight: Literal["retry", "skip", "partial"]
    overwrite: bool
    skip_invalid: str | None
    fsync: Literal["never", "group", "always"]
    on_error: Literal["continue", "stop"]
    max_errors: tuple[float, bool] | None
    order: Literal["input", "completion"]
    dry_run: bool
    progress: Literal["auto", "rich", "plain", "none"]
    summary: str | None
    base_url: str | None
