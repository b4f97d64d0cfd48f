"""The memory of a fan-out does not grow with its items. At full size: ``python -m tests.bench.fan_out_memory``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", [[], ["--async"]], ids=["iterable", "async iterable"])
def test_memory_is_bounded(kind):
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.fan_out_memory", "--items", "10000", *kind],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    # Ten thousand prompts alone are 10 MB; their outcomes as many again.
    assert float(done.stdout.split()[0]) < 8, done.stdout
