"""What a run leaves behind: file descriptors, warnings, exceptions that could not be raised.

What belongs here: watching for them and describing them. What does not: the runs (`_cancel_everywhere`).
"""

from __future__ import annotations

import gc
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, final

import trio

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_DIRECTORIES = (Path("/proc/self/fd"), Path("/dev/fd"))

MOST_IMMORTAL: Final = 2_000
"""Fewer frozen objects than these were frozen by nobody: a collection of Python 3.12 takes immortal ones for such. A
program that freezes its heap has many thousands."""

_QUICK_ROUNDS = 20
_SLOW_ROUNDS = 200
_NAP = 0.001


@final
class Leftovers:
    """A block in which warnings and unraisable exceptions are collected, and file descriptors compared.

    Warnings that are no leftovers are passed on when the block is left, under the filters that are in force then.
    """

    def __init__(self) -> None:
        self._catching = warnings.catch_warnings(record=True)
        self._warnings: list[warnings.WarningMessage] = []
        self._others: dict[tuple[type[Warning], str, str, int], warnings.WarningMessage] = {}
        self._unraisable: list[tuple[str, BaseException | None]] = []
        self._hook: Callable[[UnraisableHookArgs], object] = sys.__unraisablehook__
        self._frozen = False
        self._descriptors: dict[str, str] | None = None

    def __enter__(self) -> Leftovers:
        gc.collect()
        log = self._catching.__enter__()
        assert log is not None  # record=True
        self._warnings = log
        warnings.simplefilter("always")
        self._hook, sys.unraisablehook = sys.unraisablehook, self._note
        # What lives now is not looked at again: a collection after each of thousands of runs then costs
        # little.
        self._frozen = gc.get_freeze_count() < MOST_IMMORTAL
        if self._frozen:
            gc.freeze()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._frozen:
            gc.unfreeze()
        sys.unraisablehook = self._hook
        self._sort()
        self._catching.__exit__(exc_type, exc, traceback)
        for other in self._others.values():
            warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)

    async def begin(self) -> None:
        """Note the file descriptors that are open now. Those found later beyond them are leftovers."""
        known = open_descriptors()
        for _ in range(_QUICK_ROUNDS):
            await trio.lowlevel.checkpoint()
            known = open_descriptors()
        self._descriptors = known

    async def find(self) -> tuple[list[str], BaseException | None]:
        """Find what has been left behind since the last call.

        Returns:
          One sentence for each leftover, and an exception that explains one of them, or None.
        """
        gc.collect()
        # Trio finishes abandoned async generators in its own loop, shortly after they were collected.
        await trio.lowlevel.checkpoint()
        await trio.lowlevel.checkpoint()
        gc.collect()
        found = await self._leaked()
        found.extend(self._sort())
        cause: BaseException | None = None
        for text, error in self._unraisable:
            found.append(text)
            cause = cause or error
        self._unraisable.clear()
        return found, cause

    async def _leaked(self) -> list[str]:
        known = self._descriptors
        if known is None:
            return []
        now: dict[str, str] = {}
        for number in range(_QUICK_ROUNDS + _SLOW_ROUNDS):
            now = open_descriptors() or {}
            if len(now) <= len(known):
                return []
            # A peer in this program may need a few turns to close its end, and the kernel a moment.
            await trio.lowlevel.checkpoint()
            if number >= _QUICK_ROUNDS:
                _nap()
        new = [f"file descriptor {name} ({target})" for name, target in now.items() if known.get(name) != target]
        return new[len(known) - len(now) :]

    def _sort(self) -> list[str]:
        """Sort the warnings into leftovers, which are returned, and others, which are kept for `__exit__`."""
        found: list[str] = []
        for warning in self._warnings:
            text = str(warning.message)
            if issubclass(warning.category, ResourceWarning) or "was never awaited" in text:
                found.append(f"{warning.category.__name__}: {text}")
            else:
                key = (warning.category, text, warning.filename, warning.lineno)
                self._others[key] = warning
        self._warnings.clear()
        return found

    def _note(self, args: UnraisableHookArgs) -> None:
        # The object itself is not kept: it may be on its way out.
        what = args.err_msg or "Exception ignored in"
        text = f"{what} {args.object!r}: {args.exc_type.__name__}: {args.exc_value}"
        self._unraisable.append((text, args.exc_value))


def open_descriptors() -> dict[str, str] | None:
    """The open file descriptors of this process, each with its target, or None if the system does not tell."""
    for directory in _DIRECTORIES:
        try:
            entries = list(directory.iterdir())
        except OSError:
            continue
        found: dict[str, str] = {}
        for entry in entries:
            try:
                found[entry.name] = str(entry.readlink())
            except FileNotFoundError:
                continue  # the one that listing opened
            except OSError:
                found[entry.name] = "of a kind not told"
        return found
    return None


def _nap() -> None:
    # Real time, a thousandth of a second: under a mock clock a sleep of Trio's might never end.
    time.sleep(_NAP)
