"""The documentation: every block of Python in it works, and it names every public name.

The kinds of ``python`` blocks, told apart by what is in them:

* with ``trio.run(``, the ``run(`` of anyio or asyncio, or ``blocking.Client(``: a program. It runs in a process of its own, warnings as errors, against a scripted API on a port.
* with ``def test_``: tests. They run under pytest, as a user would run them.
* anything else: a snippet. It runs here, with `client`, `request` and what else `snippet_names` gives.
* after a comment ``not run``: it has to compile.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import inspect
import logging
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import trio

import trio_stream as ts
import trio_stream.blocking
import trio_stream.ray
import trio_stream.testing
import trio_stream.transport
import trio_stream.types
import trio_stream.web
from docs.value_lists import expand
from tests.forked import FORKS
from tests.processes import PYTHON, ROOT, environment
from trio_stream.testing import ScriptedAPI, Step, disconnect, fail, http_error, say, scripted_model, stall

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

FENCE = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block of Python, with its place for error messages and test names."""

    page: Path
    line: int
    source: str
    not_run: bool

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks() -> Iterator[Block]:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in FENCE.finditer(text):
            before = text[: match.start()]
            above = before.rstrip().rpartition("\n")[2]
            yield Block(page, before.count("\n") + 2, match[1], above.startswith("<!-- not run"))


BLOCKS = list(blocks())
RUN = [block for block in BLOCKS if not block.not_run]
RUNNERS = ("trio.run(", "anyio.run(", "asyncio.run(", "blocking.Client(")
PROGRAMS = [block for block in RUN if any(runner in block.source for runner in RUNNERS)]
TESTS = [block for block in RUN if "def test_" in block.source]
SNIPPETS = [block for block in RUN if block not in PROGRAMS and block not in TESTS]


def compiled(block: Block) -> Any:
    """The code of a block, which may await where a module cannot; its line numbers are those of the page."""
    padded = "\n" * (block.line - 1) + block.source
    return compile(padded, str(block.page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.not_run], ids=str)
def test_other_blocks_compile(block: Block) -> None:
    compiled(block)


@pytest.mark.parametrize("block", PROGRAMS, ids=str)
async def test_programs(block: Block, tmp_path: Path) -> None:
    """They end well, with no warning, and print something."""
    program = tmp_path / "program.py"
    program.write_text(block.source, encoding="utf-8")
    api = ScriptedAPI(default=scripted_model(ttft=0.0, tps=None))
    async with api.serve() as server:
        with trio.fail_after(30):
            own = {"ANTHROPIC_BASE_URL": server.base_url, "ANTHROPIC_API_KEY": "test", "NO_PROXY": "127.0.0.1"}
            run = run_fresh if "before the imports" in block.source else FORKS.run
            done = await run([str(program)], env=environment(**own), cwd=tmp_path)
        assert (done.returncode, done.stderr.decode()) == (0, "")
        assert done.stdout
    assert api.requests
    assert all(request.status == 200 for request in api.requests)


