"""`replay`: recorded answers, played again by a scripted API.

What belongs here: which recording answers a request, and what a recording is as a script. What does not: the file
(`_recording`), and playing scripts (`_scripted`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeAlias, final

from trio_stream._http import codings_of, is_decoded
from trio_stream._response import Headers
from trio_stream.testing import _steps as s
from trio_stream.testing._recording import Arrival, RecordedEnd, Recording, RequestKeys, read_recordings
from trio_stream.testing._requests import RecordedRequest
from trio_stream.testing._scripted import ScriptedAPI

Match: TypeAlias = Literal["hash", "order"] | Callable[[RecordedRequest, Sequence[Recording]], Recording | None]
"""How a recording is found for a request: see `replay`."""


def replay(
    path: str | os.PathLike[str],
    *,
    match: Match = "hash",
    speed: float = 1.0,
    cut_at: int | None = None,
) -> ScriptedAPI:
    """Play recorded answers again: the same bytes, in the same pieces, with the same silences between them.

    ::

        async def test_what_the_user_saw(autojump_clock):
            api = testing.replay("weather.jsonl")
            async with ts.Client(api_key="test", transport=api) as client:
                ...

    What comes back is a `ScriptedAPI`: a transport under which `trio.testing.MockClock` makes hours pass at once, and
    which `ScriptedAPI.serve` puts on a port. It checks no request, and answers on every path. Each recorded answer is
    used once; `ScriptedAPI.assert_done` finds those that are left. A request that no recording answers gets a 500
    which is not retried and says in which keys the nearest recording differs. An answer that its client had left ends
    in silence, as it did then.

    Args:
      path: A file that `record` has written, or ``python -m trio_stream.testing.convert``.
      match: ``"hash"``: the first unused answer to an equal request. ``"order"``: the next one, whatever is asked. Or
        a function of the request and the unused recordings that returns one of them, or None.
      speed: How many times as fast as it was: 2 halves the silences, ``math.inf`` leaves them out.
      cut_at: Cut the connection after so many bytes of each answer's body, as far as it is longer.

    Raises:
      RecordingError: The file is no recording.
      OSError: The file cannot be read.
    """
    if not speed > 0:
        raise ValueError(f"speed is a number above 0, not {speed!r}")
    if cut_at is not None and cut_at < 0:
        raise ValueError(f"cut_at is a number of bytes from 0 on, not {cut_at!r}")
    recordings = read_recordings(path)
    player = _Player(recordings, match=match, play=partial(_steps, speed=speed, cut_at=cut_at))
    # A script for each recording, although each is chosen only then: so those that are not used are counted.
    api = ScriptedAPI(*[player.answer] * len(recordings), verbatim=True)
    player.put_back = partial(api.add, player.answer)
    return api


@final
class _Player:
    """Chooses the recording that answers a request.

    Attributes:
      put_back: Called when no recording was used after all.
    """

    def __init__(
        self, recordings: Sequence[Recording], *, match: Match, play: Callable[[Recording], Iterator[s.Step]]
    ) -> None:
        self._unused = list(recordings)
        self._match = match
        self._play = play
        self.put_back: Callable[[], Any] = _nothing

    def answer(self, request: RecordedRequest) -> Iterator[s.Step]:
        """The script for a request."""
        recording = self._choose(request)
        if recording is None:
            self.put_back()
            return iter([_no_match(request, self._unused)])
        self._unused.remove(recording)
        return self._play(recording)

    def _choose(self, request: RecordedRequest) -> Recording | None:
        if callable(self._match):
            chosen = self._match(request, tuple(self._unused))
            if chosen is not None and chosen not in self._unused:
                raise ValueError("match= returned a recording that is none of the unused ones")
            return chosen
        if self._match == "order":
            return self._unused[0]
        asked = _keys(request)
        return next((one for one in self._unused if not one.request.differences(asked)), None)


def _nothing() -> None:
    """Until there is an API, no script can be put back."""


def _keys(request: RecordedRequest) -> RequestKeys:
    return RequestKeys.of(method=request.method, path=request.path, content=request.content)


def _no_match(request: RecordedRequest, unused: Sequence[Recording]) -> s.Step:
    asked = _keys(request)
    nearest = min(unused, key=lambda one: len(one.request.differences(asked)))
    differing = ", ".join(nearest.request.differences(asked))
    return s.http_error(
        500,
        "api_error",
        f"replay: no unused recording answers request {request.number} ({request.method} {request.path}); "
        f"the nearest, answer {nearest.number} of the file, differs in {differing or 'nothing'}",
        headers={"x-should-retry": "false"},
    )


def _steps(recording: Recording, *, speed: float, cut_at: int | None) -> Iterator[s.Step]:
    """A recording as a script."""
    now = 0.0

    def wait_until(at: float) -> s.Step:
        nonlocal now
        seconds, now = max(0.0, at - now), max(at, now)
        return s.pause(seconds / speed)

    if recording.status is not None:
        yield wait_until(recording.head_at)
        headers = dict(recording.headers)
        if is_decoded(codings_of(Headers([(b"content-encoding", headers.get("content-encoding", "").encode())]))):
            headers.pop("content-encoding", None)  # the body was recorded without it
        yield s.headers(headers, status=recording.status)
    arrivals, end = _cut(recording, cut_at)
    for arrival in arrivals:
        yield wait_until(arrival.at)
        yield s.raw(arrival.data)
    if end is RecordedEnd.LEFT:
        yield s.stall()
    if end is recording.end:
        yield wait_until(recording.end_at)
    yield s.disconnect(clean=end is RecordedEnd.COMPLETE, reset=end is RecordedEnd.RESET)


def _cut(recording: Recording, size: int | None) -> tuple[Sequence[Arrival], RecordedEnd]:
    """What is left of a body after a cut, and how it ends."""
    if size is None or size >= len(recording.body):
        return recording.arrivals, recording.end
    kept: list[Arrival] = []
    left = size
    for arrival in recording.arrivals:
        if left > 0:
            kept.append(Arrival(arrival.at, arrival.data[:left]))
        left -= len(arrival.data)
    return kept, RecordedEnd.CUT
