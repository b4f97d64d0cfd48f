"""What the official SDK made of a fault, and whether that is what the matrix requires.

What belongs here: the verdicts, as functions of what was seen from inside the SDK's process and from the server. What
does not: the faults (`scripts`) and running them (`matrix`).

The SDK is held to what a row says in its own terms: any class of its own is "own error", its stream's
``current_message_snapshot`` is ``.partial``, the header on its error's response is ``.retry_after``. What an error
says is looked at only where the row asks for something by name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.wire.events import TEXT
from tests.wire.server import WireServer

CLOSE_SEEN_WITHIN = 0.1

Verdict = Callable[["Seen"], str]
"""Why a row is failed; "" when it is passed."""


@dataclass(frozen=True)
class Seen:
    """One run of a row.

    Args:
      report: What the SDK's process reports; None when it did not end in time.
      server: Of the fault, None where there was none.
      closed_after: Seconds from the end of the block to the close as the server saw it; None: it saw none.
      waited: Seconds that the SDK's process was given.
      other: The server that a redirect leads to.
    """

    report: dict[str, Any] | None
    server: WireServer | None
    closed_after: float | None
    waited: float
    other: WireServer | None = None

    @property
    def error(self) -> dict[str, Any] | None:
        """The stream's error."""
        return None if self.report is None else self.report.get("error")

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.waited if self.report is None else float(self.report["seconds"])

    @property
    def requests(self) -> int:
        """How many the server received before the client was used again."""
        assert self.server is not None
        again = self.report is not None and "then" in self.report and not self.report["then"].get("error")
        return len(self.server.requests) - again

    def _left(self) -> str:
        """How a block was left that was not read to its end."""
        said = []
        if self.report is not None and "cancels" in self.report:
            said.append(f"{self.report['cancels']} cancels")
        if self.seconds:
            said.append(f"left after {self.seconds * 1000:.1f} ms")
        if self.closed_after is not None:
            said.append(f"closed {self.closed_after * 1000:.1f} ms later")
        return ", ".join(said) or "done"

    def told(self) -> str:
        """What happened, in a few words."""
        if self.report is None:
            return f"not ended after {self.waited:g} s"
        error = self.error
        if error is None:
            return "completed" if "text" in self.report else self._left()
        sentence = " ".join(error["sentence"].split())
        return f"{error['class']}: {sentence}" if sentence else str(error["class"])


def all_of(*verdicts: Verdict) -> Verdict:
    """The first complaint."""

    def verdict(seen: Seen) -> str:
        return next(filter(None, (each(seen) for each in verdicts)), "")

    return verdict


def unwarned(seen: Seen) -> str:
    """Nothing for the garbage collector to warn about."""
    assert seen.report is not None
    return f"warned: {seen.report['warned'][0]}" if seen.report.get("warned") else ""


def tidy(seen: Seen) -> str:
    """No warning, and the next request on the client works."""
    return usable(seen) or unwarned(seen)


def usable(seen: Seen) -> str:
    """The next request on the client works."""
    report = seen.report
    if report is None:
        return "hangs"
    if report.get("broken"):
        return "the run failed"
    then = report.get("then")
    if then is not None and (then["error"] or then["text"] != TEXT):
        why = then["error"]["class"] if then["error"] else repr(then["text"])
        return f"the next request: {why}"
    return ""


def closed(seen: Seen) -> str:
    """The server saw the connection closed at once."""
    if seen.closed_after is None:
        return "the connection was not closed"
    if seen.closed_after > CLOSE_SEEN_WITHIN:
        return f"closed only after {seen.closed_after:.2f} s"
    return ""


def own(seen: Seen) -> str:
    """An error of the SDK's own."""
    error = seen.error
    if error is None:
        return "no error"
    if not error["own"]:
        return f"not its own: {error['module'].partition('.')[0]}"
    if error["secret_in_sentence"]:
        return "shows the key"
    return ""


def kept(text: str = TEXT) -> Verdict:
    """What had come can be read."""

    def verdict(seen: Seen) -> str:
        assert seen.report is not None
        got = seen.report.get("text")
        return "" if got == text else f"text kept: {got!r}"

    return verdict


def error(*more: Verdict) -> Verdict:
    """An own error, a client that works on, and whatever else the row asks for."""
    return all_of(own, usable, *more)


def failed(*more: Verdict, text: str = TEXT) -> Verdict:
    """As `error`, in mid-stream: the text is kept, the socket closed, and there is nothing to warn about."""
    return error(kept(text), closed, *more, unwarned)


def complete(text: str = TEXT, *more: Verdict) -> Verdict:
    """The whole message."""

    def verdict(seen: Seen) -> str:
        assert seen.report is not None
        if seen.error is not None:
            return "failed"
        if seen.report.get("text") != text:
            return f"text: {str(seen.report.get('text'))[:40]!r}"
        return "" if seen.report.get("stop_reason") else "complete without a stop_reason"

    return all_of(verdict, usable, *more)


