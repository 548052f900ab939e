"""The pictures of the demo and of the notebook: one palette, readable at 700 pixels.

The colours are of Okabe and Ito's palette, which colour-blind readers can tell apart,
too. Each means one thing: the first series is blue, the second green, reconstructions
are orange, what is normal is grey, and whatever has to do with an alarm is red.

Rows are counted from 1, as everywhere; arrays are of shape ``(T,)`` or ``(T, D)``.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

BLUE, GREEN, ORANGE, RED = "#0072B2", "#009E73", "#E69F00", "#D55E00"
LIGHT_RED, LIGHT_GREY, GREY, DARK_GREY = "#F8DCCB", "#E4E4E4", "#9A9A9A", "#4A4A4A"
SERIES_COLOURS = (BLUE, GREEN)

WIDTH = 10.0
"""Inches; 700 pixels, as wide as a page shows it."""
DPI = 70
STYLE = {
    "font.size": 11.5,
    "axes.titlesize": 11.5,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": False,
    "xtick.color": DARK_GREY,
    "ytick.color": DARK_GREY,
    "legend.frameon": False,
    "lines.linewidth": 1.3,
}
TIME = "row (minute)"


@dataclasses.dataclass(frozen=True)
class Scored:
    """A series of two columns, and what the server says of it."""

    series: FloatArray
    """What was posted."""
    names: Sequence[str]
    """One per series, with its unit."""
    reconstruction: FloatArray
    """Of each series."""
    score: FloatArray
    """NaN where there is none."""
    threshold: float
    """Scores below it are anomalies."""
    events: Sequence[Mapping[str, Any]]
    """As in the server's JSON."""
    faults: Sequence[tuple[slice, str]]
    """What there is to be found: rows, counted from 0, and a name."""


def series(values: FloatArray, names: Sequence[str], title: str) -> Figure:
    """Return a picture of a series, one panel per column."""
    picture = _figure(1.0 + 1.5 * len(names))
    panels = picture.subplots(len(names), sharex=True)
    for i, axes in enumerate(panels):
        axes.plot(_rows(values), values[:, i], color=SERIES_COLOURS[i], linewidth=1)
        axes.set(ylabel=names[i], xlim=(0, len(values)))
    panels[0].set_title(title, loc="left")
    panels[-1].set_xlabel(TIME)
    picture.align_ylabels()
    return picture


def learning(
    losses: Mapping[str, Sequence[float]], best_epoch: int, last_value: float
) -> Figure:
    """Return a picture of the losses by epoch, and of what they should beat.

    Args:
        losses: Two losses of each epoch, by name; the second one chose the best epoch.
        best_epoch: The one whose weights were kept, counted from 1.
        last_value: The loss of repeating the last value.
    """
    picture = _figure(3.6)
    axes = picture.subplots()
    for (name, values), colour in zip(losses.items(), (GREY, BLUE), strict=True):
        axes.plot(_rows(values), values, color=colour, label=name)
    n_epochs, best = len(values), values[best_epoch - 1]
    axes.axhline(last_value, color=ORANGE, linestyle="--")
    axes.text(n_epochs, last_value * 1.06, "repeating the last value", ha="right")
    axes.plot(best_epoch, best, "o", color=BLUE)
    axes.annotate(
        f"best epoch: {best_epoch}\n{best:.3f}",
        (best_epoch, best),
        xytext=(8, 0),
        textcoords="offset points",
        color=BLUE,
    )
    _logarithmic(axes)
    axes.set(xlabel="epoch", ylabel="mean squared error", xlim=(0, 1.16 * n_epochs))
    axes.legend(loc="lower left")
    return picture


def events(scored: Scored) -> Figure:
    """Return a picture of a series, its score, the threshold and the events."""
    picture = _figure(6)
    panels = picture.subplots(3, sharex=True, height_ratios=[1, 1, 1.3])
    _draw(panels, scored)
    panels[-1].set(xlim=(0, len(scored.score)), xlabel=TIME)
    _number(panels[0], scored)
    picture.align_ylabels()
    _legend(picture, panels, scored)
    return picture


