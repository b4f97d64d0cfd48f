"""What goes to the model as the result of a call: any value, made into content that the API takes.

What belongs here: the forms of content, its size, and the words of results that are not the tool's own. What does not:
when which of them is given (`_tool_call`).

Nothing that a tool returns may make a conversation unusable: the API would refuse the result in this request and in
every later one. So surrogates without their other half become U+FFFD, text blocks without text are left out, and text
has a bound. Whatever is not content of the API's is sent as JSON.
"""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeAlias, cast

import msgspec

Content: TypeAlias = str | list[dict[str, Any]]
"""The content of a ``tool_result``."""

MOST_CHARACTERS: Final = 200_000
_MOST_OF_AN_ERROR: Final = 2_000

HIDDEN: Final = "The tool failed."
THE_END: Final = "the program ended"
"""The reason of a result that is looked at while its call has none yet: it is sent only if there never was another."""

_REQUIRED: Final[Mapping[str, Mapping[str, type | tuple[type, ...]]]] = {
    "text": {"text": str},
    "image": {"source": Mapping},
    "document": {"source": Mapping},
    "search_result": {"content": (list, tuple), "source": str, "title": str},
    "tool_reference": {"tool_name": str},
    "browser_state": {"tabs": (list, tuple)},
}
"""The blocks that a ``tool_result`` may hold, and the fields without which the API would refuse them."""


class Answer(NamedTuple):
    """The answer to a call.

    Attributes:
      content: Its content.
      is_error: Whether it tells that something went wrong.
      ends_run: Whether the tool asked for the end of the run.
      marked: Whether an error may be marked as one: see `error_content`.
    """

    content: Content
    is_error: bool = False
    ends_run: bool = False
    marked: bool = True


def not_started(reason: str) -> Answer:
    """The answer to a call that never ran."""
    return Answer(f"not started: {_clause(reason)}.", is_error=True)


def stopped(reason: str) -> Answer:
    """The answer to a call that was stopped while it ran."""
    return Answer(
        f"stopped while it was running: {_clause(reason)}. Whether it had effects is not known.", is_error=True
    )


def _clause(reason: str) -> str:
    """A reason as a part of a sentence."""
    return clean(reason[:_MOST_OF_AN_ERROR]).strip().rstrip(".") or "no reason was given"


def timed_out(seconds: float) -> Answer:
    """The answer to a call whose own time ran out."""
    return Answer(
        f"stopped: it had not ended after {seconds:g} seconds. Whether it had effects is not known.", is_error=True
    )


def failed(error: BaseException) -> Answer:
    """The answer to a call whose tool raised an exception: its type and message."""
    text = "; ".join(_sentences(error))
    if len(text) > _MOST_OF_AN_ERROR:
        text = text[:_MOST_OF_AN_ERROR] + "..."
    return Answer(clean(text), is_error=True)


def _sentences(error: BaseException) -> Iterator[str]:
    if isinstance(error, BaseExceptionGroup):
        for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _sentences(part)
        return
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a broken `__str__` of somebody's exception hides nothing else
        text = ""
    yield f"{type(error).__name__}: {text}" if text else type(error).__name__


def error_content(value: object, *, limit: int) -> tuple[Content, bool]:
    """The content of an error that was raised with ``value``, and whether the API may be told that it is one.

    The API answers 400 to anything but text in an error ("all content must be type `text` if `is_error` is true").
    An image of what went wrong is worth more to the model than the mark, which becomes a word before it.

    Raises:
      TypeError, ValueError: As `content_of`.
    """
    content = content_of(value, limit=limit)
    if isinstance(content, str) or all(block["type"] == "text" for block in content):
        return content or "The tool failed.", True
    return [{"type": "text", "text": "Error:"}, *content], False


