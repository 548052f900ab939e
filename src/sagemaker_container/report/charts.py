"""Draw what is known of a fitted detector; every picture with how to read it."""

import dataclasses
import math
import statistics

import numpy as np

from lstm_ad.artifacts import Fit
from lstm_ad.axes import FloatArray
from lstm_ad.quality.inspection import Inspection, Stretch
from sagemaker_container.report.svg import (
    Axis,
    Band,
    Bars,
    Dots,
    Line,
    Mark,
    Panel,
    chart,
)

DATA = {
    "train": "training rows",
    "valid": "validation data",
    "calibration": "calibration part",
}
"""What the parts of the data are called."""

_LONGEST = 20
"""Characters beside a panel."""
_MAX_RESIDUALS = 200_000
_MAX_DEVIATIONS = 5.0
_N_QUANTILES = 200


@dataclasses.dataclass(frozen=True)
class Figure:
    """A picture and its words."""

    title: str
    """What it shows."""
    svg: str
    """The picture, as an element of the page."""
    reading: str
    """How to read it."""


def draw(fit: Fit, inspection: Inspection) -> list[Figure]:
    """Return the pictures of a report, in order."""
    figures = [
        _series(fit, inspection),
        _worst_stretch(fit, inspection),
        _scores(fit, inspection),
        _errors_by_position(fit, inspection),
        _residuals(fit),
    ]
    return ([_training(fit)] if fit.history else []) + figures


def _training(fit: Fit) -> Figure:
    """Draw the losses by epoch."""
    parts = list(fit.history[0].losses)
    epochs = np.array([float(epoch.epoch) for epoch in fit.history])
    losses = {
        part: np.array([epoch.losses[part].mse for epoch in fit.history])
        for part in parts
    }
    repeated = fit.repeated.mse
    label, where = f"best epoch: {fit.best_epoch}", f"in epoch {fit.best_epoch}"
    if not fit.best_epoch:
        label, where = "the model it came from", "of the model it came from"
    marks: list[Mark] = [
        Band(repeated, repeated, "limit", "repeating the last value", True),
        Band(fit.best_epoch, fit.best_epoch, "best", label),
    ]
    for part, style in zip(parts, ("muted", "actual"), strict=True):
        marks.append(_curve(epochs, losses[part], style, DATA[part]))
    best = fit.losses[parts[-1]].mse
    if fit.best_epoch:
        best = fit.history[fit.best_epoch - 1].selection.mse
    return Figure(
        "Training",
        chart(
            [
                [
                    Panel(
                        Axis.around(
                            "epoch", epochs, float(fit.best_epoch), is_whole=True
                        ),
                        Axis.around(
                            "loss", *losses.values(), repeated, best, is_log=True
                        ),
                        marks,
                        height=240,
                    )
                ]
            ],
            "Loss by epoch",
            f"From {fit.history[0].selection.mse:.4g} in epoch 1 to {best:.4g} "
            f"{where}; repeating the last value has {repeated:.4g}.",
        ),
        "Both curves should fall and become flat, far below the dashed line of "
        "repeating the last value. If they still fall at the end, more epochs help. If "
        "the held-out curve rises again, the model is overfitting; the saved weights "
        "are those of the best epoch. During training, dropout makes the loss of the "
        "training rows larger.",
    )


def _series(fit: Fit, inspection: Inspection) -> Figure:
    """Draw the series row by row, with their scores."""
    stretch = inspection.stretch
    n_series = len(inspection.error_by_series)
    shown = f"file {_printable(stretch.name)} of the {DATA[inspection.part]}"
    if len(stretch.columns) < n_series:
        shown += f", of whose {n_series} series those with the largest errors"
    return Figure(
        "Reconstructions",
        chart(
            _rows_of(fit, stretch, slice(0, len(stretch.values)), 84),
            "Series, their reconstructions and the score",
            f"Of {shown}. The lowest score is {_lowest(stretch):.4g} in row "
            f"{_lowest_row(stretch)}.",
        ),
        f"This is {shown}. Reconstructions should follow the series; where they do "
        f"not, the score falls. A row whose score is below the threshold is an alarm; "
        f"scores far below it are drawn at the edge. The shaded rows are enlarged "
        f"below.",
    )


