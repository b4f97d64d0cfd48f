"""The framing of one answer: whole, byte by byte, and in every split."""

from __future__ import annotations

import gc

import pytest
from hypothesis import given, strategies as st

from tests.wire.answers import CHUNKED_HEAD, LAST_CHUNK, OK, chunk, sized
from trio_stream._http._parser import ResponseParser


def parser(**options: object) -> ResponseParser:
    settings: dict[str, object] = {"method": "POST", "max_header_bytes": 65536, "max_interim_answers": 32}
    return ResponseParser(**{**settings, **options})  # type: ignore[arg-type]


def feed_all(pieces: list[bytes], *, eof: bool = False, **options: object) -> tuple[ResponseParser, bytes]:
    parsing = parser(**options)
    body = b""
    for piece in pieces:
        if parsing.ended:
            break
        body += parsing.feed(piece)
    if eof:
        parsing.feed_eof()
    return parsing, body


WHOLE = {
    "content-length": (sized(b"hello"), b"hello", True),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
    "empty": (sized(b""), b"", True),
    "chunked": (CHUNKED_HEAD + chunk(b"hel") + chunk(b"lo") + LAST_CHUNK, b"hello", True),
    "trailers": (CHUNKED_HEAD + chunk(b"hello") + b"0\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n", b"hello", True),
    "chunk extension": (CHUNKED_HEAD + b"5;name=value\r\nhello\r\n" + LAST_CHUNK, b"hello", True),
    "gzip, chunked": (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk(b"hello") + LAST_CHUNK, b"hello", True),
    "connection close": (sized(b"hello", b"Connection: close"), b"hello", False),
    "100 and 103 first": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + sized(b"hello"),
        b"hello",
        True,
    ),
    "HTTP/1.0 keep-alive": (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello",
        b"hello",
        True,
    ),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", False),
    "HTTP/1.0 chunked": (CHUNKED_HEAD.replace(b"1.1", b"1.0") + chunk(b"hello") + LAST_CHUNK, b"hello", False),
    "leading line ends": (b"\r\n\r\n" + sized(b"hello"), b"hello", True),
}
UNTIL_EOF = {
    "no framing": (OK + b"\r\nhello", b"hello"),
    "HTTP/1.0, no framing": (b"HTTP/1.0 200 OK\r\n\r\nhello", b"hello"),
    "gzip is not chunked": (OK + b"Transfer-Encoding: gzip\r\n\r\nhello", b"hello"),
}


@pytest.mark.parametrize("wire, body, reusable", WHOLE.values(), ids=WHOLE)
def test_whole_answers_in_every_split(wire, body, reusable):
    splits = [[wire], [wire[i : i + 1] for i in range(len(wire))]]
    splits += [[wire[:i], wire[i:]] for i in range(1, len(wire))]
    for pieces in splits:
        parsing, got = feed_all(pieces)
        assert got == body
        assert parsing.complete
        assert parsing.ended
        assert parsing.failure is None
        assert parsing.reusable is reusable
        assert parsing.head is not None
        assert parsing.head.status_code in (200, 204)


@given(st.data())
def test_any_split_gives_the_same(data):
    wire, body, _ = data.draw(st.sampled_from(list(WHOLE.values())))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(wire) - 1), max_size=12)))
    pieces = [wire[a:b] for a, b in zip([0, *cuts], [*cuts, len(wire)], strict=True)]
    parsing, got = feed_all(pieces)
    assert (got, parsing.complete) == (body, True)


@pytest.mark.parametrize("wire, body", UNTIL_EOF.values(), ids=UNTIL_EOF)
def test_the_connection_ends_a_body_without_framing(wire, body):
    for pieces in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        parsing, got = feed_all(pieces)
        assert not parsing.ended
        parsing.feed_eof()
        assert (got, parsing.complete, parsing.reusable) == (body, True, False)


@pytest.mark.parametrize("name", WHOLE)
def test_eof_at_every_byte_is_noticed(name):
    """No prefix of a framed answer counts as complete."""
    wire, body, _ = WHOLE[name]
    end = len(wire)
    for cut in range(1, end):
        parsing, got = feed_all([wire[:cut]], eof=True)
        assert parsing.ended
        assert body.startswith(got)
        if not parsing.complete:
            assert parsing.failure is not None
            part = "headers" if parsing.head is None else "body"
            assert part in parsing.failure
        else:
            assert got == body


