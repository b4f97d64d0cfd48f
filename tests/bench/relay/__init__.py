"""What it costs to hand events on to tabs, beside other ways to do it: ``python -m tests.bench.relay``."""
