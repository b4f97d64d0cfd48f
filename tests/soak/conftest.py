"""What the soak tests share with the fault matrix: no proxies, one authority, and nothing left behind."""

from __future__ import annotations

import ssl

import pytest
import trustme

from tests.faults.conftest import (
    authority as authority,
    no_proxies as no_proxies,
    nothing_left as nothing_left,
)
from tests.wire.tls import good_certificate, trusting


@pytest.fixture(scope="session")
def server_tls(authority: trustme.CA) -> ssl.SSLContext:
    return good_certificate(authority)


@pytest.fixture(scope="session")
def client_tls(authority: trustme.CA) -> ssl.SSLContext:
    return trusting(authority)
