"""A machine that is switched off: neither learnt from nor scored."""

import json

import numpy as np

SETTINGS = {
    "sequence-length": "10",
    "hidden-size": "8",
    "epochs": "2",
    "off-when": "current < 0.5 and flow < 1",
}
LINES = {"Content-Type": "text/csv", "Accept": "application/jsonlines"}


def table(make_series, n_rows: int, off: slice, seed: int) -> bytes:
    """Return a file with a header, in which the machine is off in some rows."""
    series = make_series(n_rows, seed=seed)
    current = np.full(n_rows, 7.0)
    current[off] = series[off] = 0
    rows = np.column_stack([series, current]).tolist()
    lines = (",".join(map(repr, row)) for row in rows)
    return "\n".join(["pressure,flow,current", *lines]).encode()


def test_a_machine_that_is_off_is_left_out(
    opt_ml, run_train, start_server, make_series
) -> None:
    """In the log and in the answer; the series begins anew after it."""
    opt_ml.write_config("hyperparameters", SETTINGS)
    training = table(make_series, 300, slice(100, 130), seed=0)
    opt_ml.add_channel("training", {"pump.csv": training})

    ended = run_train(opt_ml)
    server = start_server(opt_ml.base)
    request = table(make_series, 90, slice(40, 50), seed=1)
    answer = server.request("POST", "/invocations", request, LINES)

    assert ended.returncode == 0, ended.log
    assert "pump.csv: 30 of these rows are off or excluded." in ended.log
    saved = json.loads((opt_ml.model_dir / "model.json").read_bytes())
    assert saved["off_when"] == [
        {"series": 2, "sign": "<", "value": 0.5},
        {"series": 1, "sign": "<", "value": 1.0},
    ]
    assert saved["rows"] == {"train": 216, "valid": 0, "calibration": 54}
    rows = [json.loads(row) for row in answer.body.splitlines()]
    reasons = [row["prediction_reason"] for row in rows]
    predictions = {row["prediction"] for row in rows[:10] + rows[50:60]}
    assert predictions == {None}
    assert [row["prediction"] for row in rows[40:50]] == [0] * 10
    assert reasons[:10] == ["WARM_UP"] * 10
    assert "WARM_UP" not in reasons[10:40]
    assert reasons[40:50] == ["MACHINE_OFF"] * 10
    assert reasons[50:60] == ["WARM_UP"] * 10
    assert "WARM_UP" not in reasons[60:]


def test_a_condition_that_cannot_be_read_ends_the_job(opt_ml, run_train) -> None:
    """Before any file is read."""
    settings = {"off-when": "current is low"}
    opt_ml.write_config("hyperparameters", settings)
    opt_ml.add_channel("training", {"pump.csv": b"1\n"})
    assert run_train(opt_ml).failure == (
        'off-when must be comparisons such as "current < 0.5", joined by " and ", each '
        "of a series (its name, or its number from 1), one of <, <=, >, >=, ==, != and "
        'a number, but "current is low" was given.'
    )
