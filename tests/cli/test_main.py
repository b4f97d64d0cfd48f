"""Starting the command line: version, help, and what it says without its extra."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
import trio

import trio_stream as ts
from tests.forked import SECONDS
from tests.processes import PYTHON
from trio_stream import cli

from .running import environment, run_cli, start_cli


def test_each_module_can_be_imported() -> None:
    """Those too that only one of the commands imports."""
    for module in pkgutil.iter_modules(cli.__path__):
        assert importlib.import_module(f"{cli.__name__}.{module.name}")


async def test_version() -> None:
    done = await start_cli("--version")
    assert (done.code, done.out, done.err) == (0, f"trio-stream {ts.__version__}\n", "")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--help"], "demo"),
        (["demo", "-h"], "--fast"),
        (["ask", "-h"], "--thinking"),
        (["serve", "-h"], "--allow-remote"),
    ],
)
async def test_help(args: list[str], words: str) -> None:
    done = await run_cli(*args)
    assert done.code == 0
    assert words in done.out
    assert max(map(len, done.out.splitlines())) <= 80


@pytest.mark.parametrize(
    "args", [["nonsense"], ["serve", "--port", "x"], ["demo", "--streams", "0"], ["ask", "--max-tokens", "0", "hi"]]
)
async def test_usage_errors(args: list[str]) -> None:
    done = await run_cli(*args)
    assert (done.code, done.out) == (2, "")
    assert "Error:" in done.err


@pytest.mark.parametrize("missing", ["click", "rich"])
async def test_without_the_extra(missing: str) -> None:
    """One line that says what to install, and no traceback."""
    code = f"import sys; sys.modules[{missing!r}] = None; from trio_stream.cli import main; main()"
    with trio.fail_after(SECONDS):
        done = await trio.run_process(
            [PYTHON, "-W", "error", "-c", code, "demo"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    assert done.returncode == 2
    assert done.stdout == b""
    assert done.stderr == b"trio-stream needs its extra: pip install 'trio-stream[cli]'\n"
