"""A tool: what the model is told about it, the function behind it, and how the function is to be run.

What belongs here: making a tool of a function or of a definition, reading its input, and calling the function. What
does not: when a call starts and what it is answered (`_tool_call`), and which tool a call is for (`_toolset`).
"""

from __future__ import annotations

import copy
import functools
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Literal, TypeAlias, final, overload

import trio

from trio_stream._protocol import ToolUseBlock
from trio_stream._schemas import Parameters
from trio_stream.agent._tool_context import ToolContext
from trio_stream.agent._tool_result import MOST_CHARACTERS

NeedsApproval: TypeAlias = bool | Callable[[Any], bool]
"""Whether a call needs approval: always, never, or what a function says of the `ToolCall`."""

RawCall: TypeAlias = Callable[[dict[str, Any], ToolContext], Awaitable[Any]]
"""A function that takes the input of a call as the JSON object that it is."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")


@final
class Tool:
    """A tool that the model may call and this program runs. Usually made with `tool`.

    ::

        Tool(read_page, timeout=20)                                          # of a function
        Tool(read, definition={"type": "memory_20250818", "name": "memory"})  # a tool that the API defines
        Tool(definition={"name": "lookup", "input_schema": {...}}, call=lookup)  # the input as it is

    What a function returns, and what becomes of its exceptions, is described at `tool`.

    Attributes:
      name: The name by which the model calls it; None for one that takes all calls of a toolset.
      toolset_name: The toolset of the API's that it belongs to, or None.
      definition: The tool as the request tells it to the model; None for a tool of a toolset, which the definition of
        the toolset tells.
      timeout: Seconds that a call may run; None for no bound.
      approve: Whether calls need approval.
      exclusive: Whether calls run alone, or the name of the group in which they run one by one.
      eager: Whether a call may start before the reply has ended.
      on_cancel: What becomes of a running call that is stopped.
      grace: Seconds that a stopped call may go on, with ``on_cancel="finish"``.
      errors: Whether the model sees the type and message of an exception.
      max_result: Characters of text of a result that the model is shown.
    """

    __slots__ = (
        "_call",
        "_function",
        "_in_thread",
        "_parameters",
        "approve",
        "definition",
        "eager",
        "errors",
        "exclusive",
        "grace",
        "max_result",
        "name",
        "on_cancel",
        "timeout",
        "toolset_name",
    )

    name: str | None
    toolset_name: str | None
    timeout: float | None
    approve: NeedsApproval
    exclusive: bool | str
    eager: bool
    on_cancel: Literal["stop", "finish"]
    grace: float
    errors: Literal["show", "hide"]
    max_result: int
    definition: Any  # so that it can stand in ``tools`` of a request, of whose many kinds of definitions it is one

    def __init__(
        self,
        function: Callable[..., Any] | None = None,
        *,
        call: RawCall | None = None,
        definition: Mapping[str, Any] | None = None,
        name: str | None = None,
        description: str | None = None,
        toolset_name: str | None = None,
        strict: bool = False,
        timeout: float | None = None,
        approve: NeedsApproval = False,
        exclusive: bool | str = False,
        eager: bool = True,
        on_cancel: Literal["stop", "finish"] = "stop",
        grace: float = 5.0,
        errors: Literal["show", "hide"] = "show",
        max_result: int = MOST_CHARACTERS,
    ) -> None:
        """Make a tool.

        Args:
          function: The function, ``async def`` or ``def``, whose signature and docstring say what the model is told.
          call: In place of ``function``: an asynchronous function that takes the input as a JSON object, and the
            context. It needs a ``definition``, or a ``toolset_name``.
          definition: With ``call``, or for a tool that the API defines (one with a ``type``): the whole definition.
            Otherwise fields to be added to the one made of the function, ``cache_control`` or ``defer_loading`` for
            example.
          name: The name; None for the function's.
          description: The description; None for the first part of the function's docstring.
          toolset_name: The toolset of the API's that the tool belongs to. Its definition is not part of this tool:
            hand it out beside it, as ``{"type": "computer_toolset_20260801"}`` for example. A ``call`` without a
            name then takes every call of the toolset for which there is no tool of its own.
          strict: Whether the API has to hold the model to the schema, which is closed for it.
          timeout: As the attribute; so are the others.
          approve: See `tool`.
          exclusive: See `tool`.
          eager: See `tool`.
          on_cancel: See `tool`.
          grace: See `tool`.
          errors: See `tool`.
          max_result: See `tool`.

        Raises:
          TypeError: A parameter of the function has a type that JSON cannot hold, or the arguments do not fit
            together.
          ValueError: A number is out of its range, or the name is none that the API takes.
        """
        if (function is None) is (call is None):
            raise TypeError("a tool is made of a function, or of call=, and of one of them only")
        _check_rules(approve, exclusive)
        _check_options(timeout=timeout, on_cancel=on_cancel, grace=grace, errors=errors, max_result=max_result)
        self._call = call
        self._function = function
        self._parameters = None if function is None else _parameters(function, strict=strict)
        self._in_thread = function is not None and not _is_async(function)
        self.toolset_name = toolset_name
        self.definition = self._define(definition, name, description, strict=strict)
        if self.definition is not None:
            self.name = self.definition["name"]
        else:
            self.name = self._parameters.name if name is None and self._parameters is not None else name
        if self.name is not None and not _NAME.fullmatch(self.name):
            raise ValueError(
                f"the API takes no tool of the name {self.name!r}: letters, digits, _ and -, at most 128 of them"
            )
        self.timeout = timeout
        self.approve = approve
        self.exclusive = exclusive
        self.eager = eager
        self.on_cancel = on_cancel
        self.grace = grace
        self.errors = errors
        self.max_result = max_result

    def __repr__(self) -> str:
        return f"<Tool {self.name or self.toolset_name!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, as if it were no tool.

        Raises:
          TypeError: The tool was made with ``call=``.
        """
        if self._function is None:
            raise TypeError(f"{self!r} has no function of its own")
        return self._function(*args, **kwargs)

    @property
    def waits_for_reply(self) -> bool:
        """Whether its calls start only when the reply has ended: what it says later may change the decision."""
        return not self.eager or self.approve is not False or self.exclusive is not False

    def read_input(self, block: ToolUseBlock) -> dict[str, Any]:
        """The arguments that the input of a call holds.

        Raises:
          InvalidToolInputError: It is not a JSON object.
          ValueError: It does not fit the parameters; the sentence is for the model.
        """
        given = block.input  # first: what is not JSON is told in the same way for every tool
        if self._parameters is None:
            return copy.deepcopy(given)  # the block's own stands in the history, whatever the function does to it
        return self._parameters.decode(block.input_json if given else "{}")

    async def run(self, arguments: dict[str, Any], context: ToolContext) -> Any:
        """Call the function, in a thread if it is a ``def``.

        Cancelled while a thread works, it leaves the thread behind: nothing can stop that, and nobody gets what it
        returns.

        Raises:
          Exception: Whatever the function raises.
        """
        if self._call is not None:
            return await self._call(arguments, context)
        assert self._function is not None
        assert self._parameters is not None
        if self._parameters.context_name is not None:
            arguments = {**arguments, self._parameters.context_name: context}
        bound = functools.partial(self._function, **arguments)
        if self._in_thread:
            # A limiter of its own: threads that were left behind hold no place of Trio's, and the runner's slots are
            # the bound.
            limiter = trio.CapacityLimiter(1)
            # In a tuple, since Trio refuses what is to be awaited, as the `def` around an `async def` returns it.
            (value,) = await trio.to_thread.run_sync(lambda: (bound(),), abandon_on_cancel=True, limiter=limiter)
        else:
            value = bound()
        return await value if inspect.isawaitable(value) else value

    def _define(
        self, given: Mapping[str, Any] | None, name: str | None, description: str | None, *, strict: bool
    ) -> dict[str, Any] | None:
        """The definition that the request has, None for a tool of a toolset."""
        if self.toolset_name is not None:
            if given is not None:
                raise TypeError("a tool of a toolset has no definition: hand out the one of the toolset beside it")
            return None
        added = dict(given or {})
        if name is not None:
            added["name"] = name
        if description is not None:
            added["description"] = description
        if self._parameters is None or added.get("type", "custom") != "custom":
            if not isinstance(added.get("name"), str):
                raise TypeError("the definition of a tool needs a name")
            return added
        made: dict[str, Any] = {"name": self._parameters.name}
        if self._parameters.description:
            made["description"] = self._parameters.description
        made["input_schema"] = self._parameters.schema
        if strict:
            made["strict"] = True
        return made | added


