"""What the transport's tests share."""

from __future__ import annotations

import gc
import ssl
import warnings
from pathlib import Path

import pytest
import trustme


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session", autouse=True)
def quick_collections() -> None:
    """What is alive by now stays alive; looking at it again after every test would take most of the time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def nothing_left():
    """After the test: as many file descriptors as before, and nothing for the garbage collector to warn about."""
    gc.collect()
    before = open_files()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert open_files() == before
