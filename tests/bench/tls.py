"""How much of the cost over TLS is Python's and OpenSSL's own: ``python -m tests.bench.tls``.

What belongs here: the paced load over TLS, read by this library, by the official SDK, and by two loops that only count
the ends of events: one over `trio.SSLStream`, one over `ssl.SSLSocket`. What does not: the report (``python -m
tests.bench``).
"""

from __future__ import annotations

import argparse
import sys

from tests.bench.running import ROOT, Results, Runner, certificates, run_in_turn
from tests.bench.scenarios import SCENARIOS

CONTENDERS = {
    "floor_openssl": "a loop over ssl.SSLSocket",
    "ours": "trio_stream",
    "floor": "a loop over trio.SSLStream",
    "sdk": "official SDK",
}


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.tls")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sdk-python", default=str(ROOT / ".venv-sdk/bin/python"), help="where the official SDK is")
    options = parser.parse_args()
    load = next(scenario for scenario in SCENARIOS if scenario.name == "paced-tls")
    results = Results()
    with certificates() as folder:
        runner = Runner(python=sys.executable, sdk_python=options.sdk_python, certificates=folder)
        run_in_turn(runner, results, [load], rounds=options.rounds, contenders=CONTENDERS)
    for contender, name in CONTENDERS.items():
        cpu = results.median(load.name, contender, "cpu_us_per_event")
        ratio = results.ratio(load.name, "sdk", contender)
        print(f"{name:28} {cpu:6.1f} us of CPU an event; SDK ÷ it {ratio:5.2f}")


if __name__ == "__main__":
    main()
