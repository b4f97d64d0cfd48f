"""Press Ctrl-C in the middle of an answer, and go on, without async.

An interrupt ends the wait that it comes in, and takes nothing with it. So a loop over the same view begins where the
last one was interrupted.
"""

from __future__ import annotations

import os

from trio_stream import blocking

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


def main() -> None:
    with (
        blocking.Client() as client,
        client.messages.stream(
            model=MODEL,
            max_tokens=4096,
            messages=[{"role": "user", "content": "Tell me a long story about a river."}],
        ) as stream,
    ):
        while True:
            try:
                for text in stream.text_stream:
                    print(text, end="", flush=True)
                break
            except KeyboardInterrupt:
                if input("\ngo on? ") != "y":
                    break
    # The block has closed the connection by now, so the model has stopped writing.
    print(f"\n{len(stream.text)} characters; {stream.stop_reason or 'interrupted'}")


if __name__ == "__main__":
    main()
