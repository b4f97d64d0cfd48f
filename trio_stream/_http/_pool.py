"""Who may use which connection.

What belongs here: slots (how many connections may be in use), the idle connections of each origin, and when they
are given up. What does not: what happens on a connection (`_connection`).

No lock: everything here but waiting for a slot is synchronous and O(1), so a cancellation finds it between two steps
or not at all. One task (`_expiry`) closes idle connections when their time is over.

A `Lease` is held from the moment a slot was got until the answer has been let
go of; whoever holds it closes it, whatever happens.
"""

from __future__ import annotations

import math
from collections import deque
from typing import final

import msgspec
import trio
from trio.lowlevel import ParkingLot, checkpoint_if_cancelled, enable_ki_protection

from ._connection import Connection, Origin
from ._expiry import Expiry
from ._socket import hung_up


class ConnectionStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """How many connections and requests there are at one moment.

    Args:
      active: How many requests have a connection, or are opening one.
      idle: How many open connections are kept for later requests. Those that the server has closed do not count.
      waiting: How many requests wait for a free connection.
    """

    active: int
    idle: int
    waiting: int


@final
class Slots:
    """A number of slots, given out first come, first served."""

    __slots__ = ("_most", "_waiting", "taken")

    def __init__(self, most: int | None) -> None:
        if most is not None and most < 1:
            raise ValueError(f"max_connections must be a whole number from 1 on, or None, not {most!r}")
        self._most = math.inf if most is None else most
        self._waiting = ParkingLot()
        self.taken = 0

    @property
    def waiting(self) -> int:
        """How many tasks wait."""
        return len(self._waiting)

    @enable_ki_protection
    async def acquire(self) -> None:
        """Wait for a slot.

        A cancellation point. A schedule point only if it has to wait, because whatever needs the slot waits in any
        case. If it is cancelled, no slot is taken.
        """
        await checkpoint_if_cancelled()
        if self.taken < self._most and not self._waiting:
            self.taken += 1
        else:
            # `release` hands its slot over: a task it woke cannot be cancelled any more before it runs.
            await self._waiting.park()

    @enable_ki_protection
    def release(self) -> None:
        """Give a slot back."""
        if self._waiting:
            self._waiting.unpark()
        else:
            self.taken -= 1

    @enable_ki_protection
    def wake_all(self) -> None:
        """Let everybody in who waits, so that they see what has changed. Each of them releases as usual."""
        self.taken += len(self._waiting)
        self._waiting.unpark_all()


@final
class Lease:
    """A slot, and the connection that is in use on it."""

    __slots__ = ("_pool", "connection")

    def __init__(self, pool: Pool) -> None:
        self._pool: Pool | None = pool
        self.connection: Connection | None = None

    @enable_ki_protection
    def close(self) -> None:
        """Close the connection and give the slot back. Later calls do nothing."""
        if self.connection is not None:
            self.connection.close()
        pool, self._pool = self._pool, None
        if pool is not None:
            pool.end(self)

    @enable_ki_protection
    def finish(self) -> None:
        """Keep the open connection for another request, and give the slot back."""
        pool, self._pool = self._pool, None
        assert pool is not None
        assert self.connection is not None
        pool.keep_idle(self.connection)
        pool.end(self)


@final
class Pool:
    """The connections of one transport."""

    def __init__(self, *, max_connections: int | None, max_idle: int, idle_seconds: float) -> None:
        self.keep = False
        self.closed = False
        self._slots = Slots(max_connections)
        self._max_connections = math.inf if max_connections is None else max_connections
        self._max_idle = max_idle
        self._idle_seconds = idle_seconds
        self._leases: set[Lease] = set()
        self._idle: dict[Origin, deque[Connection]] = {}
        self._idle_by_age: dict[Connection, None] = {}  # the longest idle first
        self.expiry = Expiry(self._close_due)

    @enable_ki_protection
    async def acquire(self) -> Lease:
        """Wait for a slot, first come, first served.

        A cancellation point, and a schedule point if it has to wait. If it is cancelled, no slot is lost.

        Raises:
          trio.ClosedResourceError: The pool is closed.
        """
        await self._slots.acquire()
        lease = Lease(self)
        self._leases.add(lease)
        try:
            self.check_open()
        except BaseException:
            lease.close()
            raise
        return lease

    def check_open(self) -> None:
        """Raise `trio.ClosedResourceError` if the pool is closed."""
        if self.closed:
            raise trio.ClosedResourceError("the connections are closed")

    def end(self, lease: Lease) -> None:
        """Note that a lease has ended, and give its slot back."""
        self._leases.discard(lease)
        self._slots.release()

    def take_idle(self, origin: Origin) -> Connection | None:
        """Take the connection to ``origin`` that became idle last, or None. It is the caller's to close."""
        if not self._idle_by_age:
            return None
        self._close_expired(trio.current_time())
        idle = self._idle.get(origin)
        if idle is None:
            return None
        connection = idle.pop()
        if not idle:
            del self._idle[origin]
        del self._idle_by_age[connection]
        return connection

    def keep_idle(self, connection: Connection) -> None:
        """Keep a connection for another request, or close it."""
        if not self.keep or self.closed:
            connection.close()
            return
        connection.idle_since = now = trio.current_time()
        self._close_expired(now)
        self._idle.setdefault(connection.origin, deque()).append(connection)
        self._idle_by_age[connection] = None
        if len(self._idle_by_age) > self._max_idle:
            self._close_oldest()
        self.expiry.begin(now + self._idle_seconds)

    def make_room(self) -> None:
        """Close idle connections, the oldest first, until one more connection is within ``max_connections``."""
        while self._idle_by_age and self._slots.taken + len(self._idle_by_age) > self._max_connections:
            self._close_oldest()

    def _close_due(self) -> float:
        """Close what is due; when the next one is, by Trio's clock."""
        self._close_expired(trio.current_time())
        for connection in self._idle_by_age:
            return connection.idle_since + self._idle_seconds
        return math.inf

    def _close_expired(self, now: float) -> None:
        while self._idle_by_age and next(iter(self._idle_by_age)).idle_since + self._idle_seconds <= now:
            self._close_oldest()

    def _close_oldest(self) -> None:
        connection = next(iter(self._idle_by_age))
        del self._idle_by_age[connection]
        idle = self._idle[connection.origin]
        idle.popleft()  # what became idle first overall did so among those of its origin, too
        if not idle:
            del self._idle[connection.origin]
        connection.close()

    @enable_ki_protection
    def close_idle_to(self, origin: Origin) -> None:
        """Close the connections to ``origin`` that nobody uses."""
        for connection in self._idle.pop(origin, ()):
            del self._idle_by_age[connection]
            connection.close()

    @enable_ki_protection
    def close_idle(self) -> None:
        """Close the connections that nobody uses."""
        while self._idle_by_age:
            self._close_oldest()

    @enable_ki_protection
    def close(self) -> None:
        """Close every connection, in use or not. A task that waits gets `trio.ClosedResourceError`."""
        self.closed = True
        self.close_idle()
        self.expiry.stop()
        for lease in list(self._leases):
            if lease.connection is not None:  # else it is being opened, and closed when it is
                lease.close()
        self._slots.wake_all()

    def statistics(self) -> ConnectionStatistics:
        """Count connections and waiting requests. Changes nothing, so that a thread which measures may call it."""
        idle = [connection.sock for connection in list(self._idle_by_age)]
        return ConnectionStatistics(
            active=self._slots.taken, idle=len(idle) - hung_up(idle), waiting=self._slots.waiting
        )
