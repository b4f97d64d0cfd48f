"""Cassettes of vcrpy as recordings."""

from __future__ import annotations

import base64
import gzip
import json
import runpy
import sys
import zlib
from pathlib import Path
from typing import Any

import pytest
import trio.testing

import trio_stream as ts
from trio_stream.testing import RecordedEnd, RecordingError, read_recordings, replay
from trio_stream.testing.convert import convert, main

STREAM = (
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant",'
    b'"model":"claude-opus-5","content":[],"stop_reason":null,"stop_sequence":null,'
    b'"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
    b'"content_block":{"type":"text","text":""}}\n\n'
    b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,'
    b'"delta":{"type":"text_delta","text":"Ol\xc3\xa1"}}\n\n'
    b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
    b'"usage":{"output_tokens":4}}\n\n'
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
)
REQUEST = {"model": "claude-opus-5", "max_tokens": 10, "messages": [{"role": "user", "content": "Hi"}], "stream": True}

CASSETTE = f"""
interactions:
- request:
    body: '{json.dumps(REQUEST)}'
    headers:
      x-api-key: [sk-ant-secret]
    method: POST
    uri: https://api.anthropic.com/v1/messages?beta=true
  response:
    body:
      string: !!binary |
        {base64.b64encode(gzip.compress(STREAM, mtime=0)).decode()}
    headers:
      Content-Type: [text/event-stream; charset=utf-8]
      Content-Encoding: [gzip]
      Set-Cookie: [session=1]
      request-id: [req_1]
    status: {{code: 200, message: OK}}
- request:
    body: ''
    method: GET
    uri: https://example.com/v1/models
  response:
    body: {{string: ''}}
    status: {{code: 200}}
version: 1
"""


def response(body: Any, **more: Any) -> str:
    return json.dumps(
        {
            "interactions": [
                {
                    "request": {
                        "uri": "https://gateway/anthropic/v1/messages",
                        "parsed_body": REQUEST,
                        "method": "POST",
                    },
                    "response": {"status": {"code": 200}, "headers": {"content-type": "x"}, **body, **more},
                }
            ]
        }
    )


async def test_a_cassette_plays(autojump_clock: trio.testing.MockClock, tmp_path: Path) -> None:
    """The command makes a recording of a cassette, without its secrets, and `replay` plays it."""
    cassette = tmp_path / "cassette.yaml"
    cassette.write_text(CASSETTE)
    assert main([str(cassette)]) == 0
    path = tmp_path / "cassette.jsonl"
    assert "secret" not in path.read_text()
    assert "session" not in path.read_text()
    (recorded,) = read_recordings(path)
    assert recorded.headers == {
        "content-type": "text/event-stream; charset=utf-8",
        "content-encoding": "gzip",
        "request-id": "req_1",
    }
    assert (recorded.body, recorded.end) == (STREAM, RecordedEnd.COMPLETE)
    async with (
        ts.Client(api_key="test", transport=replay(path)) as client,
        client.messages.stream(**{key: value for key, value in REQUEST.items() if key != "stream"}) as stream,
    ):
        assert await stream.get_final_text() == "Olá"
        assert stream.request_id == "req_1"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"body": {"string": "text"}}, b"text"),
        ({"body": {"base64_string": base64.b64encode(b"\xff").decode()}}, b"\xff"),
        ({"body": "text"}, b"text"),
        ({"content": "text"}, b"text"),
        ({"parsed_body": {"a": 1}}, b'{"a":1}'),
        ({"body": None}, b""),
    ],
)
def test_bodies(tmp_path: Path, body: Any, expected: bytes) -> None:
    """The forms in which cassettes keep bodies."""
    path = tmp_path / "recording.jsonl"
    path.write_bytes(b"".join(convert(response(body))))
    (recorded,) = read_recordings(path)
    assert recorded.body == expected
    assert recorded.request.path == "/v1/messages"
    assert sorted(recorded.request.hash) == ["max_tokens", "messages", "model", "stream"]


def test_deflate_and_what_only_says_so(tmp_path: Path) -> None:
    """A body is decompressed if it is compressed, whatever its header says."""
    path = tmp_path / "recording.jsonl"
    for coding, body, expected in (
        ("deflate", zlib.compress(b"text"), b"text"),
        ("gzip", b"text", b"text"),
        ("br", b"text", b"text"),
    ):
        encoded = {"base64_string": base64.b64encode(body).decode()}
        path.write_bytes(b"".join(convert(response({"body": encoded}, headers={"Content-Encoding": coding}))))
        assert read_recordings(path)[0].body == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[1]", "no list of `interactions`"),
        ('{"interactions": 3}', "no list of `interactions`"),
        ("a: [", "no YAML"),
        (response({"body": "x"}, status="fine"), "has no status"),
    ],
)
def test_what_is_no_cassette(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, complaint: str) -> None:
    """One line says what is wrong with which file; nothing is written."""
    path = tmp_path / "cassette.yaml"
    path.write_text(text)
    assert main([str(path)]) == 1
    assert complaint in capsys.readouterr().err
    assert not path.with_suffix(".jsonl").exists()
    with pytest.raises(RecordingError, match=complaint):
        list(convert(text))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Several cassettes, one output, none that is there, and no PyYAML."""
    good, other = tmp_path / "good.yaml", tmp_path / "other.yaml"
    good.write_text(CASSETTE)
    other.write_text("interactions: []")
    assert main([str(good), str(other), str(tmp_path / "missing.yaml")]) == 1
    assert "other.yaml: no answer of the Messages API" in (err := capsys.readouterr().err)
    assert "missing.yaml: [Errno 2]" in err
    assert (tmp_path / "good.jsonl").exists()
    assert main([str(good), "-o", str(tmp_path / "out.jsonl")]) == 0
    with pytest.raises(SystemExit):
        main([str(good), str(other), "-o", "x"])
    monkeypatch.delitem(sys.modules, "trio_stream.testing.convert")
    monkeypatch.setattr(sys, "argv", ["convert", str(other)])
    with pytest.raises(SystemExit, match="1"):
        runpy.run_module("trio_stream.testing.convert", run_name="__main__")
    monkeypatch.setitem(sys.modules, "yaml", None)
    assert main([str(good)]) == 1
    assert "pip install pyyaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("encoding", "body"),
    [("gzip", gzip.compress(STREAM)[:-20]), ("br", b"\x8b\x10\x80\x03\xff"), ("deflate", zlib.compress(STREAM)[:-20])],
)
def test_bodies_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], encoding: str, body: bytes
) -> None:
    """What is cut, or compressed in a way that the standard library does not know, is told with the cure."""
    cassette = tmp_path / "cassette.json"
    kept = {"body": {"base64_string": base64.b64encode(body).decode()}}
    cassette.write_text(response(kept, headers={"content-encoding": [encoding]}))
    assert main([str(cassette)]) == 1
    assert f"cannot be decompressed ({encoding})" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [cassette]


def test_bodies_that_were_kept_decompressed() -> None:
    """Whatever the header says."""
    for encoding in ("br", "GZIP", "identity", ""):
        lines = list(convert(response({"body": {"string": "hello"}}, headers={"content-encoding": [encoding]})))
        assert json.loads(lines[1])["text"] == "hello"


def test_a_recording_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cassette = tmp_path / "cassette.json"
    cassette.write_text(response({"body": {"string": "hello"}}))
    assert main([str(cassette), "-o", str(tmp_path / "missing" / "recording.jsonl")]) == 1
    assert "No such file or directory" in capsys.readouterr().err
