"""Print text without async: as it comes, at once, in pieces, and how far it is.

`trio_stream.blocking` has the names of the asynchronous client, for scripts, notebooks and threads. What is waited for
is waited for by this thread.
"""

from __future__ import annotations

import os

import trio_stream as ts
from trio_stream import blocking

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")


def question(content: str) -> list[ts.MessageParam | ts.Message]:
    return [{"role": "user", "content": content}]


def main() -> None:
    with blocking.Client() as client:
        # As it comes; and after the block, the whole message, proven complete.
        with client.messages.stream(model=MODEL, max_tokens=512, messages=question("Say hello.")) as stream:
            for text in stream.text_stream:
                print(text, end="", flush=True)
        print(f"\n{stream.message.stop_reason}, {stream.message.usage.output_tokens} output tokens")

        # Just the text.
        with client.messages.stream(model=MODEL, max_tokens=512, messages=question("Name a river.")) as stream:
            print(stream.get_final_text())

        # In pieces that are pleasant to display, or to speak.
        with client.messages.stream(model=MODEL, max_tokens=512, messages=question("Tell me about it.")) as stream:
            for piece in stream.text_chunks(min_chars=20, at_punctuation=True, max_delay=2.0):
                print(f"> {piece.strip()}")

        # The message as far as it has come.
        with client.messages.stream(model=MODEL, max_tokens=512, messages=question("Where does it end?")) as stream:
            for event in stream:
                if event.type == "text" and event.text.strip() == "sea":
                    print(f"so far: {stream.current_message_snapshot.text!r}")

        # With a role. Without a stream, if only the end is of interest: it is streamed underneath.
        message = client.messages.create(
            model=MODEL,
            max_tokens=512,
            system="You are a lighthouse keeper. Answer in a few calm sentences.",
            messages=question("How was the night?"),
        )
        print(f"keeper: {message.text}")

        # Only the older version of the API takes a temperature.
        older = client.with_options(anthropic_version="2023-06-01")
        message = older.messages.create(model=MODEL, max_tokens=512, temperature=0.2, messages=question("Hello!"))
        print(f"cool: {message.text}")


if __name__ == "__main__":
    main()
