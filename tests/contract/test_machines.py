"""One file may hold several machines: each is a series of its own, and none is two."""

import json
from collections.abc import Mapping

import numpy as np
import pytest

SETTINGS = {
    "sequence-length": "10",
    "hidden-size": "8",
    "epochs": "2",
    "timestamp-column": "time",
    "id-columns": "pump",
    "group-column": "pump",
}
ARRAYS = ("network.onnx", "statistics.safetensors", "weights.safetensors")
HEADER = b"time,pump,p,f\n"
CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}


def lines(values: np.ndarray, pump: str, labels: np.ndarray) -> list[tuple[bytes, int]]:
    """Return the rows of a machine, each with its label."""
    return [
        (f"{1000 + 60 * row},{pump},{p!r},{f!r}\n".encode(), int(label))
        for row, ((p, f), label) in enumerate(
            zip(values.tolist(), labels.tolist(), strict=True)
        )
    ]


def mixed(*machines: list, seed: int) -> list:
    """Return the rows of machines that take turns at random."""
    random, left = np.random.default_rng(seed), [list(rows) for rows in machines]
    of_rows = random.permutation(np.repeat(np.arange(len(left)), [*map(len, left)]))
    return [left[machine].pop(0) for machine in of_rows]


def whole(rows: list) -> bytes:
    """Return a file."""
    return HEADER + b"".join(line for line, _ in rows)


def named(rows: list) -> bytes:
    """Return the labels of a file."""
    return b"".join(b"%d\n" % label for _, label in rows)


@pytest.fixture(scope="module")
def machines(make_series) -> Mapping[str, Mapping[str, list]]:
    """Return the rows of two machines by channel; one has an anomaly in validation."""
    found: dict[str, dict[str, list]] = {"training": {}, "validation": {}}
    for seed, pump in enumerate(("P-1", "P-2")):
        training = make_series(300 + 40 * seed, seed=seed)
        found["training"][pump] = lines(training, pump, np.zeros(len(training)))
        validation = make_series(120, seed=10 + seed)
        labels = np.zeros(120)
        labels[60:65] = seed
        validation[60:65] += 20 * seed
        found["validation"][pump] = lines(validation, pump, labels)
    return found


@pytest.fixture(scope="module")
def jobs(make_opt_ml, run_train, machines, free_port):
    """Return jobs with a file per machine, with one file, and with two processes."""
    found = []
    for is_mixed, settings in (
        (False, {}),
        (True, {}),
        (True, {"sagemaker_torch_distributed_enabled": "true"}),
    ):
        opt_ml = make_opt_ml()
        opt_ml.write_config("hyperparameters", SETTINGS | settings)
        labels = {}
        for channel, pumps in machines.items():
            files = {f"x.csv[{pump}]": rows for pump, rows in pumps.items()}
            if is_mixed:
                files = {"x.csv": mixed(*pumps.values(), seed=5)}
            opt_ml.add_channel(channel, {k: whole(v) for k, v in files.items()})
            labels = {name: named(rows) for name, rows in files.items()}
        opt_ml.add_channel("labels", labels)
        found.append((opt_ml, run_train(opt_ml, MASTER_PORT=str(free_port()))))
        assert found[-1][1].returncode == 0, found[-1][1].log
    return found


def test_one_file_gives_the_model_of_a_file_per_machine(jobs) -> None:
    """To the bit: weights, Gaussian and threshold."""
    (single, _), (together, ended), (_, team) = jobs
    for name in ARRAYS:
        found = (together.model_dir / name).read_bytes()
        assert found == (single.model_dir / name).read_bytes()
    documents = [json.loads((j.model_dir / "model.json").read_bytes()) for j, _ in jobs]
    keys = ("decision", "losses")
    assert [documents[0][key] for key in keys] == [documents[1][key] for key in keys]
    assert "Training on x.csv[P-2]: 2 time series of length 340." in ended.log
    assert "Training with" in team.log
    threshold = documents[0]["decision"]["labelled"]["threshold"]
    assert documents[2]["decision"]["labelled"]["threshold"] == pytest.approx(
        threshold, rel=1e-2
    )


def test_each_machine_is_scored_by_itself(jobs, start_server, machines) -> None:
    """In the order of the rows sent."""
    _, (opt_ml, _), _ = jobs
    server = start_server(opt_ml.base)
    pumps = machines["validation"]

    def answer(rows: list) -> list[bytes]:
        """Return the rows of the answer to some rows."""
        body = server.request("POST", "/invocations", whole(rows), CSV).body
        return body.splitlines()[1:]

    together = answer(mixed(*pumps.values(), seed=7))
    alone = {pump.encode(): answer(rows) for pump, rows in pumps.items()}
    for pump, rows in alone.items():
        assert [row for row in together if row.split(b",")[1] == pump] == rows
    assert sum(map(len, alone.values())) == len(together) == 240
