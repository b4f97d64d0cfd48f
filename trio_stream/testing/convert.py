"""``python -m trio_stream.testing.convert``: recordings of others as recordings of this library.

What belongs here: cassettes of vcrpy in YAML or JSON, as pytest-recording and pydantic-ai keep them, and the command.
What does not: the format that they become (`_recording`).

A cassette knows neither the pieces in which an answer arrived nor when, so it becomes one arrival. PyYAML reads it;
this library does not depend on it.
"""

from __future__ import annotations

import argparse
import base64
import importlib
import json
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from trio_stream.testing._json import as_list, as_object, is_object
from trio_stream.testing._record import kept_headers
from trio_stream.testing._recording import (
    Arrival,
    RecordedEnd,
    RecordingError,
    RequestKeys,
    arrival_line,
    end_line,
    head_line,
)


def convert(cassette: str) -> Iterator[bytes]:
    """Convert a cassette of vcrpy.

    Requests to paths that are not below ``/v1/messages`` are left out.

    Args:
      cassette: The text of the cassette, YAML or JSON.

    Returns:
      The lines of a recording.

    Raises:
      RecordingError: It is no cassette.
      ModuleNotFoundError: It is YAML, and PyYAML is not installed.
    """
    interactions = as_object(_parse(cassette)).get("interactions")
    if not isinstance(interactions, list):
        raise RecordingError("this is no cassette of vcrpy: it has no list of `interactions`")
    number = 0
    for interaction in as_list(interactions):
        request = as_object(as_object(interaction).get("request"))
        response = as_object(as_object(interaction).get("response"))
        path = _path(str(request.get("uri", "")))
        if path is None:
            continue
        number += 1
        headers = _headers(as_object(response.get("headers")))
        keys = RequestKeys.of(method=str(request.get("method", "POST")), path=path, content=_request_body(request))
        yield head_line(number, keys, status=_status(response), headers=kept_headers(headers), at=0.0)
        body = _decompressed(_response_body(response), headers.get("content-encoding", ""))
        if body:
            yield arrival_line(number, Arrival(0.0, body))
        yield end_line(number, RecordedEnd.COMPLETE, at=0.0)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m trio_stream.testing.convert",
        description="Convert cassettes of vcrpy to recordings that trio_stream.testing.replay plays.",
    )
    parser.add_argument("cassette", nargs="+", type=Path, help="a cassette, in YAML or JSON")
    parser.add_argument("-o", "--output", type=Path, help="the recording (default: beside the cassette, as .jsonl)")
    options = parser.parse_args(arguments)
    cassettes: list[Path] = options.cassette
    if options.output is not None and len(cassettes) > 1:
        parser.error("-o names one file: convert one cassette at a time")
    failed = 0
    for cassette in cassettes:
        output: Path = options.output or cassette.with_suffix(".jsonl")
        try:
            lines = list(convert(cassette.read_text(encoding="utf-8")))
            if not lines:
                raise RecordingError("no answer of the Messages API is in it")
            output.write_bytes(b"".join(lines))
        except (OSError, ValueError, ModuleNotFoundError) as error:
            print(f"convert: {cassette}: {error}", file=sys.stderr)
            failed = 1
    return failed


def _parse(text: str) -> Any:
    if text.lstrip().startswith("{"):
        return json.loads(text)
    try:
        yaml = importlib.import_module("yaml")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading YAML needs PyYAML: pip install pyyaml", name="yaml") from error
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecordingError(f"this is no YAML: {error}") from error


def _path(uri: str) -> str | None:
    """The part of a URL that this library calls the path; None if it is not one of the Messages API."""
    path = urlsplit(uri).path
    start = path.find("/v1/messages")
    return None if start < 0 else path[start:]


def _headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Headers as text; vcrpy keeps a list of values for each name."""
    return {
        name.lower(): ", ".join(map(str, as_list(value))) if isinstance(value, list) else str(value)
        for name, value in headers.items()
    }


def _status(response: Mapping[str, Any]) -> int:
    status = response.get("status")
    code = as_object(status).get("code") if is_object(status) else response.get("status_code", status)
    if not isinstance(code, int):
        raise RecordingError(f"an answer has no status: {status!r}")
    return code


def _request_body(request: Mapping[str, Any]) -> bytes:
    if "parsed_body" in request:  # what pydantic-ai's tests keep
        return msgspec.json.encode(request["parsed_body"])
    return _bytes(request.get("body"))


def _response_body(response: Mapping[str, Any]) -> bytes:
    if "parsed_body" in response:
        return msgspec.json.encode(response["parsed_body"])
    body = response.get("body", response.get("content"))
    fields = as_object(body)
    if "base64_string" in fields:
        return base64.b64decode(str(fields["base64_string"]))
    return _bytes(fields.get("string", b"") if is_object(body) else body)


def _bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else b""


def _decompressed(body: bytes, encoding: str) -> bytes:
    """The body without its content encoding; cassettes are often kept without it, whatever the header says."""
    magic, wbits = _COMPRESSED.get(encoding.lower(), (b"", 0))
    if magic and not body.startswith(magic):
        return body
    try:
        if magic:
            return zlib.decompress(body, wbits=wbits)
        if encoding.lower() not in ("", "identity"):
            body.decode()
    except (zlib.error, UnicodeDecodeError) as error:
        raise RecordingError(
            f"an answer cannot be decompressed ({encoding}): record it with vcrpy's decode_compressed_response=True"
        ) from error
    return body


_COMPRESSED = {"gzip": (b"\x1f\x8b", 31), "x-gzip": (b"\x1f\x8b", 31), "deflate": (b"\x78", zlib.MAX_WBITS)}
"""The content encodings that are known: how what is compressed begins, and how it is read."""


if __name__ == "__main__":
    sys.exit(main())
