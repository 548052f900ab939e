"""Draw charts as SVG that takes its colours from the page it stands in.

A chart is rows of panels, a panel two axes and marks. What has more points than the
picture has columns is drawn by the least and the greatest of each column, so that its
size is bounded and no peak is lost.

matplotlib would do, but for its price: 2 to 2.5 s for the report of a job that may
take 3 s, 0.1 GB of the image, and colours that cannot follow a dark page.
"""

import dataclasses
import math
from collections.abc import Iterator, Sequence
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from lstm_ad.axes import FloatArray

WIDTH = 680
"""Of a chart: everything is laid out in pixels of a page this wide."""

_LEFT, _RIGHT, _BOTTOM = 70, 16, 34
_LEGEND, _TITLE = 20, 18
_GAP = 12
_CHARACTER = 6.4
"""About the width of a character, for the length of the legend's words."""


@dataclasses.dataclass(frozen=True)
class Axis:
    """What a direction of a panel means."""

    label: str
    """What it shows, with the unit; nothing is written where it is empty."""
    low: float
    """The value at its start."""
    high: float
    """The value at its end; greater."""
    is_log: bool = False
    """Whether equal distances are equal ratios; ``low`` is then positive."""
    is_whole: bool = False
    """Whether there is nothing between whole numbers."""

    @classmethod
    def around(
        cls,
        label: str,
        *values: FloatArray | float,
        is_log: bool = False,
        is_whole: bool = False,
    ) -> "Axis":
        """Return an axis with room for all finite ``values``, and a little more."""
        flat = np.concatenate([np.ravel(np.asarray(v, np.float64)) for v in values])
        flat = flat[np.isfinite(flat) & ((flat > 0) | (not is_log))]
        low, high = (float(flat.min()), float(flat.max())) if len(flat) else (1.0, 1.0)
        if is_log:
            ratio = max((high / low) ** 0.05, 1.1)
            return cls(label, low / ratio, high * ratio, is_log=True)
        margin = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
        return cls(label, low - margin, high + margin, is_whole=is_whole)

    def fractions(self, values: FloatArray) -> FloatArray:
        """Return how far along the axis each value is: from 0 to 1, and no further."""
        low, high = self.low, self.high
        if self.is_log:
            with np.errstate(divide="ignore", invalid="ignore"):
                values = np.log10(values)
            low, high = math.log10(low), math.log10(high)
        clipped: FloatArray = np.clip((values - low) / (high - low), 0.0, 1.0)
        return clipped

    def ticks(self, n_wanted: int) -> list[tuple[float, str]]:
        """Return round values on the axis, about as many as wanted, and their text."""
        if self.is_log and (decades := _decades(self.low, self.high, n_wanted)):
            return [(value, _short(f"{value:g}")) for value in decades]
        step = _round_step(self.low, self.high, n_wanted)
        if self.is_whole:
            step = max(step, 1.0)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [(i * step, _spelled(i * step, step)) for i in range(first, last + 1)]


@dataclasses.dataclass(frozen=True)
class Line:
    """A line through points in the order of ``x``; a NaN interrupts it."""

    x: FloatArray
    """Of shape ``(n,)``, ascending."""
    y: FloatArray
    """Of shape ``(n,)``."""
    style: str
    """The class of the page's style sheet that says how it looks."""
    label: str = ""
    """What the legend calls it; it is left out of the legend where this is empty."""


@dataclasses.dataclass(frozen=True)
class Dots:
    """A dot at each of some points."""

    x: FloatArray
    """Of shape ``(n,)``; a chart draws them all."""
    y: FloatArray
    """Of shape ``(n,)``."""
    style: str
    """As :attr:`Line.style`."""
    label: str = ""
    """As :attr:`Line.label`."""


@dataclasses.dataclass(frozen=True)
class Bars:
    """A bar from zero for each interval."""

    edges: FloatArray
    """Where the intervals start and end, of shape ``(n + 1,)``."""
    heights: FloatArray
    """Of shape ``(n,)``."""
    style: str
    """As :attr:`Line.style`."""
    label: str = ""
    """As :attr:`Line.label`."""


@dataclasses.dataclass(frozen=True)
class Band:
    """A range of one axis, shaded all through the panel; a line where it has no width.

    Lines are drawn with the style's stroke, ranges with its fill.
    """

    low: float
    """Where it starts."""
    high: float
    """Where it ends."""
    style: str
    """As :attr:`Line.style`."""
    label: str = ""
    """As :attr:`Line.label`."""
    is_horizontal: bool = False
    """Whether it is a range of the vertical axis."""


Mark = Line | Dots | Bars | Band


@dataclasses.dataclass(frozen=True)
class Panel:
    """Two axes and what is drawn between them, the first mark at the bottom."""

    x: Axis
    """From left to right."""
    y: Axis
    """From bottom to top."""
    marks: Sequence[Mark]
    """What is drawn."""
    title: str = ""
    """What stands above it."""
    height: int = 200
    """Of the area between the axes, in pixels."""


