"""The client: who is asked, with which key, and for what.

What belongs here: credentials, options, and turning parameters into requests. What does not: what a request and an
answer look like on the wire (`_protocol`), sockets (`_http`), and the life of a stream (`_stream`).
"""

from ._client import Client as Client
from ._messages import Beta as Beta, BetaMessages as BetaMessages, Messages as Messages
