"""`trio_stream.types` has every value, and a kind of block, delta or event is known by being in its union."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

import trio_stream as ts
import trio_stream.types
from trio_stream._protocol import _blocks, _decode, _events, _growth, _sse

ROOT = Path(__file__).parents[2]
MODULES = [
    *(
        f"_{name}"
        for name in (
            "batches",
            "block_bases",
            "blocks",
            "citations",
            "deltas",
            "events",
            "message",
            "rate_limits",
            "tool_results",
        )
    ),
    *(
        f"_{name}"
        for name in (
            "history",
            "usage",
            "params",
            "params_batches",
            "params_content",
            "params_documents",
            "params_results",
        )
    ),
    *("_params_shared", "_params_tools", "_params_turns", "_sdk_names", "_stop_reason"),
]
"""Those that define values."""

NOT_FOR_USERS = {
    "Index": "an int, in the annotations of events",
    "Reply": "what `as_history` makes of a message, on its way between rooms",
    **dict.fromkeys(["Block", "InputBlock"], "bases of blocks: nobody has one that is no more than that"),
    **dict.fromkeys(["BetaParams", "RequestOptions"], "bases of the parameters of calls"),
    **dict.fromkeys(["BatchSharedParams", "BetasParam", "WorkspaceParams"], "bases of the parameters of calls"),
    **dict.fromkeys(["Cacheable", "ClientToolOptions", "ToolOptions"], "bases of parameters within those"),
}


def defined(module: str) -> set[str]:
    """The public classes and type aliases of a module, by its source."""
    tree = ast.parse((ROOT / "trio_stream" / "_protocol" / f"{module}.py").read_text())
    names: set[str] = set()
    for node in [*tree.body, *(inner for outer in tree.body if isinstance(outer, ast.If) for inner in outer.body)]:
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and ast.unparse(node.annotation) == "TypeAlias":
            names.add(ast.unparse(node.target))
        elif isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("TypedDict("):
            names.add(ast.unparse(node.targets[0]))
    return {name for name in names if not name.startswith("_")}


def test_types_has_every_value() -> None:
    every = {name for module in MODULES for name in defined(module)}
    exported = {name for name in vars(trio_stream.types) if not name.startswith("_")}
    assert exported == every - NOT_FOR_USERS.keys()
    assert NOT_FOR_USERS.keys() <= every


def test_every_module_of_values_is_looked_through() -> None:
    """A module that defines a class for users is on the list above."""
    others = {path.stem for path in (ROOT / "trio_stream" / "_protocol").glob("_*.py")} - {*MODULES, "__init__"}
    for module in others:
        assert not defined(module) & vars(trio_stream.types).keys(), module


def test_the_package_has_the_common_ones() -> None:
    for name, value in vars(ts).items():
        if name in vars(trio_stream.types) and not name.startswith("_"):
            assert value is getattr(trio_stream.types, name)


def tags(union: object) -> set[str]:
    return {member.__struct_config__.tag for member in get_args(union)} - {"(unknown)"}


def test_the_tables_are_those_of_the_unions() -> None:
    assert set(_blocks.BLOCKS) == tags(_blocks.ContentBlock)
    assert set(_decode._READERS) == tags(_events.RawMessageStreamEvent)
    assert set(_sse._TYPES.values()) == tags(_events.RawMessageStreamEvent)
    assert {event.made_of for event in _events.HELPER_EVENTS.values()} == set(_events.HELPER_EVENTS)


def test_every_delta_is_taken_by_a_block() -> None:
    taken = {delta for block in _blocks.BLOCKS.values() for delta in block.grows_by}
    assert taken == {delta for delta in get_args(trio_stream.types.Delta) if delta is not ts.UnknownDelta}


@pytest.mark.parametrize("block", _blocks.BLOCKS.values(), ids=_blocks.BLOCKS)
def test_what_a_block_grows_by_fits_both(block: Any) -> None:
    """The fields that are named exist, and there is at most one delta of each kind that needs a place to grow in."""
    ways = block.grows_by.items()
    for delta, growth in ways:
        match growth:
            case _growth.Append():
                assert growth.piece in delta.__struct_fields__
                assert getattr(block(), growth.field) == ""
            case _growth.Collect():
                assert growth.item in delta.__struct_fields__
                assert growth.field in block.__struct_fields__
            case _:
                assert set(delta.__struct_fields__) <= set(block.__struct_fields__)
    kinds = [type(growth) for _, growth in ways if not isinstance(growth, _growth.Replace)]
    assert len(kinds) == len(set(kinds))


# ----- an imaginary kind

# What a real one would need too: docs/architecture.md.
ADDITIONS = {
    "_protocol/_deltas.py": (
        "@final\nclass UnknownDelta(",
        """@final