def content_of(value: object, *, limit: int = MOST_CHARACTERS) -> Content:
    """Make content of what a tool returned.

    Args:
      value: A text; a content block or several; None for nothing; or any value that JSON can hold: dataclasses,
        Structs, models of pydantic, dates and so on.
      limit: Characters of text that stay. Images, PDFs and other blocks are not cut.

    Raises:
      TypeError: JSON cannot hold the value.
      ValueError: JSON cannot hold the value, or an image or a PDF in it has no content.
    """
    if value is None:
        return ""
    if isinstance(value, str):
        return _cut(value, limit)
    blocks = _as_blocks(value)
    if blocks is None:
        return _cut(_to_json(value), limit)
    total = sum(len(block["text"]) for block in blocks if block["type"] == "text")
    left: int | None = limit  # None: the text has been cut, and what comes after it is not shown either
    content: list[dict[str, Any]] = []
    for block in blocks:
        if block["type"] != "text":
            _check_data(block)
            content.append(_clean_block(block))
            continue
        text: str = block["text"]
        if left is None or not text or text.isspace():
            continue
        shown = clean(text[:left])
        if len(text) > left:
            shown += _note_of_the_cut(total, limit)
            left = None
        else:
            left -= len(text)
        content.append({**_clean_block({**block, "text": ""}), "text": shown})
    return content or ""


def _as_blocks(value: object) -> list[Mapping[str, Any]] | None:
    """The content blocks that a value is; None if it is something else."""
    parts: list[object] = list(cast("list[object]", value)) if isinstance(value, (list, tuple)) else [value]
    blocks: list[Mapping[str, Any]] = []
    for part in parts:
        to_param: object = getattr(part, "to_param", None)
        block = cast("Callable[[], object]", to_param)() if callable(to_param) else part
        if not isinstance(block, Mapping) or not _is_block(cast("Mapping[str, Any]", block)):
            return None
        blocks.append(cast("Mapping[str, Any]", block))
    return blocks or None


def _is_block(value: Mapping[str, Any]) -> bool:
    kind = value.get("type")
    required = _REQUIRED.get(kind) if isinstance(kind, str) else None
    return required is not None and all(isinstance(value.get(name), right) for name, right in required.items())


def _check_data(block: Mapping[str, Any]) -> None:
    """Refuse an image or a PDF without content: the API would, in this request and in every later one.

    Raises:
      ValueError: Its data is empty or not base64.
    """
    source: Any = block.get("source")
    if isinstance(source, Mapping) and cast("Mapping[str, Any]", source).get("type") == "base64":
        data: Any = cast("Mapping[str, Any]", source).get("data")
        try:
            content = binascii.a2b_base64(data, strict_mode=True)
        except (TypeError, ValueError):
            content = b""
        if not content:
            raise ValueError(f"the data of the {block['type']} that the tool returned is not base64, or empty")


def _clean_block(block: Mapping[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", _clean_value(msgspec.to_builtins(block, enc_hook=_foreign)))


def _clean_value(value: object) -> object:
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, dict):
        return {clean(name): _clean_value(part) for name, part in cast("dict[str, object]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_clean_value(part) for part in cast("list[object]", value)]
    return value


def clean(text: str) -> str:
    """A text in which each surrogate without its other half is U+FFFD: the text could not be sent with it."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _cut(text: str, limit: int) -> str:
    if not text or text.isspace():
        return ""
    # Cut first: what is thrown away may be megabytes, and nobody else runs meanwhile.
    shown = clean(text[:limit])
    return shown if len(text) <= limit else shown + _note_of_the_cut(len(text), limit)


def _note_of_the_cut(total: int, limit: int) -> str:
    return f"\n[Cut: this result has {total:,} characters, and only the first {limit:,} are shown.]"


def _to_json(value: object) -> str:
    try:
        return msgspec.json.encode(value, enc_hook=_foreign).decode()
    except UnicodeEncodeError:  # a surrogate, which `json` lets through
        plain = msgspec.to_builtins(value, enc_hook=_foreign, str_keys=True)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":"))


def _foreign(value: object) -> object:
    """What JSON holds for an object that msgspec does not know."""
    for name in ("model_dump", "to_dict"):  # pydantic's models; values of this library's
        method: object = getattr(value, name, None)
        if callable(method):
            return method(mode="json") if name == "model_dump" else method()
    raise TypeError(f"a tool returned an object of {type(value).__name__}, which cannot be sent as JSON")
