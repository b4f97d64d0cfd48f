"""One process at a time: locks on the files that a run writes.

What belongs here: taking a lock, wherever there are locks, and looking whether somebody has one. What does not: which
files are locked (`_journal`, and the output of the command line).
"""

from __future__ import annotations

import errno
import logging
import os
import sys
from pathlib import Path

if sys.platform != "win32":  # pragma: no branch
    import fcntl

_log = logging.getLogger("trio_stream")


def lock_file(descriptor: int, path: Path) -> bool:
    """Lock an open file, until its descriptor is closed or this process ends.

    Args:
      descriptor: The file.
      path: Its name, for the log.

    Returns:
      Whether nobody else has it. On systems that have no such locks this is taken to be so, with a warning in the log.
    """
    if sys.platform == "win32":  # pragma: no cover - there it has no such lock
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            return False
        # Some network file systems have no locks.
        _log.warning("%s cannot be locked (%s): make sure that only one process uses it", path, error.strerror)
    return True


def has_name(descriptor: int, path: Path) -> bool:
    """Whether an open file is still the one that has this name. It is not, if it was replaced since it was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def is_locked(path: Path) -> bool | None:
    """Whether a process has a lock on a file, without taking one: a run that begins now must not be refused for that.

    Returns:
      None where that cannot be known. Linux tells it in ``/proc/locks``, for the processes that can be seen from here.
    """
    try:
        status = path.stat()
        locks = Path("/proc/locks").read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    return any(wanted in line.split() and "FLOCK" in line for line in locks.splitlines())
