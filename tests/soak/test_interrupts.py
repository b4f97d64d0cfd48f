"""Ctrl-C: from outside, at random moments, and instruction by instruction; in the long form, more of it."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest
import trustme

from tests.soak.form import INTERRUPTED_EVERY, INTERRUPTED_PROGRAMS, INTERRUPTED_RUNS
from tests.soak.interrupted import USES
from tests.soak.interrupts import SCRIPTS, interrupt, interrupt_anywhere, interrupt_everywhere

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("how", SCRIPTS)
async def test_interrupt(how: str) -> None:
    await interrupt(how, times=INTERRUPTED_PROGRAMS)


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
async def test_interrupt_anywhere(tls: bool, server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path) -> None:
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    await interrupt_anywhere(
        runs=INTERRUPTED_RUNS, server_context=server_tls if tls else None, trusted=trusted if tls else None
    )


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="which instructions look for signals is Python 3.11's")
@pytest.mark.parametrize("use", USES)
async def test_interrupt_everywhere(use: str) -> None:
    assert await interrupt_everywhere(use, every=INTERRUPTED_EVERY) >= 500
