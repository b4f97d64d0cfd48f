"""`StreamBatch` without Ray: rows and columns, threads, errors, and every way to end."""

from __future__ import annotations

import functools
import gc
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import trio

import trio_stream as ts
from tests.ray.api import PARAMS, Maker, echo, prompt_of
from trio_stream.ray import StreamBatch
from trio_stream.testing import ScriptedAPI, disconnect, http_error, say, stall

COLUMNS = [
    "text",
    "stop_reason",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "request_id",
    "attempts",
    "error",
]


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "trio_stream"]


def test_columns_are_added_in_the_order_of_the_rows(make: Maker) -> None:
    api = ScriptedAPI(default=lambda request: [say(f"<{prompt_of(request)}>", ttft=0.05 * (prompt_of(request) < "c"))])
    ask = make(api)
    answered = ask({"prompt": ["a", "b", "c", "d"], "id": [1, 2, 3, 4]})
    assert list(answered) == ["prompt", "id", *COLUMNS]
    assert answered["id"] == [1, 2, 3, 4]
    assert answered["text"] == ["<a>", "<b>", "<c>", "<d>"]
    assert answered["stop_reason"] == ["end_turn"] * 4
    assert answered["attempts"] == [1] * 4
    assert answered["error"] == [""] * 4
    assert all(count > 0 for count in answered["input_tokens"] + answered["output_tokens"])
    assert answered["cache_read_tokens"] == [0] * 4
    assert sorted(answered["request_id"]) == sorted(request.request_id for request in api.requests)


def test_an_empty_batch(make: Maker) -> None:
    assert make(ScriptedAPI())({"prompt": []}) == {"prompt": [], **{name: [] for name in COLUMNS}}


def test_a_prompt_may_be_made_of_a_row(make: Maker) -> None:
    api = ScriptedAPI(default=echo)
    ask = make(api, prompt=lambda row: {"messages": [{"role": "user", "content": row["a"]}], "max_tokens": row["n"]})
    assert ask({"a": ["x"], "n": [7]})["text"] == ["<x>"]
    assert api.requests[0].body["max_tokens"] == 7


def test_a_prefix_keeps_columns_apart(make: Maker) -> None:
    ask = make(ScriptedAPI(default=echo), prompt="text", prefix="answer_")
    answered = ask({"text": ["q"]})
    assert answered["text"] == ["q"]
    assert answered["answer_text"] == ["<q>"]