def _worst_stretch(fit: Fit, inspection: Inspection) -> Figure:
    """Draw the rows around the lowest score."""
    stretch = inspection.stretch
    lowest = _lowest(stretch)
    decision = fit.detector.decision
    is_alarm = lowest < decision.threshold
    is_labelled = decision.labelled is not None and inspection.part == "valid"
    meaning = (
        "Labelled data hold anomalies: see whether this is one."
        if is_labelled
        else "These data are meant to be normal. If what you see here is not, leave it "
        "out and train again; if it is, this is what a false alarm looks like."
    )
    return Figure(
        "The worst stretch",
        chart(
            _rows_of(fit, stretch, stretch.around, 110),
            "Rows around the lowest score",
            f"The score is {lowest:.4g} in row {_lowest_row(stretch)}.",
        ),
        f"The score is lowest in row {_lowest_row(stretch)}: {lowest:.4g}, "
        + ("an alarm. " if is_alarm else "which is no alarm. ")
        + meaning,
    )


def _rows_of(fit: Fit, stretch: Stretch, rows: slice, height: int) -> list[list[Panel]]:
    """Return a panel for each series and one for the score."""
    number = stretch.first_row + np.arange(1.0, len(stretch.values) + 1)[rows]
    across = Axis("", number[0] - 1, number[-1] + 1, is_whole=True)
    marked: list[Mark] = []
    if len(number) < len(stretch.values):
        at = _lowest_row(stretch)
        marked = [Band(at, at, "best", f"lowest score: row {at}")]
    elif stretch.around != slice(0, len(stretch.values)):
        shaded = number[stretch.around]
        marked = [Band(shaded[0], shaded[-1], "zoom")]
    panels = []
    names = fit.detector.schema.series
    for index, column in enumerate(stretch.columns):
        values = stretch.values[rows, index]
        found = stretch.reconstruction[rows, index]
        lines = [
            Line(number, values, "actual", "series"),
            Line(number, found, "model", "reconstruction"),
        ]
        up = Axis.around(_short(names[column]), values, found)
        panels.append([Panel(across, up, [*marked, *lines], height=height)])
    score, threshold = stretch.normality_score[rows], fit.detector.decision.threshold
    down = Axis.around("score", _near(score, threshold), threshold)
    limit = Band(threshold, threshold, "limit", "threshold", is_horizontal=True)
    marks = [*marked, limit, Line(number, score, "score", "score")]
    across = dataclasses.replace(across, label="row")
    return [*panels, [Panel(across, down, marks, height=height)]]


def _short(name: str) -> str:
    """Return the name of a series for the side of a chart."""
    words = f"series {name}" if name.isdigit() else name
    return words if len(words) <= _LONGEST else f"{words[: _LONGEST - 1]}\u2026"


def _lowest(stretch: Stretch) -> float:
    """Return the lowest score."""
    return float(stretch.normality_score[stretch.lowest])


def _lowest_row(stretch: Stretch) -> int:
    """Return the row of the file that has it, counted from 1."""
    return stretch.first_row + stretch.lowest + 1


def _near(scores: FloatArray, threshold: float) -> FloatArray:
    """Return scores as far as they are shown: others are drawn at the edge.

    One score of -1e9 would make a flat line of all others.
    """
    median = float(np.nanmedian(scores)) if np.isfinite(scores).any() else threshold
    return np.maximum(scores, threshold - max(abs(median - threshold), 1.0))


def _scores(fit: Fit, inspection: Inspection) -> Figure:
    """Draw how many normal rows have which score, and the threshold."""
    decision = fit.detector.decision
    known = np.sort(fit.calibration_scores)
    low, high = decision.interval
    meant, rate = decision.alarm_threshold, decision.max_alarm_rate
    others = np.sort(inspection.normality_score)
    shown = [_near(scores, meant) for scores in (known, others)]
    across = Axis.around("score", *shown, decision.threshold, meant, low, high)
    least = min(0.5 / len(known), rate / 3)
    curve = np.linspace(across.low, across.high, 300)
    marks: list[Mark] = [
        Band(low, high, "interval", "95 % interval"),
        Band(rate, rate, "best", "max-alarm-rate", True),
        Band(meant, meant, "limit", "threshold for max-alarm-rate"),
        _distribution(known, "muted", DATA["calibration"]),
    ]
    if decision.labelled:
        chosen = decision.threshold
        marks.append(Band(chosen, chosen, "chosen", "threshold, chosen by labels"))
    if inspection.part == "valid":
        marks.append(_distribution(others, "actual", DATA["valid"]))
    fitted = np.exp(decision.tail.log_probability(-curve))
    marks.append(Line(curve, fitted, "model", "fitted distribution"))
    return Figure(
        "Scores and the threshold",
        chart(
            [
                [
                    Panel(
                        across,
                        Axis("part of the rows below", least, 1.2, is_log=True),
                        marks,
                        height=260,
                    )
                ]
            ],
            "Distribution of the scores",
            f"A score below {decision.threshold:.4g} is an alarm. The one for an "
            f"alarm on {rate:g} of the normal rows is {meant:.4g}, "
            f"from {low:.4g} to {high:.4g}.",
        ),
        "Each curve says which part of the rows has a lower score; what lies left of "
        "the threshold is an alarm. The dashed line stands where the fitted "
        "distribution crosses max-alarm-rate: the narrower the shaded interval, the "
        "surer it is. Scores that are far lower are drawn at the edge. A curve of "
        "validation data far above that of the calibration part means that the two are "
        "not the same kind of data.",
    )


