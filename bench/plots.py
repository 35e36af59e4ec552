"""Plots as SVG: one bar a server, the middle half of the rounds as a line over its end.

The same figures always give the same text, so that a check can compare it.
"""

import dataclasses
from html import escape

from figures import Spread

WIDTH, LABEL, VALUE = 720, 130, 150
ROW, BAR, TOP, BOTTOM = 30, 18, 46, 30
OWN, OTHER, PART, LINE, TEXT, FAINT = ("#b5451b", "#7c8a97", "#000000", "#1c2733", "#1c2733",
                                       "#5b6874")


@dataclasses.dataclass(frozen=True)
class Bar:
    label: str
    whole: Spread
    # A part of it that is drawn darker, from the left; none where it has no parts.
    part: float | None
    text: str
    ours: bool


def plot(title: str, unit: str, bars: list[Bar], part: str | None = None) -> str:
    """A chart of horizontal bars."""
    longest = max((bar.whole.high for bar in bars), default=1.0) or 1.0
    scale = (WIDTH - LABEL - VALUE) / longest
    height = TOP + ROW * len(bars) + BOTTOM
    below = f"{unit}; dark: {part}" if part else unit
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" '
        f'height="{height}" font-family="sans-serif" font-size="13">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="24" font-size="15" font-weight="bold" fill="{TEXT}">{escape(title)}'
        "</text>"]
    for number, bar in enumerate(bars):
        lines += drawn(bar, TOP + ROW * number, scale)
    lines += [f'<text x="{LABEL}" y="{height - 10}" font-size="11" fill="{FAINT}">{escape(below)}; '
              "line: the middle half of the rounds</text>", "</svg>"]
    return "\n".join(lines) + "\n"


def drawn(bar: Bar, top: int, scale: float) -> list[str]:
    middle, colour = top + BAR / 2, OWN if bar.ours else OTHER
    end = LABEL + bar.whole.median * scale
    low, high = (LABEL + edge * scale for edge in (bar.whole.low, bar.whole.high))
    lines = [
        f'<text x="{LABEL - 8}" y="{middle + 4.5}" text-anchor="end" fill="{TEXT}">'
        f"{escape(bar.label)}</text>",
        f'<rect x="{LABEL}" y="{top}" width="{end - LABEL:.1f}" height="{BAR}" fill="{colour}"/>']
    if bar.part:
        lines.append(f'<rect x="{LABEL}" y="{top}" width="{bar.part * scale:.1f}" height="{BAR}" '
                     f'fill="{PART}" fill-opacity="0.3"/>')
    lines += [
        f'<path d="M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}V{middle + 4}'
        f'M{high:.1f} {middle - 4}V{middle + 4}" stroke="{LINE}" fill="none"/>',
        f'<text x="{max(end, high) + 8:.1f}" y="{middle + 4.5}" fill="{TEXT}">{escape(bar.text)}'
        "</text>"]
    return lines
