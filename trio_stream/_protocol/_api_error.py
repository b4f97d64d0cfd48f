"""The error for an answer: its class, its sentence, and what it carries.

What belongs here: reading error bodies of any kind, and saying in short what they say. What does not: whether to ask
again (`_verdict`), and errors of the network (`_http`).
"""

from __future__ import annotations

import html
import http
import re
from collections.abc import Mapping
from typing import Any, cast
from urllib.parse import urlsplit

from trio_stream._errors import ERROR_TYPE_ERRORS, STATUS_ERRORS, APIStatusError, InternalServerError
from trio_stream._protocol._error_words import find_sentence
from trio_stream._protocol._events import ErrorEvent
from trio_stream._protocol._headers import find_header
from trio_stream._protocol._json import JSON_ERRORS, decode_json
from trio_stream._protocol._rate_limits import RateLimits
from trio_stream._protocol._retry import parse_retry_after, parse_should_retry
from trio_stream._protocol._sse import EventStreamParser

_SENTENCE_BYTES = 2048
"""The most that a message repeats of the sentence of the API."""

_SNIPPET_BYTES = 300
"""The most that a message repeats of a body that is not understood."""

_NAME_BYTES = 100
"""The most that a message repeats of an error type, a request id or a host."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
"""RFC 9110, 15.4: the 3xx that ask for the same request elsewhere. 304 is not one of them."""

_LOOKED_AT = 65536
"""The number of characters of a page that are searched for its title."""

# Line ends and other controls would let an answer write lines of its own into a log or a terminal; the bidirectional
# ones would let it reorder ours.
_CONTROLS = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]+")

# The bounded repeats keep these linear whatever a page holds.
_TITLE = re.compile(r"<title(?:\s[^<>]{0,200})?>([^<]{0,500})", re.IGNORECASE)
_NOT_TEXT = re.compile(r"<(script|style)\b.{0,4000}?</\1\s{0,9}>|<[^>]{0,1000}>", re.IGNORECASE | re.DOTALL)


def error_from_response(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> APIStatusError:
    """The error for an answer that is not a message.

    Whatever the body is (JSON, a page, an event stream, or not even text), the message of the error is one short line.

    Args:
      status: The HTTP status. With 200 the class is chosen by ``error.type``, as for an ``error`` event.
      headers: The headers of the answer; names in any case.
      body: The part of the body that was read.
      now: Seconds since the epoch, for a ``retry-after`` that is a date.

    Returns:
      The error. Its ``body`` is the decoded JSON, or None.
    """
    content = _read_json(body)
    details = _object(content.get("error"))
    if not details and _str(content.get("type")) in ERROR_TYPE_ERRORS:
        details = content  # the error without what is usually around it
    kind = _str(details.get("type"))
    api_message = _str(details.get("message"))
    retry_after = parse_retry_after(headers, now=now)
    if status in _REDIRECTS:
        sentence = f"{_status_name(status)}: {_redirect(headers)}"
    elif kind is not None:
        sentence = f"{status} {_brief(kind, _NAME_BYTES)}: {_brief(api_message or 'no message', _SENTENCE_BYTES)}"
    else:
        name, said = _status_name(status), _what_body_says(content, headers, body)
        sentence = name if said == name else f"{name}: {said}"
    if retry_after is not None:
        sentence += f" (retry after {retry_after:.10g} s)"
    return _class_for(status, kind)(
        sentence,
        status_code=status,
        type=kind,
        error_code=_str(_object(details.get("details")).get("error_code")),
        api_message=api_message,
        retry_after=retry_after,
        body=content or None,
        request_id=_request_id(find_header(headers, "request-id") or content.get("request_id")),
        should_retry=parse_should_retry(headers),
        rate_limits=RateLimits.from_headers(headers),
    )


def error_from_event(event: ErrorEvent, request_id: str | None) -> APIStatusError:
    """The error for an ``error`` event. Its status is that of the answer in which it came, 200.

    Args:
      event: The event.
      request_id: The request id of the answer, used if the event has none.
    """
    error = event.error
    return _class_for(200, error.type)(
        f"{_brief(error.type or 'error event', _NAME_BYTES)}: {_brief(error.message or 'no message', _SENTENCE_BYTES)}",
        status_code=200,
        type=error.type,
        error_code=_str((error.details or {}).get("error_code")) or _str(error.extra.get("code")),
        api_message=error.message or None,
        body=event.to_dict() if event.body is None else event.body,
        request_id=_request_id(event.request_id or request_id),
    )


def _class_for(status: int, kind: str | None) -> type[APIStatusError]:
    if status == 200:
        return ERROR_TYPE_ERRORS.get(kind or "", APIStatusError)
    return STATUS_ERRORS.get(status, InternalServerError if status >= 500 else APIStatusError)


def _status_name(status: int) -> str:
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)


def _redirect(headers: Mapping[str, str]) -> str:
    """The host that a redirect leads to. The path is left out, as it may hold secrets."""
    said = "redirects are not followed"
    location = find_header(headers, "location")
    if location is None:
        return said
    try:
        target = urlsplit(location.strip())
        host, port = target.hostname, target.port
    except ValueError:
        return f"{said} (to an address that cannot be read)"
    if not host:
        return f"{said} (to another path of the same host)"
    place = f"{target.scheme}://" if target.scheme else "//"
    place += f"[{host}]" if ":" in host else host
    return f"{said} (to {_brief(place if port is None else f'{place}:{port}', _NAME_BYTES)})"


def _what_body_says(content: Mapping[str, Any], headers: Mapping[str, str], body: bytes) -> str:
    said = find_sentence(content)
    if said:
        return _brief(said, _SENTENCE_BYTES)
    text = body[: 4 * _LOOKED_AT].decode("utf-8", "replace")[:_LOOKED_AT].lstrip("\ufeff")
    content_type = find_header(headers, "content-type") or ""
    if "html" in content_type.lower() or text.lstrip().startswith("<"):
        text = _read_page(text)
    return _brief(text, _SNIPPET_BYTES) or ("no text" if body else "no body")


def _read_page(page: str) -> str:
    """The title of a page, or the beginning of its text if it has none."""
    title = _TITLE.search(page)
    if title is not None and title[1].strip():
        return html.unescape(title[1])
    return html.unescape(_NOT_TEXT.sub(" ", page[:4096]))


def _read_json(body: bytes) -> Mapping[str, Any]:
    """The JSON object in a body; empty if there is none."""
    body = body.removeprefix(b"\xef\xbb\xbf").strip()
    if body.startswith((b"event:", b"data:")):
        # Some gateways answer with the event stream of an error, and the error's status.
        events = EventStreamParser().feed(body + b"\n\n")
        body = events[0][1] if events else b""
    try:
        # The round trip changes only a text that is not valid UTF-8.
        return _object(decode_json(body.decode("utf-8", "replace").encode()))
    except JSON_ERRORS:
        return {}


def _brief(text: str, size: int) -> str:
    """A text as one line of at most ``size`` bytes of UTF-8."""
    # First cut: a character has at least one byte, so this leaves enough.
    line = _CONTROLS.sub(" ", text[: 4 * size]).strip()
    encoded = line.encode()
    if len(encoded) <= size:
        return line
    return encoded[: size - 3].decode("utf-8", "ignore") + "…"


def _request_id(value: object) -> str | None:
    return _brief(value, _NAME_BYTES) or None if isinstance(value, str) else None


def _object(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _str(value: object) -> str | None:
    return value if isinstance(value, str) else None
