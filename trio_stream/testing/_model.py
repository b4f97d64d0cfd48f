"""A model for an endless scripted API: answers any request sensibly, always the same way.

What belongs here: choosing the steps of an answer from its request. What does not: the prose (`_prose`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trio_stream.testing import _steps as s
from trio_stream.testing._json import as_list, as_object, at_path
from trio_stream.testing._prose import OPENINGS, PARAGRAPHS, THOUGHTS
from trio_stream.testing._requests import RecordedRequest
from trio_stream.testing._wire import text_pieces

_DEEPEST = 6


def scripted_model(*, ttft: float = 0.3, tps: float | None = 40.0) -> Callable[[RecordedRequest], list[s.Step]]:
    """A model for ``ScriptedAPI(default=scripted_model())``.

    It answers in 30 to 80 words about Trio, structured concurrency and streams, chosen by the prompt. It thinks first
    if thinking is on. It calls the first tool, or the one that it has to call, with plausible input, unless the
    request brings results of tools. And it keeps to ``max_tokens``, ``stop_sequences`` and a JSON schema for its
    output.

    Args:
      ttft: Seconds to the first token.
      tps: Tokens a second. None sends all of them at once.
    """

    def answer(request: RecordedRequest) -> list[s.Step]:
        return _Answer(request, ttft, tps).steps()

    return answer


class _Answer:
    def __init__(self, request: RecordedRequest, ttft: float, tps: float | None) -> None:
        self._body: Mapping[str, Any] = as_object(request.body)
        self._ttft = ttft
        self._tps = tps
        self._prompt, self._results = _last_turn(request.messages)
        seed = f"{self._prompt}\n{len(request.messages)}"
        self._number = int.from_bytes(hashlib.sha256(seed.encode(errors="replace")).digest()[:8], "big")

    def steps(self) -> list[s.Step]:
        steps: list[s.Step] = []
        config = as_object(self._body.get("thinking"))
        if config.get("type") in ("enabled", "adaptive"):
            text = "" if config.get("display") == "omitted" else self._pick(THOUGHTS)
            steps.append(s.think(text, ttft=self._ttft, tps=self._tps))
        ttft = 0.0 if steps else self._ttft
        tool = None if self._results else self._tool()
        if tool is not None:
            if not steps:
                steps.append(s.say("Let me look that up.", ttft=ttft, tps=self._tps))
            steps.append(s.call(str(tool["name"]), self._input(tool), tps=self._tps))
            return steps
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
            return msgspec.json.encode(self._example(schema, schema, "", 0)).decode()
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

    def _tool(self) -> Mapping[str, Any] | None:
        wanted = as_object(self._body.get("tool_choice"))
        if wanted.get("type") == "none":
            return None
        for tool in map(as_object, as_list(self._body.get("tools"))):
            if "input_schema" in tool and wanted.get("name") in (None, tool.get("name")):
                return tool
        return None

    def _input(self, tool: Mapping[str, Any]) -> Mapping[str, Any]:
        schema = as_object(tool["input_schema"])
        return as_object(self._example(schema, schema, "", 0))

    def _example(self, schema: Any, root: Mapping[str, Any], name: str, depth: int) -> Any:
        """A plausible value for a JSON schema."""
        fields = as_object(schema)
        if not fields or depth > _DEEPEST:
            return None
        reference = fields.get("$ref")
        if isinstance(reference, str) and reference.startswith("#/"):
            return self._example(at_path(root, *reference[2:].split("/")), root, name, depth + 1)
        if "const" in fields:
            return fields["const"]
        for key in ("enum", "examples"):
            if fields.get(key):
                return fields[key][self._number % len(fields[key])]
        if "default" in fields:
            return fields["default"]
        for key in ("anyOf", "oneOf", "allOf"):
            options = [option for option in fields.get(key) or () if option.get("type") != "null"]
            if options:
                return self._example(options[0], root, name, depth + 1)
        kind = fields.get("type", "object" if "properties" in fields else "string")
        if isinstance(kind, list):
            kind = next((item for item in as_list(kind) if item != "null"), "null")
        return self._example_of(str(kind), fields, root, name, depth)

    def _example_of(self, kind: str, fields: Mapping[str, Any], root: Mapping[str, Any], name: str, depth: int) -> Any:
        if kind == "object":
            properties: Mapping[str, Any] = fields.get("properties") or {}
            required = fields.get("required") or list(properties)
            return {key: self._example(properties.get(key, {}), root, key, depth + 1) for key in required}
        if kind == "array":
            count = max(1, int(fields.get("minItems", 1)))
            return [self._example(fields.get("items", {}), root, name, depth + 1) for _ in range(count)]
        if kind in ("integer", "number"):
            low = fields.get("minimum", 1)
            return min(max(3, low), fields.get("maximum", max(3, low)))
        if kind == "boolean":
            return True
        if kind == "null":
            return None
        return self._string(name, fields)

    def _string(self, name: str, fields: Mapping[str, Any]) -> str:
        formats = {
            "date": "2026-11-21",
            "date-time": "2026-11-21T09:00:00Z",
            "uri": "https://trio.readthedocs.io",
        }
        if fields.get("format") in formats:
            return formats[fields["format"]]
        lowered = name.lower()
        for part, value in _STRINGS:
            if part in lowered:
                return value
        return _shorten(self._prompt, 6) or "structured concurrency"


_STRINGS = (
    ("city", "Lisbon"),
    ("location", "Lisbon, Portugal"),
    ("country", "Portugal"),
    ("place", "Lisbon"),
    ("date", "2026-11-21"),
    ("time", "09:00"),
    ("url", "https://trio.readthedocs.io"),
    ("path", "README.md"),
    ("file", "README.md"),
    ("unit", "celsius"),
    ("lang", "en"),
    ("email", "nursery@example.org"),
    ("code", "print('hello')"),
    ("command", "echo hello"),
    ("expression", "6 * 7"),
)


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
                results = _result_text(item.get("content")) or "nothing"
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
