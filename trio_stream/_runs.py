"""In which run of Trio a call is made.

What belongs here: finding that out, and the sentences for a program that is in none, or in two at once. What does not:
what a run is needed for.
"""

from __future__ import annotations

import os
from typing import Final, final

import trio

_NO_TRIO: Final = (
    "trio_stream needs Trio: call it from an async function that `trio.run` runs, "
    "not under asyncio or another event loop. There, as in a notebook, the client of trio_stream.blocking works"
)
_TWO_RUNS: Final = "this {0} is in use in another run of Trio, in another thread: give each run a {0} of its own"


def current_run() -> trio.lowlevel.TrioToken:
    """The run of Trio that this call is in.

    Raises:
      RuntimeError: It is in none.
    """
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        pass  # Trio's sentence speaks of "async context", which asyncio has too
    raise RuntimeError(_NO_TRIO)


@final
class OneRun:
    """Keeps what belongs to one run of Trio at a time from being used in two.

    Args:
      owner: What it belongs to, as errors name it.
    """

    __slots__ = ("_owner", "_process", "_run")

    def __init__(self, owner: str = "client") -> None:
        self._owner = owner
        self._run: trio.lowlevel.TrioToken | None = None
        self._process = 0  # in which `_run` is

    def enter(self) -> bool:
        """Use it in the present run, also if it was used in an earlier one that is over.

        Returns:
          Whether this is another run than that of the last call.

        Raises:
          RuntimeError: It is used in another run that goes on, or this call is in none.
        """
        run = current_run()
        if run is self._run:
            return False
        # A run that was inherited by a fork goes on in the parent, and not here.
        if self._run is not None and self._process == os.getpid() and _goes_on(self._run):
            raise RuntimeError(_TWO_RUNS.format(self._owner))
        self._run, self._process = run, os.getpid()
        return True


def _goes_on(run: trio.lowlevel.TrioToken) -> bool:
    try:
        run.run_sync_soon(_nothing)
    except (trio.RunFinishedError, OSError):  # OSError: it crashed (`trio.TrioInternalError`), and nobody noted its end
        return False
    return True


def _nothing() -> None:
    """What a run is asked to do, to find out whether it still does anything."""
