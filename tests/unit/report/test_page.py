"""The page and the numbers of a report, without a browser."""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.data.schema import Column, Role, Schema
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.onnx_graph import to_onnx
from lstm_ad.model.runtime import OnnxNetwork
from lstm_ad.model.scaling import Scaler
from lstm_ad.quality.data_parts import Data, Source
from lstm_ad.quality.examination import Examination
from lstm_ad.quality.findings import find
from lstm_ad.quality.inspection import inspect
from lstm_ad.scoring.gaussian import Gaussian
from lstm_ad.scoring.reconstruction import Reconstructor
from lstm_ad.threshold.decision import LabelledThreshold
from sagemaker_container.report import page as report

DOCUMENT = Path(__file__).parents[3] / "docs/training.md"
MAX_SIZE = 3_000_000

VOID = {"meta", "link", "img", "br", "hr", "input"}

Series = Mapping[str, np.ndarray]


class Page(HTMLParser):
    """What is on a page; tags that do not match fail."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag, and expect its end."""
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep a tag that is its own end."""
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        """Expect it to be that of the last tag."""
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Keep the words."""
        self.texts.append(data)

    def counts(self, *tags: str) -> list[int]:
        """Return how often there is each tag."""
        return [sum(name == tag for name, _ in self.tags) for tag in tags]


@pytest.fixture
def written(tmp_path: Path, make_series) -> Callable[..., tuple[Page, dict[str, Any]]]:
    """Return the function that gives the page and the numbers of a report.

    It takes a fit and, where they are not those of conftest, the series.
    """

    def write(
        fit: Fit, training: Series | None = None, validation: Series | None = None
    ) -> tuple[Page, dict[str, Any]]:
        training = training or {"train.csv": make_series(400)}
        validation = validation or {"valid.csv": make_series(123, seed=1)}
        report.write(tmp_path, fit, inspect(fit, Rows.of(training, validation)))
        text = (tmp_path / "report.html").read_text(encoding="utf-8")
        assert len(text.encode()) < MAX_SIZE
        assert re.findall(r"(?:https?:)?//[a-z]|url\(|@import", text) == []
        return Page(text), json.loads((tmp_path / "metrics.json").read_bytes())

    return write


def wide(fit: Fit, n_series: int) -> Fit:
    """Return a detector of many series that has learnt nothing."""
    layout = fit.hyperparameters.layout
    network = StackedLSTM(n_series, layout, hidden_size=2, num_layers=1, dropout=0.0)
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    reconstructor = Reconstructor(
        Scaler(np.zeros(n_series), np.ones(n_series)),
        OnnxNetwork(to_onnx(weights, layout)),
    )
    gaussian = Gaussian(np.zeros(n_series), np.eye(n_series))
    return dataclasses.replace(
        fit,
        detector=dataclasses.replace(
            fit.detector,
            reconstructor=reconstructor,
            gaussian=gaussian,
            schema=Schema.unnamed(n_series),
        ),
        calibration_errors=np.random.default_rng(0).normal(size=(50, n_series)),
    )


@pytest.mark.parametrize("name", ["tiny_fit", "overlapping_fit"])
def test_a_page_is_well_formed_and_needs_nothing_else(
    name: str, request: pytest.FixtureRequest, written
) -> None:
    """Six pictures, three tables; no script, no picture or style from elsewhere."""
    page, _ = written(request.getfixturevalue(name))

    assert page.counts("svg", "figcaption", "desc") == [6, 6, 6]
    assert page.counts("table", "caption") == [3, 3]
    assert page.counts("script", "img", "link") == [0, 0, 0]
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    assert policy in [attributes.get("content") for _, attributes in page.tags]
    headers = [attributes for tag, attributes in page.tags if tag == "th"]
    assert {attributes["scope"] for attributes in headers} == {"col", "row"}


def test_the_size_does_not_grow_with_the_data(
    tiny_fit: Fit, written, make_series
) -> None:
    """A thousand series; then 200 000 rows, all looked at, after 20 000 epochs."""
    random = np.random.default_rng(0)
    training = {"a.csv": random.normal(size=(100, 1000))}
    validation = {"b.csv": random.normal(size=(300, 1000))}
    epochs = tuple(
        EpochMetrics(i + 1, Loss(mse, mse), Loss(mse, mse), None)
        for i, mse in enumerate((random.random(20_000) + 0.5).tolist())
    )
    long = dataclasses.replace(tiny_fit, history=epochs, best_epoch=20_000)

    page, _ = written(wide(tiny_fit, 1000), training, validation)
    _, numbers = written(long, validation={"b.csv": make_series(200_000)})

    assert "of whose 1000 series those with the largest errors" in " ".join(page.texts)
    assert numbers["looked_at"]["rows"] == 200_000
    assert len(numbers["history"]) == 20_000


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *(
            (name, name)
            for name in (
                "<script>alert(1)</script>.csv",
                '"><img src=x onerror="alert(1)">.csv',
                "{{ 7 * 7 }}{% raw %}.csv",
                "&amp;]]></svg>.csv",
            )
        ),
        ("\udcff\x1b\n\u202e.csv", "?\ufffd\ufffd\ufffd.csv"),
    ],
)
def test_the_name_of_a_file_is_only_shown(
    tiny_fit: Fit, written, make_series, name: str, shown: str
) -> None:
    """Whatever it holds: markup, a template, bytes that are no text."""
    page, _ = written(tiny_fit, validation={name: make_series(123, seed=1)})

    assert f"file {shown} of the validation data" in " ".join(page.texts)
    assert page.counts("script", "img", "svg") == [0, 0, 6]


