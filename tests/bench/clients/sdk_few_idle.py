"""The official SDK with its own limit of idle connections.

What belongs here: that limit. What does not: the client (`sdk`).
"""

from __future__ import annotations

import trio

from tests.bench.clients.sdk import main

IDLE_CONNECTIONS = 100  # anthropic 2.14.0: DEFAULT_CONNECTION_LIMITS

if __name__ == "__main__":
    trio.run(main, IDLE_CONNECTIONS)
