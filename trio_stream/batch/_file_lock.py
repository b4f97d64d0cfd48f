"""One process at a time: locks on the files that a run writes.

What belongs here: taking a lock, wherever there are locks. What does not: which files are locked (`_journal`, and the
output of the command line).
"""

from __future__ import annotations

import errno
import logging
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