async def run_fresh(args: list[str], *, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[bytes]:
    """As `FORKS.run`, in an interpreter that has imported nothing."""
    command = [PYTHON, "-W", "error", *args]
    return await trio.run_process(command, env=env, cwd=cwd, capture_stdout=True, capture_stderr=True, check=False)


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
async def test_snippets(block: Block, autojump_clock: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """They run, and every request they make is one the API takes."""
    api = ScriptedAPI(default=scripted_model(ttft=0.2, tps=100))
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    await run_snippet(block, api)
    assert all(request.status == 200 for request in api.requests)
    assert api.open_streams == 0


FAILURES = {
    "rate limit": [http_error(429, retry_after=100)],
    "bad request": [http_error(400)],
    "overload": [say("Once upon ", fail("overloaded_error"))],
    "cut": [say("Once upon ", disconnect())],
    "silence": [say("Once upon ", stall())],
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=list(FAILURES))
@pytest.mark.parametrize("block", [block for block in SNIPPETS if "except ts." in block.source], ids=str)
async def test_snippets_about_errors(
    block: Block, failure: list[Step], autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They do with an error what they say: nothing of it is left over but what they do not catch."""
    api = ScriptedAPI(default=failure)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    try:
        await run_snippet(block, api)
    except ts.APIError:
        assert "except ts.APIError" not in block.source
    assert api.requests
    assert api.open_streams == 0


async def run_snippet(block: Block, api: ScriptedAPI) -> None:
    names = snippet_names(api)
    code = compiled(block)
    with as_module(names):
        if code.co_flags & inspect.CO_COROUTINE:
            with trio.fail_after(3600):  # of the mock clock
                await eval(code, names)
        else:
            exec(code, names)


@contextlib.contextmanager
def as_module(names: dict[str, Any]) -> Iterator[None]:
    """Have those find the names of a snippet who look for them by the name of its module, as some frameworks do.

    Some set up logging, too, when an application is made: afterwards it is as before.
    """
    root = logging.getLogger()
    level, handlers = root.level, [*root.handlers]
    module = ModuleType(names["__name__"])
    module.__dict__.update(names)
    sys.modules[module.__name__] = module
    try:
        yield
    finally:
        del sys.modules[module.__name__]
        root.setLevel(level)
        root.handlers[:] = handlers


def snippet_names(api: ScriptedAPI) -> dict[str, Any]:
    """What a snippet may use without saying where it comes from."""

    def client(**options: Any) -> ts.Client:
        """Ask the scripted API, unless the snippet says whom to ask."""
        if options.keys().isdisjoint({"transport", "http_client"}):
            options["transport"] = api
            options.pop("ssl_context", None)  # for sockets, which there are none of
        return ts.Client(**options)

    library = ModuleType("trio_stream")
    library.__dict__.update(vars(ts), Client=client)
    request = {
        "model": "claude-sonnet-5-5",
        "max_tokens": 512,
        "messages": [{"role": "user", "content": "What is a nursery?"}],
    }

    @ts.tool
    async def population(city: str) -> int:
        """The number of people who live in a city."""
        return {"Lisbon": 545_796, "Porto": 231_800}.get(city, 0)

    chat = ts.Conversation(client(), model="claude-sonnet-5-5", max_tokens=1024, tools=[population])
    return {
        "__name__": "snippet",
        "trio": trio,
        "ts": library,
        "client": client(),
        "request": request,
        "population": population,
        "chat": chat,
    }


def test_tests(tmp_path: Path) -> None:
    """The tests of docs/testing.md pass as they stand, and those which say what a mock clock does take no time."""
    for number, block in enumerate(TESTS):
        (tmp_path / f"test_block_{number}.py").write_text(block.source, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = sum(block.source.count("def test_") for block in TESTS)
    assert f"{expected} passed" in done.stdout


# The reference and the lists.


def public_names(module: ModuleType) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and name != "annotations" and not inspect.ismodule(value)
    ]


@functools.cache
def documented() -> dict[str, int]:
    """The objects that the reference describes, and how often."""
    found: dict[str, int] = {}
    for page in ("api.md", "api-types.md", "api-params.md"):
        module = "trio_stream"
        text = expand((ROOT / "docs" / page).read_text())
        for kind, argument in re.findall(r"^\.\. ([a-z:]+):: (\S+)$", text, re.MULTILINE):
            if kind in ("py:module", "py:currentmodule"):
                module = argument
                continue
            name = argument if argument.startswith("trio_stream.") else f"{module}.{argument}"
            found[name] = found.get(name, 0) + 1
    return found


@pytest.mark.parametrize("name", public_names(ts))
def test_every_public_name_is_in_the_reference(name: str) -> None:
    assert documented().get(f"trio_stream.{name}") == 1


@pytest.mark.parametrize("name", public_names(trio_stream.testing))
def test_every_name_of_the_test_kit_is_in_the_reference(name: str) -> None:
    assert documented().get(f"trio_stream.testing.{name}") == 1


@pytest.mark.parametrize("name", public_names(trio_stream.blocking))
def test_every_name_for_blocking_programs_is_in_the_reference(name: str) -> None:
    assert documented().get(f"trio_stream.blocking.{name}") == 1


@pytest.mark.parametrize("name", public_names(trio_stream.ray))
def test_every_name_of_the_ray_adapter_is_in_the_reference(name: str) -> None:
    assert documented().get(f"trio_stream.ray.{name}") == 1


@pytest.mark.parametrize("name", public_names(trio_stream.web))
def test_every_name_for_web_pages_is_in_the_reference(name: str) -> None:
    assert documented().get(f"trio_stream.web.{name}") == 1


@pytest.mark.parametrize("name", public_names(ts.mcp))
def test_every_name_for_mcp_is_in_the_reference(name: str) -> None:
    assert documented().get(f"trio_stream.agent.mcp.{name}") == 1


@pytest.mark.parametrize("name", public_names(trio_stream.transport))
def test_every_name_for_transports_is_in_the_reference(name: str) -> None:
    found = documented()
    assert found.get(f"trio_stream.{name}", 0) + found.get(f"trio_stream.transport.{name}", 0) == 1


@pytest.mark.parametrize("name", public_names(trio_stream.types))
def test_every_value_is_in_the_reference(name: str) -> None:
    found = documented()
    assert found.get(f"trio_stream.{name}", 0) + found.get(f"trio_stream.types.{name}", 0) == 1


def test_every_error_is_in_the_tree() -> None:
    page = (ROOT / "docs" / "errors.md").read_text()
    tree = re.findall(r"^[│├└─ ]*(\w+)", page.partition("```text\n")[2].partition("```")[0], re.MULTILINE)
    errors = [n for n, v in vars(ts).items() if inspect.isclass(v) and issubclass(v, ts.APIError)]
    assert sorted(tree) == sorted(errors)


@pytest.mark.parametrize("clock", ts.Timeouts.__struct_fields__)
def test_the_clocks_are_described_with_their_defaults(clock: str) -> None:
    page = (ROOT / "docs" / "cancellation.md").read_text()
    row = re.search(rf"^\| `{clock}` \| (\S+) \|.*`(\w+)` \|$", page, re.MULTILINE)
    assert row is not None
    default = getattr(ts.Timeouts(), clock)
    assert row[1] == ("off" if default is None else f"{default:g}")
    assert getattr(ts, row[2]).clock == clock


@pytest.mark.parametrize("limit", ts.Limits.__struct_fields__)
def test_the_limits_are_described_with_their_defaults(limit: str) -> None:
    page = (ROOT / "docs" / "transports.md").read_text()
    row = re.search(rf"^\| `{limit}` \| ([\d,]+) ?(KiB|MiB)? \|", page, re.MULTILINE)
    assert row is not None
    unit = {None: 1, "KiB": 1024, "MiB": 1024**2}[row[2]]
    assert int(row[1].replace(",", "")) * unit == getattr(ts.Limits(), limit)


def test_every_example_is_listed() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    listed = re.findall(r"^\| `(\w+\.py)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in (ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_links_lead_somewhere(page: Path) -> None:
    """To files of the repository; Sphinx checks those between its pages, and this those of the README."""
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_readme_begins_with_what_it_is_and_the_two_commands() -> None:
    first_screen = "\n".join((ROOT / "README.md").read_text(encoding="utf-8").splitlines()[:40])
    assert "```python" in first_screen
    commands = [line.split()[1:3] for block in CONSOLE.findall(first_screen) for line in block.splitlines()]
    assert ["make", "demo"] in commands
    assert ["make", "test"] in commands


def test_make_targets_exist() -> None:
    """Every ``make ...`` that is written anywhere is one."""
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert set(re.findall(r"^\$ make ([\w-]+)", text, re.MULTILINE)) <= targets
        assert set(re.findall(r"`make ([\w-]+)`", text)) <= targets


def test_the_options_of_the_command_line_are_described() -> None:
    commands = pytest.importorskip("trio_stream.cli._commands").commands
    page = (ROOT / "docs" / "cli.md").read_text()
    for name, command in commands.commands.items():
        section = page.partition(f"\n## {name}\n")[2].partition("\n## ")[0]
        described = set(re.findall(r"--[a-z][a-z-]*", "".join(re.findall(r"^\|.*?\|", section, re.MULTILINE))))
        assert described == {option for p in command.params for option in p.opts if option.startswith("--")}, name


def test_nothing_is_indented_into_a_surprise() -> None:
    """Blocks are fenced at the margin, so that the expression above finds all of them."""
    for page in PAGES:
        for line in page.read_text(encoding="utf-8").splitlines():
            assert textwrap.dedent(line) == line or "```" not in line, f"{page.name}: {line}"
