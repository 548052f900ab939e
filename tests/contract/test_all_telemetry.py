"""All that telemetry has at once: machines, irregular times, gaps, stops, ranges."""

import collections
import json

import numpy as np
import pytest

SETTINGS = {
    "sequence-length": "10",
    "hidden-size": "8",
    "epochs": "2",
    "timestamp-column": "time",
    "id-columns": "pump",
    "group-column": "pump",
    "sampling-interval": "PT1M",
    "missing-values": "hold",
    "off-when": "current < 0.5",
}
OFF = range(150, 160)
LINES = {"Content-Type": "text/csv", "Accept": "application/jsonlines"}


def export(make_series, n_minutes: int, seed: int) -> bytes:
    """Return the rows of two pumps, one or two a minute, in the order of time.

    The first pump has no rows for four minutes, both are off for ten, and one cell in
    thirty is empty.
    """
    random, rows = np.random.default_rng(seed), []
    for pump in range(2):
        series = make_series(n_minutes, seed=seed + pump).tolist()
        for minute, (pressure, flow) in enumerate(series):
            if pump == 0 and 40 <= minute < 44:
                continue
            current = 0 if minute in OFF else 7 + random.random()
            for part in range(random.integers(1, 3)):
                second = 60 * minute + 20 * part + int(random.integers(20))
                time = np.datetime64("2024-05-01T00:00:00") + second
                cell = "" if random.random() < 1 / 30 else repr(flow)
                rows.append(f"{time}Z,P-{pump},{pressure!r},{cell},{current!r}")
    return "\n".join(["time,pump,pressure,flow,current", *sorted(rows)]).encode()


@pytest.fixture(scope="module")
def jobs(make_opt_ml, make_series, run_train, free_port):
    """Return a job of one process, and one of two."""
    found = []
    for team in ({}, {"sagemaker_torch_distributed_enabled": "true"}):
        opt_ml = make_opt_ml()
        opt_ml.write_config("hyperparameters", SETTINGS | team)
        opt_ml.add_channel("training", {"a.csv": export(make_series, 400, seed=0)})
        opt_ml.add_channel("validation", {"v.csv": export(make_series, 300, seed=5)})
        anomalies = b"2024-05-01T01:40:00Z,2024-05-01T01:45:00Z\n"
        opt_ml.add_channel("labels", {"anomalies.csv": anomalies})
        maintenance = b"2024-05-01T03:20:00Z,2024-05-01T03:30:30Z\n"
        opt_ml.add_channel("exclude", {"maintenance.csv": maintenance})
        ended = run_train(opt_ml, MASTER_PORT=str(free_port()))
        assert ended.returncode == 0, ended.log
        found.append((opt_ml, ended.log))
    return found


def test_two_processes_learn_what_one_does(jobs) -> None:
    """From the same rows, but for rounding."""
    (_, log), _ = jobs
    one, two = (json.loads((j.model_dir / "model.json").read_bytes()) for j, _ in jobs)
    assert one["rows"] == two["rows"]
    assert one["data_digest"] == two["data_digest"]
    assert one["decision"]["labelled"]["n_anomalies"] == 12
    for name, loss in one["losses"].items():
        assert two["losses"][name]["mse"] == pytest.approx(loss["mse"], rel=1e-4)
    for pump in range(2):
        # The pump is off for 10 minutes; 11 are excluded, the last for half of it.
        assert f"a.csv[P-{pump}]: 21 of these rows are off or excluded." in log


def test_an_answer_says_why_rows_have_no_score(jobs, start_server, make_series) -> None:
    """Of each machine a row for each minute that has one."""
    (opt_ml, _), _ = jobs
    server = start_server(opt_ml.base)
    request = export(make_series, 200, seed=9)

    answer = server.request("POST", "/invocations", request, LINES)

    rows = [json.loads(row) for row in answer.body.splitlines()]
    assert collections.Counter(row["ids"]["pump"] for row in rows) == {
        "P-0": 196,
        "P-1": 200,
    }
    reasons = {
        (row["ids"]["pump"], row["timestamp"]): row["prediction_reason"] for row in rows
    }
    for pump, first in (("P-0", 44), ("P-1", 0)):
        for minute in range(first, 200):
            time = np.datetime64("2024-05-01T00:00:00") + 60 * minute
            reason = reasons[pump, f"{time}Z"]
            is_first = minute - first < 10 or 0 <= minute - OFF.stop < 10
            assert (reason == "MACHINE_OFF") == (minute in OFF)
            assert (reason == "WARM_UP") == (is_first and minute not in OFF)
