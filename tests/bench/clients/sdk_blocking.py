"""The official SDK without async: all events through ``client.messages.stream``, the final message at the end.

Runs in an environment of its own, which has ``anthropic`` and not trio_stream.
"""

from __future__ import annotations

import anthropic

from tests.bench.clients._run import WIRE_EVENTS, scenario_and_url
from tests.bench.clients._threads import measure


def main() -> None:
    """Do what the scenario says."""
    scenario, url, _ = scenario_and_url()
    with anthropic.Anthropic(api_key="test", base_url=url, max_retries=0) as client:

        def read() -> int:
            events = 0
            with client.messages.stream(
                model="claude-sonnet-5-5", max_tokens=1024, messages=[{"role": "user", "content": "Hi"}]
            ) as stream:
                for event in stream:
                    events += event.type in WIRE_EVENTS
                message = stream.get_final_message()
            assert message.stop_reason is not None
            return events

        measure(scenario, read)


if __name__ == "__main__":
    main()
