"""``trio-stream batch --live``: the calls under way as a table.

What belongs here: its columns and words. What does not: following calls (`trio_stream.Live`), and drawing (`_canvas`).
"""

from __future__ import annotations

from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

import trio_stream as ts
from trio_stream.cli._figures import count, duration
from trio_stream.cli._terminal import one_line

_LONGEST_ID: Final = 32
_SLOW: Final = 0.3
"""The share of a model's usual speed below which a stream is marked."""


def live_view(snapshot: ts.LiveSnapshot, *, height: int) -> RenderableType:
    """Make the table, with a line for each model above it.

    Args:
      snapshot: How the calls stand.
      height: How many lines there may be.
    """
    heads = [_model(model) for model in snapshot.models]
    room = height - len(heads) - 2
    calls = snapshot.calls[: max(0, room)]
    several = len({call.model for call in snapshot.calls}) > 1
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for name in ("item", *(["model"] if several else []), "state"):
        table.add_column(name, no_wrap=True)
    for name in ("quiet", "age", "attempts", "tokens", "tokens/s", "of normal"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("last error", no_wrap=True)
    for call in calls:
        table.add_row(*_row(call, several=several))
    left = len(snapshot.calls) - len(calls)
    more = [Text(f"and {left} more", style="dim")] if left and room > 0 else []
    return Group(*heads, *([table] if calls else []), *more)


def _model(model: ts.LiveModel) -> Text:
    states = ", ".join(f"{model.states[state]} {state.value}" for state in ts.LiveState if state in model.states)
    facts = [states or "none under way", f"{count(model.tokens_per_second)} tokens/s"]
    if model.normal is not None:
        facts.append(f"normal is {model.normal:.0f}/s each")
    if model.retries:
        facts.append(f"{model.retries} retries")
    return Text(f"{one_line(model.model) or 'no model'}: {' · '.join(facts)}", style="cyan")


def _row(call: ts.LiveCall, *, several: bool) -> list[Text]:
    state = call.state.value if call.back_off is None else f"{call.state.value} {call.back_off:.0f} s"
    pace = "" if call.pace is None else f"{call.pace:.0%}"
    cells = [Text(_short(call.item or "")), *([Text(_short(call.model))] if several else []), Text(state)]
    cells += [
        Text(f"{call.quiet:.1f} s"),
        Text(duration(call.age)),
        Text(str(call.attempts)),
        Text(str(call.output_tokens)),
        Text("" if call.tokens_per_second is None else f"{call.tokens_per_second:.0f}"),
        Text(pace, style="red" if call.pace is not None and call.pace < _SLOW else ""),
        Text(call.error or "", style="red"),
    ]
    return cells


def _short(name: str) -> str:
    line = one_line(name)
    return line if len(line) <= _LONGEST_ID else f"{line[: _LONGEST_ID - 1]}…"
