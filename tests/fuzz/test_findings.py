"""What fuzzing has found, kept; and every input that fuzzing begins with."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import seeds_of
from tests.fuzz.targets import TARGETS
from tests.wire.answers import MESSAGE

FINDINGS: dict[str, tuple[str, bytes]] = {
    "a terminal's control characters in the name of an invalid event": ("decode", b'\x1b[2J\n"'),
    "the same in a stream": ("stream", b"\xfe\xfe\xfe\xfeevent: \xff\x01\tmessage_start\ndata: {\n\n"),
    "the same in the type of an event after message_stop": (
        "stream",
        b"\xfe\xfe\xfe\xfe" + MESSAGE + b'data: {"type": "\\u001b[2J"}\n\n',
    ),
}
"""What it was: the target, and the input."""


@pytest.mark.parametrize("name", FINDINGS)
def test_findings(name: str) -> None:
    target, data = FINDINGS[name]
    TARGETS[target](data)


@pytest.mark.parametrize("target", TARGETS)
def test_seeds(target: str) -> None:
    """The targets run, and hold for what they begin with."""
    seeds = seeds_of(target, largest=4096)
    assert seeds
    for seed in seeds:
        TARGETS[target](seed)
