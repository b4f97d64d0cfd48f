"""Options under headings, for a command that has many.

What belongs here: how ``--help`` shows them. What does not: the options (`_batch_commands`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, final

import click


@final
class GroupedOption(click.Option):
    """An option that stands under a heading.

    Attributes:
      heading: The heading.
    """

    heading: str

    def __init__(self, *args: Any, heading: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading


@final
class GroupedCommand(click.Command):
    """A command whose help has its options under their headings, in the order in which these come first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                heading = param.heading if isinstance(param, GroupedOption) else "Other"
                groups.setdefault(heading, []).append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def options_under(heading: str) -> Callable[..., Callable[[Any], Any]]:
    """Return what `click.option` is, for options under a heading."""
    return functools.partial(click.option, cls=GroupedOption, heading=heading)
