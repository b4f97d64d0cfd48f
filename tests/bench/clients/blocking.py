"""trio_stream.blocking: all events through ``client.messages.stream``, the final message at the end."""

from __future__ import annotations

from tests.bench.clients._run import scenario_and_url
from tests.bench.clients._threads import measure
from trio_stream import blocking


def main() -> None:
    """Do what the scenario says."""
    scenario, url, _ = scenario_and_url()
    with blocking.Client(api_key="test", base_url=url, max_retries=0) as client:

        def read() -> int:
            with client.messages.stream(
                model="claude-sonnet-5-5", max_tokens=1024, messages=[{"role": "user", "content": "Hi"}]
            ) as stream:
                for _event in stream:
                    pass
                message = stream.get_final_message()
            assert message.stop_reason is not None
            return stream.stats.events

        measure(scenario, read)


if __name__ == "__main__":
    main()
