"""Whether the environment names a proxy for a URL.

What belongs here: reading ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` (in either case) as the
standard library does, system settings on macOS and Windows included. What does not: speaking to a proxy; httpx's
own transport does.
"""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from ._httpx import httpx


def proxy_for(url: httpx.URL) -> str | None:
    """The URL of the proxy for ``url``, or None for a direct connection."""
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    if not proxy or not url.raw_host:
        return None
    hosts = {url.raw_host.decode("ascii"), url.netloc.decode("ascii")}
    excluded = {name.strip() for name in proxies.get("no", "").split(",")}
    if "*" in excluded or any(proxy_bypass(host) for host in hosts):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
