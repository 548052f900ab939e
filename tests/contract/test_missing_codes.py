"""Numbers that stand for a missing value, in training and in requests."""

import json

import numpy as np
import pytest

SETTINGS = {
    "sequence-length": "10",
    "hidden-size": "8",
    "epochs": "2",
    "missing-values": "hold",
}
CODES = "-9999, 999.99"


def files(make_series) -> tuple[list, list]:
    """Return training rows and those of a request; None where a value is missing."""
    training, sent = (
        [[*map(float, row)] for row in make_series(n, seed=seed)]
        for n, seed in ((300, 0), (60, 1))
    )
    for rows in (training, sent):
        for row in (7, 20, 21, 45):
            rows[row][row % 2] = None
    return training, sent


def csv(rows: list, *spellings: str) -> bytes:
    """Return rows as CSV, with several spellings of what is missing by turns."""
    lines = []
    for number, row in enumerate(rows):
        missing = spellings[number % len(spellings)]
        lines.append(",".join(missing if x is None else repr(x) for x in row))
    return "\n".join(lines).encode()


@pytest.fixture(scope="module")
def models(make_opt_ml, run_trains, make_series) -> list:
    """Return the folders of two models: of codes, and of empty cells."""
    training, _ = files(make_series)
    found = []
    for settings, spellings in (
        ({"missing-codes": CODES}, ("-9999", "999.99", "-9.999e3", "")),
        ({}, ("",)),
    ):
        job = make_opt_ml()
        job.write_config("hyperparameters", SETTINGS | settings)
        job.add_channel("training", {"train.csv": csv(training, *spellings)})
        ended = run_trains(job)
        assert ended.returncode == 0, ended.log
        found.append(job.model_dir)
    return found


def test_a_code_is_trained_on_as_an_empty_cell_is(models: list) -> None:
    """The same weights and statistics; the model knows the codes."""
    for name in ("weights.safetensors", "statistics.safetensors"):
        first, second = ((model / name).read_bytes() for model in models)
        assert first == second
    saved, other = (json.loads((m / "model.json").read_bytes()) for m in models)
    assert saved["missing_codes"] == [-9999.0, 999.99]
    assert "missing_codes" not in other


@pytest.mark.parametrize("kind", ["text/csv", "application/json"])
def test_a_code_is_scored_as_an_empty_cell_is(
    models: list, make_series, many_models, kind: str
) -> None:
    """By the server, whatever the format; for another model it is a number."""
    _, sent = files(make_series)
    codes = csv(sent, "-9999", "999.99")
    empty = csv(sent, "")
    if kind == "application/json":
        codes = json.dumps(
            {"series": [[float(x) for x in row.split(b",")] for row in codes.split()]}
        ).encode()
        empty = json.dumps({"series": sent}).encode()
    headers = {"Content-Type": kind, "Accept": "text/csv"}
    answers = []
    for number, model in enumerate(models):
        asked = json.dumps({"model_name": f"codes{number}", "url": str(model)})
        json_type = {"Content-Type": "application/json"}
        many_models.request("POST", "/models", asked.encode(), json_type)
        path = f"/models/codes{number}/invoke"
        answers += [
            many_models.request("POST", path, body, headers).body
            for body in (codes, empty)
        ]
        many_models.request("DELETE", f"/models/codes{number}")

    of_codes, of_empty, of_numbers, expected = answers
    assert np.genfromtxt(expected.splitlines(), delimiter=",").shape == (60, 3)
    assert of_codes == of_empty == expected
    assert of_numbers != expected
