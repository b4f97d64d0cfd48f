"""Handle what can go wrong, without async.

Errors are told apart by their class, and each clock has its own. A stream can also be entered and left by hand.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

import trio_stream as ts
from trio_stream import blocking

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


def ask(client: blocking.Client, model: str) -> None:
    try:
        message = client.messages.create(
            model=model,
            max_tokens=512,
            messages=[{"role": "user", "content": "Tell me a story."}],
            timeout=ts.Timeouts(total=1.0),
        )
    except ts.NotFoundError as error:
        print(f"there is no such model: {error}")
    except ts.APITimeoutError as error:
        print(f"the clock {error.clock!r} ran out after {error.seconds:g} s")
        print(f"until then: {error.partial.text if error.partial else ''!r}")
    except ts.APIStatusError as error:
        # Also an `error` event in the middle of a stream: status_code is 200 then.
        print(f"the API said {error.status_code} {error.type}: {error.api_message}")
        print(f"arrived before it: {error.partial.text if error.partial else ''!r}")
    except ts.APIError as error:
        print(f"it failed: {error}")
    else:
        print(f"answered: {message.text}")


def main() -> None:
    client = blocking.Client(max_retries=0)
    ask(client, MODEL)
    ask(client, "no-such-model")
    ask(client, MODEL)
    ask(client, MODEL)

    # Where a `with` block does not fit. An ExitStack leaves all that were entered, whatever happens.
    manager = client.messages.stream(model=MODEL, max_tokens=512, messages=[{"role": "user", "content": "One?"}])
    stream = manager.__enter__()
    try:
        print(f"by hand: {stream.get_final_text()}")
    finally:
        manager.__exit__(None, None, None)
    with ExitStack() as stack:
        streams = [
            stack.enter_context(
                client.messages.stream(model=MODEL, max_tokens=512, messages=[{"role": "user", "content": content}])
            )
            for content in ("Two?", "Three?")
        ]
        for stream in streams:
            print(f"exit stack: {stream.get_final_text()}")
    client.close()  # as the end of the program would


if __name__ == "__main__":
    main()
