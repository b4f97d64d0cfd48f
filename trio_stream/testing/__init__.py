"""A Messages API that answers by script, for your tests as much as for ours.

What belongs here: the public names of the test kit. What does not: anything that a program needs in production.

::

    from trio_stream.testing import ScriptedAPI, call, disconnect, http_error, say, think


    async def test_my_agent(autojump_clock):
        api = ScriptedAPI(
            [http_error(529, retry_after=2)],
            [think("Let me look."), call("search", {"query": "trio"})],
            [say("Found it.", ttft=0.2, tps=50)],
        )
        async with trio_stream.Client(api_key="test", transport=api) as client:
            await my_agent(client)
        assert api.requests[2].messages[-1]["role"] == "user"
        api.assert_done()

A script is a list of steps, and answers one request. In memory there are no sockets and no threads, so under a mock
clock hours pass at once. ``async with api.serve() as server`` plays the same scripts on a real port.
`cancel_everywhere` cancels a piece of code at each of its steps in turn, and finds what it leaves behind.
`record` writes the answers of a real API to a file, and `replay` plays them. `check_transport` and
`check_response_body` check a transport of your own against what a client relies on.
"""

from __future__ import annotations

from trio_stream.testing._batch_run import Billed as Billed
from trio_stream.testing._batches import Batches as Batches, BatchFault as BatchFault
from trio_stream.testing._cancel_everywhere import cancel_everywhere as cancel_everywhere
from trio_stream.testing._check_body import BodyMaker as BodyMaker, check_response_body as check_response_body
from trio_stream.testing._check_transport import TransportMaker as TransportMaker, check_transport as check_transport
from trio_stream.testing._model import scripted_model as scripted_model
from trio_stream.testing._prompt_cache import PromptCache as PromptCache
from trio_stream.testing._quota import Quota as Quota
from trio_stream.testing._record import record as record
from trio_stream.testing._recording import (
    Arrival as Arrival,
    RecordedEnd as RecordedEnd,
    Recording as Recording,
    RecordingError as RecordingError,
    RequestKeys as RequestKeys,
    read_recordings as read_recordings,
)
from trio_stream.testing._replay import Match as Match, replay as replay
from trio_stream.testing._requests import RecordedHeaders as RecordedHeaders, RecordedRequest as RecordedRequest
from trio_stream.testing._scripted import Script as Script, ScriptedAPI as ScriptedAPI
from trio_stream.testing._server import Server as Server
from trio_stream.testing._steps import (
    Step as Step,
    block as block,
    call as call,
    compact as compact,
    disconnect as disconnect,
    event as event,
    fail as fail,
    headers as headers,
    http_error as http_error,
    pause as pause,
    ping as ping,
    raw as raw,
    redacted_think as redacted_think,
    say as say,
    server_tool as server_tool,
    stall as stall,
    stop as stop,
    think as think,
    usage as usage,
)
