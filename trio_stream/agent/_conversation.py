"""`Conversation`: what a program keeps from one run to the next.

What belongs here: the surface that users see. What does not: the state behind it (`_dialogue`), and runs (`_run`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any, Literal, Self, TypeVar, final, overload

import msgspec

from trio_stream._client import Client
from trio_stream._protocol import encode_json
from trio_stream._schemas import OutputType, output_type
from trio_stream.agent._approval import Approve, check_approve
from trio_stream.agent._cache_marks import Lifetime
from trio_stream.agent._compact import compact
from trio_stream.agent._dialogue import ConversationUsage, Dialogue
from trio_stream.agent._meter import Meter
from trio_stream.agent._run import Run, RunStoppedError
from trio_stream.agent._run_options import DEFAULT_CONCURRENT_TOOLS, RunOptions
from trio_stream.agent._save import from_json, to_json
from trio_stream.agent._steering import content_of
from trio_stream.agent._sub_agent import sub_agent_tool
from trio_stream.agent._tool import Tool
from trio_stream.agent._toolset import Toolset
from trio_stream.agent._transcript import INTERRUPT_NOTE

T = TypeVar("T")

_NOT_ONCE = ("messages", "stream", "cache_control", "output")


@final
class Conversation:
    """A conversation with a model that calls tools, whose history is valid at every instant.

    ::

        chat = ts.Conversation(client, model=..., max_tokens=4096, tools=[search])
        print(await chat.ask("Compare trio and anyio."))
        async with chat.run("And curio?", approve="ask") as run:
            async for event in run:
                ...

    Whatever ends a run (an error, a cancellation, `Run.interrupt`), `messages` is what the API takes, with what can be
    kept of the reply and one result for each call that stays; another run goes on from there.

    Args:
      client: Sends the requests.
      tools: `Tool` objects, and definitions of tools that the API runs itself. They are sent in this order, and never
        change: that would make the prompt cache worthless.
      system: The system prompt.
      interrupt_note: What the next text begins with after a reply that was cut, so that the model knows; None: nothing.
      cache: How long the prompt cache is to last. It sets the API's automatic breakpoint and up to three more. None: no
        breakpoints but those in ``system`` and ``tools``.
      **params: The parameters of the API for every request, ``model`` and ``max_tokens`` among them, and the options
        that every call takes. With ``betas`` they are those of ``client.beta.messages``.

    Raises:
      TypeError: A parameter is not one of a conversation, or is not JSON; or something in ``tools`` is no tool.
      ValueError: Two tools have one name, or a parameter cannot be written as JSON.
    """

    def __init__(
        self,
        client: Client,
        *,
        tools: Iterable[Tool | Mapping[str, Any]] = (),
        system: str | Iterable[Mapping[str, Any]] | None = None,
        interrupt_note: str | None = INTERRUPT_NOTE,
        cache: Lifetime | None = None,
        **params: Any,
    ) -> None:
        for name in _NOT_ONCE:
            if name in params:
                raise TypeError(f"{name} is not a parameter of a conversation")
        if cache not in (None, "5m", "1h"):
            raise ValueError(f'cache is "5m", "1h" or None, not {cache!r}')
        toolset = Toolset(tools)
        given: dict[str, Any] = {}
        if system is not None:
            given["system"] = system
        if toolset.definitions:
            given["tools"] = toolset.definitions
        # Encoded and decoded again: plain JSON, which nobody else holds and can change.
        fixed: dict[str, Any] = {name: msgspec.json.decode(encode_json(value, name)) for name, value in given.items()}
        self._dialogue = Dialogue(client, params=params, fixed=fixed, tools=toolset, note=interrupt_note, cache=cache)

    def __repr__(self) -> str:
        return f"<Conversation: {len(self._dialogue.transcript)} messages>"

    @classmethod
    def _of(cls, dialogue: Dialogue) -> Self:
        conversation = cls.__new__(cls)
        conversation._dialogue = dialogue
        return conversation

    # What there is.

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages as they can be sent, at any instant; a list of one's own, which may be changed.

        Of a reply that is under way it has what would be kept if nothing came any more.
        """
        return self._dialogue.messages()

    @property
    def usage(self) -> ConversationUsage:
        """What the replies have used. A reply that was cut counts its input; how many there were is said too."""
        return self._dialogue.usage

    # Going on.

    def run(
        self,
        *content: str | Mapping[str, Any],
        max_turns: int | None = None,
        max_concurrent_tools: int = DEFAULT_CONCURRENT_TOOLS,
        approve: Approve | Literal["ask"] | None = None,
        approval_timeout: float | None = None,
        turn_retries: int = 2,
        meter: Meter | None = None,
        save: Callable[[Conversation], Awaitable[object]] | None = None,
        output: type[Any] | OutputType[Any] | None = None,
        **params: Any,
    ) -> Run:
        """A run that begins with what is said here: ``async with chat.run("...") as run``.

        Nothing happens before it is entered.

        Args:
          *content: Texts and content blocks. Without any, the model answers a last message of the user's.
          max_turns: How many requests the run may make; None for no limit.
          max_concurrent_tools: How many calls may run at once.
          approve: Who allows the calls that need approval: an asynchronous function that takes the `ToolCall` and
            returns True, or why not; or ``"ask"`` for an `ApprovalEvent`. None: they are denied.
          approval_timeout: Seconds after which no answer is a no.
          turn_retries: How often a reply is asked for again that failed in passing before it had a whole call.
          meter: Counts what is used, and limits it; it may be shared. None: a new one without limits.
          save: An asynchronous function that takes this conversation. It is awaited before each call starts, and after
            each commit, so what it writes of `to_json` always says which calls may have had effects. If it fails, the
            call is not started and the run fails.
          output: A type that the last reply has to fit, or an `OutputType`; `Run.result` returns a value of it.
          **params: Parameters of the API for this run alone, in place of those of the conversation.

        Raises:
          RuntimeError: A run of this conversation is under way.
          ValueError: There is nothing to answer: no content, and no last message of the user's. Or an option is
            invalid, or the content cannot be written as JSON.
          TypeError: A parameter or an option is none of a run, the content is not JSON, or no answers of this type can
            be asked for.
        """
        self._dialogue.check_idle()
        said = content_of(content) if content else None
        if said is None and not self._dialogue.transcript.waits_for_reply:
            raise ValueError("there is nothing to answer: say something, since the last message is not the user's")
        options = RunOptions(
            max_turns=max_turns,
            max_concurrent_tools=max_concurrent_tools,
            approve=approve,
            approval_timeout=approval_timeout,
            turn_retries=turn_retries,
            meter=Meter() if meter is None else meter,
            save=None if save is None else partial(save, self),
            output=None if output is None else output_type(output),
            params=params,
        )
        return Run(self._dialogue, options, said)

    @overload
    async def ask(self, *content: str | Mapping[str, Any], output: type[T] | OutputType[T], **options: Any) -> T: ...
    @overload
    async def ask(self, *content: str | Mapping[str, Any], output: None = None, **options: Any) -> str: ...
    async def ask(
        self, *content: str | Mapping[str, Any], output: type[Any] | OutputType[Any] | None = None, **options: Any
    ) -> Any:
        """Run to the end, and return the text of the last reply, or a value of the type ``output``.

        Nobody is there to give approval: calls that need it are denied, unless ``approve`` is a function.

        A checkpoint. If it is cancelled the run is, and the conversation can be continued.

        Args:
          *content: As `run`.
          output: As `run`.
          **options: As `run`.

        Raises:
          RunStoppedError: The run was not completed; its ``run`` says why. The error of a run that failed is its cause.
          OutputParseError: The reply does not fit ``output``.
          RuntimeError: A run of this conversation is under way.
        """
        result: Any = None
        async with self.run(*content, output=output, **options) as run:
            try:
                result = await (run.text() if output is None else run.result())
            except Exception as error:
                if run.outcome == "failed":
                    raise RunStoppedError(run) from error
                raise
        return result

    def append(self, message: Mapping[str, Any]) -> None:
        """Append a message of the user's or of the system's, without a request.

        ``system`` and ``tools`` never change. What is to be different from here on is appended: new instructions as
        ``{"role": "system", "content": "..."}``, tools of the API's that come and go as ``tool_addition`` and
        ``tool_removal`` blocks in such a message.

        Args:
          message: The message.

        Raises:
          RuntimeError: A run is under way, or a program of the model's waits for results, so that only a reply may
            follow.
          ValueError: It is a message of the assistant's, there is nothing in it, or it cannot be written as JSON.
          TypeError: Its content is not made of texts and blocks, or is not JSON.
        """
        self._dialogue.check_idle()
        if message.get("role") not in ("user", "system"):
            raise ValueError("a message of the user's or of the system's can be appended: replies come from the API")
        if self._dialogue.transcript.takes_only_a_reply:
            raise RuntimeError("a program of the model's waits for results, so only a reply may follow: run first")
        if message["role"] == "system" and "content" not in message:
            self._dialogue.transcript.append([message])  # it changes parameters alone
            return
        content: Any = message.get("content", ())
        parts: list[Any] = [content] if isinstance(content, str) else list(content)
        said = content_of(tuple(parts))
        if message["role"] == "user":
            self._dialogue.transcript.say(said, self._dialogue.note)
        else:
            self._dialogue.transcript.append([{**message, "content": said}])

    # Copies.

    def fork(self, upto: int | None = None) -> Conversation:
        """A conversation of its own with the same beginning, and nothing of what is under way.

        Args:
          upto: How many messages it has at most. A call is never parted from its result, so it may have fewer. None:
            all that are committed.
        """
        return self._of(self._dialogue.copy(upto))

    async def compact(self, instructions: str | None = None) -> None:
        """Have the model summarise the conversation, and put the summary in its place: all of it, or nothing.

        Messages of the system's stay, and so does what the user has said since the last reply.

        A checkpoint. If it is cancelled or fails, the conversation is as it was.

        Args:
          instructions: What the summary has to keep, beside the usual.

        Raises:
          APIError: The request failed.
          RuntimeError: A run is under way, there is nothing to summarise, or the model did not come to an end.
        """
        self._dialogue.check_idle()
        self._dialogue.busy = True
        try:
            await compact(self._dialogue, instructions)
        finally:
            self._dialogue.busy = False

    def to_json(self) -> bytes:
        """This conversation as JSON, with what would be kept of a reply that is under way.

        Credentials are not in it, nor are the options of a client. The prompt is.

        Raises:
          TypeError: A parameter is not JSON.
          ValueError: A parameter cannot be written as JSON.
        """
        return to_json(self._dialogue)

    @classmethod
    def from_json(
        cls, client: Client, data: bytes | str, *, tools: Iterable[Tool | Mapping[str, Any]] = ()
    ) -> Conversation:
        """A conversation that `to_json` has written.

        Its tools are sent as they were saved. A call of one without a function here is answered with "there is no
        tool".

        Args:
          client: Sends the requests.
          data: What `to_json` returned.
          tools: The functions of its tools, matched by their names.

        Raises:
          ValueError: It is no conversation, or one of ``tools`` is not in it.
        """
        return cls._of(from_json(client, data, tools))

    def as_tool(
        self,
        name: str,
        description: str,
        *,
        approve: Approve | Literal["ask"] | None = "ask",
        max_turns: int | None = None,
    ) -> Tool:
        """A tool that has a fork of this conversation work on a task: a sub-agent.

        Each call gets a fork of its own. Its events are shown as `NestedEvent`, its approvals among them, and it shares
        the meter of the run around it.

        Args:
          name: The name of the tool.
          description: What it can do, for the model.
          approve: As `run`. With ``"ask"`` whoever reads the events of the run around it is asked.
          max_turns: As `run`, for each call.

        Raises:
          TypeError: ``approve`` is neither a function, nor ``"ask"``, nor None.
        """
        check_approve(approve, None)

        def start(prompt: str, meter: Meter | None) -> Run:
            return self.fork().run(prompt, meter=meter, approve=approve, max_turns=max_turns)

        return sub_agent_tool(start, name, description)
