"""A Ray of this machine, and a scripted API for its actors; for the tests and the benchmark that need Ray.

What belongs here: starting and ending both. What does not: what is asked.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import trio

import trio_stream as ts
from trio_stream.testing import ScriptedAPI

SECONDS = 20
"""Nothing that is waited for takes so long."""


@contextlib.contextmanager
def serving(api: ScriptedAPI) -> Iterator[str]:
    """Serve it on a port, in a thread of its own; gives the address."""
    ready = threading.Event()
    found: dict[str, Any] = {}

    async def serve() -> None:
        with trio.CancelScope() as scope:
            async with api.serve() as server:
                found.update(url=server.base_url, scope=scope, token=trio.lowlevel.current_trio_token())
                ready.set()
                await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,), name="scripted API")
    thread.start()
    assert ready.wait(SECONDS)
    try:
        yield found["url"]
    finally:
        found["token"].run_sync_soon(lambda: found["scope"].cancel(reason="the test is over"))
        thread.join(SECONDS)


def client_of(url: str) -> Any:
    """What makes a client, in an actor; its key is in the environment there."""
    return functools.partial(ts.Client, base_url=url)


@contextlib.contextmanager
def local_ray() -> Iterator[None]:
    """Two processors, little memory, nothing to the network; none of its processes is left afterwards."""
    import ray
    import ray.data

    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DISABLE_IMPORT_WARNING": "1",
        "RAY_AUTH_MODE": "disabled",  # otherwise it writes a token into the home of whoever tests
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "ANTHROPIC_API_KEY": "test",
        "NO_PROXY": "127.0.0.1",
    }
    before = {name: os.environ.get(name) for name in (*environment, "ANTHROPIC_BASE_URL")}
    os.environ.pop("ANTHROPIC_BASE_URL", None)
    os.environ.update(environment)
    # Its name is in the command line of each process; sockets in it must have short names.
    folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")
    try:
        ray.init(
            num_cpus=2,
            object_store_memory=100 * 1024 * 1024,
            include_dashboard=False,
            logging_level="warning",
            log_to_driver=False,
            _temp_dir=folder,
        )
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        yield
    finally:
        ray.shutdown()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        left = processes_of(folder)
        deadline = time.monotonic() + SECONDS
        while left and time.monotonic() < deadline:
            time.sleep(0.1)
            left = processes_of(folder)
        shutil.rmtree(folder, ignore_errors=True)
        assert not left, f"Ray has left processes behind: {left}"


def processes_of(folder: str) -> list[str]:
    """The command lines of the processes that have this folder in them."""
    found: list[str] = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended meanwhile
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if folder in line:
                found.append(line)
    return found
