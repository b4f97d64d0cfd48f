"""Cancelled at every scheduler step: every scenario over every kind of connection."""

from __future__ import annotations

import ssl

import pytest

from tests.soak.every_step import CONNECTIONS, SCENARIOS, every_step
from tests.soak.form import LONG

# In the short form the one scenario whose every part depends on the connection runs over every kind of it.
CASES = [
    (scenario, connection)
    for scenario in SCENARIOS
    for connection in CONNECTIONS
    if LONG or connection == "tls keep-alive" or scenario == "message"
]

pytestmark = pytest.mark.no_cover


@pytest.mark.parametrize(("scenario", "connection"), CASES)
async def test_every_step(
    scenario: str, connection: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    steps = await every_step(scenario, connection, server_context=server_tls, client_context=client_tls)
    assert steps >= 6
