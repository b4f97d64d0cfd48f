"""The requests that a scripted API was sent.

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
    """The headers of a request. Names are compared without case, and repeated ones are joined by a comma.

    Keys and tokens can be read, but ``repr`` does not show them.
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
        """The headers in the order in which they came, with their names in lower case."""
        return self._pairs

    def __repr__(self) -> str:
        shown = {name: "[redacted]" if name in _SECRET else value for name, value in self._values.items()}
        return f"RecordedHeaders({shown!r})"


@final
class RecordedRequest:
    """One request, and what became of its answer.

    Attributes:
      number: The number of the request among those of its `ScriptedAPI`, from 1 on.
      at: The time of its arrival, in seconds of `trio.current_time`.
      method: The HTTP method.
      path: The path, without the query.
      params: The query.
      headers: The headers.
      content: The body as it came.
      body: The body as decoded JSON, or None if it is not JSON.
      full_body: The body as the API understands it: ``body``, or, if the request continues a message thread, that with
        the ``system``, ``tools`` and earlier messages which the thread holds.
      request_id: The ``request-id`` of the answer.
      status: The status of the answer, or None until its head is due.
      complete: Whether the whole answer has been handed to the client.
      closed_by: None while the answer is open. Then ``"finish"`` if the client let go of it with the message whole
        (on a port, if all of it was sent), or ``"close"`` if the client closed the connection or was cancelled.
      closed_at: The time of that, in seconds of `trio.current_time`.
    """

    __slots__ = (
        "at",
        "body",
        "closed_at",
        "closed_by",
        "complete",
        "content",
        "full_body",
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
        self.full_body: Any = self.body
        self.request_id: str = request_id
        self.status: int | None = None
        self.complete: bool = False
        self.closed_by: Literal["finish", "close"] | None = None
        self.closed_at: float | None = None

    @property
    def stream(self) -> bool:
        """Whether the request asks for a streamed answer."""
        return self._field("stream") is True

    @property
    def model(self) -> str | None:
        """The model that the request asks for."""
        model = self._field("model")
        return model if isinstance(model, str) else None

    @property
    def messages(self) -> list[Any]:
        """The messages of the request as it was sent, or an empty list if the body has none."""
        return as_list(self._field("messages"))

    @property
    def betas(self) -> tuple[str, ...]:
        """The names in ``anthropic-beta``."""
        return tuple(name for name in re.split(r"[\s,]+", self.headers.get("anthropic-beta", "")) if name)

    @property
    def key(self) -> str | None:
        """The API key or token that the request came with."""
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
