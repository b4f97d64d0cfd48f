"""The only room that touches sockets and httpx.

What belongs here: getting a request to the API and the bytes of its answer back, by our own Trio transport or by
whatever httpx transport the caller brings. What does not: what the bytes mean (`_protocol`).
"""

from ._body import BODY_EXTENSION as BODY_EXTENSION, ResponseBody as ResponseBody
from ._connection import ConnectionInfo as ConnectionInfo
from ._decoding import codings_of as codings_of, decoded as decoded, is_decoded as is_decoded
from ._error_body import read_error_body as read_error_body
from ._foreign_sender import client_authenticates as client_authenticates
from ._given import check_http_client as check_http_client, check_transport as check_transport
from ._httpx import httpx as httpx
from ._pool import ConnectionStatistics as ConnectionStatistics
from ._response import Response as Response
from ._sender import Sender as Sender, open_sender as open_sender
from ._transport import (
    ON_CONNECTED_EXTENSION as ON_CONNECTED_EXTENSION,
    ON_SENT_EXTENSION as ON_SENT_EXTENSION,
    Transport as Transport,
)
from ._wrapped_body import WrappedBody as WrappedBody

AsyncBaseTransport = httpx.AsyncBaseTransport
AsyncByteStream = httpx.AsyncByteStream
AsyncClient = httpx.AsyncClient
HTTPRequest = httpx.Request
HTTPResponse = httpx.Response
Timeout = httpx.Timeout
