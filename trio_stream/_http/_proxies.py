"""Whether the environment names a proxy for a URL.

What belongs here: reading ``HTTP_PROXY``, ``HTTPS_PROXY``, ``ALL_PROXY`` (in either case) and, where there is none of
them, the system settings of macOS and Windows, as the standard library does; and ``NO_PROXY`` as curl does. What does
not: speaking to a proxy; httpx's own transport does.
"""

from __future__ import annotations

import ipaddress
import os
import re
from typing import NamedTuple
from urllib.request import getproxies, getproxies_environment, proxy_bypass

from ._httpx import httpx

_DEFAULT_PORTS = {"http": 80, "https": 443}


class Proxy(NamedTuple):
    """A proxy, and where its address comes from.

    Attributes:
      url: Its URL, which may hold a password.
      source: The name of the environment variable, or words for the system's settings.
    """

    url: str
    source: str

    @property
    def scheme(self) -> str:
        """The scheme of its URL."""
        return self.url.partition("://")[0].lower()

    def __repr__(self) -> str:
        return f"Proxy({str(self)!r})"

    def __str__(self) -> str:
        rest = re.split(r"[/?#]", self.url.partition("://")[2], maxsplit=1)[0]
        return f"{self.scheme}://{rest.rpartition('@')[2]} (from {self.source})"


def proxy_for(url: httpx.URL) -> Proxy | None:
    """The proxy for ``url``, or None for a direct connection."""
    proxies = getproxies()
    kind = url.scheme if proxies.get(url.scheme) else "all"
    proxy = proxies.get(kind)
    if not proxy or not url.raw_host:
        return None
    host = url.raw_host.decode("ascii")
    port = url.port or _DEFAULT_PORTS.get(url.scheme)
    if is_excluded(host, port, proxies.get("no", "")):
        return None
    if not getproxies_environment() and proxy_bypass(host):  # pragma: no cover - only macOS and Windows have settings
        return None
    return Proxy(proxy if "://" in proxy else f"http://{proxy}", _source(f"{kind}_proxy"))


def _source(variable: str) -> str:
    for name in (variable, variable.upper()):  # the standard library prefers them in this order
        if os.environ.get(name):
            return name
    return "the system's settings"  # pragma: no cover - see above


def is_excluded(host: str, port: int | None, no_proxy: str) -> bool:
    """Whether a value of ``NO_PROXY`` excludes a host.

    As for curl, a name excludes itself and everything below it, with or without a dot in front; an address excludes
    itself; a network (``10.0.0.0/8``) every address in it; and ``*`` everything. Beyond curl's rules ``*.`` in front
    is the same as a dot, and ``:port`` behind an entry is heeded.

    Args:
      host: A name, or an address without brackets.
      port: The port of the URL.
      no_proxy: The value: entries with commas or blanks in between.
    """
    host = host.lower().rstrip(".")
    address = _address(host)
    for entry in re.split(r"[,\s]+", no_proxy.lower()):
        if entry == "*":
            return True
        name, _, entry_port = entry.rpartition(":")
        if name and entry_port.isdigit() and (":" not in name or name.endswith("]")):
            if int(entry_port) != port:
                continue
        else:
            name = entry
        name = name.removeprefix("*").strip("[]").strip(".")
        if address is None:
            if name and (host == name or host.endswith(f".{name}")):
                return True
        elif _holds(name, address):
            return True
    return False


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _address(text: str) -> _Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _holds(entry: str, address: _Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
