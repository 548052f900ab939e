"""Dirty data through real jobs: named by series and row, and the model is no worse."""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dirty_data import DIRTY, POSITIVE, Dirty, clean, described
from lstm_ad.axes import FloatArray
from lstm_ad.quality.data_parts import Finding
from lstm_ad.quality.findings import find
from lstm_ad.quality.reasons import Level

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "document": {
        "sequence-length": 10,
        "hidden-size": 8,
        "batch-size": 8,
        "epochs": 3,
        "lr": 0.02,
    },
    "detection": {"preset": "detection", "hidden-size": 16, "epochs": 3, "lr": 0.02},
}

FAULTS = (range(220, 230), range(310, 320))
"""One in each sine."""

LEVELS = [Level.GOOD, Level.CHECK, Level.DO_NOT_USE]

MISLEADING = {
    "two columns exchanged in one file of five": "both kinds of a series are learnt",
    "a file of another machine": "both machines are learnt",
    "a file in another unit, around 0": "both units are learnt",
    "a gain of 3 from the middle on": "both gains are learnt",
    "degrees Fahrenheit from the middle on": "both units are learnt",
    "drift in the last 13 %": "no fault is found",
    "a fault inside": "it is learnt",
    "a slow drift": "earlier levels are alarms",
    "a level of the last 20 % alone": "all is an alarm",
    "a stand-by pump": "all is an alarm",
    "a pump at one speed": "all is an alarm",
}
"""So much dirt that nothing can be learnt but that: it is said, and that is all."""

MISLEADING_THE_PRESET = {
    **MISLEADING,
    "another unit in the first 30 %": "the first fault alone is found",
    "1.7e15 and a little": "of such digits, a small network makes large errors",
    "a label column of few ones": "no fault is found",
    "a level that overflows": "no fault is found",
    "a meter that starts again": "half of each fault is found",
    "a meter of each batch": "twice as many alarms in rows without a fault",
}
"""The same for the small network that is trained here."""

MISLED = {"document": MISLEADING, "detection": MISLEADING_THE_PRESET}

Train = Callable[[Dirty, Mapping[str, Any]], tuple[Any, Any]]
Found = tuple[list[int], int]
Find = Callable[[Path, Dirty], Found]


@pytest.fixture(scope="module")
def run_job(make_opt_ml: Callable[[], Any], run_trains: Callable[[Any], Any]) -> Train:
    """Return the function that runs a job: its folder, and how it ended."""

    def run(dirty: Dirty, settings: Mapping[str, Any]) -> tuple[Any, Any]:
        job = make_opt_ml()
        job.write_config("hyperparameters", {k: str(v) for k, v in settings.items()})
        job.add_channel("training", dirty.files)
        if dirty.validation is not None:
            job.add_channel("validation", {"valid.csv": dirty.validation})
        return job, run_trains(job)

    return run


@pytest.fixture(scope="module")
def found(many_models: Any, as_csv: Callable[..., bytes]) -> Find:
    """Return how many rows of each fault a server finds, and how many outside them."""

    def of(model: Path, dirty: Dirty) -> Found:
        learnt = next(iter(dirty.files.values()))
        series = learnt[:400].copy()
        first = dirty.first_sine
        series[:, first : first + 2] = clean(len(series), seed=2)
        if dirty.name == "copied series":
            source = int(np.ptp(learnt[:, 2] - learnt[:, 0]) > 0)
            line = np.polyfit(learnt[:, source], learnt[:, 2], 1)
            series[:, 2] = np.polyval(line, series[:, source])
        if dirty.name == "sentinel":  # each code is an anomaly
            series[:, 2:] = POSITIVE[: len(series), np.newaxis]
        series[FAULTS[0], first] += 5.0
        series[FAULTS[1], first + 1] -= 12.0
        is_alarm = alarms(many_models, model, as_csv(series))
        hits = [int(is_alarm[fault].sum()) for fault in FAULTS]
        return hits, int(is_alarm.sum()) - sum(hits)

    return of


def alarms(server: Any, model: Path, body: bytes) -> npt.NDArray[np.bool_]:
    """Return which rows are alarms, as SageMaker asks a server for them."""
    asked = json.dumps({"model_name": "dirty", "url": str(model)}).encode()
    server.request("POST", "/models", asked, {"Content-Type": "application/json"})
    headers = {"Content-Type": "text/csv", "Accept": "application/json"}
    answer = server.request("POST", "/models/dirty/invoke", body, headers)
    server.request("DELETE", "/models/dirty")
    return np.array([row["prediction"] == 1 for row in json.loads(answer.body)["rows"]])


@pytest.fixture(scope="module")
def found_if_clean(run_job: Train, found: Find) -> Callable[[str], Found]:
    """Return the function that says what the model of clean data finds."""
    data = Dirty("", None, None, clean())

    @functools.cache
    def of(setting: str) -> Found:
        job, _ = run_job(data, SETTINGS[setting])
        return found(job.model_dir, data)

    return of


