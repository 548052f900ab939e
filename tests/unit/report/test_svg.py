"""Charts: what a mark becomes, and how large a picture may be."""

from xml.etree import ElementTree

import numpy as np
import pytest

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

UNIT = Axis("x", 0.0, 1.0)


def drawn(*marks: Mark, x: Axis = UNIT, y: Axis = UNIT) -> ElementTree.Element:
    """Return a picture of one panel, as the tree that a browser makes of it."""
    return ElementTree.fromstring(chart([[Panel(x, y, marks)]], "name", "summary"))


def path_of(picture: ElementTree.Element, style: str) -> str:
    """Return the last path of a style: the first may be that of the legend."""
    return picture.findall(f"path[@class='{style}']")[-1].attrib["d"]


def points_of(picture: ElementTree.Element, style: str) -> list[tuple[float, float]]:
    """Return the points that a line of a style goes through."""
    pairs = path_of(picture, style).replace("M", "L").split("L")[1:]
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in pairs)]


def texts(picture: ElementTree.Element) -> list[str]:
    """Return all that is written on a picture."""
    return [str(element.text) for element in picture.findall("text")]


def test_the_corners_of_the_axes_are_the_corners_of_the_panel() -> None:
    """The second axis goes up; a panel is 200 high if nothing else is said."""
    x, y = np.array([0.0, 1.0]), np.array([0.0, 1.0])

    (left, bottom), (right, top) = points_of(drawn(Line(x, y, "s")), "line s")

    assert (left, right) == (70.0, 680.0 - 16.0)
    assert bottom - top == 200.0


@pytest.mark.parametrize(
    ("axis", "y"),
    [
        (Axis("y", 1.0, 100.0, is_log=True), [1.0, 10.0, 100.0]),
        (UNIT, [-1e9, 0.5, 1e9]),
    ],
    ids=["equal ratios", "beyond the axis"],
)
def test_values_are_at_their_height_and_never_outside(axis: Axis, y: list) -> None:
    """On a logarithmic axis equal ratios are equal distances; the edge is the end."""
    line = Line(np.array([0.0, 0.5, 1.0]), np.array(y), "s")

    (_, low), (_, middle), (_, high) = points_of(drawn(line, y=axis), "line s")

    assert middle == (low + high) / 2
    assert low - high == 200.0


def test_a_peak_of_one_row_in_many_is_drawn_and_the_picture_stays_small() -> None:
    """A million rows are at most two points for each column of pixels."""
    y = np.zeros(1_000_000)
    y[123_456], y[654_321] = 1.0, -1.0
    x = np.linspace(0.0, 1.0, len(y))

    points = points_of(drawn(Line(x, y, "s"), y=Axis("y", -1.0, 1.0)), "line s")

    heights = np.array([point[1] for point in points])
    assert len(points) <= 2 * 680
    assert heights.max() - heights.min() == 200.0
    assert points[int(heights.argmin())][0] == pytest.approx(70 + 0.123456 * 594, abs=1)
    assert points[int(heights.argmax())][0] == pytest.approx(70 + 0.654321 * 594, abs=1)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_line_of_many_points_that_only_goes_one_way_does_so_on_the_picture(
    sign: float,
) -> None:
    """Least and greatest of a column come in the order that the line goes."""
    x = np.linspace(0.0, 1.0, 100_000)

    axis = Axis("y", -1.0, 1.0)
    points = points_of(drawn(Line(x, sign * x, "s"), y=axis), "line s")

    assert (np.diff([y for _, y in points]) * sign <= 0).all()


@pytest.mark.parametrize("n_points", [5, 50_000])
def test_a_line_is_interrupted_where_there_is_nothing(n_points: int) -> None:
    """Rows without a score have no line, however many rows there are."""
    y = np.full(n_points, 0.5)
    y[2 * n_points // 5 : 3 * n_points // 5] = np.nan
    line = Line(np.linspace(0.0, 1.0, n_points), y, "s")

    assert path_of(drawn(line), "line s").count("M") == 2


def test_every_kind_of_mark_is_drawn_and_named_once() -> None:
    """Two marks of a name have one entry in the legend."""
    x, y = np.array([0.0, 0.5, 1.0]), np.array([0.1, 0.9, 0.1])
    marks = [
        Line(x, y, "a", "a line"),
        Line(x, y, "a", "a line"),
        Dots(x, y, "b", "dots"),
        Bars(x, y[:2], "c", "bars"),
        Band(0.2, 0.4, "d", "a band"),
        Band(0.5, 0.5, "e", "a limit", is_horizontal=True),
    ]

    picture = drawn(*marks)

    names = ["a line", "dots", "bars", "a band", "a limit"]
    assert [text for text in texts(picture) if text in names] == names
    assert path_of(picture, "dots b").count("h0") == 3
    assert path_of(picture, "area c").count("z") == 2
    assert path_of(picture, "area d").endswith("z")
    assert path_of(picture, "line e").count("L") == 1


def test_a_picture_says_what_it_shows_and_words_are_words() -> None:
    """A name and a summary for those who cannot see it; markup is shown as it is."""
    picture = drawn(Line(np.zeros(1), np.zeros(1), "s", "<script>&"))

    assert picture.attrib["role"] == "img"
    assert picture.findtext("title") == "name"
    assert picture.findtext("desc") == "summary"
    assert "<script>&" in texts(picture)
    assert picture.find(".//script") is None


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis("", 0.0, 10.0), ["0", "5", "10"]),
        (Axis("", -0.3, 0.3), ["-0.2", "0", "0.2"]),
        (Axis("", 1e6, 1.02e6), ["1e6", "1.01e6", "1.02e6"]),
        (Axis("", 0.0, 4e-7), ["0", "2e-7", "4e-7"]),
        (Axis("", 0.8, 3.2, is_whole=True), ["1", "2", "3"]),
        (Axis("", 1e-4, 1.0, is_log=True), ["0.0001", "0.001", "0.01", "0.1", "1"]),
        (Axis("", 0.1, 1e20, is_log=True), ["0.1", "10000", "1e9", "1e14", "1e19"]),
        (Axis("", 0.3, 3.0, is_log=True), ["0.5", "1", "2"]),
        (Axis("", 0.61, 0.69, is_log=True), ["0.62", "0.64", "0.66", "0.68"]),
    ],
)
def test_ticks_are_round_numbers_within_the_axis(
    axis: Axis, expected: list[str]
) -> None:
    """With the digits that tell one from the next, and no more."""
    assert [text for _, text in axis.ticks(5)] == expected


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize(
    "values",
    [[], [np.nan], [np.inf, -np.inf], [0.0], [5.0, 5.0], [-1e100, 1e100], [1e-300]],
)
def test_there_is_an_axis_for_any_values(values: list[float], is_log: bool) -> None:
    """Also for none, for one, and for those that are no numbers."""
    axis = Axis.around("x", np.array(values), is_log=is_log)

    assert axis.low < axis.high
    assert 0 < len(axis.ticks(4)) < 20
