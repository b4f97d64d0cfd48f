"""`_values`: what all values of the API have in common."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from typing import Any

import msgspec
import pytest

from tests.protocol.feeding import accumulate, without_nulls
from tests.protocol.test_blocks import IDS, WHOLE
from tests.wire.events import STOP, block_delta, block_start, block_stop, message_delta, message_start, text_delta
from trio_stream import IncompleteStreamError
from trio_stream._protocol import Message, MessageStreamEvent, TextBlock
from trio_stream._protocol._blocks import read_block
from trio_stream._protocol._values import Extended, UnknownObject, by_tag

# `coverage --source=a.package` imports the package to find it, and forgets it again: then there are two msgspecs.
two_msgspecs = Message().__reduce__()[0] is not getattr(sys.modules["msgspec._utils"], "rebuild", None)
pickles = pytest.mark.skipif(two_msgspecs, reason="msgspec was imported twice, so its values cannot be pickled")


@pickles
@pytest.mark.parametrize("raw", WHOLE, ids=IDS)
def test_pickled_blocks(raw: dict[str, Any]) -> None:
    """They may travel to another process."""
    block = read_block({**raw, "new": 1})
    assert pickle.loads(pickle.dumps(block)) == block


@pickles
def test_pickled_error_with_a_partial_message() -> None:
    """So may what was received before an error, and everything that was delivered."""
    accumulator, events = accumulate(
        [
            message_start(),
            block_start(0),
            text_delta("a"),
            block_delta("citations_delta", citation={"type": "new"}),
            block_stop(0),
            block_start(1, "tool_use"),
            block_delta("input_json_delta", 1, partial_json="{"),
            message_delta(),
            STOP,
        ]
    )
    error = IncompleteStreamError("cut", partial=accumulator.snapshot())
    assert pickle.loads(pickle.dumps(error)).partial == accumulator.snapshot()
    copies: list[MessageStreamEvent] = pickle.loads(pickle.dumps(events))
    assert copies == events


def test_unknown_values() -> None:
    """They are what they hold."""
    value = UnknownObject(raw={"type": "new", "x": None})
    assert str(value.type) == "new"
    assert value.to_dict() == value.raw
    assert UnknownObject.from_wire(value.raw) == value
    assert str(UnknownObject(raw={}).type) == ""


def subclasses(cls: type[Extended]) -> list[type[Extended]]:
    return [item for child in cls.__subclasses__() for item in (child, *subclasses(child))]


BARE = [
    cls
    for cls in subclasses(Extended)
    if cls.__struct_config__.tag != "(abstract)" and not any(field.required for field in msgspec.structs.fields(cls))
]


@pytest.mark.parametrize("cls", BARE)
def test_nothing_but_the_type(cls: type[Extended]) -> None:
    """What does not need a field can be read without any, and writes itself so that it is read again."""
    tag = cls.__struct_config__.tag
    assert cls.from_wire({"type": tag}) == cls()
    assert cls.from_wire(cls().to_dict()) == cls()
    assert by_tag(cls) == {tag: cls}


def test_without_nulls() -> None:
    """Members that are null are left out at every depth; items of lists are not."""
    assert without_nulls({"a": None, "b": [None, {"c": None, "d": 1}]}) == {"b": [None, {"d": 1}]}


THREADS = """
import sys, threading
import trio_stream as ts

sys.setswitchinterval(1e-6)
raw = {"id": "m", "model": "m", "content": [{"type": "text", "text": "a"}], "usage": {"cache_creation": {}}}
begin = threading.Barrier(8)


def read():
    begin.wait()
    for _ in range(50):
        ts.Message.from_dict(dict(raw))


threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_the_first_values_may_be_read_by_several_threads_at_once() -> None:
    """A program may have a loop in each of its threads. msgspec 0.22 alone is killed by a signal here."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", THREADS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_extra_cannot_be_changed() -> None:
    """All values without unknown fields share one mapping."""
    extra: Any = TextBlock(text="a").extra
    with pytest.raises(TypeError):
        extra["x"] = 1
    assert TextBlock().extra == {}
    assert copy.deepcopy(TextBlock()).extra is extra


def test_a_part_that_must_be_right() -> None:
    """A message whose blocks cannot be read is none."""
    with pytest.raises(msgspec.ValidationError):
        Message.from_wire({"content": [{"type": "text", "text": 5}]})
