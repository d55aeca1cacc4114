"""Charts as SVG text: stacked bars, and curves over logarithmic or even axes.

Colours are CSS variables of the page (``--c1`` to ``--c6``, ``--ink``, ``--dim``, ``--line``), so that one
drawing serves light, dark and paper.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape
from typing import NamedTuple

from .._values import Value

__all__ = ["Axis", "Bar", "Curve", "Mark", "bars", "curves"]

_WIDTH, _HEIGHT = 500, 280
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 82, 14, 44
_COLOURS = 6
_ROW, _ABOVE, _THICK = 48, 18, 20  # of a bar: its name stands above it


class Curve(Value):
    """A line of a chart.

    Attributes:
        name: What it is of.
        points: Its points, x and y.
        upper: The upper edge where it is a band.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    upper: tuple[tuple[float, float], ...] = ()


class Bar(NamedTuple):
    """One stacked bar: its name, its parts by name, the room it has, and a word behind it."""

    name: str
    parts: tuple[tuple[str, float], ...]
    room: float
    verdict: str
    works: bool


class Axis(NamedTuple):
    """An axis: its title, how its numbers are written, and whether it is even from 0 or logarithmic."""

    title: str
    write: Callable[[float], str]
    even: bool = False


class Mark(NamedTuple):
    """A point worth naming."""

    x: float
    y: float
    name: str


def bars(rows: Sequence[Bar], unit: str) -> str:
    """Draw stacked bars over one scale, each in the outline of its room, with a legend."""
    kinds = list(dict.fromkeys(name for row in rows for name, _ in row.parts))
    most = max(max(row.room, sum(size for _, size in row.parts)) for row in rows)
    base = len(rows) * _ROW
    drawn = [_tick(tick / most, base, f"{tick:g}") for tick in _steps(most)]
    drawn += [_bar(row, kinds, number * _ROW, most, unit) for number, row in enumerate(rows)]
    title = escape(f"Memory in {unit}")
    return (
        f'<svg class="fluid" width="100%" height="{base + 18}" role="img" aria-label="{title}">'
        f"{''.join(drawn)}</svg>{_legend(kinds)}"
    )


def _tick(share: float, base: int, text: str) -> str:
    """A line of the scale; the first and the last number stay within the drawing."""
    anchor = "start" if share < 0.02 else "end" if share > 0.98 else "middle"  # noqa: PLR2004
    at = f"{share:.2%}"
    return (
        f'<line class="grid" x1="{at}" x2="{at}" y1="{_ABOVE}" y2="{base - 4}"/>'
        f'<text class="tick" x="{at}" y="{base + 10}" text-anchor="{anchor}">{text}</text>'
    )


def _legend(names: Sequence[str]) -> str:
    told = "".join(
        f'<span><i style="background:var(--c{index % _COLOURS + 1})"></i>{escape(name)}</span>'
        for index, name in enumerate(names)
    )
    return f'<p class="legend">{told}</p>'


def _bar(row: Bar, kinds: Sequence[str], top: int, most: float, unit: str) -> str:
    """A bar over the whole width, in shares of it: text keeps its size on a narrow page."""
    below, at, drawn = top + _ABOVE, 0.0, []
    for name, size in row.parts:
        colour = kinds.index(name) % _COLOURS + 1
        drawn.append(
            f'<rect x="{at / most:.2%}" y="{below}" width="{max(0.002, size / most):.2%}" height="{_THICK}" '
            f'fill="var(--c{colour})"><title>{escape(name)}: {size:.1f} {unit}</title></rect>'
        )
        at += size
    word = "good" if row.works else "bad"
    return (
        f'<text class="label" x="0" y="{below - 5}">{escape(row.name)}</text>'
        f'<text class="{word}" x="100%" y="{below - 5}" text-anchor="end">{escape(row.verdict)}</text>'
        f"{''.join(drawn)}"
        f'<rect class="room" x="0" y="{below}" width="{row.room / most:.2%}" height="{_THICK}"/>'
    )


def curves(
    lines: Sequence[Curve],
    x: Axis,
    y: Axis,
    marks: Sequence[Mark] = (),
    levels: Sequence[Mark] = (),
    *,
    legend: bool = False,
) -> str:
    """Draw curves and bands over two axes.

    Args:
        lines: The curves; the name of each stands at its end.
        x: The lower axis.
        y: The left axis.
        marks: Points drawn as dots.
        levels: Heights drawn as dashed lines; only their ``y`` and ``name`` count.
        legend: Name the curves below instead, where many end in one place.
    """
    every = [point for line in lines for point in (*line.points, *line.upper)]
    xs = [point[0] for point in every] + [mark.x for mark in marks]
    ys = [point[1] for point in every] + [mark.y for mark in (*marks, *levels)]
    plot = _Plot(_range(xs, x), _range(ys, y), x.even, y.even)
    drawn = [_frame(plot, x, y)]
    drawn += [_level(plot, level) for level in levels]
    drawn += [_line(plot, line, number) for number, line in enumerate(lines)]
    drawn += [] if legend else _names(plot, lines)
    drawn += [_mark(plot, mark) for mark in marks]
    below = _legend([line.name for line in lines]) if legend else ""
    return _svg(_WIDTH, _HEIGHT, drawn, f"{y.title} by {x.title}") + below


