"""The files that ``trio-stream batch`` writes: output, journal, summary, rejected lines.

What belongs here: their names, whether this command may write them, and the order in which they are opened. What does
not: what is in them (`_batch_output`, `_batch_rejects`, `trio_stream.batch`).

Before the input is checked nothing is created or emptied: a run that cannot begin leaves everything as it was. What an
earlier run has left is opened all the same, because its journal knows under which ids other requests were made, and
because a second run must not begin beside one that is under way.
"""

from __future__ import annotations

import contextlib
import functools
import os
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, TextIO, cast, final

import msgspec

from trio_stream.batch import Journal, JournalError, journal_overview, may_be_journal
from trio_stream.cli._batch_line import is_output_line
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_output import Output, TargetError
from trio_stream.cli._batch_progress import write_line
from trio_stream.cli._batch_rejects import RejectsFile, is_reject
from trio_stream.cli._batch_table import Table
from trio_stream.cli._formats import Format, place_of

_HEAD: Final = 1 << 20
"""How many bytes at the beginning of a file show what it is: more than any line has, but for very long answers."""

_DESCRIPTORS: Final = frozenset({"/dev/stdin", "/dev/stdout", "/dev/stderr"})
_FOLDERS_OF_DESCRIPTORS: Final = frozenset({"/dev/fd", "/proc/self/fd"})


