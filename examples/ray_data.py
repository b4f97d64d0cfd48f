"""Ask about each row of a Ray dataset, in actors that know what others have finished.

Kill an actor, or the whole program, and start it again: what the journals have is not asked again. It needs Ray:
``pip install 'trio-stream[ray]'``.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

import ray
import ray.data

import trio_stream as ts
from trio_stream.ray import StreamBatch

MODEL = os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-5-5")
JOURNALS = os.environ.get("JOURNALS", "journals")  # on storage that all machines reach


def main() -> None:
    ray.init()
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    questions = ray.data.from_items([{"id": number, "question": f"What is {number} + 2?"} for number in range(40)])
    answered = questions.map_batches(
        StreamBatch,
        fn_constructor_kwargs={
            "prompt": "question",
            "id": "id",
            "journal_dir": str(Path(JOURNALS).resolve()),
            # The key is not here: each actor reads it from its own environment.
            "client": functools.partial(ts.Client, base_url=os.environ.get("ANTHROPIC_BASE_URL")),
            "model": MODEL,
            "max_tokens": 64,
        },
        batch_size=10,
        compute=ray.data.ActorPoolStrategy(size=2, max_concurrent_calls_per_actor=8, enable_true_multi_threading=True),
    )
    rows = answered.take_all()
    for row in rows:
        print(f"{row['question']} {row['error'] or row['text']}")
    failed = sum(bool(row["error"]) for row in rows)
    print(f"{len(rows)} rows, {failed} errors, {sum(row['output_tokens'] for row in rows)} output tokens")


if __name__ == "__main__":
    main()
