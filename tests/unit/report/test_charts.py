"""The pictures of a report: which there are, and what they say."""

import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest

from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import HOLD, Hyperparameters
from lstm_ad.quality.inspection import Inspection, inspect
from sagemaker_container.report.charts import Figure, draw


@pytest.fixture(scope="module")
def seen(tiny_fit: Fit, make_series) -> Inspection:
    """Return what is seen of the tiny detector."""
    return inspect(
        tiny_fit,
        Rows.of({"a.csv": make_series(400)}, {"b.csv": make_series(123, seed=1)}),
    )


def figure_of(figures: list[Figure], title: str) -> Figure:
    """Return the picture of a title."""
    (figure,) = (figure for figure in figures if figure.title == title)
    return figure


def path_of(figure: Figure, style: str) -> str:
    """Return the last path of a style: the first may be that of the legend."""
    picture = ElementTree.fromstring(figure.svg)
    return picture.findall(f".//path[@class='{style}']")[-1].attrib["d"]


def test_there_is_a_picture_of_each_question(tiny_fit: Fit, seen: Inspection) -> None:
    """In this order, and each says how to read it."""
    figures = draw(tiny_fit, seen)

    assert [figure.title for figure in figures] == [
        "Training",
        "Reconstructions",
        "The worst stretch",
        "Scores and the threshold",
        "Errors within a sequence",
        "Errors and the Gaussian",
    ]
    assert min(len(figure.reading) for figure in figures) > 100


def test_overlapping_sequences_have_errors_ahead(
    overlapping_fit: Fit, make_series
) -> None:
    """What counts there is the distance from the last row that was read."""
    inspection = inspect(
        overlapping_fit,
        Rows.of({"a.csv": make_series(400)}, {"b.csv": make_series(123)}),
    )

    figure = figure_of(draw(overlapping_fit, inspection), "Errors ahead")

    assert "rows ahead" in figure.svg


def test_one_epoch_is_a_dot(tiny_fit: Fit, seen: Inspection) -> None:
    """A line through one point would not be seen."""
    short = dataclasses.replace(tiny_fit, history=tiny_fit.history[:1], best_epoch=1)

    figure = figure_of(draw(short, seen), "Training")

    assert path_of(figure, "dots actual").count("h0") == 1


def test_the_model_that_training_came_from_may_be_the_best(
    tiny_fit: Fit, seen: Inspection
) -> None:
    """It stands before the first epoch, with its own loss."""
    kept = dataclasses.replace(tiny_fit, best_epoch=0)

    figure = figure_of(draw(kept, seen), "Training")

    loss = tiny_fit.losses["valid"].mse
    assert f"to {loss:.4g} of the model it came from; repeating" in figure.svg
    assert "best epoch" not in figure.svg


def test_a_score_far_below_all_others_does_not_hide_them(
    tiny_fit: Fit, seen: Inspection
) -> None:
    """It is drawn at the edge; the others use most of the height."""
    low = seen.stretch.normality_score.copy()
    nearby = dataclasses.replace(
        tiny_fit.detector.decision, alarm_threshold=float(np.nanmin(low))
    )
    detector = dataclasses.replace(tiny_fit.detector, decision=nearby)
    low[seen.stretch.lowest] = -1e12
    spoilt = dataclasses.replace(
        seen, stretch=dataclasses.replace(seen.stretch, normality_score=low)
    )

    fit = dataclasses.replace(tiny_fit, detector=detector)
    figure = figure_of(draw(fit, spoilt), "Reconstructions")

    points = path_of(figure, "line score").replace("M", "L").split("L")[1:]
    heights = np.sort([float(point.split(",")[1]) for point in points])
    assert heights[-1] > heights[-2]
    assert heights[-2] - heights[0] > 20  # pixels


def test_the_worst_stretch_says_whether_it_is_an_alarm(
    tiny_fit: Fit, seen: Inspection
) -> None:
    """By the threshold of the model."""
    row = seen.stretch.lowest
    readings = []
    for shift in (-0.1, 0.1):
        score = seen.stretch.normality_score.copy()
        score[row] = tiny_fit.detector.decision.threshold + shift
        stretch = dataclasses.replace(seen.stretch, normality_score=score)
        figures = draw(tiny_fit, dataclasses.replace(seen, stretch=stretch))
        readings.append(figure_of(figures, "The worst stretch").reading)

    assert f"in row {row + 1}: " in readings[0]
    assert ", an alarm. " in readings[0]
    assert ", which is no alarm. " in readings[1]


def test_missing_values_leave_every_picture_complete(
    tiny: Hyperparameters, make_series
) -> None:
    """Pictures of a model that was fitted with gaps hold no NaN, and their dots."""
    series, valid = make_series(400), make_series(123, seed=1)
    series[350:353, 0] = valid[60:64] = np.nan
    rows = Rows.of({"a.csv": series}, {"b.csv": valid})
    result = fit(rows, dataclasses.replace(tiny, missing_values=HOLD))

    figures = draw(result, inspect(result, rows))

    assert not [figure.title for figure in figures if "nan" in figure.svg.lower()]
    dots = path_of(figure_of(figures, "Errors and the Gaussian"), "dots actual")
    assert dots.count("M") > 10
