"""``trio-stream report``, and ``batch --report``: a page that shows how a run went.

What belongs here: where the page is written, and exit codes. What does not: what it shows (`_report_data`), and how
(`_report_charts`, `_report_page`).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from trio_stream._money import PriceLookup, Prices
from trio_stream.batch import JournalError
from trio_stream.cli._batch_prices import lookup_of_given
from trio_stream.cli._figures import dollars
from trio_stream.cli._found_journal import NoJournalError, find_journal
from trio_stream.cli._status import spent
from trio_stream.cli._terminal import FAILED, INTERRUPTED, USAGE, complain


class NoMatplotlibError(Exception):
    """The library that draws is missing. The message is shown to the user."""


def check_matplotlib() -> None:
    """Look whether there is matplotlib, without loading it.

    Raises:
      NoMatplotlibError: There is none.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise NoMatplotlibError("a report needs matplotlib: pip install 'trio-stream[report]'")


def write_report(journal: Path, output: Path, prices: PriceLookup) -> None:
    """Write the page of a journal: to a file whole or not at all, and into a pipe or a device as it is.

    Raises:
      JournalError: It cannot be read.
      OSError: The page cannot be written.
    """
    # Half a second, which only those wait for who want a page.
    from trio_stream.cli._report_charts import charts  # noqa: PLC0415
    from trio_stream.cli._report_data import ReportData  # noqa: PLC0415
    from trio_stream.cli._report_page import make_page  # noqa: PLC0415

    data = ReportData(journal, prices)
    used = spent(data.overview, prices)
    page = make_page(
        data,
        charts(data) if data.times else [],
        cost="not known" if used.cost is None else dollars(used.cost),
    )
    if output.exists() and not output.is_file():  # replaced it would be gone: /dev/null too, where root may do that
        output.write_text(page, encoding="utf-8", errors="replace")
        return
    target = output.resolve()
    beside = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        beside.write_text(page, encoding="utf-8", errors="replace")
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def run(name: str, *, output: str, prices: tuple[tuple[str, Prices], ...]) -> int:
    """Write the page, and return the exit code."""
    try:
        check_matplotlib()
        write_report(find_journal(name), Path(output), lookup_of_given(prices))
    except (NoMatplotlibError, NoJournalError, JournalError) as error:
        complain("report", str(error))
        return USAGE
    except OSError as error:
        complain("report", f"cannot write {output}: {error.strerror or error}")
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
