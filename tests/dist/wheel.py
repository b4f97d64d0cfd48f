"""The wheel and the sdist, built, looked into, installed in an empty environment, and used there (`make dist-test`).

What belongs here: building, what must be in the files, and which tests run against what was installed. What does not:
the tests themselves. They start their programs with the Python that ``TRIO_STREAM_PYTHON`` names, without this
checkout on its path (`tests.processes`).
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tests.processes import PYTHON_VARIABLE, ROOT

PACKAGE = ROOT / "trio_stream"

USED = (
    "tests/examples",
    "tests/cli/test_demo.py",
    "tests/cli/test_main.py",
    "tests/cli/test_serve.py",
    "tests/cli/test_web.py",
)
"""The tests that start programs as their readers do: every example, the demo, and the command, with its page."""

_WHERE = "import trio_stream, trio_stream.cli, trio_stream.testing, trio_stream.types; print(trio_stream.__file__)"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="trio-stream-") as folder:
        place = Path(folder)
        # By default the wheel is built from the sdist, which so is shown to be whole.
        run(sys.executable, "-m", "build", "--outdir", str(place / "dist"), str(ROOT))
        (wheel,) = (place / "dist").glob("*.whl")
        (sdist,) = (place / "dist").glob("*.tar.gz")
        check_wheel(wheel)
        check_sdist(sdist)
        python = install(wheel, place / "venv")
        return use(python, place)


def check_wheel(path: Path) -> None:
    """Every module, the marker of types and the files of the page, and nothing else but what describes them."""
    with zipfile.ZipFile(path) as file:
        names = set(file.namelist())
    described = {name for name in names if name.split("/")[0].endswith(".dist-info")}
    for name in ("METADATA", "entry_points.txt", "licenses/LICENSE"):
        assert any(each.endswith(f".dist-info/{name}") for each in described), f"the wheel has no {name}"
    expect(names - described, sources())
    print(f"{path.name}: {len(names - described)} files, py.typed, no tests")


def check_sdist(path: Path) -> None:
    """The same, and what is needed to test it and to read about it."""
    with tarfile.open(path) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    wanted = {*sources(), "pyproject.toml", "README.md", "LICENSE", "Makefile", "tests/conftest.py", "docs/index.md"}
    assert wanted <= names, f"not in the sdist: {sorted(wanted - names)}"
    print(f"{path.name}: {len(names)} files")


def sources() -> set[str]:
    """The files of the package, by their names in an archive."""
    files = (path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".typed") or path.parent.name == "_page")
    found = {path.relative_to(ROOT).as_posix() for path in files}
    assert "trio_stream/py.typed" in found
    return found


def expect(found: Iterable[str], wanted: set[str]) -> None:
    missing, more = wanted - set(found), set(found) - wanted
    assert not missing, f"not in the wheel: {sorted(missing)}"
    assert not more, f"too much in the wheel: {sorted(more)}"


def install(wheel: Path, place: Path) -> str:
    """Make an environment with the wheel, its dependencies, those of the command and those of MCP, and nothing else.

    Returns:
      Its Python.
    """
    venv.create(place, with_pip=True)
    python = str(place / "bin" / "python")
    run(python, "-m", "pip", "--quiet", "--disable-pip-version-check", "install", f"trio-stream[cli,mcp,web] @ {wheel.as_uri()}")
    run(python, "-m", "pip", "--disable-pip-version-check", "check")
    # Neither the current folder nor any variable may help to find it.
    done = subprocess.run([python, "-I", "-W", "error", "-c", _WHERE], cwd=place, check=True, capture_output=True, text=True)
    assert Path(done.stdout.strip()).is_relative_to(place), done.stdout
    print(f"installed: {done.stdout.strip()}")
    return python


def use(python: str, place: Path) -> int:
    """Run the tests that start programs, with the programs of that environment; pytest's exit status."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "pytest", "-q", "--numprocesses=auto", f"--basetemp={place / 'tests'}", *USED]
    return subprocess.run(command, cwd=ROOT, check=False, env={**environment, PYTHON_VARIABLE: python}).returncode


def run(*command: str) -> None:
    print("$", *command, flush=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL if "build" in command else None)


if __name__ == "__main__":
    sys.exit(main())
