"""The body of a request."""

from __future__ import annotations

import enum
import json
import math
import sys
import types
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from trio_stream import InvalidToolInputError, Message, TextBlock, ToolUseBlock
from trio_stream._protocol import Usage, build_body, check_sampling_params, encode_json
from trio_stream.types import CitationCharLocation, UnknownBlock

MINIMAL: dict[str, Any] = {"model": "m", "max_tokens": 5, "messages": []}


def body(stream: bool | None = True, extra_body: Any = None, **params: Any) -> Any:
    return json.loads(build_body({**MINIMAL, **params}, stream=stream, extra_body=extra_body))


# ----- what is sent


def test_what_was_given_is_sent_and_nothing_else() -> None:
    assert body() == {"model": "m", "max_tokens": 5, "messages": [], "stream": True}
    assert body(stream=False)["stream"] is False
    assert body(system=None) == {"model": "m", "max_tokens": 5, "messages": [], "stream": True, "system": None}


def test_counting_tokens_has_neither_stream_nor_max_tokens() -> None:
    assert json.loads(build_body({"model": "m", "messages": []}, stream=None)) == {"model": "m", "messages": []}


def test_extra_body_wins_and_may_bring_what_is_required() -> None:
    assert body(extra_body={"model": "other", "new": [1]}) == {**MINIMAL, "stream": True, "model": "other", "new": [1]}
    assert json.loads(build_body({}, stream=True, extra_body=MINIMAL)) == {**MINIMAL, "stream": True}


def test_parameters_that_travel_as_headers_are_left_out() -> None:
    assert body(betas=["b"], user_profile_id="u", workspace_id="w") == {**MINIMAL, "stream": True}


def test_text_goes_as_utf_8() -> None:
    assert "é☃😀\\u0000\\n".encode() in build_body({**MINIMAL, "system": "é☃😀\0\n"}, stream=True)


MESSAGE = Message(
    id="msg",
    model="m",
    content=(
        TextBlock(text="hi", citations=(CitationCharLocation(cited_text="h", start_char_index=0, end_char_index=1),)),
        ToolUseBlock(id="t", name="f", input_json='{"x": [1, 2.5]}'),
        UnknownBlock(raw={"type": "new", "kept": {"as": "it is"}}),
    ),
    usage=Usage(output_tokens=3),
)
TURN = MESSAGE.to_param()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([MESSAGE], [TURN]),
        ((MESSAGE,), [TURN]),
        (iter([MESSAGE, {"role": "user", "content": "go on"}]), [TURN, {"role": "user", "content": "go on"}]),
        ([{"role": "assistant", "content": MESSAGE.content}], [TURN]),
        ([{"role": "assistant", "content": (block for block in MESSAGE.content)}], [TURN]),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, TextBlock(text="b")]}],
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        ),
        (
            [{"role": "user", "content": [{"type": "tool_result", "content": iter([TextBlock(text="b")])}]}],
            [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "text", "text": "b"}]}]}],
        ),
        (
            deque([types.MappingProxyType({"role": "user", "content": "hi"})]),
            [{"role": "user", "content": "hi"}],
        ),
        ({"only": {"role": "user", "content": "hi"}}.values(), [{"role": "user", "content": "hi"}]),
    ],
)
def test_values_of_ours_and_iterables_stand_for_json(given: Any, sent: Any) -> None:
    assert body(messages=given)["messages"] == sent


RAW = msgspec.Raw(b'{"role": "user",  "content": "kept"}')


def test_what_is_json_already_is_sent_as_it_is() -> None:
    """Byte by byte, among messages of other kinds: as a message, as a content, as a block, and as all messages."""
    messages = [
        RAW,
        MESSAGE,
        {"role": "user", "content": msgspec.Raw(b'[ {"type":"text"} ]')},
        {"role": "user", "content": (msgspec.Raw(b'{"type": "text" }'),)},
        RAW.copy(),
    ]
    sent = build_body({**MINIMAL, "messages": messages}, stream=True)
    for part in (b'[{"role": "user",  "content": "kept"},', b'"content":[ {"type":"text"} ]', b'[{"type": "text" }]'):
        assert part in sent
    assert json.loads(sent)["messages"][1] == MESSAGE.to_param()
    whole = build_body({**MINIMAL, "messages": msgspec.Raw(b"[1,  2]")}, stream=True)
    assert b'"messages":[1,  2]' in whole


