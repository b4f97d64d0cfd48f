"""The same client for programs that block: scripts, threads, notebooks, WSGI.

::

    from trio_stream import blocking

    with blocking.Client() as client:
        with client.messages.stream(model=..., max_tokens=1024, messages=[...]) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)

What belongs here: the asynchronous client and its streams for threads, and the one thread in which they run. What does
not: anything about the API, which is the asynchronous client's. Nothing below imports this room.
"""

from ._batches import Batches as Batches, BetaBatches as BetaBatches, MessageBatchPage as MessageBatchPage
from ._client import Client as Client
from ._frames import Frames as Frames
from ._gather import gather_outcomes as gather_outcomes, gather_texts as gather_texts
from ._messages import Beta as Beta, BetaMessages as BetaMessages, Messages as Messages
from ._streams import (
    BatchResults as BatchResults,
    EventStream as EventStream,
    MessageStream as MessageStream,
    MessageStreamManager as MessageStreamManager,
)
from ._views import PieceView as PieceView, TextChunks as TextChunks
