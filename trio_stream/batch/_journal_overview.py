"""How a job stands, by its journal, which a run may be writing at the same time.

What belongs here: counting items by how they ended. What does not: which record of an item counts (`_journal_index`),
what it cost in money, and words for people (the command line).
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, final

import msgspec

from trio_stream._money import Charge
from trio_stream.batch._file_lock import is_locked
from trio_stream.batch._journal_format import JournalError, check_version, is_journal, read_head
from trio_stream.batch._journal_index import JobRun, JournalIndex, Kind, kind_of

_READ: Final = 1 << 20
_CUT: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
_NO_VALUE: Final = frozenset({"invalid", "truncated", "refused"})


@final
class JournalOverview(msgspec.Struct, frozen=True, kw_only=True):
    """How a job stands, as `journal_overview` finds it in a journal.

    Args:
      items: How many items the last run had; None if no run has noted it.
      ok: How many items have a whole answer.
      cut: How many of these answers were cut at ``max_tokens`` or by the model's context window.
      failed: How many items ended with an error or a timeout, by the name of the error's class.
      invalid: How many items have an answer that is no value of ``output``, by the status: ``invalid``, ``truncated``,
        ``refused``.
      unfinished: How many items were started and have not ended, those in message batches included.
      charges: What everything was charged for, in all runs of the job, added up by model and by what else decides about
        prices. Items that were under way when a run was killed are taken to have cost what the others did, as an
        estimate, and those that are under way now too.
      batches: The ids of message batches that are not collected. Where it is not known whether a batch was created, the
        nonce that its requests have.
      in_use: Whether a run has the journal open now; None where the system does not tell. Linux tells it for processes
        of this machine.
      written_at: When the last record was written, in Unix time; None if there is none.
      runs: When runs began, and with how many items, as far as they have noted it.
      damaged: How many lines cannot be read.
    """

    items: int | None
    ok: int
    cut: int
    failed: dict[str, int]
    invalid: dict[str, int]
    unfinished: int
    charges: tuple[Charge, ...]
    batches: tuple[str, ...]
    in_use: bool | None
    written_at: float | None
    runs: tuple[JobRun, ...]
    damaged: int

    @property
    def ended(self) -> int:
        """How many items have ended, well or not."""
        return self.ok + sum(self.failed.values()) + sum(self.invalid.values())


class _Named(msgspec.Struct, gc=False):
    """The description of an error, as far as it is counted."""

    name: Any = msgspec.field(default="", name="class")


class _End(msgspec.Struct, gc=False):
    """What is told of the end of an item besides its head."""

    stop_reason: Any = None
    error: _Named | None = None


_decode_end = msgspec.json.Decoder(_End).decode


def journal_overview(path: str | os.PathLike[str]) -> JournalOverview:
    """Find out how a job stands: what is done, failed and unfinished, and what it was charged for.

    It reads the file once and changes nothing. The journal may be written at the same time, and a run may begin: no
    lock is taken.

    Args:
      path: The journal.

    Raises:
      JournalError: The file is not a journal, or cannot be read.
    """
    path = Path(path)
    index = JournalIndex()
    ends: dict[str, _End] = {}
    statuses: dict[str, str] = {}
    damaged = 0
    written_at: float | None = None
    for offset, line in whole_lines(path):
        head = read_head(line)
        if head is None:
            damaged += 1
            continue
        index.read(offset, head, line)
        written_at = head.at or written_at
        if head.record == "end":
            statuses[head.key] = head.status
            ends[head.key] = _read_end(line)
    index.close()
    kinds = {key: kind_of(entry) for key, entry in index.known.items()}
    failed: Counter[str] = Counter()
    invalid: Counter[str] = Counter()
    for key, kind in kinds.items():
        if kind is Kind.FAILED and statuses[key] in _NO_VALUE:
            invalid[statuses[key]] += 1
        elif kind is Kind.FAILED:
            error = ends[key].error
            failed[statuses[key] if error is None else str(error.name)] += 1
    answered = [key for key, kind in kinds.items() if kind is Kind.OK]
    return JournalOverview(
        items=index.runs[-1].items if index.runs else None,
        ok=len(answered),
        cut=sum(ends[key].stop_reason in _CUT for key in answered),
        failed=dict(failed.most_common()),
        invalid=dict(invalid.most_common()),
        unfinished=len(kinds) - len(answered) - failed.total() - invalid.total(),
        charges=index.charges.totals(),
        batches=tuple(batch.batch_id or batch.nonce for batch in index.batches.open.values()),
        in_use=is_locked(path),
        written_at=written_at,
        runs=tuple(index.runs),
        damaged=damaged,
    )


def whole_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Read the lines of a journal after the first, each with its offset; the last only if it is whole.

    Raises:
      JournalError: The file is not a journal, or cannot be read.
    """
    try:
        with path.open("rb", buffering=_READ) as file:
            offset = len(first := file.readline())
            if not is_journal(first):
                raise JournalError(f"{path} is not a journal", path=path)
            check_version(first, path)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # it is being written, or a killed run has left it
                yield offset, line
                offset += len(line)
    except OSError as error:
        raise JournalError(f"{path} cannot be read: {error.strerror or error}", path=path) from error


def _read_end(line: bytes) -> _End:
    try:
        return _decode_end(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _End()  # its head could be read, and not the rest
