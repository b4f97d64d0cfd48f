"""The fixtures of these tests."""

from __future__ import annotations

from tests.ray.api import make as make