@pytest.mark.parametrize(
    ("params", "place"),
    [
        ({"messages": [RAW, msgspec.Raw()]}, r"messages\[1\]"),
        ({"messages": [{"role": "user", "content": msgspec.Raw(b"")}]}, r"messages\[0\].content"),
        ({"messages": msgspec.Raw()}, "messages"),
    ],
)
def test_an_empty_raw_is_refused(params: Any, place: str) -> None:
    """It would leave a gap, and the whole would be no JSON."""
    with pytest.raises(ValueError, match=rf"^{place} is an empty msgspec.Raw"):
        body(**params)


def test_a_request_of_kept_messages_costs_next_to_nothing() -> None:
    """A thousand of them are built with fewer calls than a hundredth of what as many dicts take."""
    plain = [{"role": "user", "content": [{"type": "text", "text": f"turn {n}"}]} for n in range(1_000)]
    kept = [msgspec.Raw(msgspec.json.encode(turn)) for turn in plain]

    def calls(messages: list[Any]) -> tuple[bytes, int]:
        count = 0

        def notice(frame: object, event: str, arg: object) -> None:
            nonlocal count
            count += event == "call"

        sys.setprofile(notice)
        try:
            return build_body({**MINIMAL, "messages": messages}, stream=True), count
        finally:
            sys.setprofile(None)

    (whole, many), (same, few) = calls(plain), calls(kept)
    assert whole == same
    assert few * 100 < many


def test_a_turn_has_only_what_a_request_takes() -> None:
    assert TURN["content"] == [
        {
            "type": "text",
            "text": "hi",
            "citations": [
                {
                    "type": "char_location",
                    "cited_text": "h",
                    "document_index": 0,
                    "document_title": None,
                    "start_char_index": 0,
                    "end_char_index": 1,
                }
            ],
        },
        {"type": "tool_use", "id": "t", "name": "f", "input": {"x": [1, 2.5]}},
        {"type": "new", "kept": {"as": "it is"}},
    ]


class Name(str):
    __slots__ = ()


class Level(enum.IntEnum):
    HIGH = 3


class Size(str, enum.Enum):  # noqa: UP042 - as people have them
    BIG = "big"


class Share(float):
    __slots__ = ()


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        (Name("n"), "n"),
        (Level.HIGH, 3),
        (Size.BIG, "big"),
        (Share(0.5), 0.5),
        (True, True),
        (None, None),
        (2**70, 2**70),
    ],
)
def test_subclasses_of_plain_values_are_sent_as_these(given: Any, sent: Any) -> None:
    assert body(metadata={"v": given, Name("k"): 1})["metadata"] == {"v": sent, "k": 1}


def test_nothing_given_is_changed() -> None:
    content = [TextBlock(text="b")]
    message = {"role": "user", "content": content}
    body(messages=[message])
    assert message == {"role": "user", "content": [TextBlock(text="b")]}
    assert message["content"] is content


# ----- what is refused


@pytest.mark.parametrize(
    ("params", "stream", "missing"),
    [
        ({}, True, "parameters missing: model, max_tokens, messages"),
        ({"model": "m", "messages": []}, True, "parameter missing: max_tokens"),
        ({"model": None, "max_tokens": 1, "messages": []}, False, "parameter missing: model"),
        ({"model": "m"}, None, "parameter missing: messages"),
    ],
)
def test_what_is_missing_is_named(params: Any, stream: Any, missing: Any) -> None:
    with pytest.raises(TypeError, match=missing):
        build_body(params, stream=stream)


@pytest.mark.parametrize("messages", ["SECRET", {"role": "user", "content": "SECRET"}, MESSAGE])
def test_one_message_is_no_list_of_messages(messages: Any) -> None:
    with pytest.raises(TypeError, match="must be a list") as caught:
        body(messages=messages)
    assert "SECRET" not in str(caught.value)


class Model:
    """As pydantic's: iterable over its fields."""

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter([("secret", "SECRET")])

    def model_dump(self) -> dict[str, str]:
        return {}


class Struct(msgspec.Struct):
    text: str = "SECRET"


