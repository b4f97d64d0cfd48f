"""``trio-stream compact``: a smaller journal.

What belongs here: the report, and exit codes. What does not: compacting (`compact_journal`).
"""

from __future__ import annotations

import sys

from trio_stream.batch import JournalError, compact_journal
from trio_stream.cli._figures import count
from trio_stream.cli._found_journal import NoJournalError, find_journal
from trio_stream.cli._terminal import FAILED, INTERRUPTED, USAGE, complain


def run(name: str) -> int:
    """Compact a journal, and return the exit code."""
    try:
        path = find_journal(name)
        report = compact_journal(path)
    except NoJournalError as error:
        complain("compact", str(error))
        return USAGE
    except JournalError as error:
        complain("compact", str(error))
        return FAILED if isinstance(error.__cause__, OSError) else USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    before, after = count(report.bytes_before), count(report.bytes_after)
    sys.stderr.write(
        f"{path}: {report.items:,} items, {report.records:,} records left out, {before}B before, {after}B now\n"
    )
    if report.damaged:
        sys.stderr.write(f"{report.damaged:,} lines could not be read\n")
    return 0
