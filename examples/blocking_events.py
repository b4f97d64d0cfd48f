"""Look at everything that a stream tells, without async.

There is the head of the answer, each event, thinking, tokens and timings; and the raw wire, with `create(stream=True)`.
"""

from __future__ import annotations

import os

from trio_stream import blocking

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


def main() -> None:
    with blocking.Client() as client:
        with client.beta.messages.stream(
            model=MODEL,
            max_tokens=8192,
            thinking={"type": "adaptive", "display": "summarized"},
            betas=["interleaved-thinking-2025-05-14"],
            messages=[{"role": "user", "content": "Is 2027 a prime number?"}],
        ) as stream:
            # Entering the block means: the head and the first event are here, the rest is on its way.
            print(f"{stream.response.status_code} {stream.response.headers['content-type']}")
            print(f"request id: {stream.request_id}")
            if stream.rate_limits is not None:
                print(f"requests left: {stream.rate_limits.requests.remaining}")
            for event in stream:
                if event.type == "message_start":
                    print(f"input tokens: {event.message.usage.input_tokens}")
                elif event.type == "thinking":
                    print(f"thinking: {event.thinking!r}")
                elif event.type == "text":
                    print(f"text: {event.text!r}")
                elif event.type == "content_block_stop":
                    print(f"a {event.content_block.type} block is complete")
                elif event.type == "message_delta":
                    print(f"output tokens: {event.usage.output_tokens}")
        print(f"{stream.stats.events} events, first text after {stream.stats.time_to_first_text or 0:.2f} s")

        # The events exactly as the API sends them. `with` closes the connection also where the loop is left early.
        for raw_event in client.messages.create(
            model=MODEL,
            max_tokens=512,
            messages=[{"role": "user", "content": "What comes over the wire?"}],
            stream=True,
        ):
            print(f"[{raw_event.type}]", end="")
        print()


if __name__ == "__main__":
    main()