def test_eof_after_the_end_changes_nothing():
    parsing, _ = feed_all([sized(b"hello")], eof=True)
    assert parsing.complete
    assert not parsing.reusable


def test_head():
    parsing, _ = feed_all(
        [b"HTTP/1.1 529 Site is overloaded\r\nRequest-Id: r\xe9q\r\nEmpty:\r\nContent-Length: 0\r\n\r\n"]
    )
    assert parsing.head is not None
    assert parsing.head.status_code == 529
    assert parsing.head.reason == b"Site is overloaded"
    assert parsing.head.headers == [(b"Request-Id", b"r\xe9q"), (b"Empty", b""), (b"Content-Length", b"0")]
    assert parsing.head.http_version == "HTTP/1.1"


def test_an_interim_head_leaves_nothing_behind():
    wire = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 Fine\r\nContent-Length: 0\r\n\r\n"
    for pieces in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        parsing, _ = feed_all(pieces)
        assert parsing.head is not None
        assert parsing.head.reason == b"Fine"
        assert parsing.head.headers == [(b"Content-Length", b"0")]


REFUSED = {
    "not HTTP": (b"SSH-2.0-OpenSSH_9.6\r\n", "cannot be parsed"),
    "TLS alert": (b"\x15\x03\x01\x00\x02\x02\x46", "cannot be parsed"),
    "HTTP/2": (b"HTTP/2.0 200 OK\r\n\r\n", "not HTTP/1.1"),
    "RTSP": (b"RTSP/1.0 200 OK\r\n\r\n", "not HTTP/1.1"),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nblah", "101"),
    "101 without Upgrade": (b"HTTP/1.1 101 Switching Protocols\r\n\r\nblah", "101"),
    "status 000": (b"HTTP/1.1 000 Nothing\r\n\r\n", "000"),
    "two content-lengths": (OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", "Content-Length"),
    "two lengths in one": (OK + b"Content-Length: 5, 6\r\n\r\nhello", "Content-Length"),
    "negative length": (OK + b"Content-Length: -5\r\n\r\nhello", "Content-Length"),
    "two lengths beside a fold": (OK + b"A: b\r\n c\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "headers"),
    "a blank before the colon": (OK + b"Content-Length : 5\r\n\r\nhello", "header"),
    "status of four digits": (b"HTTP/1.1 2000 OK\r\n\r\n", "headers"),
    "100 with a body": (b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello" + OK + b"\r\n", "headers"),
    "blank in a name": (OK + b"Bad Name: 1\r\n\r\n", "header"),
    "fold before the first header": (b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n", "headers"),
    "CR in a value": (OK + b"A: b\rc\r\n\r\n", "headers"),
    "NUL in a value": (OK + b"A: b\0c\r\n\r\n", "headers"),
    "chunked, chunked": (OK + b"Transfer-Encoding: chunked, chunked\r\n\r\n5\r\nhello\r\n", "chunked twice"),
    "chunked and chunked": (
        OK + b"Transfer-Encoding: chunked\r\ntransfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n",
        "chunked twice",
    ),
    "huge length": (OK + b"Content-Length: 99999999999999999999999\r\n\r\n", "Content-Length"),
}


CHUNKS = chunk(b"hel") + chunk(b"lo") + LAST_CHUNK
TOLERATED = {
    "chunked beside a length": (OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS),
    "a length beside chunked": (OK + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" + CHUNKS),
    "chunked beside two lengths": (
        OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n" + CHUNKS
    ),
    "blanks after a chunk's size": CHUNKED_HEAD + b"3  \r\nhel\r\n2 \r\nlo\r\n0\r\n\r\n",
    "a tab after a chunk's size": CHUNKED_HEAD + b"3\t\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    "bare LF": sized(b"hello", b"A: b").replace(b"\r\n", b"\n"),
    "bare LF, chunked": CHUNKED_HEAD.replace(b"\r\n", b"\n") + CHUNKS,
    "bare LF in one line": OK.replace(b"OK\r\n", b"OK\n") + b"Content-Length: 5\r\n\r\nhello",
    "bare LF at the end of the head": OK + b"Content-Length: 5\r\n\nhello",
    "bare LF, 103 first": b"HTTP/1.1 103 Hints\nA: b\n\n" + sized(b"hello").replace(b"\r\n", b"\n"),
    "bare LF after a good 100": b"HTTP/1.1 100 Continue\r\n\r\n" + sized(b"hello").replace(b"\r\n", b"\n"),
    "leading line ends and bare LF": b"\r\n\n" + sized(b"hello").replace(b"\r\n", b"\n"),
    "folded header": sized(b"hello", b"A: b\r\n c: d"),
    "folded by a tab, twice": sized(b"hello", b"A: b\r\n\tc\r\n   d"),
    "the same length twice": sized(b"hello", b"content-length: 5"),
    "the same length three times": sized(b"hello", b"content-length: 5", b"CONTENT-LENGTH:5 "),
    "the same length in one header": OK + b"Content-Length: 5, 5\r\n\r\nhello",
}


@pytest.mark.parametrize("wire", TOLERATED.values(), ids=TOLERATED)
def test_what_a_user_agent_reads_all_the_same(wire):
    """RFC 9112, 2.2, 5.2, 6.3. The connection is not used again."""
    splits = [[wire], [wire[i : i + 1] for i in range(len(wire))]]
    splits += [[wire[:i], wire[i:]] for i in range(1, len(wire))]
    for pieces in splits:
        parsing, got = feed_all(pieces)
        assert parsing.failure is None
        assert got == b"hello"
        assert parsing.complete
        assert not parsing.reusable
        assert not parsing.keep_alive
        assert parsing.head is not None
        assert parsing.head.status_code == 200


def test_a_fold_is_a_blank():
    parsing, _ = feed_all([sized(b"", b"A: b\r\n  c\r\n\td")])
    assert parsing.head is not None
    assert (b"A", b"b c d") in parsing.head.headers


def test_a_refused_head_is_bounded_too():
    parsing, body = feed_all([OK + b"A: b\r\n c\r\n", *[b"x: %b\r\n" % (b"y" * 100)] * 1000], max_header_bytes=4096)
    assert body == b""
    assert parsing.failure is not None
    assert "4096" in parsing.failure


def test_a_refused_head_that_does_not_end():
    parsing, _ = feed_all([OK + b"A: b\r\n c\r\n"], eof=True)
    assert parsing.failure == "the connection was closed in the middle of the headers"


def test_a_body_until_the_end_below_a_refused_head():
    parsing, body = feed_all([OK + b"A: b\r\n c\r\n\r\nhello"], eof=True)
    assert body == b"hello"
    assert parsing.complete
    assert not parsing.reusable


@pytest.mark.parametrize("wire, says", REFUSED.values(), ids=REFUSED)
def test_refused_heads(wire, says):
    for pieces in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        parsing, body = feed_all(pieces)
        assert parsing.head is None
        assert parsing.ended
        assert parsing.failure is not None
        assert says in parsing.failure
        assert not parsing.reusable
        assert body == b""


@pytest.mark.parametrize("bad", [b"zz\r\n", b"-1\r\n", b"fffffffffffffffffff\r\n", b"5\nhello\r\n"])
def test_a_bad_chunk_does_not_swallow_the_body_before_it(bad):
    wire = CHUNKED_HEAD + chunk(b"first") + bad
    for pieces in ([wire], [wire[i : i + 1] for i in range(len(wire))]):
        parsing, body = feed_all(pieces)
        assert body == b"first"
        assert parsing.failure is not None
        assert "body cannot be parsed" in parsing.failure
        assert not parsing.reusable


@pytest.mark.parametrize(
    "stray",
    [sized(b"evil"), b"HTTP/1.1 200 OK\r\n\r\nevil", b"x", b"\x00\xff", CHUNKED_HEAD + chunk(b"evil")],
)
@pytest.mark.parametrize("answer", [sized(b"hello"), sized(b"hello", b"Connection: close")])
def test_bytes_after_the_end_are_never_part_of_the_body(answer, stray):
    parsing, body = feed_all([answer + stray])
    assert body == b"hello"
    assert parsing.complete
    assert parsing.failure is None
    assert not parsing.reusable
    assert parsing.head is not None
    assert parsing.head.headers[0] == (b"Content-Length", b"5")


def test_head_request_has_no_body():
    parsing, body = feed_all([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"], method="HEAD")
    assert parsing.complete
    assert body == b""
    assert not parsing.reusable


@pytest.mark.parametrize("size", [1, 1000, 65536])
def test_a_large_header_is_refused(size):
    wire = OK + b"X-Large: " + b"a" * 200_000 + b"\r\n\r\n"
    parsing, _ = feed_all([wire[i : i + size] for i in range(0, len(wire), size)])
    assert parsing.head is None
    assert parsing.failure == "a header block of more than 65536 bytes"


def test_many_header_lines_are_refused():
    fed = 0
    parsing = parser()
    parsing.feed(OK)
    while not parsing.ended:
        line = b"X-Line: %d\r\n" % fed
        parsing.feed(line)
        fed += len(line)
    assert fed < 70_000
    assert parsing.failure == "a header block of more than 65536 bytes"


def test_a_head_that_fits_is_taken_with_body_in_the_same_read():
    wire = OK + b"X: " + b"a" * 60_000 + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk(b"b" * 60_000) + LAST_CHUNK
    parsing, body = feed_all([wire[:65536], wire[65536:]])
    assert body == b"b" * 60_000
    assert parsing.reusable


@pytest.mark.parametrize("filler", [b"X-T: 1\r\n" * 20_000, b"X: " + b"a" * 100_000], ids=["many", "long"])
def test_endless_trailers_are_refused(filler):
    wire = CHUNKED_HEAD + chunk(b"hello") + b"0\r\n" + filler
    parsing, body = feed_all([wire[i : i + 1000] for i in range(0, len(wire), 1000)])
    assert body == b"hello"
    assert parsing.failure == "a stretch without a byte of the body of more than 65536 bytes"


def test_an_endless_chunk_extension_is_refused():
    wire = CHUNKED_HEAD + chunk(b"hello") + b"5;" + b"x" * 100_000
    parsing, body = feed_all([wire[i : i + 1000] for i in range(0, len(wire), 1000)])
    assert body == b"hello"
    assert parsing.failure == "a stretch without a byte of the body of more than 65536 bytes"


@pytest.mark.parametrize("count, taken", [(3, True), (4, False)])
def test_interim_answers_are_counted(count, taken):
    wire = b"HTTP/1.1 103 Early Hints\r\n\r\n" * count + sized(b"hello")
    parsing, _ = feed_all([wire], max_interim_answers=3)
    assert (parsing.head is not None) is taken
    assert parsing.failure == (None if taken else "too many 1xx answers before the final one")


def test_long_body_is_not_bounded():
    parsing = parser()
    parsing.feed(CHUNKED_HEAD)
    for _ in range(100):
        assert parsing.feed(chunk(b"x" * 1000)) == b"x" * 1000
    assert not parsing.ended


def test_one_piece_is_not_copied():
    """What the parser cut out is handed on as it is; several pieces are joined."""
    parsing = parser()
    parsing.feed(CHUNKED_HEAD)
    assert parsing.feed(chunk(b"abc")) == b"abc"
    assert parsing.feed(chunk(b"abc") + chunk(b"def")) == b"abcdef"


def test_discard_leaves_no_cycle():
    """One answer a connection, thousands of answers: none of them waits for the garbage collector."""

    def alive() -> int:
        return sum(isinstance(thing, ResponseParser) for thing in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = alive()
        parsing, _ = feed_all([sized(b"hello")])
        parsing.discard()
        del parsing
        assert alive() == before
    finally:
        gc.enable()


def test_nothing_is_parsed_after_discard():
    parsing, _ = feed_all([CHUNKED_HEAD + chunk(b"hello")])
    parsing.discard()
    assert parsing.feed(chunk(b"more")) == b""
    assert parsing.ended
