"""Text that people give: in files, on standard input, as arguments.

What belongs here: making text of bytes, and saying what the bytes are where they are no text: the place, and what to
do about it. What does not: JSON (`_input_json`), and what is done with the text.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final

BOM: Final = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8. It says nothing, and stands wherever files of Windows programs begin."""

_HEAD: Final = 4096
"""How many bytes show what a file is."""

_FORMATS: Final = {
    b"\x1f\x8b": "gzip: gunzip it, or pipe `zcat FILE |`",
    b"BZh91AY&SY": "bzip2: bunzip2 it, or pipe `bzcat FILE |`",
    b"\xfd7zXZ\0": "xz: unxz it, or pipe `xzcat FILE |`",
    b"\x28\xb5\x2f\xfd": "Zstandard: unzstd it, or pipe `zstdcat FILE |`",
    b"\x04\x22\x4d\x18": "LZ4: unlz4 it, or pipe `lz4cat FILE |`",
    b"PK\x03\x04": "a ZIP archive or a workbook: unzip it, or save the workbook as text",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive: unpack it",
    b"%PDF": "a PDF: make text of it, as with `pdftotext FILE - |`",
    b"PAR1": "Parquet: write it as text",
    b"ARROW1": "Arrow: write it as JSON lines",
    b"SQLite format 3\0": "an SQLite database: write its rows as text",
}
_UTF_16: Final = "UTF-16: convert it, or pipe `iconv -f UTF-16 -t UTF-8 FILE |`"
_UTF_32: Final = _UTF_16.replace("16", "32")
_BINARY: Final = "binary data: give a file of text"
# The byte order marks of UTF-32 first: one of them begins with one of UTF-16.
_MARKS: Final = {b"\xff\xfe\0\0": _UTF_32, b"\0\0\xfe\xff": _UTF_32, b"\xff\xfe": _UTF_16, b"\xfe\xff": _UTF_16}

_NOT_DECODED: Final = re.compile("[\udc80-\udcff]+")


class InputError(ValueError):
    """The input cannot be used. The message says where and why, and is shown to the user."""


def foreign_format(data: bytes) -> str | None:
    """Say what some data is, and what to do, if it is not text in UTF-8 from its first bytes on; else None."""
    head = data[:_HEAD]
    for magic, what in (*_MARKS.items(), *_FORMATS.items()):
        if head.startswith(magic):
            return what
    if b"\0" not in head:
        return None
    # Without a byte order mark UTF-16 is told by the zeros beside the letters of ASCII, of which every text has some.
    if head[1:2] == b"\0" or head[:1] == b"\0":
        return _UTF_32 if b"\0\0\0" in head[:8] else _UTF_16
    return _BINARY


def not_utf_8(data: bytes, error: UnicodeDecodeError) -> str:
    """Say which bytes are not UTF-8, and what to do."""
    found = data[error.start : max(error.end, error.start + 1)]
    names = " ".join(f"0x{byte:02x}" for byte in found)
    return f"{names} is not UTF-8: convert it, as with `iconv -f WINDOWS-1252 -t UTF-8 FILE |`"


def read_text(data: bytes, name: str) -> str:
    """Make text of bytes, without a byte order mark.

    Args:
      data: The bytes.
      name: The name of their source, for messages.

    Raises:
      InputError: The bytes are not UTF-8, or have zeros. The message contains nothing of them but the first bytes that
        are wrong.
    """
    data = data.removeprefix(BOM)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode()
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        why = not_utf_8(data, error)
    else:
        if "\0" not in text:
            return text
        line = column = 1
        why = f"this is {_BINARY}"
    what = foreign_format(data)
    if what is not None:
        raise InputError(f"{name}, line 1, column 1: this is {what}")
    raise InputError(f"{name}, line {line}, column {column}: {why}")


def read_text_file(path: str) -> str:
    """Read a file of text.

    Raises:
      InputError: The file cannot be read, or `read_text` says that it is not text.
    """
    try:
        return read_text(Path(path).read_bytes(), path)
    except OSError as error:
        raise InputError(unreadable(path, error)) from None


def unreadable(name: str, error: OSError) -> str:
    """Say why a file cannot be read."""
    return f"cannot read {name}: {error.strerror or error}"


def check_is_no_directory(name: str, mode: int) -> None:
    """Look whether what was opened is a directory.

    Raises:
      InputError: It is.
    """
    if stat.S_ISDIR(mode):
        raise InputError(f"{name} is a directory: name a file, or pipe `cat {name.rstrip('/')}/*.jsonl |` into `-`")


def undecoded(text: str) -> str | None:
    """Say which bytes of an argument or an environment variable are not in the encoding of this system; else None."""
    found = _NOT_DECODED.search(text)  # PEP 383: a byte that cannot be decoded is a lone surrogate
    if found is None:
        return None
    names = " ".join(f"0x{ord(character) - 0xDC00:02x}" for character in found[0])
    return f"column {found.start() + 1}: {names} is not UTF-8"