@pytest.mark.parametrize("name", DIRTY)
@pytest.mark.parametrize("setting", SETTINGS)
def test_dirt_is_named_and_hides_no_fault(
    setting: str,
    name: str,
    run_job: Train,
    found: Find,
    found_if_clean: Callable[[str], Found],
) -> None:
    """Or the job is refused; or, of much dirt, the verdict is not good.

    At least 0.8 of the rows of each fault are found that the model of clean data finds,
    and there are about as many alarms in other rows.
    """
    dirty = DIRTY[name]

    job, end = run_job(dirty, SETTINGS[setting])

    if dirty.is_refused:
        column = rf"train\.csv: (column|series) {(dirty.series or 0) + 1} .* [Ll]eave "
        assert end.returncode == 1
        assert re.match(column, end.failure or "")
        return
    assert end.returncode == 0, end.log
    metrics = json.loads((job.base / "output/data/metrics.json").read_text())
    finding = next(
        one
        for one in metrics["data"]["findings"]
        if one["name"] == dirty.name
        and (dirty.series is None or dirty.series + 1 in one["series"])
    )
    page = (job.base / "output/data/report.html").read_text()
    assert dirty.row is None or abs(finding["row"] - dirty.row) <= dirty.margin
    assert any(finding["found"] in reason["finding"] for reason in metrics["reasons"])
    assert finding["found"] in end.log
    assert page.count('<svg class="small"') == len(metrics["data"]["series"])
    assert dirty.series is None or f"{dirty.name}</td>" in page
    assert LEVELS.index(metrics["verdict"]) >= LEVELS.index(dirty.level)
    if name not in MISLED[setting]:
        hits, others = found(job.model_dir, dirty)
        hits_if_clean, others_if_clean = found_if_clean(setting)
        assert min(hits_if_clean) == len(FAULTS[0])
        assert min(hits) >= 0.8 * len(FAULTS[0])
        assert others <= others_if_clean + 20


LEFT = "1.7e15 and a little"
"""What is left is a sawtooth: the small network makes large errors of it, too."""

ADVISED = [
    *(("document", name) for name in MISLEADING),
    *(("detection", name) for name in MISLEADING_THE_PRESET if name not in MISLEADING),
    ("document", "999.99 in every thirteenth row"),
    ("detection", "-200 in every twentieth row"),
]
ADVISED.remove(("detection", LEFT))

OF_A_FILE = (
    "leave these rows out",
    "the columns of this file",
    "or train on more files",
)
"""What is advised for the file that a finding names; all else is for every file."""


@pytest.mark.parametrize(("setting", "name"), ADVISED)
def test_the_advice_helps(
    setting: str,
    name: str,
    run_job: Train,
    found: Find,
    found_if_clean: Callable[[str], Found],
) -> None:
    """Of what misleads a model, and of codes: then nothing is wrong any more."""
    dirty, settings = DIRTY[name], {}
    while (findings := find(described(dirty))) and not settings:
        dirty, settings = followed(dirty, findings[0])

    job, end = run_job(dirty, {**SETTINGS[setting], **settings})
    assert end.returncode == 0, end.log
    hits, others = found(job.model_dir, dirty)
    _, others_if_clean = found_if_clean(setting)
    assert min(hits) >= 0.8 * len(FAULTS[0])
    assert others <= others_if_clean + 20


def followed(dirty: Dirty, finding: Finding) -> tuple[Dirty, dict[str, str]]:
    """Return data after the advice of a finding was followed, and settings of it."""
    advice, series = finding.advice, list(finding.series)
    if match := re.search(r"set (.+)=(\S+) and (.+)=(hold);", advice):
        return dirty, {match[1]: match[2], match[3]: match[4]}
    files = {
        name: mended(x, series, finding)
        if name == finding.file or not any(map(advice.count, OF_A_FILE))
        else x
        for name, x in dirty.files.items()
    }
    files = {name: x for name, x in files.items() if len(x)}
    return dataclasses.replace(dirty, training=files), {}


def mended(x: FloatArray, series: list[int], finding: Finding) -> FloatArray:
    """Return the rows of a file after the advice of a finding was followed."""
    advice, x = finding.advice, x.copy()
    if "Put the columns of this file in the order" in advice:
        x[:, series] = x[:, series[::-1]]
    elif "leave it out, or train on more files" in advice:
        return x[:0]
    elif "leave these rows out" in advice:
        rows = re.search(r"rows (\d+) to about (\d+)", finding.found)
        first, last = map(int, rows.groups()) if rows else (finding.row or 0, len(x))
        return np.delete(x, slice(first - 1, last), axis=0)
    elif "leave out the rows that it marks" in advice:
        normal = x[(x[:, series] == 0).all(axis=1)]
        return np.delete(normal, series, axis=1)
    elif "leave the series out" in advice or "row, or leave it out" in advice:
        return np.delete(x, series, axis=1)
    elif "its differences" in advice:
        x[1:, series] = np.diff(x[:, series], axis=0)
        return x[1:]
    elif "add 65,536 after each such fall" in advice:
        x[:, series] = np.unwrap(x[:, series], axis=0, period=65_536)
    elif "Subtract a fixed offset" in advice:
        x[:, series] -= x[0, series]
    else:
        raise AssertionError(advice)
    return x
