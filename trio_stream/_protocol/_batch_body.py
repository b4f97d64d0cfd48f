"""The body of a request that creates a batch.

What belongs here: encoding the requests of a batch one by one, and refusing before anything is sent what the API would
refuse, at once or, which is worse, only when the batch runs. What does not: encoding parameters (`_request`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final, cast, final

from trio_stream._protocol._content import Content
from trio_stream._protocol._request import check_messages, check_required, check_sampling_params, encode_params

MOST_REQUESTS: Final = 100_000
"""In one batch."""

MOST_BYTES: Final = 256 * 1024 * 1024
"""In one batch. The documented limit is 256 MB: what is larger than the larger reading of that cannot be right."""

_OPEN: Final = b'{"requests":['
_REQUEST: Final = b'%b{"custom_id":"%b","params":%b}'
_CLOSE: Final = b"]}"

_PIECE_BYTES: Final = 262_144
"""A body that is not in memory is made in pieces of about this size."""

_CUSTOM_ID: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_MEMBERS: Final = ("custom_id", "params")
_OF_THE_BATCH: Final = ("betas", "workspace_id")  # these travel as headers, of which a batch has one set


@final
class BatchBody:
    """Collects the requests of a batch as JSON.

    Each is checked and encoded when it is added, so that an iterable may be as long as a batch may be large, and a
    caller can let other tasks run in between. The bytes exist once: a batch may have 256 MB.

    Args:
      anthropic_version: Decides which parameters there are.
      extra_body: More members of the JSON object.

    Attributes:
      requests: How many there are so far.
    """

    def __init__(self, *, anthropic_version: str, extra_body: Mapping[str, object] | None = None) -> None:
        self._version = anthropic_version
        self._extra = extra_body or {}
        self._places: dict[str, int] = {}
        # `getvalue` hands out what it has written to without a copy, unlike joining and `bytes(bytearray)`.
        self._buffer = io.BytesIO()
        self._buffer.write(_OPEN)

    @property
    def requests(self) -> int:
        """How many requests there are so far."""
        return len(self._places)

    def add(self, request: object) -> None:
        """Check and encode one request.

        Raises:
          TypeError: It is not of the right form, or something in it is not JSON. The text says where.
          ValueError: The API would refuse it, or the batch would become too large. The text says where, and has
            nothing of the prompt.
        """
        number = self.requests
        place = f"requests[{number}]"
        if number >= MOST_REQUESTS:
            raise ValueError(f"{place}: a batch has at most {MOST_REQUESTS:,} requests, so make several batches")
        custom_id, params = _read_request(request, place)
        if custom_id in self._places:
            raise ValueError(
                f"{place}.custom_id {custom_id!r} is that of requests[{self._places[custom_id]}] too: "
                "results are matched by it, so it has to be unique"
            )
        _check_params(params, f"{place}.params", self._version)
        content = encode_params(params, ("requests", number, "params"))
        self._places[custom_id] = number
        self._buffer.write(_REQUEST % (b"," if number else b"", custom_id.encode(), content))
        if self._buffer.tell() > MOST_BYTES:
            raise ValueError(f"{place}: the batch is larger than 256 MB by now, so make several batches")

    def finish(self) -> bytes:
        """The whole body. Nothing can be added afterwards.

        Raises:
          TypeError: ``extra_body`` is not JSON.
          ValueError: There are no requests, or ``extra_body`` cannot be encoded or has ``requests`` in it.
        """
        if not self.requests:
            raise ValueError("requests: a batch has at least one request")
        if "requests" in self._extra:
            raise ValueError("extra_body: requests cannot be replaced")
        rest = encode_params(self._extra)[1:]
        self._buffer.write(b"]" + (b"," if self._extra else b"") + rest)
        content = self._buffer.getvalue()
        self._buffer.close()
        return content


def encode_batch_params(params: Mapping[str, object], *, anthropic_version: str) -> bytes:
    """Check and encode the ``params`` of one request of a batch.

    Args:
      params: The parameters of a message.
      anthropic_version: Decides which parameters there are.

    Raises:
      TypeError: Something is missing, or is not JSON.
      ValueError: The API would refuse them in a batch. The text has nothing of the prompt.
    """
    _check_params(params, "params", anthropic_version)
    return encode_params(params, ("params",))


@final
class BatchContent(Content):
    """The body of a batch whose requests are encoded already, and not all in memory.

    Args:
      size: The sum of `size_in` of all requests.
      requests: Returns an iterator over the requests, each as its ``custom_id`` and what `encode_batch_params` has
        returned for its ``params``.
    """

    def __init__(self, size: int, requests: Callable[[], Iterator[tuple[str, bytes]]]) -> None:
        # There is a comma less than there are requests.
        self._size = len(_OPEN) + size - 1 + len(_CLOSE)
        self._requests = requests

    @staticmethod
    def size_in(custom_id: str, params_size: int) -> int:
        """The bytes of one request, of whose ``params`` the length is known."""
        return len(_REQUEST) - len("%b%b%b") + len(",") + len(custom_id) + params_size

    def __len__(self) -> int:
        """As `Content.__len__`."""
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        """As `Content.__iter__`."""
        piece = bytearray(_OPEN)
        comma = b""
        for custom_id, params in self._requests():
            piece += _REQUEST % (comma, custom_id.encode(), params)
            comma = b","
            if len(piece) >= _PIECE_BYTES:
                yield bytes(piece)
                piece.clear()
        piece += _CLOSE
        yield bytes(piece)


def _check_params(params: Mapping[str, object], place: str, version: str) -> None:
    try:
        check_required(params, ("model", "max_tokens", "messages"), params)
        check_messages(params["messages"])
        check_sampling_params(params, version)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{place}: {error}") from None
    fault = _find_fault(params)
    if fault is not None:
        raise ValueError(f"{place}.{fault}")


def _read_request(request: object, place: str) -> tuple[str, Mapping[str, object]]:
    if not isinstance(request, Mapping):
        raise TypeError(f"{place} must be a mapping with custom_id and params, not {type(request).__name__}")
    members = cast("Mapping[str, object]", request)
    custom_id, params = members.get("custom_id"), members.get("params")
    if not isinstance(custom_id, str):
        raise TypeError(f"{place}.custom_id must be a str, not {type(custom_id).__name__}")
    if not _CUSTOM_ID.fullmatch(custom_id):
        raise ValueError(f"{place}.custom_id {custom_id[:80]!r} is not 1 to 64 letters, digits, '-' and '_'")
    if not isinstance(params, Mapping):
        raise TypeError(f"{place}.params must be a mapping, not {type(params).__name__}")
    if len(members) != len(_MEMBERS):
        raise ValueError(f"{place} has members other than custom_id and params: the API takes only these")
    return custom_id, cast("Mapping[str, object]", params)


def _find_fault(params: Mapping[str, object]) -> str | None:
    """What the API takes in a message of its own and refuses in a batch, with its place within ``params``."""
    if params.get("stream"):
        return "stream: the answers in a batch are not streamed, so leave it out"
    if params.get("speed") is not None:
        return "speed: the requests of a batch have none"
    if params.get("max_tokens") == 0:
        return "max_tokens: it has to be at least 1 in a batch"
    for name in _OF_THE_BATCH:
        if name in params:
            return f"{name}: it holds for the whole batch, so give it to create()"
    policy = params.get("billing_policy")
    if isinstance(policy, Mapping) and cast("Mapping[str, object]", policy).get("bill_to") == "user_profile":
        return "billing_policy.bill_to: a batch cannot be billed to a user profile"
    fallbacks = params.get("fallbacks")
    if isinstance(fallbacks, list | tuple):
        for number, fallback in enumerate(cast("list[object]", fallbacks)):
            if isinstance(fallback, Mapping) and cast("Mapping[str, object]", fallback).get("speed") is not None:
                return f"fallbacks[{number}].speed: the requests of a batch have none"
    return None
