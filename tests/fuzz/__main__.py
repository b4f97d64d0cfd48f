"""Fuzz guided by coverage: ``python -m tests.fuzz [target ...] [--seconds N]``; all targets, a minute each by default.

What belongs here: running atheris (https://github.com/google/atheris), one process per target. What does not: what
must hold (`targets`), and the inputs to begin with (`seeds`).

What was reached is kept in ``.fuzz/<target>`` for the next run; an input that found a mistake is left in
``.fuzz/findings`` and, once it is understood, belongs into `test_findings`. Fails if there was one.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CORPUS = ROOT / ".fuzz"
FINDINGS = CORPUS / "findings"
TARGETS = ("event_stream", "decode", "stream", "accumulator", "http", "partial_json")

LARGEST_BYTES = 4096
SLOWEST_SECONDS = 10


def fuzz_one(target: str, seconds: int) -> None:
    """Fuzz in this process, which ends with it: libFuzzer does not return."""
    import atheris  # type: ignore[import-not-found, unused-ignore]

    with atheris.instrument_imports(include=["trio_stream"]):
        import tests.fuzz.targets as targets
    from tests.fuzz.seeds import seeds_of

    corpus = CORPUS / target
    corpus.mkdir(parents=True, exist_ok=True)
    FINDINGS.mkdir(exist_ok=True)
    for seed in seeds_of(target, largest=LARGEST_BYTES):
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={LARGEST_BYTES}",
        f"-timeout={SLOWEST_SECONDS}",
        "-rss_limit_mb=1024",
        f"-artifact_prefix={FINDINGS / target}-",
        "-print_final_stats=1",
        str(corpus),
    ]
    atheris.Setup(arguments, targets.TARGETS[target])
    atheris.Fuzz()


def main() -> None:
    """Fuzz each target in a process of its own."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], metavar="target", help=", ".join(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        fuzz_one(options.targets[0], options.seconds)
        return
    found = []
    for target in options.targets or TARGETS:
        print(f"\n{target}: {options.seconds} s", flush=True)
        command = [sys.executable, "-m", "tests.fuzz", "--here", target, "--seconds", str(options.seconds)]
        if subprocess.run(command, cwd=ROOT, check=False).returncode != 0:
            found.append(target)
    if found:
        sys.exit(f"found something in {', '.join(found)}: see {FINDINGS}")


if __name__ == "__main__":
    main()
