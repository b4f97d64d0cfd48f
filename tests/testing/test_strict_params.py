"""What a strict scripted API takes and refuses about the parameters of a request: no stricter and no laxer than the API.

The names of the tests are the rows of the catalogue of what was refused or taken wrongly, each with its neighbours.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from trio_stream.testing._strict import find_fault

from .test_strict import JSON, OTHERS, PRESERVING, TOOL, assistant, body, result, text, use, user

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and the rest").decode()
PDF = base64.b64encode(b"%PDF-1.7").decode()
CLOSED: JSON = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
INTERLEAVED = ["interleaved-thinking-2025-05-14"]


def image(**source: Any) -> JSON:
    return {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG, **source}}


def document(**source: Any) -> JSON:
    return {"type": "document", "source": source}


def output(schema: JSON) -> JSON:
    return {"output_config": {"format": {"type": "json_schema", "schema": schema}}}


def refused(request: JSON, start: str, **options: Any) -> None:
    fault = find_fault(request, **options)
    assert fault is not None
    assert fault.startswith(start), fault


# ----- refused wrongly


@pytest.mark.parametrize("wanted", [None, {}, {"oversized_image": "error"}, {"oversized_image": "downsize"}])
def test_image_transformations(wanted: JSON | None) -> None:
    block = {**image(), "transformations": wanted}
    assert find_fault(body(user(block))) is None
    assert find_fault(body(user("a"), assistant(use()), user(result(content=[block])))) is None


@pytest.mark.parametrize(
    ("wanted", "start"),
    [
        (
            {"oversized_image": "crop"},
            "messages.0.content.0.image.transformations.oversized_image: Input should be 'dow",
        ),
        ({"rotate": 90}, "messages.0.content.0.image.transformations.rotate: Extra inputs"),
        ("error", "messages.0.content.0.image.transformations: Input should be an object"),
    ],
)
def test_transformations_that_the_api_does_not_know(wanted: Any, start: str) -> None:
    refused(body(user({**image(), "transformations": wanted})), start)


def test_budget_tokens_above_max_tokens_with_interleaved_thinking() -> None:
    request = body(thinking={"type": "enabled", "budget_tokens": 4096}, max_tokens=2048, tools=[TOOL])
    assert find_fault(request, betas=INTERLEAVED) is None
    assert find_fault(request, beta=True) is None  # of the betas nothing is known but that there are any
    for betas in ([], ["files-api-2025-04-14"]):
        refused(request, "max_tokens: `max_tokens` must be greater than", betas=betas)
    refused({**request, "thinking": {"type": "enabled", "budget_tokens": 5}}, "thinking.enabled", betas=INTERLEAVED)


@pytest.mark.parametrize("content", ["", []])
@pytest.mark.parametrize("model", [*PRESERVING, *OTHERS])
def test_the_optional_empty_final_assistant_turn(content: Any, model: str) -> None:
    empty = {"role": "assistant", "content": content}
    assert find_fault(body(user("a"), empty, model=model)) is None
    assert find_fault(body(user("a"), assistant(use()), user(result()), empty, model=model)) is None
    refused(body(user("a"), empty, user("b"), model=model), "messages.1: all messages must have non-empty content")
    refused(body(user("a"), {"role": "user", "content": content}, model=model), "messages.1: all messages must have")
    refused(body(user("a"), assistant(use()), empty, model=model), "messages.1: `tool_use` ids were found without")


# ----- taken wrongly


@pytest.mark.parametrize(
    ("fields", "start"),
    [
        ({"stop_sequences": "x"}, "stop_sequences: Input should be a valid list"),
        ({"stop_sequences": ["x", 1]}, "stop_sequences.1: Input should be a valid string"),
        ({"service_tier": "gold"}, "service_tier: Input should be 'auto' or 'standard_only'"),
        ({"service_tier": 1}, "service_tier: Input should be"),
        ({"speed": "faster"}, "speed: Input should be 'standard' or 'fast'"),
        ({"metadata": {"user": "x"}}, "metadata.user: Extra inputs are not permitted"),
        ({"metadata": {"user_id": 7}}, "metadata.user_id: Input should be a valid string"),
        ({"metadata": "x"}, "metadata: Input should be an object"),
        ({"inference_geo": 1}, "inference_geo: Input should be a valid string"),
        ({"cache_control": {"type": "forever"}}, "cache_control.type: Input should be 'ephemeral'"),
        ({"cache_control": {"type": "ephemeral", "ttl": "2h"}}, "cache_control.ttl: Input should be '5m' or '1h'"),
        ({"output_config": {"effort": "some"}}, "output_config.effort: Input should be 'low', "),
        ({"thinking": {"type": "adaptive", "budget_tokens": 5}}, "thinking.adaptive.budget_tokens: Extra inputs"),
        ({"thinking": {"type": "adaptive", "display": "all"}}, "thinking.adaptive.display: Input should be"),
        ({"thinking": {"type": ["adaptive"]}}, "thinking: Input tag"),
        ({"tools": [{**TOOL, "parameters": {}}]}, "tools.0.custom.parameters: Extra inputs"),
    ],
)
def test_parameters_of_the_wrong_form(fields: JSON, start: str) -> None:
    refused(body(**fields), start)


@pytest.mark.parametrize(
    "fields",
    [
        {"stop_sequences": ["x"], "service_tier": "standard_only", "metadata": {"user_id": "u"}, "inference_geo": "eu"},
        {"metadata": {"user_id": None}, "stop_sequences": [], "speed": "fast"},
        {"stop_sequences": None, "service_tier": None, "metadata": None, "output_config": None},
        {"cache_control": {"type": "ephemeral"}, "output_config": {"effort": "low", "format": None}},
        {"cache_control": {"type": "ephemeral", "ttl": "1h"}, "thinking": {"type": "adaptive", "display": "updates"}},
    ],
)
def test_parameters_of_the_right_form(fields: JSON) -> None:
    assert find_fault(body(**fields)) is None


@pytest.mark.parametrize("choice", ["auto", "any", "none"])
@pytest.mark.parametrize("tools", [{}, {"tools": []}, {"tools": None}])
def test_tool_choice_without_tools(choice: str, tools: JSON) -> None:
    start = "tool_choice: tool_choice may only be specified while providing tools."
    refused(body(tool_choice={"type": choice}, **tools), start)
    counted = body(tool_choice={"type": choice}, **tools)
    del counted["max_tokens"]
    refused(counted, start, counting=True)


@pytest.mark.parametrize(
    ("choice", "start"),
    [
        ({"type": "some"}, "tool_choice: Input tag 'some'"),
        ({"type": "auto", "name": "f"}, "tool_choice.auto.name: Extra inputs"),
        ("auto", "tool_choice: Input should be an object"),
    ],
)
def test_a_tool_choice_of_the_wrong_form(choice: Any, start: str) -> None:
    refused(body(tools=[TOOL], tool_choice=choice), start)


@pytest.mark.parametrize(
    ("block", "start"),
    [
        (image(data="no base64!"), "messages.0.content.0.image.source.base64.data: Invalid base64 data"),
        (image(data=f"data:image/png;base64,{PNG}"), "messages.0.content.0.image.source.base64.data: Invalid base64"),
        (image(data=PNG[:-1]), "messages.0.content.0.image.source.base64.data: Invalid base64"),
        (image(data=""), "messages.0.content.0.image.source.base64.data: The file cannot be empty"),
        (image(data=7), "messages.0.content.0.image.source.base64.data: Input should be a valid string"),
        (image(data="ü"), "messages.0.content.0.image.source.base64.data: Invalid base64"),
        (
            image(media_type="image/tiff"),
            "messages.0.content.0.image.source.base64.media_type: Input should be 'image/j",
        ),
        (
            image(media_type="image/jpeg"),
            "messages.0.content.0.image.source.base64.data: The image was specified using",
        ),
        (image(media_type=None), "messages.0.content.0.image.source.base64.media_type: Input should be"),
        (image(extra=1), "messages.0.content.0.image.source.base64.extra: Extra inputs"),
        (
            {"type": "image", "source": {"type": "base64", "data": PNG}},
            "messages.0.content.0.image.source.base64.media_",
        ),
        ({"type": "image", "source": {"type": "path"}}, "messages.0.content.0.image.source: Input tag 'path'"),
        ({"type": "image", "source": "x.png"}, "messages.0.content.0.image.source: Input should be an object"),
        ({"type": "image", "source": {"type": "url", "url": 7}}, "messages.0.content.0.image.source.url.url: Input sh"),
        (
            document(type="base64", media_type="image/png", data=PNG),
            "messages.0.content.0.document.source.base64.media_type: Input should be 'application/pdf'",
        ),
        (
            document(type="text", media_type="text/html", data="x"),
            "messages.0.content.0.document.source.text.media_type: Input should be 'text/plain'",
        ),
        (
            document(type="text", media_type="text/plain", data=7),
            "messages.0.content.0.document.source.text.data: Input should be a valid string",
        ),
    ],
)
def test_bad_base64_or_media_types(block: JSON, start: str) -> None:
    refused(body(user(block)), start)
    place = "messages.2.content.0.tool_result.content.0"
    inside = body(user("a"), assistant(use()), user(result(content=[block])))
    refused(inside, start.replace("messages.0.content.0", place))


@pytest.mark.parametrize(
    "block",
    [
        image(),
        image(data=base64.b64encode(b"no image that anybody knows").decode()),
        *(
            image(data=base64.b64encode(start).decode(), media_type=f"image/{kind}")
            for kind, start in (("jpeg", b"\xff\xd8\xff\xe0"), ("gif", b"GIF89a"), ("webp", b"RIFF\0\0\0\0WEBPVP8 "))
        ),
        {"type": "image", "source": {"type": "url", "url": "https://example.org/x.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        document(type="base64", media_type="application/pdf", data=PDF),
        document(type="text", media_type="text/plain", data="x"),
        document(type="content", content=[text()]),
        document(type="url", url="https://example.org/x.pdf"),
    ],
)
def test_good_sources(block: JSON) -> None:
    assert find_fault(body(user(block))) is None


OPEN: JSON = {"type": "object", "properties": {}}


@pytest.mark.parametrize(
    "schema",
    [
        OPEN,
        {**OPEN, "additionalProperties": True},
        {**OPEN, "additionalProperties": {"type": "string"}},
        {**OPEN, "type": ["object", "null"]},
        {**CLOSED, "properties": {"a": OPEN}},
        {**CLOSED, "$defs": {"a": OPEN}},
        {**CLOSED, "properties": {"a": {"type": "array", "items": OPEN}}},
        {**CLOSED, "properties": {"a": {"anyOf": [{"type": "null"}, OPEN]}}},
        {"type": "array", "items": OPEN},
    ],
)
def test_schemas_without_additional_properties_false(schema: JSON) -> None:
    says = "For 'object' type, 'additionalProperties' must be explicitly set to false"
    refused(body(**output(schema)), f"output_config.format.schema: {says}")
    old = body(output_format={"type": "json_schema", "schema": schema})
    refused(old, f"output_format.schema: {says}", beta=True)
    if schema["type"] == "object":
        tool = {"name": "f", "input_schema": schema}
        refused(body(tools=[{**tool, "strict": True}]), f"tools.0.custom: {says}")
        assert find_fault(body(tools=[tool])) is None  # what no answer has to follow may be open


@pytest.mark.parametrize("schema", [CLOSED, {"type": "array", "items": CLOSED}, {"type": "string"}, {"$ref": "#/x"}])
def test_closed_schemas(schema: JSON) -> None:
    assert find_fault(body(**output(schema))) is None


@pytest.mark.parametrize(
    ("wanted", "start"),
    [
        ({"type": "text"}, "output_config.format.type: Input should be 'json_schema'"),
        ({"type": "json_schema"}, "output_config.format.schema: Field required"),
        ({"type": "json_schema", "schema": "x"}, "output_config.format.schema: Input should be an object"),
        ("json", "output_config.format: Input should be an object"),
    ],
)
def test_formats_of_the_wrong_form(wanted: Any, start: str) -> None:
    refused(body(output_config={"format": wanted}), start)


@pytest.mark.parametrize("model", PRESERVING)
def test_budget_thinking_on_5_5_models(model: str) -> None:
    config = {"type": "enabled", "budget_tokens": 1024}
    refused(
        body(thinking=config, max_tokens=4096, model=model), '"thinking.type.enabled" is not supported for this model'
    )
    assert find_fault(body(thinking={"type": "adaptive"}, model=model)) is None


@pytest.mark.parametrize("model", OTHERS)
def test_budget_thinking_on_older_models(model: str) -> None:
    config = {"type": "enabled", "budget_tokens": 1024}
    assert find_fault(body(thinking=config, max_tokens=4096, model=model)) is None


@pytest.mark.parametrize("model", [*PRESERVING, *OTHERS])
def test_thinking_that_cannot_be_switched_off(model: str) -> None:
    request = body(thinking={"type": "disabled"}, model=model)
    if model in ("claude-opus-5-5", "claude-fable-5-1", "claude-mythos-5-2"):
        refused(request, '"thinking.type.disabled" is not supported for this model')
    else:
        assert find_fault(request) is None


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "f"}])
@pytest.mark.parametrize("model", [*PRESERVING, *OTHERS])
def test_forced_tools_on_5_5_models(choice: JSON, model: str) -> None:
    request = body(tools=[TOOL], tool_choice=choice, model=model)
    if model in PRESERVING:
        refused(request, 'tool_choice: type "tool" and "any" are not supported for this model.')
    else:
        assert find_fault(request) is None
        thinks = {**request, "thinking": {"type": "adaptive"}}
        refused(thinks, "Thinking may not be enabled when tool_choice forces tool use.")
    for kind in ("auto", "none"):
        assert find_fault({**request, "tool_choice": {"type": kind}}) is None


def test_threads_need_their_beta() -> None:
    request = body(thread={"type": "create"})
    assert find_fault(request, betas=["message-threads-2026-08-12"]) is None
    for betas in ([], ["files-api-2025-04-14"]):
        refused(request, "thread: Extra inputs are not permitted", betas=betas)
