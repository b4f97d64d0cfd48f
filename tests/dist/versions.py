"""The tests on every Python that is supported (`make matrix`); says at the end which ran, and which are not to be had.

What belongs here: finding interpreters, an environment for each, and the summary. What does not: what differs between
versions (the tests that know of it).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.processes import ROOT


def main(arguments: list[str]) -> int:
    only = [argument for argument in arguments if re.fullmatch(r"3\.\d+", argument)]
    options = [argument for argument in arguments if argument not in only]
    results: list[str] = []
    failed = ran = 0
    for version in only or supported():
        python = interpreter(version)
        if python is None:
            results.append(f"{version:5} skipped: neither on this machine nor to be had from uv")
            continue
        print(f"\n== Python {version}: {python}", flush=True)
        passed, last = test(environment(version, python), options)
        ran += 1
        failed += not passed
        results.append(f"{version:5} {exact(python)}: {last}")
    print("\n" + "\n".join(results))
    return 1 if failed or not ran else 0


def supported() -> list[str]:
    """The versions that the package says it supports."""
    classifiers = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["classifiers"]
    found = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in classifiers]
    return [match[1] for match in found if match]


def interpreter(version: str) -> str | None:
    """A Python of this version, found or fetched; None if there is none."""
    for candidate in candidates(version):
        if exact(candidate).startswith(f"{version}."):
            return candidate
    uv = str(Path(sys.executable).with_name("uv"))
    subprocess.run([uv, "python", "install", "--no-bin", version], check=False)
    found = subprocess.run([uv, "python", "find", version], check=False, capture_output=True, text=True)
    return found.stdout.strip() or None


def candidates(version: str) -> Iterator[str]:
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    for folder in sorted(pyenv.glob(f"versions/{version}.*"), reverse=True):
        yield str(folder / "bin" / "python3")


def exact(python: str) -> str:
    """The version that an interpreter says it is; empty if it does not run, as the shim of a version not chosen."""
    try:
        done = subprocess.run(
            [python, "-c", "import platform; print(platform.python_version())"],
            check=False,
            capture_output=True,
            text=True,
        )
    except OSError:
        return ""
    return done.stdout.strip()


def environment(version: str, python: str) -> str:
    """An environment with this checkout and what its tests need; its Python."""
    folder = ROOT / f".venv-{version}"
    own = str(folder / "bin" / "python")
    if exact(own) != exact(python):
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [own, "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    subprocess.run([*pip, "--upgrade", "pip>=25.1"], check=True)
    subprocess.run([*pip, "--editable", f"{ROOT}[cli]", "--group", "test"], cwd=ROOT, check=True)
    return own


def test(python: str, options: list[str]) -> tuple[bool, str]:
    """Run the tests; whether they passed, and pytest's last line."""
    command = [python, "-m", "pytest", "-q", "--numprocesses=auto", "--dist=worksteal", *options]
    last = ""
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            last = line.strip("= \n") or last
    return process.returncode == 0, last


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
