"""Lines at the bottom of a terminal that are drawn again and again, while others are printed above them.

What belongs here: what is written to the terminal for that. What does not: what the lines say.

rich has `rich.live.Live` for it, which moves up by as many rows as it has drawn. But a terminal that has become
narrower shows long lines as several rows each, and those stay on the screen then. Nobody can know how many rows there
are, either: tmux tells its new size a quarter of a second after it has it. So the cursor waits at the beginning of the
first line, where it stays whatever becomes of the lines after it, and nothing is wrapped while it is drawn.
"""

from __future__ import annotations

from typing import Final, final

from rich.console import Console, RenderableType

_NO_WRAPPING: Final = "\x1b[?7l"
_WRAPPING: Final = "\x1b[?7h"


@final
class Canvas:
    """The lines.

    Args:
      console: The terminal.
      whole: Whether they have the whole screen: its alternate one, as editors and pagers use it. Many lines would
        otherwise scroll out of a screen that becomes smaller, where they cannot be removed.
    """

    def __init__(self, console: Console, *, whole: bool = False) -> None:
        self._console = console
        self._whole = whole
        self._drawn = 0  # how many lines are on the screen, from the cursor on
        self._above: list[str] = []  # what is printed once the whole screen is left

    @property
    def width(self) -> int:
        """How long lines may be. The last column stays free: some terminals begin a row when it is written to."""
        return max(1, self._console.width - 1)

    @property
    def height(self) -> int:
        """How many lines there may be. What has scrolled out cannot be drawn again."""
        return max(1, self._console.height - 1)

    def begin(self) -> None:
        """Take the screen, if it is the whole one.

        Raises:
          OSError: The terminal went away.
        """
        if self._whole:
            self._write("\x1b[?1049h")

    def draw(self, renderable: RenderableType) -> None:
        """Draw lines in place of those that were drawn before.

        Raises:
          OSError: The terminal went away.
        """
        with self._console.capture() as capture:
            self._console.print(renderable, width=self.width, no_wrap=True, overflow="crop", end="")
        lines = [line.rstrip(" ") for line in capture.get().rstrip("\n").split("\n")][: self.height]
        # Line by line: tmux keeps what is erased by one command on a whole screen, for scrolling back.
        drawn = _NO_WRAPPING + "\x1b[K\n".join(lines) + "\x1b[J" + _WRAPPING
        up = len(lines) - 1
        self._write(f"{self._home}{drawn}\x1b[{up}A\r" if up else f"{self._home}{drawn}\r")
        self._drawn = len(lines)

    def print_above(self, text: str) -> None:
        """Print a line that stays. The others have to be drawn again.

        Raises:
          OSError: The terminal went away.
        """
        if self._whole:
            self._above.append(text)
        else:
            self._write(f"\r{text}\x1b[K\n\x1b[J")
            self._drawn = 0

    def leave_screen(self) -> None:
        """Give back the whole screen, and print what was to stay.

        Raises:
          OSError: The terminal went away.
        """
        if self._whole:
            self._whole = False
            self._drawn = 0
            self._write("\x1b[?1049l" + "".join(f"{text}\n" for text in self._above))

    def finish(self) -> None:
        """Leave the lines where they are, and begin a new one.

        Raises:
          OSError: The terminal went away.
        """
        self._write("\n" * self._drawn)
        self._drawn = 0

    @property
    def _home(self) -> str:
        """What moves the cursor to the beginning of the first line."""
        return "\x1b[H" if self._whole else "\r"

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()
