"""Ray Data: the rows of a dataset as requests, on many machines.

What belongs here: what fits a fan-out into Ray's actors. What does not: the fan-out (`batch`), and other systems, for
which a recipe is enough (``docs/more-machines.md``).

`StreamBatch` needs nothing of Ray, which calls it; only `ActorRateLimiter` imports it, when it is made.
"""

from trio_stream.ray._limiter import ActorRateLimiter as ActorRateLimiter
from trio_stream.ray._stream_batch import StreamBatch as StreamBatch