def chart(rows: Sequence[Sequence[Panel]], name: str, summary: str) -> str:
    """Return a picture of panels as an ``svg`` element.

    Args:
        rows: Panels from top to bottom; those of a row stand side by side.
        name: What the picture shows, for those who cannot see it.
        summary: What there is to see in it, for the same.
    """
    svg = Element("svg", {"role": "img"})
    SubElement(svg, "title").text = name
    SubElement(svg, "desc").text = summary
    panels = [panel for row in rows for panel in row]
    top = _draw_legend(svg, panels)
    for row in rows:
        width = (WIDTH - (len(row) - 1) * _GAP) / len(row)
        title = _TITLE if any(panel.title for panel in row) else 0
        for index, panel in enumerate(row):
            _draw_panel(svg, panel, index * (width + _GAP), top + title, width)
        labels = any(panel.x.label for panel in row)
        height = max(panel.height for panel in row)
        top += title + height + (_BOTTOM if labels else 0) + _GAP
    svg.set("viewBox", f"0 0 {WIDTH} {top:.0f}")
    return ElementTree.tostring(svg, encoding="unicode")


def _draw_legend(svg: Element, panels: Sequence[Panel]) -> float:
    """Draw each label once, with what it looks like; return the height of it all."""
    marks = {m.label: m for panel in panels for m in panel.marks if m.label}
    x, y = float(_LEFT), 10.0
    for label, mark in marks.items():
        length = 26 + _CHARACTER * len(label) + 16
        if x > _LEFT and x + length > WIDTH:
            x, y = float(_LEFT), y + _LEGEND
        if isinstance(mark, Line) or (isinstance(mark, Band) and mark.low == mark.high):
            _path(svg, f"M{x:.0f},{y:.0f}h20", f"line {mark.style}")
        elif isinstance(mark, Dots):
            _path(svg, f"M{x + 10:.0f},{y:.0f}h0", f"dots {mark.style}")
        else:
            _path(svg, f"M{x:.0f},{y - 5:.0f}h20v10h-20z", f"area {mark.style}")
        _text(svg, x + 26, y + 4, label, "start")
        x += length
    return y + _LEGEND if marks else 8.0


