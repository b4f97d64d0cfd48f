"""Ray Data: the rows of a dataset as requests, on many machines.

What belongs here: fitting a fan-out into Ray's actors. What does not: the fan-out (`batch`), and other systems, for
which a recipe is enough (``docs/more-machines.md``).

Ray calls `StreamBatch`, which itself needs nothing of Ray. Only `ActorRateLimiter` imports it, when one is made.
"""

from trio_stream.ray._limiter import ActorRateLimiter as ActorRateLimiter
from trio_stream.ray._stream_batch import StreamBatch as StreamBatch
