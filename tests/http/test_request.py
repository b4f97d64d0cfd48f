"""What goes over the wire, and what does not."""

from __future__ import annotations

import httpx
import pytest

from trio_stream._http._request import read_request


async def wire(request: httpx.Request) -> bytes:
    return b"".join((await read_request(request)).buffers)


async def test_bytes_of_a_request():
    request = httpx.Request("POST", "http://host:81/a%20b?c=d#e", headers={"X-One": "1"}, content=b"body")
    assert await wire(request) == (
        b"POST /a%20b?c=d HTTP/1.1\r\nHost: host:81\r\nX-One: 1\r\nContent-Length: 4\r\n\r\nbody"
    )


@pytest.mark.parametrize("size, buffers", [(65536, 1), (65537, 2)])
async def test_small_requests_are_one_buffer(size, buffers):
    request = httpx.Request("POST", "http://host/", content=b"x" * size)
    assert len((await read_request(request)).buffers) == buffers


async def test_a_stream_is_read_and_gets_a_length():
    async def pieces():
        yield b"one "
        yield b"two"

    got = await wire(httpx.Request("POST", "http://host/", content=pieces()))
    assert got.endswith(b"\r\nContent-Length: 7\r\n\r\none two")
    assert b"chunked" not in got


async def test_the_key_with_a_line_end_is_in_no_text():
    request = httpx.Request("POST", "http://host/", headers=[(b"x-api-key", b"secret\r\nX-Evil: 1")])
    with pytest.raises(httpx.LocalProtocolError, match="'x-api-key'") as caught:
        await wire(request)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "change, says",
    [
        ({"headers": [(b"x", b"a\x00b")]}, "line end or NUL"),
        ({"headers": [(b"x y", b"1")]}, "name"),
        ({"headers": [(b"", b"1")]}, "name"),
        ({"headers": [(b"content-length", b"3")]}, "content-length"),
        ({"method": "GET /x"}, "method"),
        ({"method": "CONNECT"}, "method"),
    ],
)
async def test_what_cannot_be_sent(change, says):
    arguments = {"method": "POST", "url": "http://host/", "content": b"body", **change}
    with pytest.raises(httpx.LocalProtocolError, match=says):
        await wire(httpx.Request(**arguments))


async def test_a_path_with_a_blank():
    request = httpx.Request("GET", "http://host/")
    request.url = type("URL", (), {"raw_path": b"/a b"})()  # httpx itself quotes it
    with pytest.raises(httpx.LocalProtocolError, match="path"):
        await wire(request)


async def test_a_request_shows_neither_key_nor_prompt():
    request = httpx.Request("POST", "http://host/", headers={"x-api-key": "SECRET"}, content=b"PROMPT")
    shown = repr(await read_request(request))
    assert "SECRET" not in shown
    assert "PROMPT" not in shown
