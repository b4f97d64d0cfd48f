"""``trio-stream ask``: one prompt, its answer as it arrives.

What belongs here: the prompt, the request, and what is written while the answer arrives and at its end. What does not:
options and help (`_commands`), and how to write to terminals and pipes (`_terminal`).
"""

from __future__ import annotations

import contextlib
import re
import sys
from pathlib import Path
from typing import Any, TextIO, final

import msgspec
import trio

import trio_stream as ts
from trio_stream._schemas import parse_message
from trio_stream.cli._client import make_client
from trio_stream.cli._input_text import InputError, read_text, unreadable
from trio_stream.cli._schema_file import read_schema
from trio_stream.cli._terminal import (
    BROKEN_PIPE,
    FAILED,
    INTERRUPTED,
    USAGE,
    Output,
    complain,
    forget_stdout,
    one_line,
)
from trio_stream.testing import RecordingError, record

_MAX_TOKENS = 4096

_ANYTHING: Any = Any
"""As a type that an answer is decoded as: any JSON will do."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """The arguments and options of the command.

    Args:
      words: The arguments. Joined by blanks they are the prompt, or a part of it.
      system: The system prompt.
      model: The model.
      max_tokens: The most tokens of the answer; None for 4096 plus the budget for thinking.
      thinking: The API's ``thinking`` parameter.
      schema: A file with the JSON Schema that the answer is to follow, or None.
      as_json: Whether to print events rather than text.
      usage: Whether to print tokens and timings at the end.
      record: The file in which the answer is recorded, or None.
    """

    words: tuple[str, ...]
    system: str | None
    model: str
    max_tokens: int | None
    thinking: dict[str, Any] | None
    schema: Path | None
    as_json: bool
    usage: bool
    record: Path | None


def run(question: Question, *, base_url: str | None, timeout: float | None) -> int:
    """Run the command, and return its exit code."""
    client = make_client("ask", base_url=base_url, timeout=timeout)
    if client is None:
        return USAGE
    asking: _Asking | None = None
    try:
        prompt = read_prompt(question.words)
        if not prompt.strip():
            complain("ask", "there is no prompt: trio-stream ask PROMPT, or pipe it in")
            return USAGE
        schema = None if question.schema is None else read_schema(question.schema)
        asking = _Asking(question, prompt, schema, Output(sys.stdout))
        with contextlib.ExitStack() as stack:
            if question.record is not None:
                stack.enter_context(ts.instrumented(stack.enter_context(_recording(question.record))))
            trio.run(asking.run, client)
        asking.end()
        if not asking.useful:
            complain("ask", "the answer is not whole JSON")
            return FAILED
    except KeyboardInterrupt:
        _end_after_all(asking)
        complain("ask", "interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        forget_stdout()
        return BROKEN_PIPE
    except InputError as error:
        complain("ask", str(error))
        return USAGE
    except ts.APIError as error:
        _end_after_all(asking)
        if _refuses_budget(error, question):
            complain("ask", f"{question.model} takes no number of tokens to think: give --thinking alone ({error})")
            return USAGE
        complain("ask", str(error))
        return FAILED
    except OSError as error:
        complain("ask", f"cannot write: {error.strerror or error}")
        forget_stdout()
        return FAILED
    return 0


def read_prompt(words: tuple[str, ...]) -> str:
    """Join piped input and arguments: first the documents, then the question.

    Raises:
      InputError: Standard input cannot be read, or is not text.
    """
    typed = " ".join(word for word in words if word != "-")
    wanted = not words or "-" in words
    stdin: TextIO | None = sys.stdin  # None where it is closed
    if stdin is None or (not wanted and stdin.isatty()):
        return typed
    if stdin.isatty():
        sys.stderr.write("The prompt, and Ctrl-D at its end:\n")
        sys.stderr.flush()
    name = "standard input"
    try:
        piped = read_text(stdin.buffer.read(), name)
    except OSError as error:
        raise InputError(unreadable(name, error)) from None
    return "\n\n".join(part for part in (piped.rstrip("\n"), typed) if part.strip())


def _recording(path: Path) -> record:
    try:
        return record(path)
    except RecordingError as error:
        raise InputError(str(error)) from error
    except OSError as error:
        raise InputError(f"cannot record in {path}: {error.strerror or error}") from error


def _refuses_budget(error: ts.APIError, question: Question) -> bool:
    """Whether an error says that the model thinks as much as it likes, or not at all.

    Which models those are is for the API to know. A number that is too small or too large is told in its own words.
    """
    return (
        isinstance(error, ts.BadRequestError)
        and question.thinking is not None
        and "budget_tokens" in question.thinking
        and "thinking" in error.message
        and not re.search(r"greater|less|at least|at most", error.message)
    )


def _end_after_all(asking: _Asking | None) -> None:
    """End the output after something has gone wrong; a further error is ignored."""
    if asking is not None:
        try:
            asking.end()
        except (KeyboardInterrupt, OSError):
            forget_stdout()


@final
class _Asking:
    """One question and its answer. It keeps what `end` needs, also after an interruption."""

    def __init__(self, question: Question, prompt: str, schema: dict[str, Any] | None, output: Output) -> None:
        self._question = question
        self._prompt = prompt
        self._schema = schema
        self._output = output
        self._stream: ts.MessageStream | ts.EventStream | None = None
        self._seconds = 0.0
        self._ended = False

    async def run(self, client: ts.Client) -> None:
        async with client:
            began = trio.current_time()
            try:
                if self._question.as_json:
                    await self._print_events(client)
                else:
                    await self._print_text(client)
            finally:
                self._seconds = trio.current_time() - began

    async def _print_events(self, client: ts.Client) -> None:
        events = await client.messages.create(stream=True, **self._params())
        async with events as self._stream:
            async for event in events:
                self._output.json(msgspec.json.encode(event.to_dict()))

    async def _print_text(self, client: ts.Client) -> None:
        output = self._output
        thought = False
        async with client.messages.stream(**self._params()) as stream:
            self._stream = stream
            async for event in stream:
                if event.type == "thinking":
                    thought = True
                    output.dim(event.thinking)
                elif event.type == "text":
                    if thought:
                        output.dim("\n\n")
                        thought = False
                    output.text(event.text)

    @property
    def useful(self) -> bool:
        """Whether the answer is what was asked for: any text, or whole JSON."""
        if self._schema is None:
            return True
        assert self._stream is not None
        try:
            parse_message(self._stream.message, _ANYTHING)
        except ts.OutputParseError:
            return False
        return True

    def end(self) -> None:
        """End the line, and write the notes about the answer to standard error. Only the first call does anything."""
        if self._ended:
            return
        self._ended = True
        if not self._question.as_json:
            self._output.end_line()
        stream = self._stream
        if stream is None:
            return
        if stream.stop_reason in _NOTES:
            complain("ask", _NOTES[stream.stop_reason])
        if self._question.usage and stream.usage is not None:
            sys.stderr.write(f"{one_line(self._usage_line(stream, stream.usage))}\n")
            sys.stderr.flush()

    def _params(self) -> Any:
        question = self._question
        budget = 0 if question.thinking is None else question.thinking.get("budget_tokens", 0)
        params: dict[str, Any] = {
            "model": question.model,
            "max_tokens": question.max_tokens or _MAX_TOKENS + budget,
            "messages": [{"role": "user", "content": self._prompt}],
        }
        if question.system is not None:
            params["system"] = question.system
        if question.thinking is not None:
            params["thinking"] = question.thinking
        if self._schema is not None:
            params["output_config"] = {"format": {"type": "json_schema", "schema": self._schema}}
        return params

    def _usage_line(self, stream: ts.MessageStream | ts.EventStream, usage: ts.Usage) -> str:
        cached = usage.cache_read_input_tokens or 0
        first = stream.stats.time_to_first_text
        complete = stream.stop_reason is not None
        facts = [
            f"{usage.input_tokens + cached} tokens in" + (f" ({cached} cached)" if cached else ""),
            f"{usage.output_tokens} out" if complete else "",
            "" if first is None else f"first text after {first:.2f} s",
            f"{self._seconds:.2f} s in all",
            f"{usage.output_tokens / self._seconds:.0f} tokens/s" if complete and self._seconds else "",
            stream.stop_reason or "not complete",
            stream.partial.model if stream.partial is not None else "",
            stream.request_id or "",
        ]
        return ", ".join(fact for fact in facts if fact)


_NOTES: dict[str | None, str] = {
    "max_tokens": "the answer was cut at --max-tokens",
    "model_context_window_exceeded": "the answer was cut: the context window is full",
    "refusal": "the model refused to answer",
}
