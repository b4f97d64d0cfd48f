"""The client that the options of a command ask for.

What belongs here: making it, or saying why that is not possible. What does not: what a command does with it.
"""

from __future__ import annotations

from typing import Any

import trio_stream as ts
from trio_stream.cli._terminal import complain


def make_client(command: str, *, base_url: str | None, timeout: float | None) -> ts.Client | None:
    """Make the client of a command.

    Args:
      command: The name of the command, for the sentence if there is a mistake.
      base_url: The server, or None for what the environment says.
      timeout: Seconds, or None for the defaults.

    Returns:
      The client, or None once a mistake has been told.
    """
    options: dict[str, Any] = {} if timeout is None else {"timeout": timeout}
    try:
        return ts.Client(base_url=base_url, **options)
    except ts.CredentialsError as error:
        complain(command, _no_key(error))
    except ValueError as error:
        complain(command, str(error))
    return None


def _no_key(error: ts.CredentialsError) -> str:
    if error.message.startswith("no authentication"):
        return "no API key: export ANTHROPIC_API_KEY=sk-ant-... (`trio-stream demo` needs none)"
    return str(error)
