"""The options of a fan-out: one home for their defaults, one for their documentation, the same ones everywhere."""

from __future__ import annotations

import inspect
import pickle
import re
from typing import Any, get_type_hints

import pytest

import trio_stream as ts
from trio_stream.batch import FanOutOptions
from trio_stream.batch._options import OPTIONS
from trio_stream.ray import StreamBatch

from .api import PARAMS, client_of

# The parameters of `fan_out` that are no options.
OTHERS = {"client", "items", "params"}


def test_fan_out_has_exactly_these_options_with_these_defaults_and_types() -> None:
    parameters = inspect.signature(ts.fan_out).parameters
    assert set(parameters) - OTHERS == OPTIONS
    defaults = FanOutOptions()
    assert {name: parameters[name].default for name in OPTIONS} == {name: getattr(defaults, name) for name in OPTIONS}
    hints, fields = get_type_hints(ts.fan_out), get_type_hints(FanOutOptions)
    assert {name: hints[name] for name in OPTIONS - {"output"}} == {name: fields[name] for name in OPTIONS - {"output"}}


def test_its_documentation_has_every_option_once() -> None:
    documentation = inspect.getdoc(ts.fan_out) or ""
    described = re.findall(r"^  (\w+): ", documentation, flags=re.MULTILINE)
    assert [name for name in described if name in OPTIONS] == [
        name for name in FanOutOptions.__struct_fields__ if name in OPTIONS
    ]


@pytest.mark.parametrize("function", [ts.fan_out, ts.gather_outcomes, ts.gather_texts])
async def test_every_entrance_checks_them_and_refuses_nothing_else(function: Any) -> None:
    client, _ = client_of()
    for wrong in ({"limit": 0}, {"max_attempts": 0}, {"item_timeout": -1}, {"max_errors": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong)).replace("_", ".")):
            await function(client, ["a"], **wrong, **PARAMS)
    with pytest.raises(TypeError, match="max_attempts"):
        await function(client, ["a"], max_retries=1, **PARAMS)


def test_stream_batch_takes_them_too() -> None:
    options: dict[str, Any] = {"limit": 3, "max_errors": 1, "warmup": True, "budget": ts.Budget(requests=5)}
    batch = StreamBatch(prompt="prompt", max_attempts=2, item_timeout=9.0, **options, **PARAMS)
    assert isinstance(pickle.loads(pickle.dumps(batch)), StreamBatch)
    for wrong in ({"limit": 0}, {"max_attempts": 0}, {"item_timeout": -1}, {"max_errors": -1}):
        with pytest.raises(ValueError, match=next(iter(wrong)).replace("_", ".")):
            StreamBatch(**wrong, **PARAMS)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="output is not an option of a StreamBatch"):
        StreamBatch(output=int, **PARAMS)
    with pytest.raises(TypeError, match="journal_dir"):
        StreamBatch(journal="answers.journal", **PARAMS)


def test_keywords_that_are_no_options_are_parameters() -> None:
    options = FanOutOptions.of({"warmup": True, "model": "m", "max_tokens": 5})
    assert options == FanOutOptions(warmup=True, params={"model": "m", "max_tokens": 5})
    # A parameter of the API named as the field of the options is still one.
    assert FanOutOptions.of({"params": 1}).params == {"params": 1}


def test_they_can_be_sent_to_another_process() -> None:
    options = FanOutOptions(limit=ts.Adaptive(1, 2, 3), warmup=True, params={"model": "m"})
    assert pickle.loads(pickle.dumps(options)) == options