@pytest.mark.parametrize(
    "name",
    ["Druck, links", 'a "b" & <script>alert(1)</script>', "{{ 7 * 7 }}", "x" * 256],
)
def test_the_names_of_series_are_only_shown(
    tmp_path: Path, tiny_fit: Fit, make_series, name: str
) -> None:
    """In the reasons, the table of the data, the pictures and the numbers."""
    schema = Schema((Column("a", Role.SERIES), Column(name, Role.SERIES)), True)
    detector = dataclasses.replace(tiny_fit.detector, schema=schema)
    fit = dataclasses.replace(tiny_fit, detector=detector)
    series = make_series(400)
    series[:, 1] = 7.0
    data = Data.of([Source("a.csv", series, "")], [320], schema=schema)
    found = inspect(fit, Rows.of({"a.csv": make_series(400)}))

    report.write(tmp_path, fit, found, Examination(data, tuple(find(data))))

    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    words = (
        f'series "{name}" is 7' if re.search('[,"]', name) else f"series {name} is 7"
    )
    assert words in " ".join(page.texts)
    assert name in page.texts
    assert page.counts("script", "img") == [0, 0]
    short = name if len(name) < 20 else f"{name[:19]}\u2026"
    assert short in page.texts
    numbers = json.loads((tmp_path / "metrics.json").read_bytes())
    assert [one["name"] for one in numbers["data"]["series"]] == ["a", name]


def test_the_numbers_have_the_documented_keys(tiny_fit: Fit, written) -> None:
    """Every key of metrics.json has its row, in order."""
    _, numbers = written(tiny_fit)

    section = DOCUMENT.read_text().partition("`metrics.json` has")[2].partition("\n## ")
    keys = re.findall(r"^\| `(\w+)` \|", section[0], re.MULTILINE)
    assert keys == list(numbers)


def test_what_is_no_number_is_null_and_said(tiny_fit: Fit, written) -> None:
    """JSON has no other word for it."""
    losses = dict(tiny_fit.losses) | {"valid": Loss(np.nan, np.inf)}

    _, numbers = written(dataclasses.replace(tiny_fit, losses=losses))

    assert numbers["losses"]["valid"] == {"mse": None, "mae": None}
    assert numbers["verdict"] == "do not use"


def test_a_training_that_was_stopped_at_once_has_no_curve(
    tiny_fit: Fit, written
) -> None:
    """And all other pictures."""
    page, numbers = written(dataclasses.replace(tiny_fit, history=(), best_epoch=0))

    assert page.counts("svg") == [5]
    assert numbers["history"] == []


def test_a_threshold_that_labels_chose_is_shown_beside_the_other(
    tiny_fit: Fit, written
) -> None:
    """It decides what is an alarm."""
    chosen = LabelledThreshold(-9.0, 1.0, 0.9, 0.9, 0.9, 1000, 10)
    decision = dataclasses.replace(tiny_fit.detector.decision, labelled=chosen)
    detector = dataclasses.replace(tiny_fit.detector, decision=decision)

    page, numbers = written(dataclasses.replace(tiny_fit, detector=detector))

    assert "threshold, chosen by labels" in page.texts
    assert numbers["threshold"]["value"] == -9.0
    assert numbers["threshold"]["source"] == "labels"
    assert numbers["threshold"]["interval"] == list(decision.interval)


def test_extreme_values_make_pictures_all_the_same(
    tiny_fit: Fit, written, make_series
) -> None:
    """1e100 and -1e100 in a row: every number in a picture is finite."""
    series = make_series(123, seed=1)
    series[60] = 1e100, -1e100

    page, _ = written(tiny_fit, validation={"b.csv": series})

    paths = [attributes["d"] for tag, attributes in page.tags if tag == "path"]
    assert re.findall("nan|inf", " ".join(map(str, paths))) == []


def test_nothing_is_left_of_an_earlier_report(
    tiny_fit: Fit, tmp_path: Path, written
) -> None:
    """It is removed before the next one is made, which may fail."""
    written(tiny_fit)

    report.remove(tmp_path)

    assert list(tmp_path.iterdir()) == []
