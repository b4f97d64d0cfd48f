"""Files with a JSON Schema that answers are to follow: ``--schema`` of several commands.

What belongs here: reading one. What does not: whether the API takes it (`trio_stream._schemas`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trio_stream._protocol import JSON_ERRORS, decode_json
from trio_stream._schemas import find_refusal
from trio_stream.cli._input_text import InputError, unreadable


def read_schema(path: Path) -> dict[str, Any]:
    """Read the JSON Schema in a file.

    Raises:
      InputError: It cannot be read, is not JSON, or the API would refuse it.
    """
    try:
        schema: dict[str, Any] = decode_json(path.read_bytes())
    except OSError as error:
        raise InputError(unreadable(str(path), error)) from error
    except JSON_ERRORS as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    refusal = find_refusal(schema)
    if refusal is not None:
        raise InputError(f"the API does not take the schema in {path}: {refusal}")
    return schema
