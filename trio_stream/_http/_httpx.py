"""The one import of httpx.

What belongs here: naming the library that this package builds on, so that its maintained fork is a change of one
line. What does not: anything else.
"""

from __future__ import annotations

import httpx as httpx