def faults(scored: Scored) -> Figure:
    """Return a picture of the score and, below, a closer look at each fault."""
    n_faults = len(scored.faults)
    picture = _figure(8.6)
    grid = picture.add_gridspec(4, n_faults, height_ratios=[1.1, 1, 1, 0.9])
    whole = picture.add_subplot(grid[0, :])
    _draw_score(whole, scored)
    whole.set_xlim(0, len(scored.score))
    _number(whole, scored)
    for column, (rows, name) in enumerate(scored.faults):
        panels = [picture.add_subplot(grid[1 + i, column]) for i in range(3)]
        _draw(panels, scored)
        panels[0].set_title(name, loc="left")
        middle = (rows.start + rows.stop) // 2
        for axes in panels:
            axes.set_xlim(middle - 70, middle + 110)
            axes.xaxis.set_major_locator(MultipleLocator(100))
            axes.tick_params(labelbottom=axes is panels[2], labelleft=column == 0)
            if column:
                axes.set_ylabel("")
    picture.align_ylabels()
    picture.supxlabel(TIME, fontsize=STYLE["font.size"])
    _legend(picture, panels, scored)
    return picture


def explanation(
    scored: Scored, columns: Mapping[str, FloatArray], rows: slice
) -> Figure:
    """Return a picture of some rows: what was expected, what came, and contributions.

    Args:
        scored: The whole series.
        columns: ``lower``, ``upper`` and ``contribution`` of the answer, of shape
            ``(T, 2)``, and ``severity``, of shape ``(T,)``.
        rows: What to show, counted from 0.
    """
    picture = _figure(6.4)
    panels = picture.subplots(3, sharex=True, height_ratios=[1, 1, 1.2])
    numbers = np.arange(rows.start, rows.stop) + 1
    for i, axes in enumerate(panels[:2]):
        axes.fill_between(
            numbers,
            columns["lower"][rows, i],
            columns["upper"][rows, i],
            color=LIGHT_GREY,
            linewidth=0,
            label="normal range",
        )
        _draw_series(axes, scored, i, rows)
    _draw_contributions(panels[2], scored, columns, rows)
    for axes in panels:
        _mark(axes, scored)
    panels[2].set(xlim=(numbers[0], numbers[-1]), xlabel=TIME)
    picture.align_ylabels()
    _legend(picture, panels, scored)
    return picture


def alarms(
    thresholds: FloatArray,
    per_day: Mapping[str, FloatArray],
    recall: FloatArray,
    chosen: float,
    interval: Sequence[float],
) -> Figure:
    """Return a picture of what a threshold costs, and of what it finds.

    Args:
        thresholds: Of shape ``(N,)``.
        per_day: Two kinds of alarms per day on normal data, by name, each of shape
            ``(N,)``: those that were counted, and those that are expected.
        recall: The part of the labelled rows that are alarms, of shape ``(N,)``.
        chosen: The threshold that was chosen.
        interval: Where it lies with a confidence of 95 %.
    """
    picture = _figure(5)
    cost, gain = picture.subplots(2, sharex=True, height_ratios=[1.6, 1])
    lowest = 0.01
    (counted, n_counted), (expected, n_expected) = per_day.items()
    height = np.maximum(n_counted, lowest / 2)
    cost.plot(thresholds, height, color=BLUE, drawstyle="steps-post", label=counted)
    cost.plot(thresholds, n_expected, color=ORANGE, label=expected)
    _logarithmic(cost)
    cost.set(ylabel="alarms per day", ylim=(lowest, None))
    gain.plot(thresholds, recall, color=GREEN)
    gain.set(
        ylim=(0, 1.02), yticks=[0, 0.5, 1], ylabel="part of the faulty\nrows found"
    )
    gain.set(xlabel="threshold (nats)", xlim=(thresholds[0], thresholds[-1]))
    for axes in (cost, gain):
        axes.axvline(chosen, color=RED, linestyle="--", label="threshold")
        axes.axvspan(
            *interval, color=LIGHT_RED, linewidth=0, zorder=0, label="its 95 % interval"
        )
    cost.legend(loc="upper left")
    picture.align_ylabels()
    return picture


