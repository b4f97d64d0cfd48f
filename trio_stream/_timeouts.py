"""The six clocks of a stream, as values.

What belongs here: the seconds of each clock, and how plain numbers and httpx's timeouts map onto them. What does not:
running the clocks. The transport runs ``connect`` and ``send``; the stream runs the other four.
"""

from __future__ import annotations

import math
from typing import Any, Protocol, runtime_checkable

import msgspec


@runtime_checkable
class PhaseTimeouts(Protocol):
    """What `httpx.Timeout` says: seconds for each phase of a request, or None for no limit.

    A protocol, because the ground of the house knows no httpx: `httpx2.Timeout` fits it as well.
    """

    @property
    def connect(self) -> float | None:
        """For connecting, TLS included."""

    @property
    def read(self) -> float | None:
        """For each wait for bytes."""

    @property
    def write(self) -> float | None:
        """For sending the request."""

    @property
    def pool(self) -> float | None:
        """For waiting for a free connection."""


class Timeouts(msgspec.Struct, frozen=True, kw_only=True):
    """How long to wait for what, in seconds; None switches a clock off.

    Each clock raises its own subclass of `APITimeoutError`. All but ``total`` measure waiting for the network,
    never a slow consumer, and waiting for a free connection counts for ``total`` only.

    Args:
      connect: TCP connection and TLS handshake.
      send: A gap in which not one byte of the request can be sent.
      first_event: From the request sent to the first event other than ``ping``; the headers of the answer included. It
        bounds opening as a whole: where a request is tried again, the waits of all attempts count together.
      silence: A gap without any byte. A ``ping`` is bytes.
      stall: A gap without an event other than ``ping``. Off by default: a model that thinks without showing
        it is silent but for pings for minutes.
      total: From entering the stream to its end, retries and the consumer's own time included. It is raised in
        the waiting or the next ``receive``; it does not interrupt the body of the block.
    """

    connect: float | None = 10.0
    send: float | None = 60.0
    first_event: float | None = 600.0
    silence: float | None = 300.0
    stall: float | None = None
    total: float | None = None

    def __post_init__(self) -> None:
        for clock in self.__struct_fields__:
            seconds = getattr(self, clock)
            if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
                raise ValueError(f"Timeouts.{clock} must be a positive number of seconds or None, not {seconds!r}")

    @classmethod
    def of(cls, value: Timeouts | PhaseTimeouts | float | None) -> Timeouts:
        """Read what a caller gave as ``timeout=``.

        Args:
          value: `Timeouts` as they are; a number of seconds for connect, send, first_event and silence; an
            `httpx.Timeout` (connect, write -> send, read -> first_event and silence); None for no limit at all.
        """
        if isinstance(value, Timeouts):
            return value
        if value is None:
            return cls(connect=None, send=None, first_event=None, silence=None)
        if isinstance(value, PhaseTimeouts):
            return cls(connect=value.connect, send=value.write, first_event=value.read, silence=value.read)
        given: Any = value  # whoever does not check types should hear of it here
        if isinstance(given, bool) or not isinstance(given, (int, float)):
            raise TypeError(f"timeout must be Timeouts, httpx.Timeout, a number of seconds or None, not {value!r}")
        seconds = None if given == math.inf else float(given)
        return cls(connect=seconds, send=seconds, first_event=seconds, silence=seconds)

    def to_httpx(self) -> dict[str, Any]:
        """The part of these clocks that any httpx transport understands, as its ``timeout`` extension."""
        return {"connect": self.connect, "read": None, "write": self.send, "pool": None}
