"""A pytest plugin that puts httpx2, the maintained fork, in the place of httpx: ``make test-httpx2``.

What belongs here: the alias, which has to be made before anything imports httpx. What does not: what differs, which is
in the tests that see it (`tests.http.posting.ON_HTTPX2`).
"""

from __future__ import annotations

import sys

import httpx2

httpx2.alias_httpx()
assert sys.modules["httpx"] is httpx2, "httpx was imported before"
