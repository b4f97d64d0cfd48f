"""The client: who is asked, with which key, and for what.

What belongs here: credentials, options, and turning parameters into requests. What does not: what a request and an
answer look like on the wire (`_protocol`), sockets (`_http`), and the life of a stream (`_stream`).
"""

from ._batch_pages import MessageBatchPage as MessageBatchPage, MessageBatchPages as MessageBatchPages
from ._batches import Batches as Batches, BetaBatches as BetaBatches
from ._client import Client as Client
from ._credentials import (
    SecretSource as SecretSource,
    Token as Token,
    TokenFunction as TokenFunction,
    TokenProvider as TokenProvider,
)
from ._messages import Beta as Beta, BetaMessages as BetaMessages, Messages as Messages
from ._options import (
    ADMISSION as ADMISSION,
    OPTION_NAMES as OPTION_NAMES,
    BatchCall as BatchCall,
    BatchCreateCall as BatchCreateCall,
    BatchListCall as BatchListCall,
    BetaBatchCall as BetaBatchCall,
    BetaBatchCreateCall as BetaBatchCreateCall,
    BetaBatchListCall as BetaBatchListCall,
    BetaCountCall as BetaCountCall,
    BetaMessageCall as BetaMessageCall,
    CallOptions as CallOptions,
    CountCall as CountCall,
    MessageCall as MessageCall,
    RaceCall as RaceCall,
    SharedCall as SharedCall,
)
