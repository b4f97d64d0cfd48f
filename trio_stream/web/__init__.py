"""Streams to browsers: answers of the model as responses of any web framework that runs on Trio.

What belongs in this package: ASGI applications that send an answer, and the protocols that pages read. What does not:
pages, routes, and anything that a web framework does itself.
"""

from ._ag_ui import AGUI as AGUI
from ._ai_sdk import AISDK as AISDK
from ._anthropic import Anthropic as Anthropic
from ._asgi import Respondent as Respondent
from ._encoder import Encoder as Encoder, Frames as Frames, RelayedEvent as RelayedEvent
from ._failure import Describe as Describe, Failure as Failure, failure_of as failure_of
from ._hub import Done as Done, Hub as Hub, HubFullError as HubFullError
from ._json_lines import JSONLines as JSONLines
from ._live_run import HubOutcome as HubOutcome, HubRun as HubRun
from ._outgoing import head_of as head_of
from ._output import Output as Output, Source as Source
from ._relay import Answer as Answer, Relay as Relay, RelayOutcome as RelayOutcome
from ._user_content import (
    PageProtocol as PageProtocol,
    UserContent as UserContent,
    UserContentError as UserContentError,
    user_content as user_content,
)
