"""The requests a scripted API was sent.

What belongs here: a request as it arrived, and what became of its answer. What does not: judging it
(`_strict`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, final

import msgspec

from trio_stream.testing._json import as_list, as_object

_SECRET = frozenset({"x-api-key", "authorization", "proxy-authorization", "cookie"})


@final
class RecordedHeaders(Mapping[str, str]):
    """The headers of a request; names are compared without case, repeated ones joined by a comma.

    Keys and tokens can be read, and are not shown by ``repr``.
    """

    __slots__ = ("_pairs", "_values")

    def __init__(self, pairs: Iterable[tuple[str, str]] = ()) -> None:
        self._pairs = tuple((name.lower(), value) for name, value in pairs)
        self._values: dict[str, str] = {}
        for name, value in self._pairs:
            known = self._values.get(name)
            self._values[name] = value if known is None else f"{known}, {value}"

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The headers in the order they came, names in lower case."""
        return self._pairs

    def __repr__(self) -> str:
        shown = {name: "[redacted]" if name in _SECRET else value for name, value in self._values.items()}
        return f"RecordedHeaders({shown!r})"


@final
class RecordedRequest:
    """One request, and what became of its answer.

    Attributes:
      number: Counts the requests of this `ScriptedAPI` from 1.
      at: When it had arrived, in seconds of `trio.current_time`.
      method: The HTTP method.
      path: The path, without the query.
      params: The query.
      headers: The headers.
      content: The body as it came.
      body: The body as decoded JSON; None where it is none.
      request_id: The ``request-id`` of the answer.
      status: The status of the answer; None until its head is due.
      complete: True when the whole answer has been handed to the client.
      closed_by: None while the answer is open; then ``"finish"`` when the client let go of it with the
        message whole (on a port: when all of it was sent), or ``"close"`` when the client closed or
        cancelled.
      closed_at: When that was, in seconds of `trio.current_time`.
    """

    __slots__ = (
        "at",
        "body",
        "closed_at",
        "closed_by",
        "complete",
        "content",
        "headers",
        "method",
        "number",
        "params",
        "path",
        "request_id",
        "status",
    )

    def __init__(
        self,
        *,
        number: int,
        at: float,
        method: str,
        path: str,
        params: Mapping[str, str],
        headers: RecordedHeaders,
        content: bytes,
        request_id: str,
    ) -> None:
        self.number: int = number
        self.at: float = at
        self.method: str = method
        self.path: str = path
        self.params: Mapping[str, str] = params
        self.headers: RecordedHeaders = headers
        self.content: bytes = content
        self.body: Any = None
        if content:
            try:
                self.body = msgspec.json.decode(content)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.body = None
        self.request_id: str = request_id
        self.status: int | None = None
        self.complete: bool = False
        self.closed_by: Literal["finish", "close"] | None = None
        self.closed_at: float | None = None

    @property
    def stream(self) -> bool:
        """Whether a streamed answer was asked for."""
        return self._field("stream") is True

    @property
    def model(self) -> str | None:
        """The model that was asked for."""
        model = self._field("model")
        return model if isinstance(model, str) else None

    @property
    def messages(self) -> list[Any]:
        """The messages; empty where the body has no list of them."""
        return as_list(self._field("messages"))

    @property
    def betas(self) -> tuple[str, ...]:
        """The names in ``anthropic-beta``."""
        return tuple(name for name in re.split(r"[\s,]+", self.headers.get("anthropic-beta", "")) if name)

    @property
    def key(self) -> str | None:
        """The key or token it came with."""
        token = self.headers.get("authorization")
        if token is not None and token.lower().startswith("bearer "):
            return token[7:].strip()
        return self.headers.get("x-api-key")

    def _field(self, name: str) -> Any:
        return as_object(self.body).get(name)

    def __repr__(self) -> str:
        # No prompt text: a test's output may be public.
        facts = [f"{self.method} {self.path}"]
        if self.model is not None:
            facts.append(f"model={self.model} messages={len(self.messages)}")
        if self.stream:
            facts.append("stream")
        facts.append("unanswered" if self.status is None else f"status={self.status}")
        if self.closed_by is not None:
            facts.append(f"closed_by={self.closed_by}")
        return f"<RecordedRequest {self.number}: {' '.join(facts)}>"
