"""How the scripted API writes things down: events, errors, ids, headers, token counts.

What belongs here: the outer form of single things, pure and deterministic. What does not: their order in an
answer (`_timeline`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from trio_stream.testing._json import as_object

MODEL = "claude-sonnet-5"
"""The model of an answer to a request that names none (only where `ScriptedAPI` is not strict)."""

ERROR_TYPES: Mapping[int, str] = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}

ERROR_STATUSES: Mapping[str, int] = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "timeout_error": 504,
    "overloaded_error": 529,
}

SENTENCES: Mapping[int, str] = {
    400: "Bad request",
    401: "invalid x-api-key",
    402: "Your credit balance is too low",
    403: "Your API key does not have permission to use the specified resource",
    404: "Not found",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your organization's rate limit",
    500: "Internal server error",
    504: "Request timed out",
    529: "Overloaded",
}

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PIECE = re.compile(r"\s*\S{1,12}|\s+")


def error_type(status: int) -> str:
    """The API's ``error.type`` for an HTTP status."""
    return ERROR_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")


def make_id(prefix: str, *seeds: object) -> str:
    """An id that looks like one of the API's. The same seeds give the same id."""
    number = int.from_bytes(hashlib.sha256(repr(seeds).encode()).digest()[:18], "big")
    digits: list[str] = []
    for _ in range(22):
        number, rest = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[rest])
    return f"{prefix}_01{''.join(digits)}"


def text_pieces(text: str) -> list[str]:
    """Split text roughly as a model's tokens do, into words with the blanks before them. Nothing is lost."""
    return _PIECE.findall(text)


def json_pieces(text: str, size: int = 12) -> list[str]:
    """Split the JSON of a tool input into pieces of ``size`` characters, after an empty one as the API's."""
    return ["", *(text[start : start + size] for start in range(0, len(text), size))]


def count_tokens(text: str) -> int:
    """Count the tokens of a text, at about four bytes each."""
    return -(-len(text.encode(errors="surrogatepass")) // 4)


def count_input_tokens(body: Any) -> int:
    """Count the tokens of a request: those of its prompt, at four bytes each."""
    fields = as_object(body)
    parts = {name: fields[name] for name in ("system", "messages", "tools") if name in fields}
    return max(1, len(msgspec.json.encode(parts)) // 4)


def write_event(fields: Mapping[str, Any], padding: int = 0) -> bytes:
    """One event as the API writes it.

    The API pads its JSON with blanks inside the outermost object, and writes ``ping`` in a style of its own.
    """
    if len(fields) == 1 and fields["type"] == "ping":
        return b'event: ping\ndata: {"type": "ping"}\n\n'
    data = msgspec.json.encode(fields)
    return b"event: %s\ndata: %s%s}\n\n" % (str(fields["type"]).encode(), data[:-1], b" " * padding)


def padding(number: int) -> int:
    """How many blanks pad the event of this number. It looks random, but is always the same."""
    return (number * 7 + number * number) % 16 if number % 3 else 0


def error_fields(
    type: str,  # noqa: A002 - the API's name
    message: str,
    *,
    details: Mapping[str, Any] | None = None,
    request_id: str | None = None,
) -> dict[str, Any]:
    """The API's error object, as an event or as a body."""
    fields: dict[str, Any] = {
        "type": "error",
        "error": {"details": details, "type": type, "message": message},
    }
    if request_id is not None:
        fields["request_id"] = request_id
    return fields


def base_headers(number: int, *, limit: int = 4_000) -> list[tuple[str, str]]:
    """The headers that every answer has. ``number`` counts the requests; the rate limits are never used up."""
    reset = (datetime.now(UTC) + timedelta(seconds=60)).strftime("%Y-%m-%dT%H:%M:%SZ")
    headers = [
        ("request-id", make_id("req", number)),
        ("anthropic-organization-id", "00000000-0000-4000-8000-000000000000"),
        ("anthropic-workspace-id", "wrkspc_01ScriptedWorkspace00000000"),
    ]
    for kind, most, each in (
        ("requests", limit, 1),
        ("tokens", 2_400_000, 2_500),
        ("input-tokens", 2_000_000, 2_000),
        ("output-tokens", 400_000, 500),
    ):
        headers.append((f"anthropic-ratelimit-{kind}-limit", str(most)))
        headers.append((f"anthropic-ratelimit-{kind}-remaining", str(most - each * (number % 50))))
        headers.append((f"anthropic-ratelimit-{kind}-reset", reset))
    return headers


def merge_headers(headers: Iterable[tuple[str, str]], more: Mapping[str, str | None]) -> tuple[tuple[str, str], ...]:
    """Put headers on top of others. Names are compared without case, and None takes a header away."""
    names = {name.lower() for name in more}
    kept = [(name, value) for name, value in headers if name.lower() not in names]
    return (*kept, *((name, value) for name, value in more.items() if value is not None))


def header(headers: Sequence[tuple[str, str]], name: str) -> str | None:
    """The value of a header, or None. Its name is compared without case."""
    return next((value for key, value in headers if key.lower() == name), None)
