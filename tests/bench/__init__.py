"""The benchmark: trio_stream beside the official SDK, httpx with httpx-sse, and a bare socket loop.

``python -m tests.bench`` runs it and writes ``docs/performance.md``; ``make bench`` makes the environments for it.
What a slower hot path would break without a clock is in ``tests/test_cost.py``.
"""
