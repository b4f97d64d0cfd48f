"""The options of ``trio-stream batch``, as a value.

What belongs here: the options, and the defaults that several modules need. What does not: reading them
from a command line (`_batch_commands`), and acting on them (`_batch`).
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from trio_stream._money import Prices
from trio_stream.cli._batch_again import Again
from trio_stream.cli._formats import Format, place_of

MODEL = "claude-sonnet-5-5"
"""The model if neither ``--model`` nor ``ANTHROPIC_MODEL`` nor the line of the input names one."""


class BatchOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options, named as on the command line, in seconds, tokens and dollars."""

    input: str
    output: str
    journal: str | None
    format: str | None
    output_format: str | None
    table: str | None
    query: str | None
    models: tuple[str, ...]
    max_tokens: int
    system: str | None
    template: str | None
    params: dict[str, Any]
    schema: str | None
    retry_invalid: int
    repeat: int
    dedupe: bool
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
    retry_errors: tuple[str, ...]
    retry_truncated: bool
    inflight: Literal["retry", "skip", "partial"]
    overwrite: bool
    skip_invalid: str | None
    fsync: Literal["never", "group", "always"]
    on_error: Literal["continue", "stop"]
    max_errors: tuple[float, bool] | None
    order: Literal["input", "completion"]
    dry_run: bool
    progress: Literal["auto", "rich", "plain", "none"]
    live: bool
    summary: str | None
    report: str | None
    base_url: str | None

    @property
    def model(self) -> str:
        """The model of rows that name none; of several the first."""
        return self.models[0]

    @property
    def again(self) -> Again:
        """Which items of earlier runs are sent again."""
        return Again(errors=self.retry_errors, truncated=self.retry_truncated)

    def conflict(self) -> str | None:
        """Say which options cannot be given together; None if all can."""
        if self.via == "batch":
            if self.item_timeout is not None:
                return "--item-timeout is for streams: a batch takes as long as it does, up to 24 hours"
            if self.detach and self.output == "-" and self.journal is None:
                return "--detach needs a journal to find the batches again by: give --output or --journal"
        elif self.deadline is not None or self.detach:
            return "--deadline and --detach are for --via batch"
        if self.retry_invalid and self.schema is None:
            return "--retry-invalid is for answers that do not fit a --schema"
        if self.dry_run and self.sample is not None and self.overwrite:
            return "--dry-run --sample keeps its answers for the run, and --overwrite would discard them"
        if self.report is not None and self.output == "-" and self.journal is None:
            return "--report is made of the journal: give --output or --journal"
        if self.live and self.progress in ("plain", "none"):
            return "--live draws a table: leave out --progress"
        source = place_of(self.input, self.format)
        if (self.table is not None or self.query is not None) and source.format is not Format.SQLITE:
            return "--table and --query are for an input that is an SQLite database"
        if sum(named is not None for named in (source.table, self.table, self.query)) > 1:
            return "of FILE::TABLE, --table and --query only one can be given"
        if self.retry_truncated and self.output == "-" and self.journal is None:
            return "--retry-truncated needs what an earlier run has left: give --output or --journal"
        return None
