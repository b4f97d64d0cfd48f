"""What it costs to import a library: ``python -m tests.bench.clients.importing NAME``.

What belongs here: time and memory of one import in a fresh process. What does not: anything imported before it.
"""

import time
from pathlib import Path
from sys import argv


def resident_kb() -> int:
    """The memory this process holds now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise RuntimeError("no VmRSS in /proc/self/status")


memory = resident_kb()
wall, cpu = time.perf_counter(), time.process_time()
__import__(argv[1])
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
memory = resident_kb() - memory
print(f'{{"wall_s": {wall}, "cpu_s": {cpu}, "mb": {memory / 1e3}}}')
