"""One row of the input of ``trio-stream batch``, and the requests that it stands for.

What belongs here: making a request of a row, with or without a template, and what is wrong with a row by itself. What
does not: reading rows (`_rows` and its formats), the notation of templates (`_template`), and what can be wrong only
beside other rows (`_batch_check`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast, final

import msgspec

from trio_stream._protocol import SAMPLING, SAMPLING_VERSION
from trio_stream._schemas import OutputType, ask_for_output
from trio_stream.batch import with_prefix
from trio_stream.cli._rows import API_PARAMS, MistakeError, Row, RowError, fault_of, names_of
from trio_stream.cli._template import Template

_TYPES: Final = {
    "messages": (list, "a list"),
    "max_tokens": (int, "a whole number"),
    "model": (str, "a text"),
}
"""What is looked at of a request's parameters before it is sent: what would be a mistake in each row."""


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One item of the input.

    Args:
      index: The zero-based position of its row in the input.
      id: The id in the row; None if it has none.
      request: The parameters of its request.
      others: The other keys of the row, which pass through to the output.
      names_model: Whether the row says which model is asked.
      repeat: Which of several requests for the same answer this is, counted from 1.
      replaces: Whether it is sent in place of a request of an earlier run whose answer was cut.
      hash: The `request_hash` of the request as it is sent. Empty as `Recipe.read` makes it (see `_batch_check`).
    """

    index: int
    id: str | None
    request: dict[str, Any]
    others: dict[str, Any]
    names_model: bool = False
    repeat: int = 1
    replaces: bool = False
    hash: str = ""


@final
class Recipe:
    """Makes requests of rows.

    Args:
      defaults: Parameters for the requests whose rows do not set them.
      template: The prompt, with keys of the row in braces; None if the rows have a prompt or messages.
      prefix: The text that the fan-out puts before each prompt; None for no such text.
      output: What the fan-out asks all answers for; None for texts.

    Attributes:
      prefix: As given. It is not in the requests that `read` makes, but in those of `complete`.
      output: As given; likewise.

    Raises:
      InputError: The template is not valid.
    """

    def __init__(
        self,
        defaults: Mapping[str, Any],
        template: str | None,
        *,
        prefix: str | None = None,
        output: OutputType[Any] | None = None,
    ) -> None:
        self.prefix: str | None = prefix
        self.output: OutputType[Any] | None = output
        self._defaults = dict(defaults)
        self._samples = any(name in defaults for name in SAMPLING)
        self._template = None if template is None else Template(template)

    def read(self, row: Row, *, index: int) -> Entry:
        """Make an entry of a row.

        Args:
          row: The row.
          index: The zero-based position of the item.

        Raises:
          RowError: The row is not valid.
        """
        try:
            return self._entry(row.fields(), index)
        except MistakeError as mistake:
            raise RowError(fault_of(row, mistake)) from None

    def complete(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a request as the fan-out sends it: with the prefix, and with the schema of the output.

        Raises:
          TypeError: It asks for another output already.
        """
        if self.prefix is not None:
            request = with_prefix(request, self.prefix)
        return request if self.output is None else ask_for_output(request, self.output)

    def _entry(self, fields: dict[str, Any], index: int) -> Entry:
        prompt: Any = None if self._template is None else self._template.fill(fields)
        name_key = "id"
        name = fields.pop("id", None)
        request: dict[str, Any] = {}
        # The lines of the Message Batches API: {"custom_id": ..., "params": {...}}.
        if "params" in fields:
            params = fields.pop("params")
            if not isinstance(params, dict):
                raise MistakeError("`params` is not an object", "params")
            request.update(cast("dict[str, Any]", params))
            request.pop("stream", None)
            if name is None:
                name_key, name = "custom_id", fields.pop("custom_id", None)
        request.update({key: fields.pop(key) for key in API_PARAMS & fields.keys()})
        fields.pop("stream", None)
        if self._template is None:
            prompt = fields.pop("prompt", None)
            if prompt is not None and (not isinstance(prompt, str) or not prompt.strip()):
                raise MistakeError("`prompt` is not a text", "prompt")
        elif not prompt.strip():
            raise MistakeError("the template makes a blank prompt of it")
        for key, value in request.items():
            if isinstance(value, bytes):
                raise MistakeError(f"`{key}` is binary data", key)
            if key in SAMPLING and not self._samples:
                raise MistakeError(
                    f"`{key}` exists under anthropic-version {SAMPLING_VERSION} only: leave it out, or say --param "
                    f"{key}=VALUE for rows without one, so that the run uses that version",
                    key,
                )
        for key, (kind, what) in _TYPES.items():
            if key in request and (not isinstance(request[key], kind) or isinstance(request[key], bool)):
                raise MistakeError(f"`{key}` is not {what}", key)
        if request.get("max_tokens", 1) < 1:
            raise MistakeError("`max_tokens` is less than 1", "max_tokens")
        if not request.get("model", "-").strip():
            raise MistakeError("`model` is blank", "model")
        if prompt is not None:
            if "messages" in request:
                raise MistakeError("it has both a prompt and `messages`", "messages")
            request["messages"] = [{"role": "user", "content": prompt}]
        if not request.get("messages"):
            raise MistakeError(
                "it has neither `prompt` nor `messages`, and there is no --template which makes a prompt of its keys"
                f" ({names_of(fields)})"
            )
        item_id = _id(name, name_key)
        messages: Sequence[object] = request["messages"]
        for number, message in enumerate(messages):
            if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
                raise MistakeError(f"`messages[{number}]` is not an object with `role` and `content`", "messages")
        return Entry(
            index=index,
            id=item_id,
            request=self._defaults | request,
            others=fields,
            names_model="model" in request,
        )


def _id(name: object, key: str) -> str | None:
    if name is None:
        return None
    if isinstance(name, bool) or not isinstance(name, (str, int)) or name == "":
        raise MistakeError(f"`{key}` is neither a text nor a whole number", key)
    return str(name)
