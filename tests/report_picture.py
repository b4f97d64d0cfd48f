"""The picture of a report in the documentation: ``python -m tests.report_picture [FILE]``.

2,000 prompts against `trio-stream serve`, which is slow now and then and fails four of a hundred answers; the run is
killed in the middle and goes on. Then Chromium takes the picture (`docs/report.png`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.chromium import take_picture
from tests.processes import PYTHON, ROOT, environment

COMMAND = (PYTHON, "-m", "trio_stream.cli")


def main() -> None:
    picture = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "docs" / "report.png")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [{"id": f"q{n}", "prompt": f"Document {n}: streams" + " and more" * (n % 20)} for n in range(2000)]
        (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        serve = (*COMMAND, "serve", "--port", "0", "--ttft", "0.4", "--tps", "60", "--faults", "4", "-q")
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=environment()) as server:
            assert server.stdout is not None
            url = next(word for word in server.stdout.readline().split() if word.startswith("http://"))
            env = environment(ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="test")
            batch = (
                *COMMAND,
                "batch",
                "prompts.jsonl",
                "-o",
                "answers.jsonl",
                "--max-attempts",
                "2",
                "--max-tokens",
                "300",
            )
            with subprocess.Popen(batch, cwd=folder, env=env) as first:
                time.sleep(20)
                first.kill()
            subprocess.run((*batch, "--report", "report.html"), cwd=folder, env=env, check=False)
            server.terminate()
        take_picture((folder / "report.html").as_uri(), picture, width=1250, height=1150)


if __name__ == "__main__":
    main()