class Fake:
    """A value of NumPy, as far as it matters: arrays of objects, and numbers that JSON does not know."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def tolist(self) -> Any:
        return self.value


def test_values_of_numpy_become_plain_at_any_depth(make: Maker) -> None:
    api = ScriptedAPI(default=echo)
    ask = make(api, prompt=lambda row: {"messages": row["messages"], "max_tokens": row["n"]})
    messages = Fake([{"role": "user", "content": Fake("deep")}])
    assert ask({"messages": Fake([messages]), "n": Fake([Fake(9)])})["text"] == ["<deep>"]
    assert api.requests[0].body["max_tokens"] == 9


@pytest.mark.parametrize(
    ("options", "batch", "message"),
    [
        ({}, {"question": ["q"]}, "there is no column 'prompt'; there are 'question'"),
        ({"id": "name"}, {"prompt": ["q"]}, "there is no column 'name'"),
        ({}, {"prompt": ["q"], "text": ["t"]}, "there is a column 'text' already: give .* prefix='answer_'"),
    ],
)
def test_columns_that_cannot_be(make: Maker, options: dict[str, Any], batch: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(ScriptedAPI(), **options)(batch)
    assert loops() == []


def test_formats_that_nobody_knows(make: Maker) -> None:
    with pytest.raises(TypeError, match=r"'numpy' .*'pandas' or 'pyarrow': a batch is no builtins\.list"):
        make(ScriptedAPI())([1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_error": "ignore"}, "on_error"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"limit": 0}, "limit"),
        ({"client": ts.Client(api_key="test")}, "client must be a function"),
        ({"limiter": 5}, "limiter must be"),
        ({"stream": True}, "stream"),
    ],
)
def test_options_are_refused_where_it_is_made(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        StreamBatch(**{**PARAMS, **options})


# Errors.


def test_a_bad_row_is_an_error_in_a_column(make: Maker) -> None:
    scripts = {
        "good": [say("fine")],
        "refused": [http_error(400)],
        "cut": [say("half "), disconnect()],
    }
    api = ScriptedAPI(default=lambda request: scripts[prompt_of(request)])
    answered = make(api, max_attempts=1)({"prompt": ["refused", "good", None, "cut", 5]})
    assert answered["text"] == ["", "fine", "", "half ", ""]
    errors = answered["error"]
    assert errors[1] == ""
    assert errors[0].startswith("BadRequestError: ")
    assert errors[2].startswith("TypeError: an item must be a prompt")
    assert errors[3].startswith("IncompleteStreamError: ")
    assert errors[4].startswith("TypeError: ")
    assert answered["attempts"] == [1, 1, 0, 1, 0]
    assert answered["output_tokens"][0] == answered["output_tokens"][2] == 0


def test_what_the_function_raises_is_an_error_in_a_column(make: Maker) -> None:
    answered = make(ScriptedAPI(default=echo), prompt=lambda row: row["n"] and str(1 / (row["n"] - 1)))({"n": [1, 2]})
    assert answered["error"] == ["ZeroDivisionError: division by zero", ""]
    assert answered["text"] == ["", "<1.0>"]


def test_errors_may_be_raised(make: Maker) -> None:
    """At once, though another row of the call has no end; and the loop goes on for other calls."""
    scripts = {"bad": [http_error(400)], "endless": [say("a"), stall()], "good": [say("fine")]}
    ask = make(ScriptedAPI(default=lambda request: scripts[prompt_of(request)]), on_error="raise", limit=2)
    with pytest.raises(ts.BadRequestError) as raised:
        ask({"prompt": ["endless", "bad", "good", "good"]})
    assert isinstance(pickle.loads(pickle.dumps(raised.value)), ts.BadRequestError)
    assert ask({"prompt": ["good"]})["text"] == ["fine"]


def test_without_a_key_the_job_fails(make: Maker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
    api = ScriptedAPI(default=echo)
    ask = make(api, client=functools.partial(ts.Client, transport=api))
    for _ in range(2):
        with pytest.raises(ts.CredentialsError):
            ask({"prompt": ["q"]})
    monkeypatch.setenv("ANTHROPIC_API_KEY", "test")
    assert ask({"prompt": ["q"]})["text"] == ["<q>"]
    assert api.requests[0].headers["x-api-key"]


def test_a_limit_of_the_job_skips_the_rest(make: Maker) -> None:
    """Of this call and of those that come."""
    ask = make(ScriptedAPI(default=echo), limit=1, budget=ts.Budget(requests=2))
    answered = ask({"prompt": ["a", "b", "c"]})
    assert answered["text"] == ["<a>", "<b>", ""]
    expected = "skipped: FanOutStoppedError: the budget is used up: 2 of 2 requests"
    assert answered["error"] == ["", "", expected]
    assert ask({"prompt": ["d"]})["error"] == [expected]


# Threads.


def test_calls_from_several_threads_share_one_loop(make: Maker) -> None:
    """They are under way at once, and each gets its own rows."""
    api = ScriptedAPI([say("the limits are known")], default=lambda r: [say(f"<{prompt_of(r)}>", ttft=2.0)])
    ask = make(api, limit=100)
    ask({"prompt": ["first"]})
    batches = [{"prompt": [f"{call}-{row}" for row in range(5)]} for call in range(8)]
    with ThreadPoolExecutor(8) as threads:
        results = list(threads.map(ask, batches))
        assert len(loops()) == 1
    assert [answered["text"] for answered in results] == [[f"<{p}>" for p in batch["prompt"]] for batch in batches]
    arrived = [request.at for request in api.requests[1:]]
    closed = [request.closed_at for request in api.requests[1:] if request.closed_at is not None]
    assert max(arrived) < min(closed), "all forty were open at once"


def test_a_fast_call_does_not_wait_for_a_slow_one(make: Maker) -> None:
    scripts = {"slow": [say("a"), stall()], "fast": [say("b")]}
    ask = make(ScriptedAPI(default=lambda request: scripts[prompt_of(request)]))
    failed: list[BaseException] = []

    def slow() -> None:
        try:
            ask({"prompt": ["slow"]})
        except trio.ClosedResourceError as error:
            failed.append(error)

    thread = threading.Thread(target=slow)
    thread.start()
    assert ask({"prompt": ["fast"] * 3})["text"] == ["b"] * 3
    ask.close()
    thread.join(10)
    assert not thread.is_alive()
    assert [str(error) for error in failed] == ["this StreamBatch has ended"]


# Its life.


def test_it_can_be_pickled_and_nothing_runs_before_the_first_call() -> None:
    ask = StreamBatch(prompt="q", client=functools.partial(ts.Client, base_url="http://127.0.0.1:9"), **PARAMS)
    pickled = pickle.dumps(ask)
    assert isinstance(pickle.loads(pickled), StreamBatch)
    assert loops() == []
    assert len(pickled) < 2_000


def test_a_copy_answers_for_itself(make: Maker) -> None:
    """It is made of one that runs, and begins anew."""
    APIS.append(ScriptedAPI(default=echo))
    ask = make(ScriptedAPI(), client=client_of_the_module)
    assert ask({"prompt": ["a"]})["text"] == ["<a>"]
    copy = pickle.loads(pickle.dumps(ask))
    ask.close()
    assert copy({"prompt": ["b"]})["text"] == ["<b>"]
    copy.close()
    assert loops() == []


APIS: list[ScriptedAPI] = []


def client_of_the_module() -> ts.Client:
    return ts.Client(api_key="test", transport=APIS[-1])


def test_the_loop_ends_with_the_object() -> None:
    api = ScriptedAPI(default=echo)
    ask = StreamBatch(client=lambda: ts.Client(api_key="test", transport=api), **PARAMS)
    ask({"prompt": ["a"]})
    assert len(loops()) == 1
    del ask
    gc.collect()
    assert loops() == []


def test_it_may_be_closed_and_called_again(make: Maker) -> None:
    ask = make(ScriptedAPI(default=echo))
    ask.close()
    ask({"prompt": ["a"]})
    ask.close()
    ask.close()
    assert loops() == []
    assert ask({"prompt": ["b"]})["text"] == ["<b>"]


PROGRAM = """
import threading, time
import trio_stream as ts
from trio_stream.ray import StreamBatch
from trio_stream.testing import ScriptedAPI, say, stall

api = ScriptedAPI([say("a")], default=[say("b"), stall()])
ask = StreamBatch(client=lambda: ts.Client(api_key="test", transport=api), model="m", max_tokens=9, journal_dir=FOLDER)
ask({"prompt": ["x"]})
threading.excepthook = lambda _: None  # its call fails as the process ends: by then there may be no stderr to say so
threading.Thread(target=ask, args=({"prompt": ["y"]},), daemon=True).start()
while api.open_streams < 1 or len(api.requests) < 2:
    time.sleep(0.01)
time.sleep(0.1)
print("done")
"""


def test_the_end_of_the_process_does_not_wait(tmp_path: Any) -> None:
    """For an answer that has no end, say; what had arrived of it is in the journal."""
    began = time.monotonic()
    code = PROGRAM.replace("FOLDER", repr(str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    assert time.monotonic() - began < 10
    (journal,) = tmp_path.iterdir()
    assert [(outcome.status, outcome.text) for outcome in ts.read_journal(journal)] == [("ok", "a"), ("cancelled", "b")]


def test_importing_it_does_not_import_ray() -> None:
    code = "import sys, trio_stream.ray; print([m for m in ('ray', 'numpy', 'pandas', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
