"""What all tests share: the same process to run in however it was started, one authority, and cheap collections.

What belongs here: what has to hold before any test module is imported, and the fixtures of more than one room. What
does not: what one room needs (its own `conftest`), and what is built for a test (`tests.wire`).
"""

from __future__ import annotations

import gc
import os
import ssl
import warnings
from collections.abc import Iterator
from inspect import iscoroutinefunction
from pathlib import Path

import pytest
import trustme
from hypothesis import HealthCheck, settings

from tests.forked import FORKS
from tests.own_time import run
from tests.processes import measure_only_what_asks_for_it, settle
from tests.wire.tls import good_certificate, trusting

pytest.register_assert_rewrite(
    "tests.faults.rows", "tests.soak.churn", "tests.soak.every_step", "tests.soak.interrupts"
)

settle()

# Every run tries the same examples, so that whether it passes, and what it covers, is no matter of luck, and none is
# late on a busy machine. `make soak` tries others each time, and more of them.
_UNTIMED = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("every run", derandomize=True, database=None, **_UNTIMED)
settings.register_profile("soak", max_examples=1000, **_UNTIMED)
settings.load_profile("soak" if os.environ.get("TRIO_STREAM_SOAK") == "1" else "every run")


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: a quarter of the time tests wait, for a socket, a clock or another program."""
    return 2 * (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


_OF_ONE_PROCESS = ("agent", "client", "faults", "http", "integration", "soak", "stream", "testing", "web")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Asynchronous tests run by their own time, but for those of which another process is a part."""
    for item in items:
        of_one_process = item.path.parent.name in _OF_ONE_PROCESS
        if of_one_process and isinstance(item, pytest.Function) and iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.trio(run=run))


@pytest.fixture(autouse=True)
def programs_are_measured_if_they_ask_for_it() -> None:
    """Before every test: coverage says so anew whenever it begins, which is after each test that is not traced."""
    measure_only_what_asks_for_it()


@pytest.fixture(scope="session", autouse=True)
def forks_end() -> Iterator[None]:
    """After all tests: what they had programs forked from."""
    yield
    FORKS.stop()


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
    """How many are open, but for the one to the process that forks, which stays from the first program on."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) - FORKS.descriptors
