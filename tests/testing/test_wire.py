"""Single things as the scripted API writes them."""

from __future__ import annotations

from hypothesis import given, strategies as st

from trio_stream.testing._wire import (
    base_headers,
    count_input_tokens,
    count_tokens,
    header,
    json_pieces,
    make_id,
    merge_headers,
    text_pieces,
)


@given(st.text())
def test_splitting_text_loses_nothing(text: str) -> None:
    pieces = text_pieces(text)
    assert "".join(pieces) == text
    assert all(pieces)


@given(st.text(), st.integers(1, 50))
def test_splitting_json_loses_nothing(text: str, size: int) -> None:
    first, *others = json_pieces(text, size)
    assert first == ""
    assert "".join(others) == text
    assert all(0 < len(piece) <= size for piece in others)


def test_pieces_are_words_with_their_blanks() -> None:
    assert text_pieces("Hello there,\n\nextraordinarily long  ") == [
        "Hello", " there,", "\n\nextraordinar", "ily", " long", "  "
    ]  # fmt: skip


def test_tokens_are_about_four_bytes() -> None:
    assert [count_tokens(text) for text in ("", "abc", "abcd", "abcde", "🙂")] == [0, 1, 1, 2, 1]
    assert count_input_tokens({"messages": [], "max_tokens": 1}) > 0
    assert count_input_tokens(None) > 0


def test_ids_are_the_same_for_the_same_seeds() -> None:
    assert make_id("msg", 1) == make_id("msg", 1) != make_id("msg", 2)
    assert len(make_id("msg", 1)) == len("msg_01") + 22


def test_rate_limits_go_down_and_are_never_used_up() -> None:
    assert header(base_headers(1), "anthropic-ratelimit-requests-remaining") == "3999"
    for number in range(10_000, 10_100):
        assert int(header(base_headers(number), "anthropic-ratelimit-requests-remaining") or 0) > 3900


def test_headers_are_merged_without_case() -> None:
    assert merge_headers([("a", "1"), ("b", "2")], {"A": "3", "B": None, "c": "4"}) == (("A", "3"), ("c", "4"))
    assert header([("A", "1")], "a") == "1"
    assert header([], "a") is None
