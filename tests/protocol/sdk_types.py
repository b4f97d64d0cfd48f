"""The official SDK's types as JSON: run in the SDK's own environment.

Prints, for each model that an answer, an event, an error or a token count may hold, its fields, in the form that
`tests.protocol.any_json` reads.
"""

from __future__ import annotations

import datetime
import inspect
import json
import sys
from typing import Annotated, Any, Literal, get_args, get_origin

import anthropic
from anthropic import types
from anthropic.types import beta, messages
from pydantic import BaseModel

ROOTS = {
    "message": [types.Message, beta.BetaMessage],
    "event": [types.RawMessageStreamEvent, beta.BetaRawMessageStreamEvent],
    "error": [types.ErrorResponse, types.BetaErrorResponse],
    "count": [types.MessageTokensCount, beta.BetaMessageTokensCount],
    "batch": [messages.MessageBatch, beta.messages.BetaMessageBatch],
    "deleted": [messages.DeletedMessageBatch, beta.messages.BetaDeletedMessageBatch],
    "result": [messages.MessageBatchIndividualResponse, beta.messages.BetaMessageBatchIndividualResponse],
}
found: dict[str, Any] = {}


def spec(annotation: Any) -> Any:
    """One annotation."""
    if get_origin(annotation) is Annotated:
        return spec(get_args(annotation)[0])
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        name = annotation.__name__
        if name not in found:
            found[name] = None
            found[name] = {
                field.alias or key: [spec(field.annotation), field.is_required()]
                for key, field in annotation.model_fields.items()
            }
        return {"model": name}
    if get_origin(annotation) is Literal:
        return {"literal": list(get_args(annotation))}
    if get_origin(annotation) is list or annotation is list:
        return {"list": spec((get_args(annotation) or (str,))[0])}
    if get_origin(annotation) is dict or annotation in (object, Any, dict):
        return "object"
    if get_args(annotation):
        return {"union": [spec(item) for item in get_args(annotation)]}
    return {str: "str", int: "int", float: "int", bool: "bool", type(None): "none", datetime.datetime: "str"}.get(
        annotation, "str"
    )


roots = {kind: {"union": [spec(root) for root in items]} for kind, items in ROOTS.items()}
json.dump({"version": anthropic.__version__, "roots": roots, "models": found}, sys.stdout)
