"""Charts as inline SVG: they follow the page's light or dark colours through CSS classes and need no script.

Coordinates are pixels in the chart's own view box; x grows to the right, y downwards. Text is escaped here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH_PX = 960


def number(value: float) -> str:
    """A coordinate without needless digits."""
    return f"{value:.1f}".rstrip("0").rstrip(".")


@dataclass
class Svg:
    """An SVG being drawn."""

    width_px: float
    height_px: float
    label: str
    parts: list[str] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        """A straight line."""
        n = number
        self.parts.append(f'<line class="{css}" x1="{n(x1)}" y1="{n(y1)}" x2="{n(x2)}" y2="{n(y2)}"/>')

    def path(self, commands: str, css: str) -> None:
        """A path of SVG commands."""
        self.parts.append(f'<path class="{css}" d="{commands}"/>')

    def rect(self, x: float, y: float, w: float, h: float, css: str, tip: str = "", radius: float = 0) -> None:
        """A rectangle with a tooltip."""
        n = number
        shape = f'<rect class="{css}" x="{n(x)}" y="{n(y)}" width="{n(max(w, 0.4))}" height="{n(h)}" rx="{n(radius)}"'
        self.parts.append(shape + (f"><title>{escape(tip)}</title></rect>" if tip else "/>"))

    def circle(self, x: float, y: float, radius: float, css: str, tip: str = "") -> None:
        """A circle with a tooltip."""
        n = number
        shape = f'<circle class="{css}" cx="{n(x)}" cy="{n(y)}" r="{n(radius)}"'
        self.parts.append(shape + (f"><title>{escape(tip)}</title></circle>" if tip else "/>"))

    def text(self, x: float, y: float, words: str, css: str = "label", anchor: str = "start") -> None:
        """A line of text; `anchor` is start, middle or end."""
        n = number
        self.parts.append(f'<text class="{css}" x="{n(x)}" y="{n(y)}" text-anchor="{anchor}">{escape(words)}</text>')

    def done(self, *, scrolls: bool = False) -> str:
        """The SVG element; as wide as the page, or as wide as it is drawn if it `scrolls`."""
        size = f'viewBox="0 0 {number(self.width_px)} {number(self.height_px)}"'
        if scrolls:
            size += f' style="width:{number(self.width_px)}px"'
        return f'<svg {size} role="img" aria-label="{escape(self.label, quote=True)}">{"".join(self.parts)}</svg>'


@dataclass(frozen=True, slots=True)
class Point:
    """A measured rate at a time."""

    at_s: float
    rate: float
    low: float
    high: float
    label: str
    tip: str
    css: str = "incumbent"


@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of work on a station's time line."""

    begin_s: float
    end_s: float
    css: str
    tip: str


@dataclass(frozen=True, slots=True)
class Gain:
    """What a kept idea gained over the incumbent it replaced; rates or scores in [0, 1]."""

    idea: str
    told: str
    before: float
    after: float
    what: str


def success_over_time(
    incumbents: Sequence[Point],
    tried: Sequence[Point],
    held_out: Sequence[Point],
    scores: Sequence[tuple[float, float]],
    target: float,
    span_s: float,
) -> str:
    """Success of the incumbents with 95 % intervals, of every idea tried, and of the held-out draws, over wall time."""
    svg = Svg(WIDTH_PX, 380, "Success over time")
    left, right, top, bottom = 48.0, WIDTH_PX - 20.0, 16.0, 340.0
    span_s = max(span_s, 1.0)

    def x(at_s: float) -> float:
        return left + (right - left) * min(max(at_s / span_s, 0), 1)

    def y(rate: float) -> float:
        return bottom - (bottom - top) * rate

    for percent in (0, 25, 50, 75, 100):
        svg.line(left, y(percent / 100), right, y(percent / 100), "grid")
        svg.text(left - 8, y(percent / 100) + 4, f"{percent} %", "tick", "end")
    for at_s in ticks(span_s):
        svg.text(x(at_s), bottom + 20, clock(at_s), "tick", "middle")
    svg.line(left, y(target), right, y(target), "target")
    svg.text(left + 6, y(target) - 6, f"target {100 * target:g} %", "target-label")
    if scores:
        stairs = "".join(f"L{number(x(t))} {number(y(score))}" for t, score in steps(scores, span_s))
        svg.path("M" + stairs[1:], "score")
    if incumbents:
        corners = steps([(point.at_s, point.rate) for point in incumbents], span_s)
        stairs = "".join(f"L{number(x(t))} {number(y(rate))}" for t, rate in corners)
        svg.path(f"M{number(x(incumbents[0].at_s))} {number(y(0))}{stairs}L{number(right)} {number(y(0))}Z", "area")
        svg.path("M" + stairs[1:], "trunk")
    for point in tried:
        svg.circle(x(point.at_s), y(point.rate), 4, f"dot {point.css}", point.tip)
    for point in [*incumbents, *held_out]:
        at = x(point.at_s)
        svg.line(at, y(point.low), at, y(point.high), f"bar {point.css}")
        for end in (point.low, point.high):
            svg.line(at - 5, y(end), at + 5, y(end), f"bar {point.css}")
        svg.circle(at, y(point.rate), 6.5, f"dot {point.css}", point.tip)
        if at > right - 60:
            below = y(point.low) + 20 if point.low > 0.15 else y(point.high) - 10
            svg.text(right, below, point.label, "label strong", "end")
        else:
            svg.text(at + 10, y(point.rate) + (-8 if point.rate < 0.5 else 18), point.label)
    return svg.done()