def _parameters(function: Callable[..., Any], *, strict: bool) -> Parameters:
    if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
        raise TypeError("a tool returns its result: a generator has none")
    return Parameters(function, skip=(ToolContext,), strict=strict)


def _is_async(function: Callable[..., Any]) -> bool:
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _check_rules(approve: object, exclusive: object) -> None:
    if not isinstance(approve, bool) and (not callable(approve) or _is_async(approve)):
        raise TypeError(f"approve of a tool is a bool or a plain function, not {approve!r}: whom to ask, the run says")
    if not isinstance(exclusive, (bool, str)):
        raise TypeError(f"exclusive is a bool or the name of a group, not {exclusive!r}")


def _check_options(*, timeout: float | None, on_cancel: str, grace: float, errors: str, max_result: int) -> None:
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout must be seconds above 0, or None, not {timeout!r}")
    if on_cancel not in ("stop", "finish"):
        raise ValueError(f'on_cancel must be "stop" or "finish", not {on_cancel!r}')
    if on_cancel == "finish" and timeout is None:
        raise ValueError('on_cancel="finish" needs a timeout=: without one, nothing would ever end the tool')
    if not grace > 0:
        raise ValueError(f"grace must be seconds above 0, not {grace!r}")
    if errors not in ("show", "hide"):
        raise ValueError(f'errors must be "show" or "hide", not {errors!r}')
    if max_result < 1:
        raise ValueError(f"max_result must be a number of characters of at least 1, not {max_result!r}")


