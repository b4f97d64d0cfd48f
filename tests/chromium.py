"""Pictures of pages for the documentation, taken by a real browser.

What belongs here: starting Chromium for one picture. What does not: the pages.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path


def take_picture(url: str, path: Path, *, width: int, height: int) -> None:
    """Take a picture of a page, once it has come to rest.

    Raises:
      SystemExit: There is no Chromium here.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise SystemExit("no Chromium to take the picture with: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [
                *(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
                *(
                    "--disable-background-networking",
                    "--disable-component-update",
                    "--disable-sync",
                    "--hide-scrollbars",
                ),
                *(f"--user-data-dir={folder}", f"--window-size={width},{height}", "--virtual-time-budget=20000"),
                *(f"--screenshot={path.absolute()}", url),
            ],
            check=True,
            capture_output=True,
        )
    print(path)
