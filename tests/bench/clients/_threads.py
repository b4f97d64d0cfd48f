"""What the blocking clients of the benchmark share: a thread for each stream, and measuring the process.

What belongs here: CPU time around a load. What does not: any client.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable

from tests.bench.scenarios import Scenario


def measure(scenario: Scenario, read: Callable[[], int]) -> None:
    """Read all streams at once, each in a thread if there are several, and print what that took as one line of JSON.

    Args:
      scenario: The load.
      read: Reads one stream to its end, all events and the final message, and returns the number of wire events.
    """
    read()  # the server's short answer: what is imported or compiled at first use is by now
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(read())) for _ in range(scenario.streams)]
    cpu, wall = time.process_time(), time.perf_counter()
    if len(threads) == 1:
        counts.append(read())
    else:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    assert sum(counts) == scenario.events, (sum(counts), scenario.events)
    print(json.dumps({"cpu_us_per_event": cpu / scenario.events * 1e6, "wall_s": wall}))
