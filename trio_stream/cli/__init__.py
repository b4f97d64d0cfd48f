"""The command line: ``trio-stream demo | ask | chat | web | serve | batch | merge``.

What belongs here: starting it, also where its extra is not installed. What does not: names and options of the commands
(`_commands`, `_batch_commands`), and what they do (a module each).
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path
from typing import NoReturn

_EXTRA = ("click", "rich")


def main() -> NoReturn:
    """Run the ``trio-stream`` command with the arguments of this process, and exit."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere:
        # An output that was closed by the shell (`>&-`) is None here; writing to it then goes nowhere.
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, nowhere)
        _run()


def _run() -> NoReturn:
    try:
        for module in _EXTRA:
            import_module(module)
        from trio_stream.cli._commands import commands  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        sys.stderr.write("trio-stream needs its extra: pip install 'trio-stream[cli]'\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    commands(prog_name="trio-stream")
    raise AssertionError("click exits")
