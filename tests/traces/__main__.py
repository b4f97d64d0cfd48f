"""``make traces``: an agent's trace in a real back-end, Arize Phoenix, on this machine alone.

Starts Phoenix on free loopback ports, has an agent take a turn with two tools against the scripted API, sends its spans
over OTLP, asks Phoenix for them, and fails unless they are all there and nested as they should be. With ``--picture`` it
takes a picture of the trace in headless Chromium; with ``--keep`` the page stays until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import trio
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

import trio_stream as ts
from tests.chromium import take_picture
from trio_stream.otel import OpenTelemetry
from trio_stream.testing import ScriptedAPI, call, http_error, say, think, usage

QUERY = """{ projects { edges { node { id spans(first: 50) { edges { node {
    id name spanKind statusCode latencyMs tokenCountPrompt tokenCountCompletion parentId spanId trace { traceId }
} } } } } } }"""

EXPECTED = {
    "invoke_agent": "agent",
    "chat claude-opus-5": "llm",
    "execute_tool weather": "tool",
    "execute_tool tides": "tool",
}
"""The kind that Phoenix sees in each span."""


@ts.tool
async def weather(city: str) -> str:
    """Tell the weather.

    Args:
      city: Where.
    """
    await trio.sleep(0.4)
    return f"sunny in {city}"


@ts.tool
async def tides(harbour: str) -> str:
    """Tell the tides.

    Args:
      harbour: Where.
    """
    await trio.sleep(0.7)
    return f"high at 17:04 in {harbour}"


async def agent(tracers: TracerProvider) -> None:
    """One turn with two tools, after an overload."""
    api = ScriptedAPI(
        [http_error(529, retry_after=0.2)],
        [
            usage(cache_read_input_tokens=1200),
            think("The user wants two things.", ttft=0.3),
            say("Let me look.", tps=20),
            call("weather", {"city": "Lisbon"}),
            call("tides", {"harbour": "Cascais"}),
        ],
        [say("It is sunny in Lisbon, and high tide in Cascais is at 17:04.", ttft=0.3, tps=30)],
    )
    client = ts.Client(api_key="test", transport=api, instruments=[OpenTelemetry(tracers, content=True)])
    chat = ts.Conversation(client, tools=[weather, tides], system="Be brief.", model="claude-opus-5", max_tokens=200)
    print(await chat.ask("How is it at sea?"))


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
    return port


@contextlib.contextmanager
def phoenix() -> Iterator[str]:
    """Phoenix, with what it keeps in a directory that goes with it; yields its base URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("phoenix"), "serve"],
            env={
                **os.environ,
                "PHOENIX_HOST": "127.0.0.1",
                "PHOENIX_PORT": str(port),
                "PHOENIX_GRPC_PORT": str(free_port()),
                "PHOENIX_WORKING_DIR": folder,
                "PHOENIX_TELEMETRY_ENABLED": "false",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            base_url = f"http://127.0.0.1:{port}"
            wait_for(lambda: httpx.get(f"{base_url}/healthz").is_success, process)
            yield base_url
        finally:
            process.terminate()
            process.wait()


def wait_for(done: Any, process: subprocess.Popen[bytes], seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            if done():
                return
        time.sleep(0.3)
    raise SystemExit("Phoenix did not start")


def spans_in(base_url: str, count: int) -> tuple[str, list[dict[str, Any]]]:
    """The project of the trace, and its spans once they are all there."""
    for _ in range(60):
        answer = httpx.post(f"{base_url}/graphql", json={"query": QUERY}).json()
        (project,) = (edge["node"] for edge in answer["data"]["projects"]["edges"])
        spans = [edge["node"] for edge in project["spans"]["edges"]]
        if len(spans) >= count:
            return project["id"], spans
        time.sleep(0.5)
    raise SystemExit(f"only {len(spans)} of {count} spans arrived")


def check(spans: list[dict[str, Any]]) -> None:
    """One trace, whose root is the agent; kinds, tokens and nesting as Phoenix sees them."""
    (root,) = [span for span in spans if span["parentId"] is None]
    assert root["name"] == "invoke_agent", root
    assert all(span["parentId"] == root["spanId"] for span in spans if span is not root), spans
    assert sorted(span["name"] for span in spans) == sorted([*EXPECTED, "chat claude-opus-5"]), spans
    for span in spans:
        assert span["spanKind"] == EXPECTED[span["name"]], span
        assert (span["tokenCountPrompt"] is not None) is (span["spanKind"] == "llm"), span
        assert span["statusCode"] != "ERROR", span


def main() -> None:
    parser = argparse.ArgumentParser(prog="make traces", description=__doc__)
    parser.add_argument("--picture", type=Path, metavar="FILE", help="take a picture of the trace")
    parser.add_argument("--keep", action="store_true", help="keep the page until Ctrl-C")
    options = parser.parse_args()
    with phoenix() as base_url:
        tracers = TracerProvider()
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{base_url}/v1/traces")))
        trio.run(agent, tracers)
        tracers.shutdown()
        project, spans = spans_in(base_url, 5)
        check(spans)
        for span in reversed(spans):
            tokens = (
                f"{span['tokenCountPrompt']} + {span['tokenCountCompletion']} tokens"
                if span["tokenCountPrompt"]
                else ""
            )
            print(f"{span['latencyMs']:8.0f} ms  {'  ' if span['parentId'] else ''}{span['name']}  {tokens}")
        # A call of the model, with what it was asked and what it said.
        chat = next(span for span in reversed(spans) if span["spanKind"] == "llm")
        url = f"{base_url}/projects/{project}/traces/{chat['trace']['traceId']}?selectedSpanNodeId={chat['id']}"
        if options.picture is not None:
            take_picture(url, options.picture, width=1400, height=860)
        if options.keep:
            print(url)
            with contextlib.suppress(KeyboardInterrupt):
                time.sleep(1e9)


if __name__ == "__main__":
    main()