def _draw_panel(
    svg: Element, panel: Panel, left: float, top: float, width: float
) -> None:
    """Draw a panel, its axes on the left and at the bottom."""
    frame = _Frame(
        panel, left + _LEFT, top, width - _LEFT - _RIGHT, float(panel.height)
    )
    bottom = top + panel.height
    if panel.title:
        _text(svg, frame.left, top - 6, panel.title, "start", "panel-title")
    for value, text in panel.y.ticks(max(4, panel.height // 45)):
        y = frame.y(np.array([value]))[0]
        _path(svg, f"M{frame.left:.1f},{y:.1f}h{frame.width:.1f}", "grid")
        _text(svg, frame.left - 6, y + 4, text, "end")
    for value, text in panel.x.ticks(max(2, int(frame.width // 60))):
        x = frame.x(np.array([value]))[0]
        _path(svg, f"M{x:.1f},{bottom:.1f}v4", "axis")
        if panel.x.label:
            _text(svg, x, bottom + 16, text, "middle")
    for mark in panel.marks:
        _draw_mark(svg, mark, frame)
    _path(svg, f"M{frame.left:.1f},{bottom:.1f}h{frame.width:.1f}", "axis")
    if panel.x.label:
        middle = frame.left + frame.width / 2
        _text(svg, middle, bottom + 31, panel.x.label, "middle", "label")
    if panel.y.label:
        x, y = left + 11, top + panel.height / 2
        label = _text(svg, x, y, panel.y.label, "middle", "label")
        label.set("transform", f"rotate(-90 {x:.1f} {y:.1f})")


@dataclasses.dataclass(frozen=True)
class _Frame:
    """Where a panel's axes are on the picture."""

    panel: Panel
    left: float
    top: float
    width: float
    height: float

    def x(self, values: FloatArray) -> FloatArray:
        """Return where values of the horizontal axis are."""
        return self.left + self.width * self.panel.x.fractions(values)

    def y(self, values: FloatArray) -> FloatArray:
        """Return where values of the vertical axis are."""
        return self.top + self.height * (1 - self.panel.y.fractions(values))


def _draw_mark(svg: Element, mark: Mark, frame: _Frame) -> None:
    """Draw one mark."""
    if isinstance(mark, Line):
        x, y = _thinned(frame.x(mark.x), frame.y(mark.y))
        _path(svg, _through(x, y), f"line {mark.style}")
    elif isinstance(mark, Dots):
        points = zip(frame.x(mark.x), frame.y(mark.y), strict=True)
        path = "".join(f"M{x:.1f},{y:.1f}h0" for x, y in points)
        _path(svg, path, f"dots {mark.style}")
    elif isinstance(mark, Bars):
        x, y = frame.x(mark.edges), frame.y(mark.heights)
        bottom = frame.top + frame.height
        bars = (
            f"M{x[i]:.1f},{bottom:.1f}V{y[i]:.1f}H{x[i + 1]:.1f}V{bottom:.1f}z"
            for i in range(len(y))
        )
        _path(svg, "".join(bars), f"area {mark.style}")
    else:
        _draw_band(svg, mark, frame)


def _draw_band(svg: Element, band: Band, frame: _Frame) -> None:
    """Draw a range of an axis, or a line across the panel."""
    edges = np.array([band.low, band.high])
    x = np.array([frame.left, frame.left + frame.width])
    y = np.array([frame.top + frame.height, frame.top])
    if band.is_horizontal:
        y = frame.y(edges)
    else:
        x = frame.x(edges)
    if band.low == band.high:
        path = f"M{x[0]:.1f},{y[0]:.1f}L{x[1]:.1f},{y[1]:.1f}"
        _path(svg, path, f"line {band.style}")
    else:
        path = f"M{x[0]:.1f},{y[0]:.1f}H{x[1]:.1f}V{y[1]:.1f}H{x[0]:.1f}z"
        _path(svg, path, f"area {band.style}")


def _thinned(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the least and the greatest ``y`` of each column of the picture.

    In the order that the line goes, so that what only rises is drawn so.

    Args:
        x: In pixels, of shape ``(n,)``, ascending.
        y: Likewise; NaN = no point.
    """
    if len(x) <= 2 * WIDTH:
        return x, y
    starts = np.flatnonzero(np.diff(np.floor(x), prepend=-1.0))
    ends = np.append(starts[1:], len(x)) - 1
    extremes = np.stack(
        [np.fmin.reduceat(y, starts), np.fmax.reduceat(y, starts)], axis=1
    )  # (columns, 2)
    is_falling = y[ends] < y[starts]
    extremes[is_falling] = extremes[is_falling, ::-1]
    return np.repeat(x[starts], 2), extremes.ravel()


def _through(x: FloatArray, y: FloatArray) -> str:
    """Return a path through points, interrupted where there is none."""

    def commands() -> Iterator[str]:
        """Yield a move or a line to each point."""
        is_drawing = False
        for one, other in zip(x.tolist(), y.tolist(), strict=True):
            if math.isfinite(one + other):
                yield f"{'L' if is_drawing else 'M'}{one:.1f},{other:.1f}"
                is_drawing = True
            else:
                is_drawing = False

    return "".join(commands())


def _path(svg: Element, commands: str, style: str) -> None:
    """Add a path."""
    SubElement(svg, "path", {"class": style, "d": commands})


def _text(
    svg: Element, x: float, y: float, text: str, anchor: str, style: str = ""
) -> Element:
    """Add a text."""
    attributes = {"x": f"{x:.1f}", "y": f"{y:.1f}", "text-anchor": anchor}
    if style:
        attributes["class"] = style
    element = SubElement(svg, "text", attributes)
    element.text = text
    return element


def _decades(low: float, high: float, n_wanted: int) -> list[float]:
    """Return powers of ten, and more where there are few; none if there are too few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    stride = max(1, math.ceil((last - first) / n_wanted))
    factors = (1,) if last - first >= n_wanted else (1, 2, 5)
    if 3 * (last - first) > 2 * n_wanted:
        factors = (1,)
    values = [f * 10.0**e for e in range(first, last + 1, stride) for f in factors]
    within = [value for value in values if low <= value <= high]
    return within if len(within) > 1 else []


def _round_step(low: float, high: float, n_wanted: int) -> float:
    """Return 1, 2 or 5 times a power of ten: the largest with ticks enough."""
    step = 10.0 ** math.ceil(math.log10(high - low))
    for factor in (1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01):
        n_ticks = math.floor(high / (factor * step)) - math.ceil(low / (factor * step))
        if n_ticks + 1 >= 0.6 * n_wanted:
            break
    return factor * step


def _spelled(value: float, step: float) -> str:
    """Return a value with the digits that tell it from the next one a step away."""
    if value == 0:
        return "0"
    magnitude, finest = math.log10(abs(value)), math.floor(math.log10(step) + 1e-9)
    if finest >= -4 and magnitude < 5:
        return f"{value:.{max(0, -finest)}f}"
    return _short(f"{value:.{max(0, math.floor(magnitude) - finest)}e}")


def _short(text: str) -> str:
    """Return ``1e6`` for ``1e+06``, and ``1e6`` for ``1.0e+06``."""
    digits, _, exponent = text.partition("e")
    if not exponent:
        return text
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{digits}e{int(exponent)}"
