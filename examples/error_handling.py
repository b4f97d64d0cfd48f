"""Tell apart what can go wrong.

Everything the API, the network or the wire can do is an `APIError`; its classes say what happened, and `partial` keeps
what had arrived. Retries have been taken before any of these is raised.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def ask(client: ts.Client, model: str) -> None:
    try:
        async with client.messages.stream(
            model=model, max_tokens=512, messages=[{"role": "user", "content": "What is an exception group?"}]
        ) as stream:
            text = await stream.get_final_text()
    except ts.NotFoundError as error:
        print(f"there is no such model: {error}")
    except ts.RateLimitError as error:
        print(f"too fast, the API asks to wait {error.retry_after} s")
    except ts.APIStatusError as error:
        # Also an `error` event in the middle of a stream: status_code is 200 then.
        print(f"the API said {error.status_code} {error.type}: {error.api_message}")
        print(f"arrived before it: {error.partial.text if error.partial else ''!r}")
    except ts.APITimeoutError as error:
        print(f"the clock {error.clock!r} ran out after {error.seconds:g} s")
    except ts.APIConnectionError as error:
        print(f"the network failed: {error}")
    except ts.IncompleteStreamError as error:
        print(f"cut off after {error.partial.text if error.partial else ''!r}")
    else:
        print(f"answered: {text}")


async def main() -> None:
    async with ts.Client() as client:
        await ask(client, MODEL)
        await ask(client, "no-such-model")


if __name__ == "__main__":
    trio.run(main)
