"""What is safe to write to a terminal, and how a line is ended."""

from __future__ import annotations

import io

import pytest

from trio_stream.cli._terminal import Output, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\n\ttext é 寿司 😀", "plain\n\ttext é 寿司 😀"),
        ("\x1b]0;title\x07", "␛]0;title␇"),
        ("a\rb\r\nc", "ab\nc"),
        ("\x00\x7f\x80\x9b", "␀␡\ufffd\ufffd"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("text", "line"),
    [("a\n  b\tc\n", "a b c"), ("\x1b[2J", "␛[2J"), ("x" * 700, "x" * 600 + "…")],
)
def test_one_line(text: str, line: str) -> None:
    assert one_line(text) == line


@pytest.mark.parametrize(
    ("pieces", "written"),
    [([], ""), (["a"], "a\n"), (["a\n"], "a\n"), (["a\n", "b"], "a\nb\n"), (["a", "", "\n"], "a\n")],
)
def test_the_line_is_ended_once(pieces: list[str], written: str) -> None:
    file = io.StringIO()
    output = Output(file)
    for piece in pieces:
        output.text(piece)
    output.dim("only on terminals")
    output.end_line()
    output.end_line()
    assert file.getvalue() == written


def test_every_piece_is_flushed() -> None:
    flushed: list[str] = []

    class File(io.StringIO):
        def flush(self) -> None:
            flushed.append(self.getvalue())

    output = Output(File())
    output.text("a")
    output.text("b")
    assert flushed == ["a", "ab"]