def gains(rows: Sequence[Gain]) -> str:
    """What each kept idea changed: from the incumbent's value to its own, both on the same seeds."""
    height = 34.0 * len(rows) + 34
    svg = Svg(WIDTH_PX, height, "Gain of each kept idea")
    left, right = 470.0, WIDTH_PX - 70.0

    def x(value: float) -> float:
        return left + (right - left) * value

    for percent in (0, 50, 100):
        svg.line(x(percent / 100), 4, x(percent / 100), height - 26, "grid")
        svg.text(x(percent / 100), height - 8, f"{percent} %", "tick", "middle")
    for number_, row in enumerate(rows):
        at = 22 + 34.0 * number_
        svg.text(0, at + 4, row.idea, "label strong")
        svg.text(48, at + 4, shorten(row.told, 58), "label")
        svg.rect(min(x(row.before), x(row.after)), at - 4, abs(x(row.after) - x(row.before)), 8,
                 "gain" if row.after >= row.before else "loss", radius=4)  # fmt: skip
        svg.circle(x(row.before), at, 5, "dot before", f"before: {row.before:.0%} {row.what}")
        svg.circle(x(row.after), at, 7, "dot keep", f"after: {row.after:.0%} {row.what}")
        unit = "pt" if row.what == "success" else "score"
        svg.text(right + 12, at + 4, f"{100 * (row.after - row.before):+.0f} {unit}", "tick")
    return svg.done()


def timeline(stations: Sequence[tuple[str, Sequence[Bar]]], span_s: float) -> str:
    """What each robot did, over wall time; gaps are waiting."""
    height = 40.0 * len(stations) + 30
    svg = Svg(WIDTH_PX, height, "What the robots did")
    left, right = 80.0, WIDTH_PX - 20.0
    scale = (right - left) / max(span_s, 1.0)
    for row, (name, bars) in enumerate(stations):
        top = 8 + 40.0 * row
        svg.text(0, top + 17, name, "label strong")
        svg.rect(left, top, right - left, 26, "idle", radius=4)
        for bar in bars:
            svg.rect(left + bar.begin_s * scale, top, (bar.end_s - bar.begin_s) * scale, 26, f"work {bar.css}", bar.tip)
    for at_s in ticks(span_s):
        svg.text(left + at_s * scale, height - 6, clock(at_s), "tick", "middle")
    return svg.done()


def split_bar(shares: Sequence[tuple[str, float]]) -> str:
    """One bar: how the robots' time was used."""
    svg = Svg(WIDTH_PX, 44, "How the robots' time was used")
    at = 0.0
    for name, share in shares:
        width = WIDTH_PX * share
        svg.rect(at, 4, width, 28, f"share {name}", f"{name}: {share:.1%}")
        if width > 70:
            svg.text(at + width / 2, 23, f"{name} {share:.0%}", "inside", "middle")
        at += width
    return svg.done()


def steps(points: Sequence[tuple[float, float]], end_s: float) -> list[tuple[float, float]]:
    """A staircase through (time, value): each value holds until the next time."""
    stairs: list[tuple[float, float]] = []
    for number_, (at_s, value) in enumerate(points):
        until_s = points[number_ + 1][0] if number_ + 1 < len(points) else max(end_s, at_s)
        stairs += [(at_s, value), (until_s, value)]
    return stairs


def ticks(span_s: float) -> list[float]:
    """Round times from 0 to `span_s`, about seven."""
    sizes = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400)
    size = next((size for size in sizes if span_s / size <= 8), 86400)
    return [float(at_s) for at_s in range(0, int(span_s) + 1, size)]


def clock(at_s: float) -> str:
    """Seconds as `45 s`, `3:20` or `2:05 h`."""
    whole = round(at_s)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d}"
    return f"{whole // 3600}:{whole % 3600 // 60:02d} h"


def shorten(words: str, most: int) -> str:
    """At most `most` characters, cut at a word."""
    if len(words) <= most:
        return words
    return words[: most - 1].rsplit(" ", 1)[0] + "…"
