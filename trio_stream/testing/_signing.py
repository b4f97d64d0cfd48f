"""The signatures of thinking blocks and of summaries.

What belongs here: making them and finding the ones that no longer fit, pure and without state. What does not:
any other rule of the API (`_strict`).

A signature holds a hash of everything before its block (system, tools, messages, earlier blocks of the same
turn) and a hash of the block's own text, so any `ScriptedAPI` recognises the signatures of any other.
Signatures of another make (recorded ones) cannot be verified and pass. What the API itself treats as the same
is the same here: a string and a list of one text block, one turn or two in a row of the same role,
``cache_control`` or not.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from trio_stream.testing._json import as_list, as_object

_MARK = b"trio-stream:1:"
_SIZE = 16
_NO_PREFIX = b"compaction".ljust(_SIZE)  # a summary stands for what came before, and is bound to none of it
_ENCODER = msgspec.json.Encoder(order="sorted")


def sign(body: Mapping[str, Any], before: Sequence[Mapping[str, Any]], thinking: str) -> str:
    """The signature of a thinking block.

    Args:
      body: The request that is being answered.
      before: The blocks of the answer before this one.
      thinking: The text of the block.
    """
    prefix = _Prefix(body)
    for message in _messages(body):
        for content in _blocks(message):
            prefix.add(message.get("role"), content)
    for content in before:
        prefix.add("assistant", content)
    return _signature(prefix.digest(), thinking)


def sign_summary(text: str) -> str:
    """The signature of a ``compaction`` block."""
    return _signature(_NO_PREFIX, text)


def is_altered_summary(signature: str, text: str) -> bool:
    """Whether the signature of a ``compaction`` block was made here, and for another text."""
    return _ours(signature) and signature != _signature(_NO_PREFIX, text)


class Mismatch(NamedTuple):
    """A thinking block whose signature does not fit.

    Attributes:
      path: Where it is, as the API writes it.
      genuine: Whether the block is as it was signed, so that it is the conversation before it that differs.
    """

    path: str
    genuine: bool


def mismatches(body: Mapping[str, Any]) -> list[Mismatch]:
    """The thinking blocks whose own signatures do not fit."""
    prefix = _Prefix(body)
    found: list[Mismatch] = []
    for number, message in enumerate(_messages(body)):
        for index, content in enumerate(_blocks(message)):
            signature = content.get("signature")
            if content.get("type") == "thinking" and isinstance(signature, str) and _ours(signature):
                given = content.get("thinking")
                text = given if isinstance(given, str) else ""
                if signature != _signature(prefix.digest(), text):
                    found.append(Mismatch(f"messages.{number}.content.{index}", _genuine(signature, text)))
            prefix.add(message.get("role"), content)
    return found


class _Prefix:
    """A running hash of a conversation."""

    def __init__(self, body: Mapping[str, Any]) -> None:
        system = body.get("system")
        blocks: Any = [{"type": "text", "text": system}] if isinstance(system, str) else system
        self._hash = hashlib.sha256(_ENCODER.encode(_essence([blocks or None, body.get("tools") or None])))

    def add(self, role: Any, content: Mapping[str, Any]) -> None:
        self._hash.update(_ENCODER.encode([role, _essence(content)]))

    def digest(self) -> bytes:
        return self._hash.digest()[:_SIZE]


def _signature(prefix: bytes, thinking: str) -> str:
    own = hashlib.sha256(thinking.encode(errors="surrogatepass")).digest()[:_SIZE]
    check = hashlib.sha256(_MARK + prefix + own).digest()[:_SIZE]
    return base64.b64encode(_MARK + prefix + own + check).decode()


def _ours(signature: str) -> bool:
    return signature.startswith(base64.b64encode(_MARK[:12]).decode())


def _genuine(signature: str, thinking: str) -> bool:
    """Whether a block has the text that its signature was made for, and the signature is as it was made."""
    try:
        signed = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    return signature == _signature(signed[len(_MARK) : len(_MARK) + _SIZE], thinking)


def _essence(value: Any) -> Any:
    """The value without those parts that do not change its meaning."""
    if isinstance(value, Mapping):
        return {
            name: _essence(field)
            for name, field in as_object(value).items()
            if name != "cache_control" and field is not None and field != []
        }
    if isinstance(value, list):
        return [_essence(item) for item in as_list(value)]
    return value


def _messages(body: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [as_object(message) for message in as_list(body.get("messages"))]


def _blocks(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    content = message.get("content")
    if isinstance(content, str):
        return [{"type": "text", "text": content}] if content else []
    return [as_object(item) for item in as_list(content)]
