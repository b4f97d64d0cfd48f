"""What the Messages API refuses about the parameters of a request other than its messages.

What belongs here: the rules for each parameter, and for parameters and models that do not go together. What does not:
the conversation (`_strict`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from trio_stream.testing._faults import (
    EXTRA,
    Betas,
    Fault,
    Fields,
    check_choice,
    check_known,
    check_str,
    fields_of,
    list_of,
)
from trio_stream.testing._json import as_list, as_object, is_object
from trio_stream.testing._models import cannot_stop_thinking, preserves_thinking

NEWEST_VERSION = "2026-10-21"
VERSIONS = frozenset({"2023-06-01", NEWEST_VERSION})

_COUNTED = (
    *("model", "messages", "cache_control", "output_config", "speed", "system", "thinking", "tool_choice", "tools"),
)
_FIELDS = frozenset(
    [
        *_COUNTED,
        *("container", "diagnostics", "inference_geo", "max_tokens", "metadata", "service_tier", "stop_sequences"),
        "stream",
    ]
)
_COUNT_FIELDS = frozenset(_COUNTED)
_BETA_FIELDS = frozenset(
    [
        *("billing_policy", "compaction", "context_management", "fallback_credit_token", "fallbacks", "mcp_servers"),
        *("output_format", "thread"),
    ]
)
_SAMPLING = ("temperature", "top_p", "top_k")

_TOOL_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_TOOL_FIELDS = frozenset(
    [
        *("type", "name", "description", "input_schema", "cache_control", "strict", "defer_loading"),
        *("allowed_callers", "input_examples", "eager_input_streaming"),
    ]
)
_EFFORTS = ("low", "medium", "high", "xhigh", "max")
_THINKING = {
    "enabled": frozenset({"type", "budget_tokens", "display", "block_binding"}),
    "adaptive": frozenset({"type", "display", "block_binding"}),
    "disabled": frozenset({"type"}),
    "between_tools": frozenset({"type"}),
}
_CHOICES = {
    "auto": frozenset({"type", "disable_parallel_tool_use"}),
    "any": frozenset({"type", "disable_parallel_tool_use"}),
    "tool": frozenset({"type", "name", "disable_parallel_tool_use"}),
    "none": frozenset({"type"}),
}


def check_params(body: Fields, version: str | None, betas: Betas, *, counting: bool) -> None:
    """Check everything but the messages.

    Raises:
      Fault: The first that was found.
    """
    _check_names(body, version, betas, counting=counting)
    if not isinstance(body["model"], str) or not body["model"]:
        raise Fault("model", "Input should be a valid string")
    if not counting:
        _check_max_tokens(body)
    for name, check in _RULES.items():
        if body.get(name) is not None:
            check(body[name], name)
    names = _check_tools(body)
    _check_thinking(body, betas)
    _check_tool_choice(body, names)


def _check_names(body: Fields, version: str | None, betas: Betas, *, counting: bool) -> None:
    if version is None:
        raise Fault("anthropic-version", "header is required")
    if version not in VERSIONS:
        raise Fault("anthropic-version", f'"{version}" is not a valid version')
    for name in ("model", "messages") if counting else ("model", "max_tokens", "messages"):
        if name not in body:
            raise Fault(name, "Field required")
    known = _COUNT_FIELDS if counting else _FIELDS
    if betas.any:
        known |= _BETA_FIELDS
    for name in body:
        if name in _SAMPLING and not counting:
            if version == NEWEST_VERSION:
                raise Fault(name, f"Extra inputs are not permitted with anthropic-version {NEWEST_VERSION}")
        elif name not in known or (name == "thread" and not betas.has("message-threads")):
            raise Fault(name, EXTRA)


def _check_max_tokens(body: Fields) -> None:
    most = body["max_tokens"]
    if not isinstance(most, int) or isinstance(most, bool):
        raise Fault("max_tokens", "Input should be a valid integer")
    if most < 0 or (most == 0 and body.get("stream")):
        raise Fault("max_tokens", "Input should be greater than or equal to 1")


def _check_stream(value: Any, path: str) -> None:
    if not isinstance(value, bool):
        raise Fault(path, "Input should be a valid boolean")


def _check_stop_sequences(value: Any, path: str) -> None:
    for index, item in enumerate(list_of(value, path)):
        check_str(item, f"{path}.{index}")


def _check_metadata(value: Any, path: str) -> None:
    metadata = fields_of(value, path)
    check_known(metadata, {"user_id"}, path)
    if metadata.get("user_id") is not None:
        check_str(metadata["user_id"], f"{path}.user_id")


def _check_service_tier(value: Any, path: str) -> None:
    check_choice(value, ("auto", "standard_only"), path)


def _check_speed(value: Any, path: str) -> None:
    check_choice(value, ("standard", "fast"), path)


def _check_cache_control(value: Any, path: str) -> None:
    control = fields_of(value, path)
    check_choice(control.get("type"), ("ephemeral",), f"{path}.type")
    if control.get("ttl") is not None:
        check_choice(control["ttl"], ("5m", "1h"), f"{path}.ttl")


def _check_output_config(value: Any, path: str) -> None:
    config = fields_of(value, path)
    if config.get("effort") is not None:
        check_choice(config["effort"], _EFFORTS, f"{path}.effort")
    if config.get("format") is not None:
        _check_format(config["format"], f"{path}.format")


def _check_format(value: Any, path: str) -> None:
    wanted = fields_of(value, path)
    check_choice(wanted.get("type"), ("json_schema",), f"{path}.type")
    if "schema" not in wanted:
        raise Fault(f"{path}.schema", "Field required")
    _check_closed(fields_of(wanted["schema"], f"{path}.schema"), f"{path}.schema")


_RULES: dict[str, Callable[[Any, str], None]] = {
    "stream": _check_stream,
    "stop_sequences": _check_stop_sequences,
    "metadata": _check_metadata,
    "service_tier": _check_service_tier,
    "speed": _check_speed,
    "inference_geo": check_str,
    "cache_control": _check_cache_control,
    "output_config": _check_output_config,
    "output_format": _check_format,
}
"""The rules that look at nothing but their own parameter."""


def _check_closed(schema: Any, path: str) -> None:
    """Check that every object of a schema which the answer has to follow says that it has no other properties."""
    fields = as_object(schema)
    kind = fields.get("type")
    if (kind == "object" or "object" in as_list(kind)) and fields.get("additionalProperties") is not False:
        raise Fault(path, "For 'object' type, 'additionalProperties' must be explicitly set to false")
    for name in ("properties", "$defs", "definitions"):
        for part in as_object(fields.get(name)).values():
            _check_closed(part, path)
    for name in ("anyOf", "allOf", "oneOf"):
        for part in as_list(fields.get(name)):
            _check_closed(part, path)
    for part in as_list(fields.get("items")) or [fields.get("items")]:
        if is_object(part):
            _check_closed(part, path)


def _check_tools(body: Fields) -> set[str]:
    """Check the tools, and return their names."""
    names: set[str] = set()
    for index, item in enumerate(list_of(body.get("tools") or [], "tools")):
        path = f"tools.{index}"
        tool = fields_of(item, path)
        custom = tool.get("type") in (None, "custom")
        name = tool.get("name")
        if name is None:
            if custom:
                raise Fault(f"{path}.custom.name", "Field required")
            continue
        if custom:
            _check_custom(tool, f"{path}.custom")
        if name in names:
            raise Fault("tools", "Tool names must be unique.")
        names.add(str(name))
    return names


def _check_custom(tool: Fields, path: str) -> None:
    name = tool["name"]
    if not (isinstance(name, str) and _TOOL_NAME.fullmatch(name)):
        raise Fault(f"{path}.name", "String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")
    schema = tool.get("input_schema")
    if not is_object(schema):
        raise Fault(f"{path}.input_schema", "Field required")
    if schema.get("type") != "object":
        raise Fault(f"{path}.input_schema.type", "Input should be 'object'")
    check_known(tool, _TOOL_FIELDS, path)
    if tool.get("strict"):
        _check_closed(schema, path)


def _check_thinking(body: Fields, betas: Betas) -> None:
    if body.get("thinking") is None:
        return
    config = fields_of(body["thinking"], "thinking")
    kind = config.get("type")
    if not isinstance(kind, str) or kind not in _THINKING:
        raise Fault("thinking", f"Input tag {kind!r} does not match any of the expected tags")
    path = f"thinking.{kind}"
    check_known(config, _THINKING[kind], path)
    if config.get("display") is not None:
        check_choice(config["display"], ("summarized", "omitted", "updates"), f"{path}.display")
    _check_binding(config, path, betas)
    model = str(body["model"])
    if kind == "enabled":
        _check_budget(config.get("budget_tokens"), body.get("max_tokens"), betas)
    if (kind == "enabled" and preserves_thinking(model)) or (kind == "disabled" and cannot_stop_thinking(model)):
        raise Fault(
            None,
            f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive" and '
            '"output_config.effort" to control thinking behavior.',
        )


def _check_binding(config: Fields, path: str, betas: Betas) -> None:
    if "block_binding" not in config:
        return
    if not betas.any:
        raise Fault(f"{path}.block_binding", EXTRA)
    if config["block_binding"] is not None:
        binding = fields_of(config["block_binding"], f"{path}.block_binding")
        check_known(binding, {"prefix_mismatch_behavior"}, f"{path}.block_binding")
        wanted = binding.get("prefix_mismatch_behavior")
        if wanted is not None:
            check_choice(wanted, ("error", "drop_block"), f"{path}.block_binding.prefix_mismatch_behavior")


def _check_budget(budget: Any, most: Any, betas: Betas) -> None:
    if not isinstance(budget, int):
        raise Fault("thinking.enabled.budget_tokens", "Field required")
    if budget < 1024:
        raise Fault("thinking.enabled.budget_tokens", "Input should be greater than or equal to 1024")
    # Interleaved with calls of tools, the budget is for all the thinking of a turn, which takes several requests.
    if isinstance(most, int) and budget >= most and not betas.has("interleaved-thinking"):
        raise Fault("max_tokens", "`max_tokens` must be greater than `thinking.budget_tokens`")


def _check_tool_choice(body: Fields, names: set[str]) -> None:
    if body.get("tool_choice") is None:
        return
    choice = fields_of(body["tool_choice"], "tool_choice")
    kind = choice.get("type")
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise Fault("tool_choice", f"Input tag {kind!r} does not match any of the expected tags")
    check_known(choice, _CHOICES[kind], f"tool_choice.{kind}")
    if not body.get("tools"):
        raise Fault("tool_choice", "tool_choice may only be specified while providing tools.")
    if kind == "tool" and choice.get("name") not in names:
        raise Fault("tool_choice", f"Tool '{choice.get('name')}' not found in provided tools")
    if kind in ("any", "tool"):
        if preserves_thinking(str(body["model"])):
            raise Fault("tool_choice", 'type "tool" and "any" are not supported for this model.')
        if as_object(body.get("thinking")).get("type") in ("enabled", "adaptive"):
            raise Fault(None, "Thinking may not be enabled when tool_choice forces tool use.")
