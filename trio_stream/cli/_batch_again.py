"""Which items of earlier runs ``trio-stream batch`` sends again: ``--retry-errors`` and ``--retry-truncated``.

What belongs here: the names that these options take, and whether an outcome is meant by them. What does not: the
journal, which gives the outcomes (`_batch_journal`), and the output, whose rows are written again (`_batch_output`).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Final, cast, final

import msgspec

import trio_stream._errors as _errors
from trio_stream.batch import Outcome, RecordedError, restore_error

ALL: Final = "all"
"""Any failure."""

TRUNCATED: Final = frozenset({"max_tokens", "model_context_window_exceeded"})
"""The stop reasons of answers that are not all that the model would have said."""

_STATUSES: Final = ("error", "timeout", "invalid", "truncated", "refused")
_CLASSES: Final = {
    name: kind for name, kind in vars(_errors).items() if isinstance(kind, type) and issubclass(kind, _errors.APIError)
}


@final
class Again(msgspec.Struct, frozen=True, kw_only=True):
    """Which items are sent again although an earlier run knows how they ended.

    Args:
      errors: Names of failures: classes of errors, which stand for their subclasses too, types of the API's errors as
        in ``overloaded_error``, statuses of HTTP as in ``529``, statuses of rows as in ``invalid``; or `ALL`.
      truncated: Whether answers are meant that were cut at ``max_tokens`` or by the model's context window.
    """

    errors: tuple[str, ...] = ()
    truncated: bool = False

    def of(self, outcome: Outcome) -> bool:
        """Whether an item that ended so is sent again."""
        if self.truncated and (outcome.status == "truncated" or outcome.stop_reason in TRUNCATED):
            return True
        return outcome.status in _STATUSES and any(_is_meant(outcome, name) for name in self.errors)

    def of_row(self, fields: Mapping[str, Any]) -> bool:
        """Whether the item of a row of an output is sent again."""
        if not self.errors and not self.truncated:
            return False
        status = fields["status"]
        error = fields.get("error")
        return self.of(
            Outcome(
                status=status if status in _STATUSES else "ok" if status == "ok" else "error",
                error=restore_error(cast("dict[str, Any]", error)) if isinstance(error, dict) else None,
                stop_reason=fields.get("stop_reason"),
            )
        )


def check_name(name: str) -> str | None:
    """Say what is wrong with a name of failures; None if it is one."""
    if name in (ALL, *_STATUSES) or name in _CLASSES or name.endswith("_error") or _is_status_code(name):
        return None
    close = difflib.get_close_matches(name, [*_CLASSES, *_STATUSES, ALL], n=1)
    meant = f"did you mean {close[0]}? " if close else ""
    return (
        f"{name!r} is no class of errors (OverloadedError), no type of the API's (overloaded_error), no status (529, "
        f"{', '.join(_STATUSES)}); {meant}Before another argument write --retry-errors={ALL}"
    )


def _is_status_code(name: str) -> bool:
    return len(name) == 3 and name.isascii() and name.isdecimal() and name[0] in "345"


def _is_meant(outcome: Outcome, name: str) -> bool:
    if name in (ALL, outcome.status):
        return True
    error = outcome.error
    kind = _CLASSES.get(name)
    if kind is not None and isinstance(error, kind):
        return True
    if isinstance(error, RecordedError):
        return error.type == name
    if isinstance(error, _errors.APIStatusError):
        return name in (error.type, str(error.status_code))
    return False
