"""What the fault server does to the official SDK in each row of the section "Proxies".

What belongs here: the rows of this section; see `scripts`. The fault server is the proxy, or what stands in its place.
"""

from __future__ import annotations

from tests.faults.scripts import Row
from tests.faults.sdk_seen import Seen, Verdict, all_of, complete, error, requests, says, within
from tests.faults.test_proxies import API, NO_PROXY_AT_ALL, SECRET
from tests.wire.answers import GOOD_ANSWER, sized
from tests.wire.server import Step, fin, on, request, rst, send, silence

PLAIN_API = API.replace("https", "http")
_PORT = "{port}"


def no_password(seen: Seen) -> str:
    """The error does not show it."""
    assert seen.error is not None
    return "shows the password" if SECRET in seen.error["sentence"] else ""


def named(variable: str) -> Verdict:
    """The error names the proxy, as an address or as a word, and the variable that it is from."""
    return all_of(error(), no_password, says("proxy", variable.lower()))


def behind(
    verdict: Verdict, *steps: Step, variable: str = "HTTPS_PROXY", url: str = API, retries: int = 2, seconds: float = 8
) -> Row:
    """Stream through a proxy that does these steps on every connection."""
    env = {variable: f"http://user:{SECRET}@127.0.0.1:{_PORT}"}
    job = {"do": "stream", "then": False, "retries": retries, "env": env, "base_url": url}
    return Row(verdict, then=on(*steps), job=job, seconds=seconds)


def elsewhere(verdict: Verdict, *, url: str = API, **env: str) -> Row:
    """Stream with these variables; the fault server is no part of it, or what is reached without a proxy."""
    return Row(verdict, job={"do": "stream", "then": False, "env": env, "base_url": url})


PROXIES: dict[str, Row | list[Row]] = {
    "the proxy refuses the connection": elsewhere(named("ALL_PROXY"), ALL_PROXY="http://127.0.0.1:9"),
    "the proxy's host is unknown": elsewhere(named("HTTPS_PROXY"), HTTPS_PROXY="http://no-such-host.invalid:3128"),
    "CONNECT is answered 403 or 407": [
        behind(
            all_of(named("HTTPS_PROXY"), says(status[:3].decode()), requests(1)),
            request(),
            send(sized(b"no", status=status)),
            fin(),
        )
        for status in (b"403 Forbidden", b"407 Proxy Authentication Required")
    ],
    "CONNECT is answered 502, two retries allowed": behind(
        all_of(named("HTTPS_PROXY"), says("502"), requests(3)),
        request(),
        send(sized(b"no", status=b"502 Bad Gateway")),
        fin(),
    ),
    "what the variable names is no proxy": [
        behind(all_of(named("HTTPS_PROXY"), requests(1)), request(), send(said), fin()) for said in NO_PROXY_AT_ALL
    ],
    "the connection ends at CONNECT": [
        behind(named("HTTPS_PROXY"), request(), ending, retries=0) for ending in (fin(), rst())
    ],
    "CONNECT is never answered, connect timeout 2 s": behind(
        all_of(named("HTTPS_PROXY"), within(2.5)), request(), silence(), retries=0
    ),
    "plain http: the proxy answers 407, or ends the connection": [
        behind(
            all_of(named("HTTP_PROXY"), requests(1)),
            request(),
            send(sized(b"", status=b"407 Proxy Authentication Required")),
            fin(),
            variable="HTTP_PROXY",
            url=PLAIN_API,
        ),
        behind(
            all_of(named("HTTP_PROXY"), says("accepted")),
            request(),
            fin(),
            variable="HTTP_PROXY",
            url=PLAIN_API,
            retries=0,
        ),
    ],
    "plain http: through a proxy that does its work": behind(
        complete(), request(), send(GOOD_ANSWER), fin(), variable="HTTP_PROXY", url=PLAIN_API
    ),
    "a scheme that cannot be used (socks://)": [
        elsewhere(named("ALL_PROXY"), ALL_PROXY=f"{scheme}://127.0.0.1:1080") for scheme in ("socks", "socks4", "ftp")
    ],
    "a proxy's address that is none": elsewhere(
        named("HTTPS_PROXY"), HTTPS_PROXY=f"http://user:{SECRET}@proxy.test:port"
    ),
    "NO_PROXY with a network, with *.": [
        elsewhere(complete(), url=f"http://127.0.0.1:{_PORT}", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY=excluded)
        for excluded in ("127.0.0.0/8", "*.test,127.0.0.1", f"other, 127.0.0.1:{_PORT}", "*")
    ],
}
