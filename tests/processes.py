"""How the tests start other programs: in the same environment, whatever the tests themselves were started in.

What belongs here: what every process inherits, signals and environment variables. What does not: programs and what is
expected of them.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

PYTHON_VARIABLE = "TRIO_STREAM_PYTHON"
PYTHON = os.environ.get(PYTHON_VARIABLE, sys.executable)
"""What runs the programs that users run: this Python, or that of an environment in which a wheel is installed."""

_CHANGES_OUTCOMES = (
    *("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"),
    *("PYTHONUNBUFFERED", "PYTHONWARNINGS", "PYTHONDONTWRITEBYTECODE"),
)
"""Variables that the library, httpx, click, rich or Python look at, beside all of ``ANTHROPIC_*`` and the proxies'."""

_MEASURES = "COVERAGE_PROCESS_CONFIG"
"""Makes coverage measure a process from its start, while it measures this one."""

_measures: dict[str, str] = {}


def settle() -> None:
    """Make this process, and so all that it starts, independent of how it was started.

    A shell without job control starts what it puts into the background with SIGINT ignored, ``nohup`` does so with
    SIGHUP, and a signal that is ignored or blocked stays so in every process from there on. A handler, in contrast, is
    replaced by the default when a process executes another program. So what is set here holds for all of them.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM})
    for name in list(os.environ):
        if name.startswith("ANTHROPIC_") or name.lower().endswith("_proxy") or name in _CHANGES_OUTCOMES:
            del os.environ[name]
    os.environ["TERM"] = "xterm-256color"


def measure_only_what_asks_for_it() -> None:
    """From now on `environment` alone says whether coverage measures a program.

    Programs that count sockets, seconds and instructions would count what measures them, too.
    """
    if _MEASURES in os.environ:
        _measures[_MEASURES] = os.environ.pop(_MEASURES)


def environment(*, measured: bool = False, **more: str) -> dict[str, str]:
    """The environment of a program that has this library on its path, or its wheel installed.

    Args:
      measured: Whether the lines that it runs count for the coverage, if that is measured at all.
      **more: Its own variables.
    """
    own = {"PYTHONIOENCODING": "utf-8"}
    if sys.executable == PYTHON:
        own["PYTHONPATH"] = str(ROOT)
        own |= _measures if measured else {}
    return {**os.environ, **own, **more}
