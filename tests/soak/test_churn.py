"""Churn: half a second of random cancels; 20 s in the long form."""

from __future__ import annotations

import ssl

import pytest

from tests.soak.churn import churn
from tests.soak.form import CHURN_SECONDS

pytestmark = pytest.mark.no_cover


@pytest.mark.parametrize("tls", [False, True], ids=["http", "tls"])
@pytest.mark.parametrize(("workers", "pool"), [(12, 2), (20, 10)])
async def test_churn(
    workers: int, pool: int, tls: bool, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    await churn(
        workers=workers,
        pool=pool,
        seconds=CHURN_SECONDS,
        server_context=server_tls if tls else None,
        client_context=client_tls,
    )
