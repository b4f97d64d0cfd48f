"""What the report leaves open, measured beside it: ``python -m tests.bench.asides``.

What belongs here: loads of the report, read by clients that are not among its contenders. What does not: the report
(``python -m tests.bench``).
"""

from __future__ import annotations

import argparse
import sys

from tests.bench.running import ROOT, Results, Runner, certificates, run_in_turn
from tests.bench.scenarios import SCENARIOS

ASIDES = {
    # How much of the cost over TLS is Python's and OpenSSL's own?
    "paced-tls": {
        "floor_openssl": "a loop over ssl.SSLSocket",
        "ours": "trio_stream",
        "floor": "a loop over trio.SSLStream",
        "sdk": "official SDK",
    },
    # What do the idle connections that the SDK keeps without a limit of connections cost it?
    "wide": {
        "ours": "trio_stream",
        "sdk_few_idle": "official SDK, at most 100 idle",
        "sdk": "official SDK",
    },
}


def main() -> None:
    """Run them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.asides")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--sdk-python", default=str(ROOT / ".venv-sdk/bin/python"), help="where the official SDK is")
    options = parser.parse_args()
    results = Results()
    with certificates() as folder:
        runner = Runner(python=sys.executable, sdk_python=options.sdk_python, certificates=folder)
        for scenario in SCENARIOS:
            contenders = ASIDES.get(scenario.name, {})
            run_in_turn(runner, results, [scenario], rounds=options.rounds, contenders=contenders)
    for scenario_name, contenders in ASIDES.items():
        print(f"{scenario_name}, us of CPU an event:")
        for contender, name in contenders.items():
            cpu = results.median(scenario_name, contender, "cpu_us_per_event")
            beside_ours = results.ratio(scenario_name, contender, "ours")
            print(f"  {name:32} {cpu:6.1f}  {beside_ours:5.2f} x ours")


if __name__ == "__main__":
    main()
