"""Read the head of the HTTP answer.

`response` holds status, headers and URL of the answer, and nothing of the request, so no key. The request id is what
support asks for, and the rate limits tell how much is left.
"""

from __future__ import annotations

import os

import trio

import trio_stream as ts

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


async def main() -> None:
    async with (
        ts.Client() as client,
        client.messages.stream(model=MODEL, max_tokens=512, messages=[{"role": "user", "content": "Hello!"}]) as stream,
    ):
        # Entering the block means: the head and the first event are here, the rest is on its way.
        print(f"{stream.response.http_version} {stream.response.status_code} from {stream.response.url}")
        print(f"content-type: {stream.response.headers['content-type']}")
        print(f"request id: {stream.request_id}")
        limits = stream.rate_limits
        if limits is not None:
            print(f"requests left: {limits.requests.remaining} of {limits.requests.limit}")
            print(f"output tokens left: {limits.output_tokens.remaining}")
        print(await stream.get_final_text())


if __name__ == "__main__":
    trio.run(main)
