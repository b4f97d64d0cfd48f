"""Which lines of the input of ``trio-stream batch`` belong to a run.

What belongs here: ``--limit``, ``--sample``, ``--shard``, and the task of a job array. What does not: reading the lines
(`_batch_input`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from trio_stream.cli._input_text import InputError


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines of the input belong to this run.

    Args:
      limit: How many of the first lines; None for all.
      sample: How many of those, chosen by their content, so that they are the same ones each time; None for all.
      shard: Which part, counted from 0, of how many.
    """

    limit: int | None = None
    sample: int | None = None
    shard: tuple[int, int] = (0, 1)

    def has(self, index: int) -> bool:
        """Whether a line is in this shard."""
        return index % self.shard[1] == self.shard[0]


def parse_shard(value: str) -> tuple[int, int]:
    """Read ``i/n``: part ``i``, counted from 0, of ``n``.

    Raises:
      InputError: ``value`` has another form.
    """
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", value.strip())
    if match is None or not int(match[1]) < int(match[2]):
        raise InputError(f"a shard is i/n with i from 0 to n-1, not {value!r}")
    return int(match[1]), int(match[2])


def shard_of_job_array(environment: Mapping[str, str]) -> tuple[int, int] | None:
    """Return the shard of the current task of a SLURM job array; None outside of one.

    Raises:
      InputError: The tasks of the array are not numbered consecutively.
    """
    try:
        number = int(environment["SLURM_ARRAY_TASK_ID"])
        count = int(environment["SLURM_ARRAY_TASK_COUNT"])
    except (KeyError, ValueError):
        return None
    # `--array=1-8` counts from 1.
    number -= int(environment.get("SLURM_ARRAY_TASK_MIN", "0"))
    if not 0 <= number < count:
        raise InputError("the tasks of this SLURM array are not numbered consecutively: use --shard")
    return number, count
