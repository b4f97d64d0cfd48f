"""The picture of the report: lines over logarithmic axes, as plain SVG.

What belongs here: drawing. What does not: any figure.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

Line = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 300, 250
LEFT, RIGHT, TOP, BOTTOM = 48, 14, 66, 44
MARGIN = 16  # for the title of the y axis
COLOURS = ("#7a7a7a", "#2b6cb0", "#0b6e4f", "#c77700", "#b3261e")

STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-weight: 600; font-size: 13px }
  .grid { stroke: #e3e3e3 }
  .frame { stroke: #999; fill: none }
"""


def draw(panels: Mapping[str, tuple[str, Mapping[str, Line]]], *, names: Sequence[str], y_title: str) -> str:
    """Draw panels side by side, on one scale of y.

    Args:
      panels: By title: the title of its x axis, and its lines by name.
      names: The lines, in the order of their colours.
      y_title: Of all y axes.
    """
    values = [y for _, lines in panels.values() for line in lines.values() for _, y in line]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    width = len(panels) * WIDTH
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{-MARGIN} 0 {width + MARGIN} {HEIGHT + 26}" role="img">',
        f"<title>{escape(y_title)}: {escape('; '.join(panels))}</title>",
        f"<style>{STYLE}</style>",
        f'<rect x="{-MARGIN}" width="{width + MARGIN}" height="{HEIGHT + 26}" rx="6" fill="#fff"/>',
    ]
    x = LEFT
    for name, colour in zip(names, COLOURS, strict=True):
        parts.append(f'<circle cx="{x}" cy="20" r="5" fill="{colour}"/><text x="{x + 10}" y="24">{escape(name)}</text>')
        x += 34 + 7 * len(name)
    for number, (title, (x_title, lines)) in enumerate(panels.items()):
        parts.append(f'<g transform="translate({number * WIDTH} 0)">')
        parts += _panel(title, x_title, y_title if number == 0 else "", lines, names, (low, high))
        parts.append("</g>")
    return "\n".join([*parts, "</svg>", ""])


def _panel(
    title: str, x_title: str, y_title: str, lines: Mapping[str, Line], names: Sequence[str], decades: tuple[int, int]
) -> list[str]:
    ticks = sorted({x for line in lines.values() for x, _ in line})
    first, last = math.log10(ticks[0]), math.log10(ticks[-1])
    low, high = decades

    def place_x(x: float) -> float:
        return LEFT + (math.log10(x) - first) / (last - first) * (WIDTH - LEFT - RIGHT)

    def place_y(y: float) -> float:
        return HEIGHT - BOTTOM + 26 - (math.log10(y) - low) / (high - low) * (HEIGHT - TOP - BOTTOM + 26)

    bottom, top = place_y(10.0**low), place_y(10.0**high)
    out = [f'<text class="title" x="{LEFT}" y="{top - 10:.0f}">{escape(title)}</text>']
    for decade in range(low, high + 1):
        y = place_y(10.0**decade)
        out.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**decade:,g}</text>')
    for tick in ticks:
        x = place_x(tick)
        out.append(f'<path class="grid" d="M{x:.1f} {top:.1f}V{bottom:.1f}"/>')
        out.append(f'<text x="{x:.1f}" y="{bottom + 16:.1f}" text-anchor="middle">{_short(tick)}</text>')
    out.append(
        f'<rect class="frame" x="{LEFT}" y="{top:.1f}" width="{WIDTH - LEFT - RIGHT}" height="{bottom - top:.1f}"/>'
    )
    middle = (LEFT + WIDTH - RIGHT) / 2
    out.append(f'<text x="{middle:.0f}" y="{bottom + 34:.0f}" text-anchor="middle">{escape(x_title)}</text>')
    if y_title:
        centre = (top + bottom) / 2
        out.append(
            f'<text transform="translate(-4 {centre:.0f}) rotate(-90)" text-anchor="middle">{escape(y_title)}</text>'
        )
    for name, colour in zip(names, COLOURS, strict=True):
        points = [(place_x(x), place_y(y)) for x, y in lines.get(name, ())]
        if points:
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
    return out


def _short(number: float) -> str:
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"
