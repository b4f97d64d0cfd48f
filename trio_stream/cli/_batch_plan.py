"""What ``trio-stream batch --dry-run`` prints.

What belongs here: the words. What does not: the figures (`_batch_dry_run`, `_batch_sample`).
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from typing import Final

from trio_stream.cli._batch_asking import window
from trio_stream.cli._batch_dry_run import Plan
from trio_stream.cli._batch_options import BatchOptions
from trio_stream.cli._batch_sample import Measured
from trio_stream.cli._figures import count, dollars, duration
from trio_stream.cli._terminal import one_line

_NAMED: Final = 10
_NO_PRICE: Final = "not known: say what tokens cost with --price INPUT/OUTPUT"


def print_plan(
    plan: Plan, duplicates: Mapping[str, object], options: BatchOptions, measured: Measured | None = None
) -> None:
    """Print the estimate to standard output.

    Args:
      plan: The estimate.
      duplicates: The ids that occur more than once.
      options: The options of the run.
      measured: What a sample of real answers told; None without one.
    """
    left = plan.left
    output: dict[str, float] | None = None
    if measured is not None and measured.answers:
        output = {name: model.items * measured.output_of(name) for name, model in plan.models.items()}
    rows = [("items", f"{plan.items}" + (f", {plan.known} of them answered already" if plan.known else ""))]
    each = plan.input_tokens / left if left else 0.0
    rows.append(("input", f"about {count(plan.input_tokens)} tokens ({each:.0f} each, of {plan.counted} counted)"))
    most_each = plan.max_tokens / left if left else 0.0
    most = f"at most {count(plan.max_tokens)} tokens ({most_each:.0f} each)"
    if output is not None and measured is not None:
        tokens = sum(output.values())
        mean = statistics.fmean(measured.answers)
        about = "" if measured.uncertainty is None else f" \N{PLUS-MINUS SIGN}{measured.uncertainty:.0%}"
        answers = len(measured.answers)
        most = f"about {count(tokens)} tokens ({mean:.0f}{about} each, of {answers} answers); {most}"
    rows.append(("output", most))
    rows.append(("cost", _cost(plan, output, options)))
    rows.append(("time", _time(plan, output, measured, options)))
    if measured is not None:
        rows.append(("sample", _sample(measured, options)))
    if duplicates:
        names = ", ".join(one_line(name)[:40] for name in [*duplicates][:_NAMED])
        more = "" if len(duplicates) <= _NAMED else ", ..."
        rows.append(("repeated ids", f"{len(duplicates)}: {names}{more}"))
    else:
        rows.append(("repeated ids", "none"))
    for name, fact in rows:
        sys.stdout.write(f"{name:<13} {fact}\n")
    sys.stdout.flush()


def _cost(plan: Plan, output: dict[str, float] | None, options: BatchOptions) -> str:
    least, most = plan.input_cost, plan.most_cost
    if least is None or most is None:
        return _NO_PRICE
    limit = "" if options.max_cost is None else f"; --max-cost stops it at ${options.max_cost:g}"
    longest = f"up to ${most:.2f} if every answer is as long as it may{limit}"
    answers = None if output is None else plan.output_cost(output)
    if answers is None:
        return f"${least:.2f} for the input, {longest}"
    parts = f"{dollars(least)} for the input, {dollars(answers)} for the output"
    return f"about {dollars(least + answers)}: {parts}; {longest}"


def _time(plan: Plan, output: dict[str, float] | None, measured: Measured | None, options: BatchOptions) -> str:
    if options.via == "batch":
        return "that of message batches: up to 24 hours, mostly much less"
    tokens = float(plan.max_tokens) if output is None else sum(output.values())
    if_long = ", if every answer is as long as it may" if output is None else ""
    limits = [
        (plan.left, options.rpm, "by the limit of requests"),
        (plan.input_tokens, options.itpm, "by the limit of input tokens"),
        (tokens, options.otpm, f"by the limit of output tokens{if_long}"),
    ]
    minutes = [(amount / limit, what) for amount, limit, what in limits if limit is not None]
    if measured is not None and measured.seconds:
        at_once = min(window(options).maximum, max(1, plan.left))
        each = statistics.fmean(measured.seconds)
        minutes.append((plan.left * each / at_once / 60, f"at {at_once} at once, {each:.1f} s each"))
    if not minutes:
        return "not known: say what your limits are with --rpm, --itpm, --otpm (a run finds them out by itself)"
    longest, what = max(minutes)
    return f"{duration(longest * 60)} or more, {what}"


def _sample(measured: Measured, options: BatchOptions) -> str:
    facts = [f"{measured.asked} asked now"]
    if measured.stats.cost is not None:
        facts[0] += f" for {dollars(measured.stats.cost)}"
    if measured.known:
        facts.append(f"{measured.known} answered before")
    if measured.failed:
        facts.append(f"{measured.failed} without a whole answer")
    kept = "nothing keeps their answers: the run asks them again"
    if options.output != "-" or options.journal is not None:
        kept = "the run does not ask them again"
    return f"{', '.join(facts)}; {kept}"
