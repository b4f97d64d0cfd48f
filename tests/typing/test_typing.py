"""What type checkers say: nothing of ordinary use, and something of mistakes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import trio_stream as ts
from tests.typing import ordinary_agents, ordinary_blocking, ordinary_use

ROOT = Path(__file__).parents[2]
ORDINARY = [Path(module.__file__) for module in (ordinary_use, ordinary_agents, ordinary_blocking)]

MISTAKES = """\
import trio_stream as ts, trio_stream.blocking


async def mistakes(client: ts.Client, message: ts.Message, item: ts.Item[int]) -> None:
    ts.fan_out(client, ["a"], model=5)
    ts.fan_out(client, ["a"], modell="m")
    ts.fan_out(client, ["a"], max_retries=3)
    await ts.gather_texts(client, ["a"], on_error="raise")
    await ts.gather_outcomes(client, ["a"], limit="many")
    await ts.race(client, ["a"], max_token=5)
    await ts.hedge(client, "a", after=1, temperature="hot")
    (await ts.hedge(client, item, after=1)).tag.upper()
    message.to_param()["rule"]
    client.messages.stream(model="m", max_tokens=1, messages=[]).text_stream
    (await client.messages.parse(output=int, model="m", max_tokens=1, messages=[])).upper()
    (await ts.gather_outcomes(client, ["a"], output=int))[0].value.upper()
    (await ts.Conversation(client).ask("a", output=int)).upper()
    (await ts.Conversation(client).ask("a")).pages
    ts.Conversation(client).run("a", approve=True)
    ts.Conversation(client).run("a", approve=lambda call: True)
    ts.Conversation(client, tools=[print])
    ts.tool(timeout="long")
    ts.Client(auth="basic")
    ts.Client(api_key=5)
    ts.blocking.Client(api_key=5)
    ts.blocking.Client(client).with_options(max_retries="many")
"""
CALLS = range(5, len(MISTAKES.splitlines()) + 1)


def need(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not there")


class Complaint(NamedTuple):
    """What pyright has to say of a line."""

    file: str
    line: int
    message: str


@pytest.fixture(scope="module")
def complaints(tmp_path_factory: pytest.TempPathFactory) -> list[Complaint]:
    """About ordinary use and about the mistakes, each in a file, with the settings of a user's program, strict."""
    need("pyright")
    folder = tmp_path_factory.mktemp("programs")
    for program in ORDINARY:
        (folder / program.name).write_text(program.read_text())
    (folder / "mistakes.py").write_text(MISTAKES)
    settings = {"typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": [str(ROOT)]}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "--project", folder]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] > len(ORDINARY)
    return [
        Complaint(Path(found["file"]).name, found["range"]["start"]["line"] + 1, found["message"])
        for found in report["generalDiagnostics"]
    ]


@pytest.mark.timeout(300)
def test_pyright_has_nothing_to_say_of_ordinary_use(complaints):
    assert [found for found in complaints if found.file != "mistakes.py"] == []
    for program in ORDINARY:
        assert "cast" not in program.read_text()
        assert "ignore" not in program.read_text()


@pytest.mark.timeout(300)
def test_pyright_finds_mistakes(complaints):
    """The types say something: without this they might all be `Any`."""
    assert {found.line for found in complaints if found.file == "mistakes.py"} >= set(CALLS)


@pytest.mark.timeout(300)
def test_mypy_has_nothing_to_say_of_ordinary_use():
    need("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", *map(str, ORDINARY)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Success" in done.stdout, done.stdout + done.stderr


def test_generic_values_are_plain_at_run_time():
    item = ts.Item[int]("a", tag=1)
    assert item == ts.Item("a", tag=1)
    assert ts.Item("a").tag is None
    assert ts.Outcome[int](status="ok", tag=5) == ts.Outcome(status="ok", tag=5)
