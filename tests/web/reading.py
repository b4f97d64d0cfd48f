"""Reading responses as the clients do, for the tests."""

from __future__ import annotations

from typing import Any

import msgspec


def events(body: bytes) -> list[tuple[str, Any]]:
    """The events of an event stream: name and data. Comments are left out; everything else must be well-formed."""
    assert body == b"" or body.endswith(b"\n\n"), "the stream ends within an event"
    found: list[tuple[str, Any]] = []
    for block in body.decode().split("\n\n"):
        name, data = "", []
        for line in block.split("\n"):
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "event":
                name = value
            elif field == "data":
                data.append(value)
            else:
                assert field in ("", "id"), line
        if data:
            text = "\n".join(data)
            found.append((name, text if text == "[DONE]" else msgspec.json.decode(text)))
    return found


def names(body: bytes) -> list[str]:
    """The names of the events."""
    return [name for name, _ in events(body)]


def text(body: bytes) -> str:
    """The text of the message in the API's own events."""
    return "".join(data["delta"].get("text", "") for name, data in events(body) if name == "content_block_delta")


def ids(body: bytes) -> list[str]:
    """The numbers of the events that have one."""
    return [line.removeprefix("id: ") for line in body.decode().split("\n") if line.startswith("id: ")]
