"""What the fault matrix shares: no proxies, one certificate authority, and nothing left behind."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="package", autouse=True)
def frozen() -> Iterator[None]:
    """What is there before the tests is not looked at again: the matrix collects after every row."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """After each test: as many file descriptors as before, and nothing for the garbage collector to warn about."""
    gc.collect()
    before = open_descriptors()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert open_descriptors() == before


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
