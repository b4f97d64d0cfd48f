"""The blocking client beside the asynchronous one and the official blocking SDK: ``python -m tests.bench.blocking``.

What belongs here: the loads of blocking programs, and the table of docs/blocking.md. What does not: the clients
(`clients.blocking`, `clients.sdk_blocking`). The official SDK takes part where ``make sdk`` has installed it.
"""

from __future__ import annotations

import sys

from tests.bench.running import ROOT, Results, Runner, certificates
from tests.bench.scenarios import Scenario

LOADS = {
    "burst of 20,000": Scenario(name="blocking-burst", streams=1, deltas=20_000),
    "paced, 100/s": Scenario(name="blocking-paced", streams=1, deltas=300, every=0.01),
    "16 threads, 100/s each": Scenario(name="blocking-threads", streams=16, deltas=200, every=0.01),
}
CONTENDERS = {"trio_stream": "ours", "trio_stream.blocking": "blocking", "official, blocking": "sdk_blocking"}
ROUNDS = 3


def main() -> None:
    """Run all in turn, and print the medians."""
    sdk_python = ROOT / ".venv-sdk" / "bin" / "python"
    contenders = {
        name: client for name, client in CONTENDERS.items() if client != "sdk_blocking" or sdk_python.exists()
    }
    results = Results()
    with certificates() as files:
        runner = Runner(python=sys.executable, sdk_python=str(sdk_python), certificates=files)
        for _ in range(ROUNDS):
            for load in LOADS.values():
                for client in contenders.values():
                    results.add(load.name, client, runner.run(load, client))
    print("CPU microseconds per event, and how many times what `trio_stream.blocking` takes")
    print("".join(f"{title:>26}" for title in ("", *LOADS)))
    for name, client in contenders.items():
        cells = [
            f"{results.median(load.name, client, 'cpu_us_per_event') or 0:.1f}"
            f" ({results.ratio(load.name, client, 'blocking') or 0:.2f}x)"
            for load in LOADS.values()
        ]
        print("".join(f"{cell:>26}" for cell in (name, *cells)))


if __name__ == "__main__":
    main()
