"""Which URLs the environment sends through a proxy."""

from __future__ import annotations

import httpx
import pytest

from trio_stream._http._proxies import proxy_for

P = "http://proxy.example:3128"


@pytest.mark.parametrize(
    "environ, url, expected",
    [
        ({}, "https://api.example", None),
        ({"HTTPS_PROXY": P}, "https://api.example", P),
        ({"https_proxy": P}, "https://api.example", P),
        ({"HTTPS_PROXY": P}, "http://api.example", None),
        ({"HTTP_PROXY": P}, "http://api.example", P),
        ({"HTTP_PROXY": P}, "https://api.example", None),
        ({"ALL_PROXY": P}, "https://api.example", P),
        ({"ALL_PROXY": "socks5://proxy.example:1080"}, "http://api.example", "socks5://proxy.example:1080"),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "https://api.example", P),
        ({"HTTPS_PROXY": ""}, "https://api.example", None),
        ({"HTTPS_PROXY": P, "NO_PROXY": "api.example"}, "https://api.example", None),
        ({"HTTPS_PROXY": P, "NO_PROXY": "example"}, "https://api.example", None),
        ({"HTTPS_PROXY": P, "NO_PROXY": ".example"}, "https://api.example", None),
        ({"HTTPS_PROXY": P, "no_proxy": "other, api.example"}, "https://api.example", None),
        ({"HTTPS_PROXY": P, "NO_PROXY": "pi.example"}, "https://api.example", P),
        ({"HTTPS_PROXY": P, "NO_PROXY": "*"}, "https://api.example", None),
        ({"HTTPS_PROXY": P, "NO_PROXY": "other,*"}, "https://api.example", None),
        ({"HTTPS_PROXY": P, "NO_PROXY": "api.example:8443"}, "https://api.example:8443", None),
        ({"HTTPS_PROXY": P, "NO_PROXY": "api.example:8443"}, "https://api.example", P),
        ({"HTTP_PROXY": P, "NO_PROXY": "127.0.0.1,localhost,::1"}, "http://127.0.0.1:80", None),
        ({"HTTP_PROXY": P, "NO_PROXY": "127.0.0.1,localhost,::1"}, "http://[::1]:80", None),
        ({"ALL_PROXY": P}, "no-host", None),
    ],
)
def test_proxy_for(environ, url, expected, monkeypatch):
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    proxy = proxy_for(httpx.URL(url))
    assert (None if proxy is None else proxy.url) == expected
    if proxy is not None:
        assert proxy.source in environ