@overload
def tool(function: Callable[..., Any], /) -> Tool: ...


@overload
def tool(
    *,
    definition: Mapping[str, Any] | None = None,
    name: str | None = None,
    description: str | None = None,
    toolset_name: str | None = None,
    strict: bool = False,
    timeout: float | None = None,
    approve: NeedsApproval = False,
    exclusive: bool | str = False,
    eager: bool = True,
    on_cancel: Literal["stop", "finish"] = "stop",
    grace: float = 5.0,
    errors: Literal["show", "hide"] = "show",
    max_result: int = MOST_CHARACTERS,
) -> Callable[[Callable[..., Any]], Tool]: ...


def tool(function: Callable[..., Any] | None = None, /, **options: Any) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a function.

    ::

        @ts.tool(timeout=20)
        async def search(query: str, limit: int = 10) -> list[str]:
            \"\"\"Search the web.\"\"\"

    The signature and the docstring are what the model is told: the first part describes the tool, and the section
    ``Args:`` its parameters. The model's input is decoded straight into the
    parameters: dataclasses, Structs, TypedDicts and models of pydantic arrive as what they are. Input that does not
    fit is answered with the place and the reason, and the function is not called. A parameter annotated with
    `ToolContext` gets the context of the call.

    A function returns a text; content blocks, which may be images, PDFs and references to tools; or any other value,
    which is sent as JSON. `ToolError` answers with an error in the tool's own words, `StopRun` ends the run; any other
    exception is logged to ``trio_stream`` and answered with its type and message. It never touches other calls.

    A ``def`` function runs in a thread. A call of it that is stopped leaves the thread behind, working for nobody.
    A `trio.testing.MockClock` that jumps does not wait for threads: in tests, give it an ``autojump_threshold`` if
    the tool has a ``timeout``.

    A call starts as soon as the reply has gone past it, while the rest of the reply still arrives.

    When a call is stopped (by an interruption, or because the run is left) its function is cancelled as Trio cancels,
    and the model is told that it was stopped.

    Args:
      function: The function; left out where there are options: ``@tool(timeout=20)``.
      **options: As for `Tool`:

        * ``timeout``: seconds that a call may run, counted from when it starts: neither waiting for approval nor
          waiting for its turn counts.
        * ``approve``: True if somebody has to allow each call, or a function that takes the `ToolCall` and says whether
          somebody has to. Where nobody is there to be asked, a call that needs it is denied.
        * ``exclusive``: True if a call must run alone, with no other call of the reply beside it. A name: calls
          of all tools with this name run one by one, and if one fails, the later ones are not started. Both in the
          order in which the model made them.
        * ``eager``: False if a call must not start before the reply has ended. Calls that need approval or are
          exclusive never do.
        * ``on_cancel``: ``"finish"`` if a call that is stopped goes on to its end, for at most ``grace`` seconds (5 by
          default), shielded from the cancellation; then its real result is kept. It needs a ``timeout``.
        * ``errors``: ``"hide"`` if exceptions other than `ToolError` are answered with a fixed text.
        * ``max_result``: characters of text of a result that the model is shown. What is beyond them is cut, and a
          sentence says so.
        * ``definition``, ``name``, ``description``, ``toolset_name``, ``strict``: what the model is told.

    Returns:
      The tool. Calling it calls the function.

    Raises:
      TypeError: A parameter has a type that JSON cannot hold, or the options do not fit together.
      ValueError: An option is out of its range.
    """
    if function is None:
        return functools.partial(Tool, **options)
    return Tool(function, **options)
