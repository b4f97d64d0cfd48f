"""Which call runs next, whatever the calls are: no more than the slots, nothing beside an exclusive one, in order."""

from __future__ import annotations

from typing import Any

import trio
from hypothesis import given, strategies as st
from trio.testing import MockClock

from tests.agent.replies import called, message
from trio_stream.agent import ApprovalEvent, RunEvent, Tool, ToolContext, ToolError, ToolRunner

KINDS: list[bool | str] = [False, True, "files", "net"]

plans = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.integers(1, 4),  # seconds it takes
        st.sampled_from(["", "", "fails", "asks", "denied"]),
        st.integers(0, 5),  # seconds until an answer comes
    ),
    max_size=8,
)


@given(plan=plans, slots=st.integers(1, 4))
def test_the_rules_hold(plan: list[tuple[bool | str, int, str, int]], slots: int) -> None:
    """Every call ends; exclusive ones are alone; groups go in order and stop at a failure; slots are not exceeded."""
    running: list[int] = []
    started: list[int] = []
    ended: list[int] = []

    def make(number: int) -> Tool:
        kind, seconds, what, _ = plan[number]

        async def call(arguments: dict[str, Any], ctx: ToolContext) -> str:
            if kind is True:
                assert running == []
            assert True not in [plan[other][0] for other in running]
            assert kind not in [plan[other][0] for other in running] or kind is False
            if kind is not False:
                earlier = {other for other in range(number) if plan[other][0] == kind}
                assert earlier <= set(ended) | denied
            running.append(number)
            started.append(number)
            assert len(running) <= slots
            await trio.sleep(seconds)
            running.remove(number)
            ended.append(number)
            if what == "fails":
                raise ToolError("it failed")
            return "done"

        approve = what in ("asks", "denied")
        definition = {"name": f"t{number}", "input_schema": {}}
        return Tool(definition=definition, call=call, exclusive=kind, approve=approve)

    denied = {number for number, (_, _, what, _) in enumerate(plan) if what == "denied"}
    failed_before: set[int] = set()
    for number, (kind, _, _, _) in enumerate(plan):
        if isinstance(kind, str) and any(
            plan[other][0] == kind and plan[other][2] in ("fails", "denied") for other in range(number)
        ):
            failed_before.add(number)

    async def main() -> list[str]:
        async with trio.open_nursery() as nursery:

            async def answer(event: ApprovalEvent) -> None:
                number = int(event.name[1:])
                await trio.sleep(plan[number][3])
                if not calls.calls[event.id].has_ended:
                    event.deny("no") if number in denied else event.allow()

            def emit(event: RunEvent) -> None:
                if isinstance(event, ApprovalEvent):
                    nursery.start_soon(answer, event)

            tools = [make(number) for number in range(len(plan))]
            calls = ToolRunner(tools, nursery, max_concurrent_tools=slots, approve="ask", emit=emit)
            calls.start_all(message(*[called(f"t{number}") for number in range(len(plan))]))
            await calls.join()
            return [str(block["content"]) for block in calls.results()]

    results = trio.run(main, clock=MockClock(autojump_threshold=0))
    assert len(results) == len(plan)
    for number, (result, (_, _, what, _)) in enumerate(zip(results, plan, strict=True)):
        if number in failed_before:
            assert result.startswith("not started: ")
        elif number in denied:
            assert result == "not started: no."
        else:
            assert result == ("it failed" if what == "fails" else "done")
    assert running == []
    assert sorted(started) == sorted(ended)
