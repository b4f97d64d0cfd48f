"""The prompts of the demonstration, and the answers of the scripted model.

What belongs here: prompts, answers, pace. What does not: streaming (`_demo`), and drawing (`_demo_views`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from trio_stream.testing import RecordedRequest, Step, call, say, scripted_model, think

WEATHER_TOOL = {
    "name": "get_weather",
    "description": "The current weather of a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """One stream of the demonstration.

    Args:
      name: A short name.
      prompt: The prompt.
      answers: The answers of the model, one script for each turn; if there are none, `scripted_model` answers.
      thinks: Whether the request switches thinking on.
      calls: Whether the request has the weather tool.
      enough: Characters of text after which the reader has heard enough, and cancels.
    """

    name: str
    prompt: str
    answers: tuple[tuple[Step, ...], ...] = ()
    thinks: bool = False
    calls: bool = False
    enough: int | None = None


def make_scenes(count: int, *, fast: bool) -> list[Scene]:
    """Return ``count`` scenes: five with answers of their own, then as many others as needed."""
    scenes = _leading_parts(fast=fast)
    for number in range(count - len(scenes)):
        name, prompt = _MORE[number % len(_MORE)]
        round_ = number // len(_MORE) + 1
        scenes.append(
            Scene(
                name=name if round_ == 1 else f"{name} {round_}",
                prompt=prompt if round_ == 1 else f"{prompt} (Answer {round_}, please.)",
            )
        )
    return scenes[:count]


def model_of(scenes: Sequence[Scene], *, fast: bool) -> Callable[[RecordedRequest], list[Step]]:
    """Make the model that answers as the scenes say."""
    by_prompt = {scene.prompt: scene for scene in scenes}
    anything = scripted_model(ttft=0.0 if fast else 0.6, tps=None if fast else 16.0)

    def answer(request: RecordedRequest) -> list[Step]:
        scene = by_prompt.get(request.messages[0]["content"])
        if scene is None or not scene.answers:
            return anything(request)
        return list(scene.answers[len(request.messages) // 2])

    return answer


def _leading_parts(*, fast: bool) -> list[Scene]:
    def text(words: str, *, ttft: float, tps: float) -> Step:
        return say(words, ttft=0.0 if fast else ttft, tps=None if fast else tps)

    def thought(words: str, *, ttft: float, tps: float) -> Step:
        return think(words, ttft=0.0 if fast else ttft, tps=None if fast else tps)

    return [
        Scene(
            name="nursery",
            prompt="What is a nursery?",
            answers=(
                (
                    text(
                        "A nursery is a room with one door. Tasks are started inside, and nobody leaves before the "
                        "last of them is done. So errors have somewhere to go, a cancellation knows whom to reach, "
                        "and a function that has returned has really finished.",
                        ttft=0.5,
                        tps=9,
                    ),
                ),
            ),
        ),
        Scene(
            name="river",
            prompt="Tell me a long story about a river.",
            answers=(
                (
                    text(
                        "High in the hills a dozen small streams set out at once, each at a pace of its own, none of "
                        "them waiting for another. The first met a mill and turned its wheel all morning. The second "
                        "lost its way in a meadow, and came out on the other side with a name. The third ran under a "
                        "bridge where two children were racing paper boats, and took the red one along to the sea.",
                        ttft=0.3,
                        tps=12,
                    ),
                ),
            ),
            enough=163,
        ),
        Scene(
            name="weather",
            prompt="What is the weather in Lisbon?",
            answers=(
                (
                    text("Let me look out of the window.", ttft=0.4, tps=10),
                    call("get_weather", {"city": "Lisbon"}, tps=None if fast else 8),
                ),
                (
                    text(
                        "It is 18 °C and sunny in Lisbon, with a light breeze from the river. A good day to leave the "
                        "laptop closed and take the tram up the hill.",
                        ttft=0.4,
                        tps=12,
                    ),
                ),
            ),
            calls=True,
        ),
        Scene(
            name="structure",
            prompt="Why does structured concurrency matter?",
            answers=(
                (
                    thought(
                        "Two questions hide in this one: what breaks without structure, and what structure costs. "
                        "Start from what breaks.",
                        ttft=0.2,
                        tps=14,
                    ),
                    text(
                        "Because a task without a parent has nobody to tell when it fails. Give every task a parent, "
                        "and errors travel up, cancellation travels down, and the program can be read from the top "
                        "to the bottom.",
                        ttft=0.2,
                        tps=12,
                    ),
                ),
            ),
            thinks=True,
        ),
        Scene(
            name="pressure",
            prompt="What is backpressure?",
            answers=(
                (
                    text(
                        "A fast producer that never waits fills the memory with things nobody has read. Backpressure "
                        "is the polite alternative: keep the buffers small, let the slow side set the pace, and the "
                        "bytes wait where they cost nothing, on the other side of the socket.",
                        ttft=0.8,
                        tps=9,
                    ),
                ),
            ),
        ),
    ]


_MORE = (
    ("scopes", "What is a cancel scope?"),
    ("errors", "Where do exceptions of background tasks go?"),
    ("asyncio", "How does Trio compare with asyncio?"),
    ("testing", "How do I test concurrent code without flaky sleeps?"),
    ("streaming", "When is a streamed message complete?"),
    ("batch", "How do I send many prompts at once?"),
    ("tools", "What happens to a tool call that is interrupted?"),
    ("rain", "Write a few sentences about rain."),
    ("hello", "Hello! Who are you?"),
    ("deadlines", "Name one good thing about deadlines."),
)