class AudioDelta(Tagged, frozen=True, gc=False, tag="audio_delta"):
    \"\"\"More sound.\"\"\"

    type: ClassVar[Literal["audio_delta"]] = "audio_delta"
    data: str


@final
class TranscriptDelta(Tagged, frozen=True, gc=False, tag="transcript_delta"):
    \"\"\"What was said. Beta.\"\"\"

    type: ClassVar[Literal["transcript_delta"]] = "transcript_delta"
    transcript: str | None = None


""",
        ("| UnknownDelta\n", "| UnknownDelta | AudioDelta | TranscriptDelta\n"),
    ),
    "_protocol/_blocks.py": (
        "@final\nclass FallbackInfo(",
        """@final
class AudioBlock(Block, frozen=True, kw_only=True, tag="audio"):
    \"\"\"Sound for the listener. Beta.\"\"\"

    type: ClassVar[Literal["audio"]] = "audio"
    grows_by: ClassVar[GrowsBy] = {AudioDelta: Append("data", "data"), TranscriptDelta: Replace()}
    data: str = ""
    transcript: str | None = None


""",
        ("    CitationsDelta,\n", "    AudioDelta,\n    TranscriptDelta,\n    CitationsDelta,\n"),
        ("    | FallbackBlock\n", "    | FallbackBlock\n    | AudioBlock\n"),
    ),
    "_protocol/_params_content.py": (
        "ContentBlockParam: TypeAlias",
        """class AudioBlockParam(TypedDict):
    \"\"\"Sound, sent back as it came. Beta.\"\"\"

    type: Literal["audio"]
    data: str


""",
        ("    | FallbackBlockParam\n", "    | FallbackBlockParam\n    | AudioBlockParam\n"),
    ),
    "_protocol/_events.py": (
        "_LONGEST_NAME = 50\n",
        """@final
class AudioEvent(Tagged, frozen=True, gc=False, tag="audio"):
    \"\"\"More sound.\"\"\"

    type: ClassVar[Literal["audio"]] = "audio"
    made_of: ClassVar[_DeltaClass] = AudioDelta
    data: str
    _pieces: list[str]
    _count: int


@final
class ProgressEvent(Tagged, frozen=True, gc=False, tag="progress"):
    \"\"\"How far it is.\"\"\"

    type: ClassVar[Literal["progress"]] = "progress"
    percent: int


""",
        ("    CitationsDelta,\n", "    AudioDelta,\n    CitationsDelta,\n"),
        ("    | ErrorEvent\n", "    | ErrorEvent\n    | ProgressEvent\n"),
        ("    | CompactionEvent\n", "    | CompactionEvent\n    | AudioEvent\n"),
    ),
    "types.py": (
        "from trio_stream._protocol._citations import (",
        """from trio_stream._protocol._blocks import AudioBlock as AudioBlock
from trio_stream._protocol._deltas import AudioDelta as AudioDelta, TranscriptDelta as TranscriptDelta
from trio_stream._protocol._events import AudioEvent as AudioEvent, ProgressEvent as ProgressEvent
from trio_stream._protocol._params_content import AudioBlockParam as AudioBlockParam
""",
    ),
}

PROGRAM = """
import json, sys
import trio_stream, trio_stream.types as types
from docs.value_lists import expand
from trio_stream._protocol import EventStreamParser, MessageAccumulator, build_body, decode_event

