"""The contenders, one module each, run as ``python -m tests.bench.clients.NAME SCENARIO_JSON URL AUTHORITY``."""