@pytest.mark.parametrize(
    ("value", "kind", "reason"),
    [
        (math.nan, ValueError, "NaN or infinite"),
        (math.inf, ValueError, "NaN or infinite"),
        (-math.inf, ValueError, "NaN or infinite"),
        (b"SECRET", TypeError, "not JSON: bytes"),
        (bytearray(b"SECRET"), TypeError, "not JSON: bytearray"),
        (memoryview(b"SECRET"), TypeError, "not JSON: memoryview"),
        ({"SECRET"}, TypeError, "not JSON: set"),
        (frozenset({"SECRET"}), TypeError, "not JSON: frozenset"),
        (object(), TypeError, "not JSON: object"),
        (Model(), TypeError, "not JSON: Model"),
        (Struct(), TypeError, "not JSON: Struct"),
        (TextBlock, TypeError, "not JSON"),
        ({1: "SECRET"}, TypeError, "a key that is no str but int"),
        ("SECRET\ud800", ValueError, "lone surrogate"),
        ({"SECRET\ud800": 1}, ValueError, "lone surrogate"),
        pytest.param(10**5000, ValueError, "thousands of digits", id="10**5000"),
        (MESSAGE, TypeError, "a turn of its own"),
    ],
)
def test_what_is_not_json_is_refused_by_place_without_echo(value: Any, kind: Any, reason: Any) -> None:
    messages = [
        {"role": "user", "content": "SECRET"},
        {"role": "user", "content": [{"type": "x"}, {"type": "x", "input": {"ok": [1, "SECRET"], "deep": [0, value]}}]},
    ]
    with pytest.raises(kind, match=reason) as caught:
        body(messages=messages)
    assert str(caught.value).startswith("messages[1].content[1].input.deep[1] ")
    assert "SECRET" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("params", "extra_body", "place"),
    [
        ({"temperature": math.nan}, None, "temperature"),
        ({"metadata": {"a secret, maybe": math.nan}}, None, "metadata[?]"),
        ({"metadata": {"x" * 41: math.nan}}, None, "metadata[?]"),
        ({"system": "\ud800"}, None, "system"),
        ({}, {"new": [math.nan]}, "new[0]"),
        ({}, {5: 1}, "the request"),
    ],
)
def test_places(params: Any, extra_body: Any, place: Any) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        body(extra_body=extra_body, **params)
    assert str(caught.value).startswith(f"{place} ")


def test_nesting_without_end_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested too deeply"):
        body(metadata=endless)


def test_a_cut_tool_block_cannot_be_sent() -> None:
    cut = Message(content=(ToolUseBlock(id="t", name="f", input_json='{"x"', incomplete=True),))
    with pytest.raises(InvalidToolInputError):
        body(messages=[cut])


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner),
    max_leaves=20,
)


@given(json_values)
def test_any_json_arrives_as_it_is(value: Any) -> None:
    assert body(metadata=value)["metadata"] == value


@given(
    st.recursive(
        st.floats() | st.text() | st.binary() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_anything_is_encoded_or_refused(value: Any) -> None:
    try:
        encoded = build_body({**MINIMAL, "metadata": value}, stream=True)
    except (TypeError, ValueError) as error:
        assert str(error).startswith("metadata")
    else:
        json.loads(encoded)


# ----- anthropic-version


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
@pytest.mark.parametrize("value", [0.5, None])
def test_sampling_parameters_need_the_old_version(name: Any, value: Any) -> None:
    check_sampling_params({name: value}, "2023-06-01")
    with pytest.raises(ValueError, match=f'2026-10-21 does not take {name}: .*anthropic_version="2023-06-01"'):
        check_sampling_params({"model": "m", name: value}, "2026-10-21")


def test_all_sampling_parameters_are_named() -> None:
    with pytest.raises(ValueError, match="temperature, top_k: leave them out"):
        check_sampling_params({"top_k": 1, "temperature": 1}, "2026-10-21")


def test_without_them_any_version_will_do() -> None:
    check_sampling_params({"model": "m"}, "2026-10-21")
    check_sampling_params({"model": "m"}, "2031-01-01")


def test_a_part_within_itself_is_refused() -> None:
    """One sentence, and no RecursionError."""
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="the message is nested too deeply"):
        encode_json(endless, "message")