@final
class Files:
    """The files of one run. Those that it cannot write are found at once, before anything is opened.

    Args:
      options: Name them.

    Attributes:
      journal: The journal, once it is open; None where the run has none.
      output: The output, once it is open.
      rejects: The file for rejected lines, once it is open; None where the run has none.
      table: The output, if it is a table; None where it is lines of JSON.
      summary: The path of the summary; None if none was asked for.
      report: The path of the report; likewise.

    Raises:
      TargetError: A file is the input or another one of these, is of another kind, or cannot be continued from.
      InputError: A format needs pyarrow, which is missing.
    """

    def __init__(self, options: BatchOptions) -> None:
        self.journal: Journal | None = None
        self.output: Output | None = None
        self.rejects: RejectsFile | None = None
        self._options = options
        self._input = place_of(options.input, options.format)
        place = place_of(self._named(options.output), options.output_format)
        self._output_path = None if place.path == "-" else Path(place.path)
        self.table: Table | None = None
        self._lines_path = self._output_path
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # of the lines of a table on standard output
        self._unpacked = self._begun = False
        if place.format is not Format.JSON_LINES or place.gzipped:
            self.table = Table(place)
            if self._output_path is None:
                self._folder = tempfile.TemporaryDirectory(prefix="trio-stream-")
                self._lines_path = Path(self._folder.name, "rows")
            else:
                self._lines_path = Path(f"{self.table.stem}.rows")
        self.summary = None if options.summary is None else self._path(options.summary)
        self.report = None if options.report is None else self._path(options.report)
        self._rejects_path = None if options.skip_invalid is None else self._path(options.skip_invalid)
        self._journal_path: Path | None = None
        if options.journal is not None:
            self._journal_path = self._path(options.journal)
        elif self._output_path is not None:
            self._journal_path = Path(place.journal)
        self._check_names()
        self._check_kinds()

    def _path(self, name: str) -> Path:
        return Path(self._named(name))

    def _named(self, name: str) -> str:
        """Return the name of a file, where ``{shard}`` in it stands for the number of the shard."""
        return name.replace("{shard}", str((self._options.shard or (0, 1))[0]))

    def _check_names(self) -> None:
        """Look whether a file that is written is one that is read, or is written as something else too."""
        options = self._options
        taken: list[tuple[Path, str]] = []
        if options.input != "-":
            source = Path(self._input.path)
            if not self._is_other_table():
                taken.append((source, "the input"))
            if options.output == "-" and _is_open_as(sys.stdout, source):
                raise TargetError("standard output is the input: name another file")
        for read, what in (
            (options.system, "the system prompt"),
            (options.prefix, "the prefix"),
            (options.schema, "the schema"),
        ):
            if read is not None:
                taken.append((Path(read), what))
        for option, path, what in (
            ("--output", self._output_path, "the output"),
            ("--output", None if self.table is None else self._lines_path, "the rows of the output"),
            ("--journal", self._journal_path, "the journal"),
            ("--summary", self.summary, "the summary"),
            ("--report", self.report, "the report"),
            ("--skip-invalid", self._rejects_path, "the file for rejected lines"),
        ):
            if path is None:
                continue
            if options.input == "-" and _is_open_as(sys.stdin, path):
                raise TargetError(f"{option} {path} is the input: name another file")
            for other, other_what in taken:
                if _same_file(path, other):
                    raise TargetError(f"{option} {path} is {other_what}: name another file")
            taken.append((path, what))

    def _is_other_table(self) -> bool:
        """Whether input and output are tables of databases, and not the same one: a database may be both."""
        if self.table is None or self.table.format is not Format.SQLITE or self._input.format is not Format.SQLITE:
            return False
        read = self._input.table or self._options.table
        if read is not None and read.lower() == self.table.table.lower() and self._options.query is None:
            assert self.table.path is not None
            return not _same_file(Path(self._input.path), self.table.path)
        return True

    def _check_kinds(self) -> None:
        if self._output_path is not None:
            _check_regular("--output", self._output_path, "write to standard output with `-o -`")
        has_journal = self._journal_path is not None and bool(_first_lines(self._journal_path))
        if self._lines_path is not None:
            _check_regular("--output", self._lines_path, "name another file")
            is_output = functools.partial(_is_output, has_journal=has_journal)
            _check_ours("--output", self._lines_path, is_output, "an output of this command")
        if self.table is not None:
            self.table.check_is_ours(has_journal=has_journal)
        if self._journal_path is not None:
            _check_regular("--journal", self._journal_path, "name a file")
            _check_ours("--journal", self._journal_path, _is_journal, "a journal")
        if self._rejects_path is not None and not _is_device(self._rejects_path):  # /dev/null takes them too
            _check_regular("--skip-invalid", self._rejects_path, "name a file")
            _check_ours("--skip-invalid", self._rejects_path, _is_rejects, "a file of rejected lines")
        if self.summary is not None:
            _check_figures("--summary", self.summary)
            _check_ours("--summary", self.summary, _is_summary, "a summary of this command")
        if self.report is not None:
            _check_figures("--report", self.report)

    def open_earlier(self) -> None:
        """Open what an earlier run has left, and find out what is in it.

        With ``--overwrite`` nothing of it is wanted.

        Raises:
          JournalError: The journal cannot be used.
          OutputError: The output cannot be used.
        """
        if self._options.overwrite:
            return
        lines, table = self._lines_path, self.table
        has_lines = lines is not None and lines.exists()
        has_output = has_lines or (table is not None and table.exists)
        if self._journal_path is not None and (has_output or self._journal_path.exists()):
            self.journal = self._open_journal(self._journal_path)
        if has_output:
            if table is not None and not has_lines:
                assert lines is not None
                self._unpacked = True
                table.unpack(lines)
            self.output = self._open_output()
            self.output.read_earlier(self.journal, self._options.again)

    def open_journal(self, *, create: bool = False) -> Journal | None:
        """Open the journal alone, if there is one to continue from.

        Args:
          create: Whether to create it where the run is to have one.

        Raises:
          JournalError: It cannot be used.
        """
        path = self._journal_path
        if path is not None and (create or path.exists()) and not self._options.overwrite:
            self.journal = self._open_journal(path)
        return self.journal

    def open_rejects(self) -> RejectsFile | None:
        """Open the file for rejected lines, if one was asked for.

        Raises:
          RejectsError: It cannot be opened.
        """
        if self._rejects_path is not None:
            self.rejects = RejectsFile(self._rejects_path)
        return self.rejects

    def open(self) -> Output:
        """Open the others, as the input is known to be right.

        Raises:
          JournalError: The journal cannot be used.
          OutputError: The output cannot be used.
        """
        if self.journal is None and self._journal_path is not None:
            self.journal = self._open_journal(self._journal_path)
        if self.output is None:
            self.output = self._open_output()
        self._begun = True
        self.output.begin(overwrite=self._options.overwrite)
        return self.output

    def finish(self) -> None:
        """Make the table, if the output is one, of the rows that there are. The journal is still open: nobody else may.

        Raises:
          OutputError: It cannot be written.
          BrokenPipeError: The reader of standard output went away.
        """
        if self.table is not None and self._lines_path is not None and self.output is not None:
            self.table.pack(self._lines_path)
            self._lines_path.unlink()

    def close(self) -> None:
        """Close all of them.

        Raises:
          JournalError: With ``--fsync``, the last records could not be written to the disk.
        """
        if self._unpacked and not self._begun and self._lines_path is not None:
            self._lines_path.unlink(missing_ok=True)  # the table has them
        if self._folder is not None:
            self._folder.cleanup()
        for file in (self.rejects, self.output, self.journal):
            if file is not None:
                file.close()

    def _open_journal(self, path: Path) -> Journal:
        options = self._options
        if options.overwrite:
            _tell_of_batches(path)
        fsync: dict[str, Literal["group"] | bool] = {"never": False, "group": "group", "always": True}
        return Journal(
            path,
            fsync=fsync[options.fsync],
            inflight=options.inflight,
            overwrite=options.overwrite,
        )

    def _open_output(self) -> Output:
        return Output(
            self._lines_path,
            in_order=self._options.order == "input",
            shown_as=None if self.table is None else self.table.name,
            continued=self._output_path is not None,
        )