class _Plot(NamedTuple):
    """Where values are on the paper; the ranges are powers of ten, or values on an even axis."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_even: bool
    y_even: bool

    def x(self, value: float) -> float:
        share = _share(value, self.x_range, even=self.x_even)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        share = _share(value, self.y_range, even=self.y_even)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)


def _share(value: float, within: tuple[float, float], *, even: bool) -> float:
    low, high = within
    return ((value if even else math.log10(max(value, 1e-9))) - low) / (high - low)


def _range(values: Sequence[float], axis: Axis) -> tuple[float, float]:
    return (0.0, max(*values, 1e-9)) if axis.even else _decades(values)


def _decades(values: Sequence[float]) -> tuple[float, float]:
    """The range of values as exponents, in halves of a power of ten."""
    low = math.floor(2 * math.log10(max(min(values), 1e-9))) / 2
    high = math.ceil(2 * math.log10(max(*values, 1e-9))) / 2
    return low, max(high, low + 0.5)


def _ticks(within: tuple[float, float], *, even: bool) -> list[float]:
    low, high = within
    if even:
        return _steps(high)
    factors = (1, 3) if high - low <= 3 else (1,)  # noqa: PLR2004 - a third of a power where there is room
    found = [
        factor * 10.0**power
        for power in range(math.floor(low), math.ceil(high) + 1)
        for factor in factors
    ]
    return [one for one in found if low - 1e-9 <= math.log10(one) <= high + 1e-9]


def _steps(most: float) -> list[float]:
    rough = most / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    return [number * step for number in range(int(most / step) + 1)]


def _frame(plot: _Plot, x: Axis, y: Axis) -> str:
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    parts = [
        f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{plot.y(tick):.1f}" y2="{plot.y(tick):.1f}"/>'
        f'<text class="tick" x="{_LEFT - 8}" y="{plot.y(tick) + 4:.1f}" text-anchor="end">{escape(y.write(tick))}</text>'
        for tick in _ticks(plot.y_range, even=plot.y_even)
    ]
    parts += [
        f'<line class="grid" x1="{plot.x(tick):.1f}" x2="{plot.x(tick):.1f}" y1="{_TOP}" y2="{bottom}"/>'
        f'<text class="tick" x="{plot.x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{escape(x.write(tick))}</text>'
        for tick in _ticks(plot.x_range, even=plot.x_even)
    ]
    middle = (_LEFT + right) / 2
    parts.append(
        f'<text class="axis" x="{middle:.0f}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(x.title)}</text>'
    )
    return "".join(parts)


def _line(plot: _Plot, line: Curve, number: int) -> str:
    colour = number % _COLOURS + 1
    upper = line.upper or line.points
    edge = [*line.points, *reversed(upper)]
    band = f'<polygon points="{_path(plot, edge)}" fill="var(--c{colour})" opacity=".22"/>'
    drawn = [band] if line.upper else []
    drawn.append(
        f'<polyline points="{_path(plot, upper)}" fill="none" stroke="var(--c{colour})" stroke-width="2.2" stroke-linejoin="round"/>'
    )
    return "".join(drawn)


def _names(plot: _Plot, lines: Sequence[Curve]) -> list[str]:
    """The name of each line at its end, moved apart where they would overlap."""
    ends = sorted(
        (plot.y((line.upper or line.points)[-1][1]), number, line)
        for number, line in enumerate(lines)
    )
    drawn, free = [], 0.0
    for height, number, line in ends:
        placed = max(height + 4, free)
        free = placed + 15
        x = plot.x((line.upper or line.points)[-1][0]) + 8
        drawn.append(
            f'<text class="name" x="{x:.1f}" y="{placed:.1f}" fill="var(--c{number % _COLOURS + 1})">{escape(line.name)}</text>'
        )
    return drawn


def _path(plot: _Plot, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{plot.x(x):.1f},{plot.y(y):.1f}" for x, y in points)


def _level(plot: _Plot, level: Mark) -> str:
    height = plot.y(level.y)
    return (
        f'<line class="level" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{height:.1f}" y2="{height:.1f}"/>'
        f'<text class="tick" x="{_LEFT + 6}" y="{height - 5:.1f}">{escape(level.name)}</text>'
    )


def _mark(plot: _Plot, mark: Mark) -> str:
    x, y = plot.x(mark.x), plot.y(mark.y)
    return (
        f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        f'<text class="label" x="{x + 9:.1f}" y="{y - 8:.1f}">{escape(mark.name)}</text>'
    )


def _svg(width: int, height: float, parts: Sequence[str], title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height:.0f}" role="img" aria-label="{escape(title)}">'
        f"{''.join(parts)}</svg>"
    )
