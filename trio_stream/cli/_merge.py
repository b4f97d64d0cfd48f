"""``trio-stream merge``: making one file of several.

What belongs here: where the result is written, and the report. What does not: merging (`trio_stream.batch`).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from trio_stream.batch import JournalError, MergeReport, merge_into, merge_journals
from trio_stream.cli._batch_files import check_is_output_or_journal
from trio_stream.cli._batch_output import TargetError
from trio_stream.cli._input_json import what_it_is
from trio_stream.cli._terminal import BROKEN_PIPE, FAILED, INTERRUPTED, USAGE, complain, forget_stdout, one_line

_CONFLICTS = 3
_NAMED = 20


def run(files: Sequence[Path], *, output: str, order: Literal["input", "completion"], overwrite: bool) -> int:
    """Merge, and return the exit code."""
    wanted: Literal["index", "completion"] = "index" if order == "input" else "completion"
    try:
        if overwrite and output != "-":
            check_is_output_or_journal(Path(output))
        if output == "-":
            report = merge_into(files, sys.stdout.buffer, order=wanted)
            sys.stdout.flush()
        else:
            report = merge_journals(files, output, order=wanted, overwrite=overwrite)
    except TargetError as error:
        complain("merge", str(error))
        return USAGE
    except FileExistsError:
        complain("merge", f"{output} exists: give another name, or --overwrite")
        return USAGE
    except JournalError as error:
        complain("merge", f"{error}{_what_instead(error.path)}")
        return FAILED if error.path == Path(output) else USAGE
    except BrokenPipeError:
        forget_stdout()
        return BROKEN_PIPE
    except OSError as error:
        complain("merge", f"cannot write: {error.strerror or error}")
        forget_stdout()
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    _tell(report, len(files))
    return _CONFLICTS if report.conflicts else 0


def _what_instead(path: Path) -> str:
    """Say what a file is that is of no kind that can be merged, if that is known."""
    if not path.is_file():  # opening a pipe would wait for its other end
        return ""
    try:
        with path.open("rb") as file:
            what = what_it_is(file.read(4096))
    except OSError:
        what = None
    return "" if what is None else f": {what}"


def _tell(report: MergeReport, files: int) -> None:
    facts = [f"{report.items} items from {files} files"]
    if report.repeated:
        facts.append(f"{report.repeated} repetitions left out, {report.paid_twice} of them answers")
    if report.unfinished:
        facts.append(f"{report.unfinished} unfinished")
    if report.damaged:
        facts.append(f"{report.damaged} lines cannot be read")
    sys.stderr.write(f"{' · '.join(facts)}\n")
    for key in report.conflicts[:_NAMED]:
        complain("merge", f"conflict: {one_line(key)!r} stands for different requests; the first file's was kept")
    if len(report.conflicts) > _NAMED:
        complain("merge", f"{len(report.conflicts) - _NAMED} more conflicts")