def _tell_of_batches(path: Path) -> None:
    """Name the message batches that nobody finds again without this journal. They go on, and are billed."""
    with contextlib.suppress(JournalError):  # it is none, or there is none: opening it says more
        batches = journal_overview(path).batches
        if batches:
            write_line(f"discarded with {path}, and billed all the same: the message batches {' '.join(batches)}")


def _same_file(path: Path, other: Path) -> bool:
    try:
        return path.samefile(other)
    except OSError:  # one of them is not there yet
        return os.path.realpath(path) == os.path.realpath(other)


def _is_open_as(file: TextIO | None, path: Path) -> bool:
    """Whether a standard stream, where there is one, is the file that has this name."""
    try:
        if file is None:
            return False
        found = os.fstat(file.fileno())
        return stat.S_ISREG(found.st_mode) and os.path.samestat(found, path.stat())
    except (OSError, ValueError):  # the file is not there yet; or the stream has no descriptor
        return False


def _is_device(path: Path) -> bool:
    return _other_kind(path) == "a device"


def _check_regular(option: str, path: Path, instead: str) -> None:
    """Look whether a file is one that can be read again and continued, or is not there yet.

    Raises:
      TargetError: It is something else.
    """
    what = _other_kind(path)
    if what is not None:
        raise TargetError(f"{option} {path} is {what}, and a run continues from its files: {instead}")
    _check_place(option, path)


def _check_figures(option: str, path: Path) -> None:
    """Look whether a file can be written at the end of a run, which is too late to find out that it cannot.

    Raises:
      TargetError: It cannot.
    """
    _check_place(option, path)
    if path.is_dir():
        raise TargetError(f"{option} {path} is a directory: name a file")


def _check_place(option: str, path: Path) -> None:
    """Look whether a file may be written where it is, or can be created where it is not.

    Raises:
      TargetError: It cannot.
    """
    try:
        path.stat()
    except FileNotFoundError:
        folder = Path(os.path.realpath(path)).parent  # a link may lead elsewhere
        if not folder.is_dir():
            raise TargetError(f"{option} {path}: there is no {folder}") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise TargetError(f"{option} {path}: nothing can be written to {folder}") from None
    except OSError as error:
        raise TargetError(f"{option} {path} cannot be used: {error.strerror or error}") from None
    else:
        if not os.access(path, os.W_OK):
            raise TargetError(f"{option} {path} may not be written")


def _other_kind(path: Path) -> str | None:
    if str(path) in _DESCRIPTORS or str(path.parent) in _FOLDERS_OF_DESCRIPTORS:
        return "a file that is open already"  # as standard output is, whatever that is
    try:
        mode = path.stat().st_mode
    except OSError:  # it is not there; or opening it says why not
        return None
    for is_kind, name in (
        (stat.S_ISDIR, "a directory"),
        (stat.S_ISFIFO, "a pipe (FIFO)"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if is_kind(mode):
            return name
    return None


def check_is_output_or_journal(path: Path) -> None:
    """Look whether a file that is to be replaced has been written by this command, as an output or as a journal.

    Raises:
      TargetError: It has not.
    """
    lines = _first_lines(path)
    if lines and not _is_output(lines) and not _is_journal(lines):
        raise TargetError(
            f"{path} exists and is neither an output of `trio-stream batch` nor a journal: name another file"
        )


def _first_lines(path: Path) -> list[bytes]:
    """Read the beginning of a file; nothing where that is not possible, as writing it says why."""
    try:
        if not path.is_file():  # opening a FIFO would wait for its other end
            return []
        with path.open("rb") as file:
            return file.read(_HEAD).splitlines(keepends=True)
    except OSError:
        return []


def _is_output(lines: list[bytes], *, has_journal: bool = False) -> bool:
    return any(is_output_line(line, has_journal=has_journal) for line in lines)  # the first may be damaged


def _is_journal(lines: list[bytes]) -> bool:
    return may_be_journal(lines[0])


def _is_rejects(lines: list[bytes]) -> bool:
    return is_reject(lines[0])


def _is_summary(lines: list[bytes]) -> bool:
    try:
        found: object = msgspec.json.decode(b"".join(lines))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(found, dict) and {"exit_code", "lines_written"} <= cast("dict[str, object]", found).keys()


def _check_ours(option: str, path: Path, is_ours: Callable[[list[bytes]], bool], what: str) -> None:
    """Look whether a file that is there has been written by this command, so that it may be changed.

    Raises:
      TargetError: It has not.
    """
    lines = _first_lines(path)
    if lines and not is_ours(lines):
        raise TargetError(f"{option} {path} exists and is not {what}: name another file")
