"""What all tests share: the same process to run in however it was started, one authority, and cheap collections.

What belongs here: what has to hold before any test module is imported, and the fixtures of more than one room. What
does not: what one room needs (its own `conftest`), and what is built for a test (`tests.wire`).
"""

from __future__ import annotations

import gc
import os
import signal
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings

from tests.wire.tls import good_certificate, trusting

pytest.register_assert_rewrite(
    "tests.faults.rows", "tests.soak.churn", "tests.soak.every_step", "tests.soak.interrupts"
)

# How the tests were started is no concern of theirs.
#
# A shell without job control starts what it puts into the background with SIGINT ignored, `nohup` does so with SIGHUP,
# and both a signal that is ignored and one that is blocked stay so in every process from there on. A handler, in
# contrast, is replaced by the default when another program is executed. So what is set here holds for this process
# and for all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGTERM, signal.SIG_DFL)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM})

_CHANGES_OUTCOMES = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC")
"""Variables that the library, httpx, click or rich look at, beside all of ``ANTHROPIC_*`` and the proxies'."""

for _name in list(os.environ):
    if _name.startswith("ANTHROPIC_") or _name.lower().endswith("_proxy") or _name in _CHANGES_OUTCOMES:
        del os.environ[_name]
os.environ["TERM"] = "xterm-256color"

# Every run tries the same examples, so that whether it passes, and what it covers, is no matter of luck, and none is
# late on a busy machine. `make soak` tries others each time, and more of them.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("every run", derandomize=True, database=None, **_UNTIMED)
settings.register_profile("soak", max_examples=1000, **_UNTIMED)
settings.load_profile("soak" if os.environ.get("TRIO_STREAM_SOAK") == "1" else "every run")


@pytest.fixture(scope="module", autouse=True)
def frozen() -> None:
    """What lives by now is not looked at again: tests collect garbage thousands of times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    return good_certificate(authority)


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    return trusting(authority)


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """After the test: as many file descriptors as before, and nothing for the garbage collector to warn about."""
    gc.collect()
    before = open_descriptors()
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert open_descriptors() == before


def open_descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())
