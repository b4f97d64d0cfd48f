"""The prompt cache of the scripted API.

What belongs here: what a request reads from the cache and writes to it, and when. What does not: what is refused about
breakpoints (`_strict_cache`), and writing the counts into an answer (`_timeline`).

Written from the documentation, and deliberately not with the code of the client: a mistake there must not hide here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias, final

import msgspec

from trio_stream._money import Prices
from trio_stream.testing._json import as_list, as_object

CacheLane: TypeAlias = Literal["messages", "batches"]

_USUAL_LEAST = 1_024
"""The least number of tokens that is cached, for a model of which nothing is known."""

_LOOKS_BACK = 20
"""How many blocks before a breakpoint are looked at for an entry."""

_SECONDS = {"5m": 300.0, "1h": 3_600.0}

_Key: TypeAlias = tuple[str, str, str]


class _Entry(msgspec.Struct):
    since: float
    until: float
    seconds: float


class _Place(msgspec.Struct, frozen=True):
    """The end of a block, up to which a prompt may be in the cache."""

    key: _Key
    tokens: int
    ttl: str | None


@final
class PromptCache:
    """A prompt cache: ``ScriptedAPI(prompt_cache=PromptCache())``.

    A request with a ``cache_control`` reads the longest part of its prompt for which there is an entry, and writes the
    rest up to its last breakpoint; ``usage`` of its answer says so. As in the API:

    * an entry exists from the first event of the answer to the request that writes it, and not everywhere at once;
    * it ends 5 minutes or an hour after it was last used;
    * each model has entries of its own, and so have messages and message batches: neither reads those of the other;
    * what is shorter than the model's least number of tokens is not cached.

    The requests of a batch begin one after another, evenly over its seconds.

    Args:
      spread: Seconds from the first event of an answer until other requests find what it has written.

    Attributes:
      writes: How many answers have written to the cache.
      reads: How many answers have read from it.
    """

    def __init__(self, *, spread: float = 1.5) -> None:
        if not spread >= 0:
            raise ValueError(f"spread is a number of seconds from 0 on, not {spread!r}")
        self.writes: int = 0
        self.reads: int = 0
        self._spread = spread
        self._entries: dict[_Key, _Entry] = {}

    def __repr__(self) -> str:
        return f"<PromptCache: {self.writes} writes, {self.reads} reads>"

    def look(self, body: Mapping[str, Any], *, lane: CacheLane, now: float) -> CacheUse:
        """Find out what a request that has arrived reads and writes.

        Args:
          body: The request.
          lane: Whether it is a message or a part of a batch.
          now: When it is looked at, in seconds of Trio's clock.
        """
        places = list(_places(body, lane))
        marked = [number for number, place in enumerate(places) if place.ttl is not None]
        model = body.get("model")
        prices = Prices.of(model) if isinstance(model, str) else None
        least = (prices and prices.least_cacheable) or _USUAL_LEAST
        read: _Place | None = None
        for number in reversed(range(marked[-1] + 1 if marked else 0)):
            near = any(mark - _LOOKS_BACK <= number <= mark for mark in marked)
            entry = self._entries.get(places[number].key) if near else None
            if entry is not None and entry.since <= now <= entry.until:
                read = places[number]
                break
        begin = 0 if read is None else read.tokens
        written: list[_Place] = []
        counts = {"5m": 0, "1h": 0}
        for number in marked:
            place = places[number]
            if place.tokens > begin and place.tokens >= least and place.ttl is not None:
                counts[place.ttl] += place.tokens - begin
                begin = place.tokens
                written.append(place)
        return CacheUse(self, read, written, read_tokens=0 if read is None else read.tokens, written_tokens=counts)

    def begin(self, use: CacheUse, now: float) -> None:
        """The answer to a request begins."""
        self.reads += use.read is not None
        self.writes += bool(use.written)
        if use.read is not None:
            entry = self._entries[use.read.key]
            entry.until = max(entry.until, now + entry.seconds)
        for place in use.written:
            seconds = _SECONDS[place.ttl or "5m"]
            known = self._entries.get(place.key)
            since = now + self._spread
            if known is not None and known.until >= now:
                since = min(since, known.since)  # two have written the same
            self._entries[place.key] = _Entry(since, now + seconds, seconds)


@final
class CacheUse:
    """What one request reads from the cache and writes to it.

    Attributes:
      read: What it reads, or None.
      written: What it writes.
      read_tokens: Tokens that are read.
      written_tokens: Tokens that are written, by how long they are kept.
    """

    def __init__(
        self,
        cache: PromptCache,
        read: _Place | None,
        written: list[_Place],
        *,
        read_tokens: int,
        written_tokens: Mapping[str, int],
    ) -> None:
        self.read = read
        self.written = written
        self.read_tokens = read_tokens
        self.written_tokens = written_tokens
        self._cache = cache
        self._begun = False

    def begin(self, now: float) -> None:
        """The first event of the answer is sent."""
        if not self._begun:
            self._begun = True
            self._cache.begin(self, now)

    def counts(self, input_tokens: int) -> dict[str, int]:
        """The counts of the usage, where the whole prompt has so many tokens."""
        written = sum(self.written_tokens.values())
        return {
            "input_tokens": max(0, input_tokens - self.read_tokens - written),
            "cache_creation_input_tokens": written,
            "cache_read_input_tokens": self.read_tokens,
        }

    @property
    def creation(self) -> dict[str, int]:
        """The parts of what is written."""
        return {f"ephemeral_{ttl}_input_tokens": tokens for ttl, tokens in self.written_tokens.items()}


def _places(body: Mapping[str, Any], lane: str) -> Iterator[_Place]:
    """The ends of all blocks of a prompt, in the order in which they are cached."""
    digest = hashlib.blake2b(digest_size=16)
    model = str(body.get("model"))
    size = 0
    for block in _blocks(body):
        control = as_object(block.get("cache_control"))
        data = msgspec.json.encode({name: value for name, value in block.items() if name != "cache_control"})
        digest.update(b"%d:%b" % (len(data), data))
        size += len(data)
        ttl = str(control.get("ttl") or "5m") if control else None
        yield _Place((lane, model, digest.hexdigest()), size // 4, ttl if ttl in _SECONDS else None)


def _blocks(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for tool in as_list(body.get("tools")):
        yield as_object(tool)
    yield from _content("system", body.get("system"))
    for message in as_list(body.get("messages")):
        fields = as_object(message)
        yield from _content(str(fields.get("role")), fields.get("content"))


def _content(role: str, content: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(content, str):
        yield {"role": role, "text": content, "type": "text"}
        return
    for block in as_list(content):
        yield {"role": role, **as_object(block)}
