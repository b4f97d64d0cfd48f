"""A model for an endless scripted API: answers any request sensibly, always the same way.

What belongs here: choosing the steps of an answer from its request. What does not: the prose (`_prose`), and values
that fit a schema (`_examples`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trio_stream.testing import _steps as s
from trio_stream.testing._examples import make_example
from trio_stream.testing._json import as_list, as_object, at_path
from trio_stream.testing._prose import OPENINGS, PARAGRAPHS, THOUGHTS
from trio_stream.testing._requests import RecordedRequest
from trio_stream.testing._wire import text_pieces

_MOST_CALLS = 8
"""How many tools are called at once, at most."""


def scripted_model(*, ttft: float = 0.3, tps: float | None = 40.0) -> Callable[[RecordedRequest], list[s.Step]]:
    """A model for ``ScriptedAPI(default=scripted_model())``.

    It answers in 30 to 80 words about Trio, structured concurrency and streams, chosen by the prompt. It thinks first
    if thinking is on. It calls each of the tools that the request defines, all at once and with plausible input; with
    ``disable_parallel_tool_use`` one after another, and with a ``tool_choice`` that forces it, one. When it has the
    results, it answers. And it keeps to ``max_tokens``, ``stop_sequences`` and a JSON schema for its output. It
    answers a request for a compaction with a summary.

    Args:
      ttft: Seconds to the first token.
      tps: Tokens a second. None sends all of them at once.
    """

    def answer(request: RecordedRequest) -> list[s.Step]:
        return _Answer(request, ttft, tps).steps()

    return answer


class _Answer:
    def __init__(self, request: RecordedRequest, ttft: float, tps: float | None) -> None:
        self._body: Mapping[str, Any] = as_object(request.full_body)
        self._ttft = ttft
        self._tps = tps
        messages = as_list(self._body.get("messages"))
        self._prompt, self._results = _last_turn(messages)
        self._called = _called_since_prompt(messages)
        seed = f"{self._prompt}\n{len(messages)}"
        self._number = int.from_bytes(hashlib.sha256(seed.encode(errors="replace")).digest()[:8], "big")

    def steps(self) -> list[s.Step]:
        if self._body.get("compaction") is not None:
            return [s.compact(f"They spoke of: {_shorten(self._prompt, 30)}", ttft=self._ttft)]
        steps: list[s.Step] = []
        config = as_object(self._body.get("thinking"))
        if config.get("type") in ("enabled", "adaptive"):
            text = "" if config.get("display") == "omitted" else self._pick(THOUGHTS)
            steps.append(s.think(text, ttft=self._ttft, tps=self._tps))
        ttft = 0.0 if steps else self._ttft
        tools = self._tools()
        if tools:
            if not steps:
                steps.append(s.say("Let me look that up.", ttft=ttft, tps=self._tps))
            return [*steps, *(s.call(str(tool["name"]), self._input(tool), tps=self._tps) for tool in tools)]
        text, stop = self._cut(self._text())
        if text:
            steps.append(s.say(text, ttft=ttft, tps=self._tps))
        if stop is not None:
            steps.append(stop)
        return steps

    def _pick(self, choices: tuple[str, ...]) -> str:
        return choices[self._number % len(choices)]

    def _text(self) -> str:
        schema = at_path(self._body, "output_config", "format", "schema")
        if schema is not None:
            return msgspec.json.encode(self._example(as_object(schema))).decode()
        paragraph = self._paragraph()
        if self._results:
            return f"The tool says: {_shorten(self._results, 12)}\n\n{paragraph}"
        if not self._prompt or paragraph.startswith("Hello"):
            return paragraph
        return f"{self._pick(OPENINGS).format(prompt=_shorten(self._prompt, 8))} {paragraph}"

    def _paragraph(self) -> str:
        words = set(re.findall(r"[a-z]+", self._prompt.lower()))
        scores = [len(words.intersection(topics.split())) for topics, _ in PARAGRAPHS]
        best = max(scores)
        fitting = [text for score, (_, text) in zip(scores, PARAGRAPHS, strict=True) if score == best]
        return fitting[self._number % len(fitting)]

    def _cut(self, text: str) -> tuple[str, s.Step | None]:
        """Cut the answer where the request's limits say so, and set the stop reason."""
        stop: s.Step | None = None
        for sequence in as_list(self._body.get("stop_sequences")):
            if isinstance(sequence, str) and sequence and sequence in text:
                text = text[: text.index(sequence)]
                stop = s.stop("stop_sequence", sequence)
        most = self._body.get("max_tokens")
        pieces = text_pieces(text)
        if isinstance(most, int) and len(pieces) > most:
            return "".join(pieces[:most]), s.stop("max_tokens")
        return text, stop

    def _tools(self) -> list[Mapping[str, Any]]:
        """The tools to call now."""
        wanted = as_object(self._body.get("tool_choice"))
        if wanted.get("type") == "none":
            return []
        tools = [tool for tool in map(as_object, as_list(self._body.get("tools"))) if _can_be_called(tool)]
        if wanted.get("type") == "tool":
            tools = [tool for tool in tools if tool.get("name") == wanted.get("name")]
        if wanted.get("disable_parallel_tool_use"):
            return [tool for tool in tools if tool.get("name") not in self._called][:1]
        if self._results:
            return []
        return tools[:1] if wanted.get("type") == "any" else tools[:_MOST_CALLS]

    def _input(self, tool: Mapping[str, Any]) -> Mapping[str, Any]:
        return as_object(self._example(as_object(tool["input_schema"])))

    def _example(self, schema: Mapping[str, Any]) -> Any:
        return make_example(schema, number=self._number, topic=_shorten(self._prompt, 6))


def _can_be_called(tool: Mapping[str, Any]) -> bool:
    """Whether the model itself can call a tool now: a tool of the caller's, neither deferred nor for programs alone."""
    callers = tool.get("allowed_callers")
    return "input_schema" in tool and not tool.get("defer_loading") and (callers is None or "direct" in callers)


def _called_since_prompt(messages: list[Any]) -> set[str]:
    """The names of the tools that were called since the user last said something."""
    called: set[str] = set()
    for message in map(as_object, reversed(messages)):
        blocks = list(map(as_object, as_list(message.get("content"))))
        if message.get("role") == "user" and any(block.get("type") != "tool_result" for block in blocks or [{}]):
            break
        called |= {str(block.get("name")) for block in blocks if block.get("type") == "tool_use"}
    return called


def _last_turn(messages: list[Any]) -> tuple[str, str]:
    """The text of the last user turn with text in it, and the text of tool results after it."""
    results = ""
    for position, message in enumerate(reversed(messages)):
        fields = as_object(message)
        if fields.get("role") != "user":
            continue
        content = fields.get("content")
        if isinstance(content, str):
            return content, results
        texts: list[str] = []
        for item in map(as_object, as_list(content)):
            if item.get("type") == "text":
                texts.append(str(item.get("text", "")))
            elif item.get("type") == "tool_result" and position == 0:
                told = _result_text(item.get("content")) or "nothing"
                results = f"{results}; {told}" if results else told
        if texts:
            return "\n".join(texts), results
    return "", results


def _result_text(content: Any) -> str:
    if isinstance(content, str):
        return content
    items = map(as_object, as_list(content))
    return " ".join(str(item.get("text", "")) for item in items if item.get("type") == "text")


def _shorten(text: str, words: int) -> str:
    parts = text.split()
    short = " ".join(parts[:words])[:120]
    return short if len(parts) <= words else f"{short.rstrip('.,;:')}…"