accumulator = MessageAccumulator()
delivered = []
for raw in EventStreamParser().feed(sys.stdin.buffer.read()):
    event = decode_event(raw)
    print(type(event).__name__, type(getattr(event, "delta", None)).__name__, file=sys.stderr)
    if event.type != "progress":
        delivered += accumulator.add(event)
message = accumulator.snapshot()
(block,) = message.content
assert type(block) is types.AudioBlock, block
again = trio_stream.Message.from_dict(message.to_dict())
print(json.dumps({
    "block": block.to_dict(),
    "param": block.to_param(),
    "again": again == message,
    "helpers": [[event.data, event._count] for event in delivered if event.type == "audio"],
    "body": json.loads(build_body({"model": "m", "messages": [message]}, stream=None)),
    "documented": expand(open("docs/api.md").read()) + expand(open("docs/api-params.md").read()),
}))
"""


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


STREAM = b"".join(
    [
        event("message_start", message={"id": "m", "type": "message", "model": "x", "content": [], "usage": {}}),
        event("progress", percent=5),
        event("content_block_start", index=0, content_block={"type": "audio", "data": "AA", "codec": "opus"}),
        event("content_block_delta", index=0, delta={"type": "audio_delta", "data": "BB"}),
        event("content_block_delta", index=0, delta={"type": "audio_delta", "data": "CC"}),
        event("content_block_delta", index=0, delta={"type": "transcript_delta", "transcript": "hum"}),
        event("content_block_stop", index=0),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 1}),
        event("message_stop"),
    ]
)


def copy_with(additions: dict[str, Any], place: Path) -> None:
    """A copy of the package and its documentation, with these additions."""
    shutil.copytree(ROOT / "trio_stream", place / "trio_stream", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", place / "docs", ignore=shutil.ignore_patterns("__pycache__", "_build"))
    for name, (before, added, *replaced) in additions.items():
        path = place / "trio_stream" / name
        text = path.read_text()
        for old, new in [(before, added + before), *replaced]:
            assert text.count(old) == 1, (name, old)
            text = text.replace(old, new)
        path.write_text(text)


def run_in(place: Path, *command: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(place)}
    return subprocess.run(
        [sys.executable, *command], cwd=place, env=environment, input=stdin, capture_output=True, check=False
    )


def test_an_imaginary_block_with_its_deltas(tmp_path: Path) -> None:
    """Its classes in their unions, and its names in ``types``: nothing else has to know it."""
    copy_with(ADDITIONS, tmp_path)
    done = run_in(tmp_path, "-W", "error", "-c", PROGRAM, stdin=STREAM)
    assert done.returncode == 0, done.stderr.decode()
    seen = json.loads(done.stdout)
    whole = {"type": "audio", "data": "AABBCC", "transcript": "hum", "codec": "opus"}
    assert seen["block"] == seen["param"] == whole
    assert seen["again"] is True
    assert seen["helpers"] == [["BB", 2], ["CC", 3]]
    assert seen["body"] == {"model": "m", "messages": [{"role": "assistant", "content": [whole]}]}
    decoded = done.stderr.decode().split()
    assert {"ProgressEvent", "AudioDelta", "TranscriptDelta"} <= set(decoded)
    for name in ("AudioBlock", "AudioDelta", "TranscriptDelta", "AudioEvent", "ProgressEvent", "AudioBlockParam"):
        assert re.search(rf"^\.\. autoclass:: trio_stream\.types\.{name}$", seen["documented"], re.MULTILINE), name


def test_a_block_that_types_lacks_is_missed(tmp_path: Path) -> None:
    """The test of the list above fails where a name was forgotten."""
    copy_with({name: what for name, what in ADDITIONS.items() if name != "types.py"}, tmp_path)
    shutil.copytree(ROOT / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    command = (
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--noconftest",
        "-c",
        os.devnull,
        "--rootdir",
        str(tmp_path),
    )
    done = run_in(tmp_path, *command, f"{tmp_path}/tests/protocol/test_types.py::test_types_has_every_value")
    assert done.returncode == 1, done.stdout.decode()
    assert "AudioBlock" in done.stdout.decode()
