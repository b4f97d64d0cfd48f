"""Python types beside JSON: the schema that asks a model for one, and the value of what it answers.

What belongs here: types and signatures to JSON Schema, the form of it that the API takes, decoding with faults that a
model can act on, and elements of a list that is still arriving. What does not: requests, streams, and what becomes of
an answer that does not fit (`_client`, `_stream`, `batch`). Nothing here waits.
"""

from trio_stream._schemas._closed import (
    close_schema as close_schema,
)
from trio_stream._schemas._faults import (
    MismatchError as MismatchError,
)
from trio_stream._schemas._items import (
    Items as Items,
)
from trio_stream._schemas._output_type import (
    OutputType as OutputType,
    ask_for_output as ask_for_output,
    output_type as output_type,
)
from trio_stream._schemas._parameters import (
    Parameters as Parameters,
)
from trio_stream._schemas._parsing import (
    parse_message as parse_message,
)
from trio_stream._schemas._refusals import (
    find_refusal as find_refusal,
)