def tuning(curves: Mapping[str, Sequence[float]], objective: str) -> Figure:
    """Return a picture of the objective of each job by epoch, the best one in colour.

    Args:
        curves: The objective of each epoch, by what the job is called.
        objective: Its name.
    """
    picture = _figure(4.2)
    axes = picture.subplots()
    best = min(curves, key=lambda name: curves[name][-1])
    ends = {name: np.log(values[-1]) for name, values in curves.items()}
    gap = 0.055 * np.ptp([np.log(values) for values in curves.values()])
    height = -np.inf
    for name in sorted(ends, key=ends.__getitem__):
        values = curves[name]
        colour, width, weight = GREY, 1.3, "normal"
        if name == best:
            colour, width, weight = BLUE, 2.2, "bold"
        axes.plot(_rows(values), values, color=colour, linewidth=width)
        height = max(ends[name], height + gap)  # labels must not overlap
        axes.annotate(
            f"{name}: {values[-1]:.3f}",
            (len(values), values[-1]),
            xytext=(1.05 * len(values), np.exp(height)),
            arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.6},
            va="center",
            color=BLUE if name == best else DARK_GREY,
            weight=weight,
        )
    _logarithmic(axes)
    axes.set(xlabel="epoch", ylabel=objective, xlim=(1, 1.5 * len(values)))
    axes.set_xticks([1, *range(5, len(values) + 1, 5)])
    return picture


def severities(severity: Mapping[str, FloatArray]) -> Figure:
    """Return a picture of the severity of many files, a strip each."""
    picture = _figure(0.9 + 0.42 * len(severity))
    panels = picture.subplots(len(severity), sharex=True, squeeze=False)[:, 0]
    for axes, (name, values) in zip(panels, severity.items(), strict=True):
        strip = axes.imshow(
            values[np.newaxis],
            aspect="auto",
            cmap="cividis",
            vmin=0,
            vmax=1,
            interpolation="nearest",
            extent=(0.5, len(values) + 0.5, 0, 1),
        )
        axes.set_yticks([0.5], labels=[name])
        axes.tick_params(length=0, labelbottom=axes is panels[-1])
        axes.spines[:].set_visible(False)
    panels[-1].set_xlabel("row of the file")
    picture.colorbar(strip, ax=panels, label="severity", ticks=[0, 0.5, 1], pad=0.01)
    return picture


def _figure(height: float) -> Figure:
    """Return an empty figure, which needs no display."""
    matplotlib.rcParams.update(STYLE)
    return Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")


def _rows(values: Sequence[float] | FloatArray) -> IntArray:
    """Return the number of each row, or of each epoch."""
    return np.arange(1, len(values) + 1)


def _short(name: str) -> str:
    """Return the name of a series without its unit."""
    return name.partition(" (")[0]