def within(most: float) -> Verdict:
    """In time."""
    return lambda seen: "" if seen.seconds <= most else f"took {seen.seconds:.1f} s"


def requests(count: int) -> Verdict:
    """So many requests were made."""
    return lambda seen: "" if seen.requests == count else f"{seen.requests} requests"


def connections(count: int) -> Verdict:
    """So many connections were made, with those of the next request."""

    def verdict(seen: Seen) -> str:
        assert seen.server is not None
        return "" if len(seen.server.peers) == count else f"{len(seen.server.peers)} connections"

    return verdict


def says(*words: str) -> Verdict:
    """The error names something."""

    def verdict(seen: Seen) -> str:
        assert seen.error is not None
        sentence = seen.error["sentence"].lower()
        missing = [word for word in words if word.lower() not in sentence]
        return f"does not name {missing[0]!r}" if missing else ""

    return verdict


def says_any(*words: str) -> Verdict:
    """The error names one of them."""

    def verdict(seen: Seen) -> str:
        assert seen.error is not None
        found = any(word in seen.error["sentence"].lower() for word in words)
        return "" if found else "does not say why"

    return verdict


def short(seen: Seen) -> str:
    """The message is shorter than 4 KB."""
    assert seen.error is not None
    size = seen.error["sentence_bytes"]
    return "" if size < 4096 else f"a message of {size} bytes"


def of_class(name: str) -> Verdict:
    """The class, by what it is called."""

    def verdict(seen: Seen) -> str:
        assert seen.error is not None
        return "" if name in seen.error["class"] else "another class"

    return verdict


def status(code: int | None) -> Verdict:
    """The status is on the error."""

    def verdict(seen: Seen) -> str:
        assert seen.error is not None
        return "" if seen.error["status"] == code else f"status {seen.error['status']}"

    return verdict


def field(name: str, value: object) -> Verdict:
    """Something else that is on the error."""

    def verdict(seen: Seen) -> str:
        assert seen.error is not None
        return "" if seen.error[name] == value else f"{name}: {seen.error[name]!r}"

    return verdict


def caused(seen: Seen) -> str:
    """The cause is chained."""
    assert seen.error is not None
    return "" if seen.error["causes"] else "no cause"


def grown(most: float) -> Verdict:
    """The resident set did not grow by more bytes."""

    def verdict(seen: Seen) -> str:
        assert seen.report is not None
        return "" if seen.report["grown"] <= most else f"+{seen.report['grown'] / 1e6:.0f} MB"

    return verdict


def either(*verdicts: Verdict) -> Verdict:
    """One of several outcomes."""

    def verdict(seen: Seen) -> str:
        complaints = [each(seen) for each in verdicts]
        return "" if "" in complaints else complaints[-1]

    return verdict


def shows(*words: str) -> Verdict:
    """Something is reachable in the events or the message."""

    def verdict(seen: Seen) -> str:
        assert seen.report is not None
        everything = json.dumps([seen.report.get("seen"), seen.report.get("message")])
        missing = [word for word in words if word not in everything]
        return f"{missing[0]!r} is not reachable" if missing else ""

    return verdict


def block(index: int, **fields: object) -> Verdict:
    """A block of the message has these fields."""

    def verdict(seen: Seen) -> str:
        assert seen.report is not None
        content = (seen.report.get("message") or {}).get("content", [])
        if len(content) <= index:
            return "no such block"
        found = content[index]
        wrong = [f"{name}: {found.get(name)!r}" for name, value in fields.items() if found.get(name) != value]
        return wrong[0][:60] if wrong else ""

    return verdict


def usage(**counts: int) -> Verdict:
    """The message has these counts, as numbers."""

    def verdict(seen: Seen) -> str:
        assert seen.report is not None
        found = (seen.report.get("message") or {}).get("usage", {})
        wrong = [f"{name}: {found.get(name)!r}" for name, count in counts.items() if found.get(name) != count]
        return wrong[0][:60] if wrong else ""

    return verdict


def fails(why: str) -> Verdict:
    """For what there is no way to pass: the row asks for something that the SDK does not have."""
    return lambda _: why


def left(seconds: float = 0.01, *, seen_within: float = 0.02, look: bool = True, then: Verdict = tidy) -> Verdict:
    """Cancelled or left: in time, closed when the block was left and at once at the server, and then tidy."""

    def verdict(seen: Seen) -> str:
        report = seen.report
        if report is None:
            return "hangs"
        if report.get("sockets"):
            return f"{report['sockets']} sockets open when the block was left"
        if seen.seconds > seconds:
            return f"left only after {seen.seconds * 1000:.0f} ms"
        if look and seen.closed_after is None:
            return "the server saw no close"
        if look and seen.closed_after is not None and seen.closed_after > seen_within:
            return f"the server saw the close after {seen.closed_after * 1000:.0f} ms"
        return ""

    return all_of(verdict, then)
