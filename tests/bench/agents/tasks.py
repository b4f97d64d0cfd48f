"""The tasks, on the server's side: what the model answers.

What belongs here: scripts. What does not: what the clients do with them.
"""

from __future__ import annotations

from trio_stream.testing import RecordedRequest, Step, call, pause, say, stop

THREE_TOOLS: list[list[Step]] = [
    [
        say("Let me see."),
        pause(0.3),
        call("slow", {"number": 1}),
        pause(0.3),
        call("slow", {"number": 2}),
        pause(0.3),
        call("slow", {"number": 3}),
        stop("tool_use"),
    ],
    [say("All three are done.")],
]
"""Three calls of a tool that takes a second, all of them asked for within 0.9 s."""

PHASES: dict[str, list[list[Step]]] = {
    "in the text of the reply": [[say("Let me see what there is.", pause(60), " And then?")]],
    "in the input of its second call": [
        [say("Let me see."), call("quick", {"number": 1}), call("quick", {"number": 2}, tps=1), stop("tool_use")]
    ],
    "while tools run": [
        [say("Let me see."), call("quick", {"number": 1}), call("slow", {"number": 2}), stop("tool_use")]
    ],
    "in the reply after the results": [
        [say("Let me see."), call("quick", {"number": 1}), stop("tool_use")],
        [say("It is as I thought.", pause(60), " Well.")],
    ],
}
"""Where the program is cancelled, after half a second, and the scripts that have it there then."""

HAS_ARRIVED: dict[str, dict[str, str]] = {
    "in the text of the reply": {"the text": "Let me see"},
    "in the input of its second call": {"the text": "Let me see", "the first result": "1 is done"},
    "while tools run": {"the text": "Let me see", "the first result": "1 is done"},
    "in the reply after the results": {"the text": "as I thought", "the first result": "1 is done"},
}
"""What a history can have after half a second, and the words by which it is known."""

LAST: list[Step] = [say("We were there.")]
"""The answer to whoever goes on."""


def endless(request: RecordedRequest) -> list[Step]:
    """Always one more call."""
    return [say("Once more."), call("quick", {"number": len(request.messages)}), stop("tool_use")]
