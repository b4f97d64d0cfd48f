"""What type checkers say: nothing of ordinary use, and something of mistakes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

import trio_stream as ts
from tests.typing import ordinary_use

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

MISTAKES = """\
import trio_stream as ts


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
    ts.Client(auth="basic")
    ts.Client(api_key=5)
"""
CALLS = range(5, len(MISTAKES.splitlines()) + 1)


def need(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not there")


def pyright(path: Path, project: Path) -> list[tuple[int, str]]:
    """The complaints, each with its line."""
    command = [
        sys.executable,
        "-m",
        "pyright",
        "--outputjson",
        "--pythonpath",
        sys.executable,
        "--project",
        str(project),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] >= 1
    return [
        (found["range"]["start"]["line"] + 1, found["message"])
        for found in report["generalDiagnostics"]
        if Path(found["file"]) == path
    ]


def project(directory: Path, path: Path) -> Path:
    """The settings of a user's program, strict."""
    settings = directory / "pyrightconfig.json"
    settings.write_text(
        json.dumps(
            {"include": [str(path)], "typeCheckingMode": "strict", "pythonVersion": "3.11", "extraPaths": [str(ROOT)]}
        )
    )
    return settings


@pytest.mark.timeout(300)
def test_pyright_has_nothing_to_say_of_ordinary_use(tmp_path):
    need("pyright")
    path = tmp_path / "ordinary_use.py"
    path.write_text(Path(ordinary_use.__file__).read_text())
    assert pyright(path, project(tmp_path, path)) == []
    assert "cast" not in path.read_text()
    assert "ignore" not in path.read_text()


@pytest.mark.timeout(300)
def test_mypy_has_nothing_to_say_of_ordinary_use():
    need("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(Path(ordinary_use.__file__))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Success" in done.stdout, done.stdout + done.stderr


@pytest.mark.timeout(300)
def test_pyright_finds_mistakes(tmp_path):
    """The types say something: without this they might all be `Any`."""
    need("pyright")
    path = tmp_path / "mistakes.py"
    path.write_text(MISTAKES)
    assert {line for line, _ in pyright(path, project(tmp_path, path))} >= set(CALLS)


def test_generic_values_are_plain_at_run_time():
    item = ts.Item[int]("a", tag=1)
    assert item == ts.Item("a", tag=1)
    assert ts.Item("a").tag is None
    assert ts.Outcome[int](status="ok", tag=5) == ts.Outcome(status="ok", tag=5)
