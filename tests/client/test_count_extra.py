"""`count_tokens`: what its answer says beside the number, and answers that are none."""

from __future__ import annotations

import json

import pytest

import trio_stream as ts
from tests.faults.rows import PARAMS, client_for
from tests.wire.answers import sized
from tests.wire.server import WireServer, once

COUNT = {name: value for name, value in PARAMS.items() if name != "max_tokens"}


async def test_unknown_fields_are_kept() -> None:
    raw = {"input_tokens": 7, "context_management": {"original_input_tokens": 9}}
    async with WireServer([once(sized(json.dumps(raw).encode(), content_type=b"application/json"))]) as server:
        async with client_for(server) as client:
            count = await client.messages.count_tokens(**COUNT)
    assert count.input_tokens == 7
    assert count.to_dict() == raw


async def test_an_error_with_status_200() -> None:
    body = b'{"success": false, "message": "quota used up"}'
    async with WireServer([once(sized(body, content_type=b"application/json"))]) as server:
        async with client_for(server) as client:
            with pytest.raises(ts.APIStatusError, match="quota used up") as caught:
                await client.messages.count_tokens(**COUNT)
    assert caught.value.body == json.loads(body)


@pytest.mark.parametrize("body", [b"[]", b"{}", b'{"input_tokens": "many"}', b"{"])
async def test_no_count(body: bytes) -> None:
    async with WireServer([once(sized(body, content_type=b"application/json"))]) as server:
        async with client_for(server) as client:
            with pytest.raises(ts.InvalidResponseError, match="cannot be read"):
                await client.messages.count_tokens(**COUNT)
