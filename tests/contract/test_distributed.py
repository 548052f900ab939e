"""Several processes train as one: the same model, one log, one failure, nobody hangs."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

MEMBER = Path(__file__).with_name("team_member.py")
SOURCE = Path(__file__).parents[2] / "src"

TINY = {
    "sequence-length": "10",
    "hidden-size": "8",
    "epochs": "3",
    "lr": "0.01",
    "dropout": "0",
}
OVERLAPPING = {
    **TINY,
    "context-length": "10",
    "prediction-length": "6",
    "sequence-stride": "2",
    "score-smoothing": "3",
}
FILES = {"a.csv": 400, "b.csv": 130, "c.csv": 261, "d.csv": 333, "v.csv": 123, "w.csv": 77}

CASES = {
    "files, and batches of uneven sizes": {
        "training": ["a.csv", "b.csv", "c.csv"],
        "validation": ["v.csv", "w.csv"],
        "hyperparameters": {**TINY, "batch-size": "7"},
        "is_sharded": False,
    },
    "one file, smoothed, and no validation": {
        "training": ["a.csv"],
        "validation": [],
        "hyperparameters": {**TINY, "batch-size": "8", "score-smoothing": "40"},
        "is_sharded": False,
    },
    "batches smaller than the team": {
        "training": ["b.csv"],
        "validation": ["w.csv"],
        "hyperparameters": {**TINY, "batch-size": "2"},
        "is_sharded": False,
    },
    "sequences that overlap, and files divided by key": {
        "training": ["a.csv", "b.csv", "c.csv", "d.csv"],
        "validation": ["v.csv"],
        "hyperparameters": {**OVERLAPPING, "batch-size": "5"},
        "is_sharded": True,
    },
    "sequences of one file that overlap": {
        "training": ["a.csv"],
        "validation": ["v.csv"],
        "hyperparameters": {**OVERLAPPING, "batch-size": "5"},
        "is_sharded": False,
    },
}

INEXACT = {"sequences of one file that overlap": "losses"}
"""Where a file is cut, the saved network's training loss is that of a fresh state."""


def run_member(folder: Path, port: int, rank: int, size: int) -> subprocess.Popen:
    """Start one process of a team."""
    return subprocess.Popen(
        [sys.executable, MEMBER, folder],
        env={
            "PYTHONPATH": str(SOURCE),
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(size),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "GLOO_SOCKET_IFNAME": "lo",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


@pytest.fixture(scope="module")
def results(
    tmp_path_factory: pytest.TempPathFactory, make_series, as_csv, free_port
) -> Mapping[tuple[str, int], Mapping[str, np.ndarray]]:
    """Return what every case gives to one, two and three processes."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "cases.json").write_text(json.dumps(CASES))
    for seed, (name, n_timesteps) in enumerate(FILES.items()):
        (folder / name).write_bytes(as_csv(make_series(n_timesteps, seed=seed)))
    for size in (1, 2, 3):
        port = free_port()
        members = [run_member(folder, port, rank, size) for rank in range(size)]
        logs = [member.communicate(timeout=120)[0].decode() for member in members]
        assert [member.returncode for member in members] == [0] * size, "\n".join(logs)
    return {
        (case, size): dict(np.load(folder / f"result-{size}" / f"{case}.npz"))
        for case in CASES
        for size in (1, 2, 3)
    }


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("case", CASES)
def test_several_processes_give_what_one_gives(results, case: str, size: int) -> None:
    """Weights, scaler, Gaussian, threshold, losses of every epoch: to float tolerance.

    However the batches fall, whoever has which rows of which files.
    """
    expected, found = dict(results[case, 1]), dict(results[case, size])
    for everything in (expected, found):
        everything.pop("held")
        everything.pop(INEXACT.get(case), None)

    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(
            found[name], value, rtol=1e-4, atol=1e-5, err_msg=name
        )


@pytest.mark.parametrize("size", [2, 3])
def test_nobody_holds_more_than_a_share_and_a_margin(results, size: int) -> None:
    """Of one file of 400 rows: an even part of both its parts, and two sequences of each."""
    n_held = results["one file, smoothed, and no validation", size]["held"]

    assert sum(n_held) >= 400
    assert max(n_held) <= 400 / size + 4 * 10