def _distribution(ordered: FloatArray, style: str, label: str) -> Line:
    """Return which part of the scores is below each, in the order of the scores."""
    part = (np.arange(len(ordered)) + 0.5) / len(ordered)
    return Line(ordered, part, style, label)


def _errors_by_position(fit: Fit, inspection: Inspection) -> Figure:
    """Draw the errors by the time step of a sequence."""
    found, repeated = inspection.error_by_position, inspection.repeated_by_position
    step = np.arange(1.0, len(found) + 1)
    is_overlapping = fit.hyperparameters.layout.is_overlapping
    label = "rows ahead" if is_overlapping else "time step of the sequence"
    marks = [
        _curve(step, repeated, "limit", "repeating the last value"),
        _curve(step, found, "model", "model"),
    ]
    return Figure(
        "Errors ahead" if is_overlapping else "Errors within a sequence",
        chart(
            [
                [
                    Panel(
                        Axis.around(label, step, is_whole=True),
                        Axis.around("error", found, repeated, 0.0),
                        marks,
                    )
                ]
            ],
            "Error by the distance from what was read",
            f"From {found[0]:.3g} at the first time step to {found[-1]:.3g} at the "
            f"last, in standard deviations of the series.",
        ),
        "Errors are in standard deviations of the series (the root of their mean "
        "square): 1 is no better than the mean of each series. They grow with the "
        "distance from the last row that was read. If they are large at the end, a "
        "shorter sequence is scored more sharply.",
    )


def _residuals(fit: Fit) -> Figure:
    """Draw the errors against the Gaussian that was fitted to them."""
    gaussian = fit.detector.gaussian
    deviation = np.sqrt(np.diag(gaussian.covariance))
    errors = ((fit.calibration_errors - gaussian.mean) / deviation).ravel()
    errors = errors[~np.isnan(errors)]
    errors = np.sort(errors[:: math.ceil(errors.size / _MAX_RESIDUALS)])
    normal = statistics.NormalDist()

    edges = np.linspace(-_MAX_DEVIATIONS, _MAX_DEVIATIONS, 61)
    counts, _ = np.histogram(np.clip(errors, edges[0], edges[-1]), edges)
    density = counts / (len(errors) * (edges[1] - edges[0]))
    curve = np.linspace(edges[0], edges[-1], 200)
    expected = np.array([normal.pdf(value) for value in curve])
    label = "error, in standard deviations"
    histogram = Panel(
        Axis(label, edges[0], edges[-1]),
        Axis("density", 0.0, 1.08 * max(density.max(), expected.max())),
        [
            Bars(edges, density, "muted", "errors"),
            Line(curve, expected, "model", "the Gaussian"),
        ],
        title="histogram",
    )

    # Closer to each other in the tails, which are what matters.
    reach = normal.inv_cdf(1 - 0.5 / max(len(errors), 2))
    quantiles = np.linspace(-reach, reach, _N_QUANTILES)
    found = np.quantile(errors, [normal.cdf(value) for value in quantiles])
    limit = min(max(_MAX_DEVIATIONS, float(np.abs(found).max())), 20.0)
    comparison = Panel(
        Axis.around("expected of a Gaussian", quantiles),
        Axis("found", -limit, limit),
        [
            Line(quantiles, quantiles, "model", "the Gaussian"),
            Dots(quantiles, found, "actual", "quantiles"),
        ],
        title="QQ",
    )
    return Figure(
        "Errors and the Gaussian",
        chart(
            [[histogram, comparison]],
            "Errors of the calibration part against the fitted Gaussian",
            f"{len(errors)} errors from {errors[0]:.3g} to {errors[-1]:.3g} standard "
            f"deviations.",
        ),
        "The errors of all series, each in its own standard deviations. Left, the "
        "bars should fill the curve; right, the dots should lie on the line. Dots "
        "below it at the left end and above it at the right end are heavy tails: "
        "common, and the reason why the threshold is fitted to the scores themselves "
        "and not computed from the Gaussian.",
    )


def _curve(x: FloatArray, y: FloatArray, style: str, label: str) -> Line | Dots:
    """Return a line, or a dot where one point makes no line."""
    return (Line if len(x) > 1 else Dots)(x, y, style, label)


def _printable(name: str) -> str:
    """Return the name of a file, which may hold any byte, as text for a page."""
    text = name.encode(errors="replace").decode()
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