def _logarithmic(axes: Axes) -> None:
    """Make the vertical axis logarithmic, with plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, position: "")


def _draw(panels: Sequence[Axes], scored: Scored) -> None:
    """Draw two series with their reconstructions, and the score, each in its panel."""
    for i, axes in enumerate(panels[:2]):
        _draw_series(axes, scored, i, slice(len(scored.series)))
        _shade(axes, scored)
    _draw_score(panels[2], scored)


def _draw_series(axes: Axes, scored: Scored, i: int, rows: slice) -> None:
    """Draw some rows of one series and of its reconstruction."""
    numbers = np.arange(rows.start or 0, rows.stop) + 1
    values = scored.series[rows, i]
    axes.plot(
        numbers,
        values,
        color=SERIES_COLOURS[i],
        linewidth=1.1,
        label=_short(scored.names[i]),
        zorder=2.5,
    )
    axes.plot(
        numbers, scored.reconstruction[rows, i], color=ORANGE, label="reconstruction"
    )
    low, high = scored.series[:, i].min(), scored.series[:, i].max()
    margin = 0.06 * (high - low)
    axes.set(ylim=(low - margin, high + 2 * margin), ylabel=scored.names[i])


def _draw_score(axes: Axes, scored: Scored) -> None:
    """Draw the score, the threshold and the events.

    The scale is linear down to -10 and logarithmic beyond: what is normal and what is
    far from it are both to be seen.
    """
    score = scored.score
    axes.plot(_rows(score), score, color="black", linewidth=0.9, label="score")
    axes.axhline(scored.threshold, color=RED, linestyle="--", label="threshold")
    axes.set_yscale("symlog", linthresh=10)
    axes.set_yticks([0, -10, -100], labels=["0", "-10", "-100"])
    axes.minorticks_off()
    axes.set(ylim=(1.5 * min(np.nanmin(score), -100), 7), ylabel="score (nats)")
    _shade(axes, scored)


def _draw_contributions(
    axes: Axes, scored: Scored, columns: Mapping[str, FloatArray], rows: slice
) -> None:
    """Draw how much of the severity each series contributes, and on which side."""
    numbers = np.arange(rows.start, rows.stop) + 1
    above = below = np.zeros(len(numbers))
    for i, colour in enumerate(SERIES_COLOURS):
        part = columns["contribution"][rows, i] * columns["severity"][rows]
        is_above = scored.series[rows, i] > scored.reconstruction[rows, i]
        up, down = np.where(is_above, part, 0), np.where(is_above, 0, part)
        for base, end in ((above, above + up), (-below, -below - down)):
            axes.fill_between(numbers, base, end, color=colour, step="mid", linewidth=0)
        above, below = above + up, below + down
    axes.axhline(0, color="black", linewidth=0.8)
    axes.set(ylim=(-1.1, 1.2), yticks=[-1, 0, 1], yticklabels=["1", "0", "1"])
    axes.set_ylabel("severity,\nby series")
    for height, side in ((0.82, "above"), (0.08, "below")):
        text = f"{side} its reconstruction"
        axes.text(0.006, height, text, transform=axes.transAxes, color=DARK_GREY)


def _shade(axes: Axes, scored: Scored) -> None:
    """Shade the events, and mark the labelled faults."""
    for event in scored.events:
        span = (event["start_row"] - 0.5, event["end_row"] + 0.5)
        axes.axvspan(*span, color=LIGHT_RED, linewidth=0, zorder=0, label="event")
    _mark(axes, scored)


def _mark(axes: Axes, scored: Scored) -> None:
    """Draw a bar over the rows of each labelled fault."""
    for rows, _ in scored.faults:
        axes.plot(
            [rows.start + 0.5, rows.stop + 0.5],
            [0.98, 0.98],
            transform=axes.get_xaxis_transform(),
            color=DARK_GREY,
            linewidth=5,
            solid_capstyle="butt",
            label="labelled fault",
        )


def _number(axes: Axes, scored: Scored) -> None:
    """Write the number of each event over it."""
    for number, event in enumerate(scored.events, start=1):
        axes.text(
            (event["start_row"] + event["end_row"]) / 2,
            1.02,
            str(number),
            transform=axes.get_xaxis_transform(),
            ha="center",
            weight="bold",
            color=RED,
        )


def _legend(picture: Figure, panels: Sequence[Axes], scored: Scored) -> None:
    """Explain what is drawn above all panels, each name once, the series first."""
    legend = {
        name: handle
        for axes in panels
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    series_names = [_short(name) for name in scored.names]
    names = sorted(legend, key=lambda name: name not in series_names)
    picture.legend(
        [legend[name] for name in names],
        names,
        loc="outside upper center",
        ncols=len(legend),
        columnspacing=1.3,
        handlelength=1.5,
    )
