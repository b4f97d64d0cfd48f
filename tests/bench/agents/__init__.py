"""Agents: the official SDK's tool runner beside `Conversation`, on the same tasks, in one run.

`python -m tests.bench.agents` runs it, and writes the table into ``docs/agents.md``. Each contender runs in a process
of its own (``client_*.py``), against a scripted API in this one.
"""
