"""Several processes train as one: one model, one log, one failure, nobody hangs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from lstm_ad import artifacts
from lstm_ad.artifacts import Fit

MEMBER = Path(__file__).with_name("team_member.py")
SOURCE = Path(__file__).parents[2] / "src"

TINY = {
    "sequence-length": "10",
    "hidden-size": "8",
    "epochs": "3",
    "lr": "0.01",
}
"""With the default dropout: what is dropped may not depend on who computes."""
OVERLAPPING = {
    **TINY,
    "context-length": "10",
    "prediction-length": "6",
    "sequence-stride": "2",
    "max-anomaly-length": "4",
}
SINGLE = "1.csv"
"""The file of one series."""

TIMED = ("t.csv", "u.csv")
"""The files with names and times, in which rows and cells are missing."""

FILES = {
    "training": {"a.csv": 400, "b.csv": 130, "c.csv": 261, "d.csv": 333, SINGLE: 301}
    | {"long.csv": 8000}
    | dict.fromkeys(TIMED, 400),
    "validation": {"v.csv": 123, "w.csv": 77, "u.csv": 400},
}
CASES = {
    "files, and batches of uneven sizes": {
        "training": ["a.csv", "b.csv", "c.csv"],
        "validation": ["v.csv", "w.csv"],
        "hyperparameters": {**TINY, "batch-size": "7"},
    },
    "one file, smoothed, and no validation": {
        "training": ["a.csv"],
        "hyperparameters": {**TINY, "batch-size": "8", "max-anomaly-length": "40"},
    },
    "batches smaller than the team": {
        "training": ["b.csv"],
        "validation": ["w.csv"],
        "hyperparameters": {**TINY, "batch-size": "2"},
    },
    "labels": {
        "training": ["a.csv"],
        "validation": ["v.csv", "w.csv"],
        "labels": ["v.csv", "w.csv"],
        "hyperparameters": {**TINY, "batch-size": "8"},
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
    },
    "a single series, which is varied while it is learnt": {
        "training": [SINGLE],
        "hyperparameters": {**OVERLAPPING, "batch-size": "5"},
    },
}
HOLD = {**TINY, "missing-values": "hold", "timestamp-column": "time"}
CASES |= {
    "names, times and gaps": {
        "training": ["t.csv"],
        "validation": ["u.csv"],
        "hyperparameters": {**HOLD, "batch-size": "8"},
    },
    "names, times and gaps, from files divided by key": {
        "training": ["t.csv", "u.csv"],
        "hyperparameters": {**HOLD, "batch-size": "8"},
        "is_sharded": True,
    },
}
CASES |= {
    "calibrated, from files divided by key": {
        "training": ["a.csv", "b.csv"],
        "hyperparameters": {"warm-start": "calibrate"},
        "parent": True,
        "is_sharded": True,
    },
    "trained on": {
        "training": ["a.csv"],
        "validation": ["v.csv", "w.csv"],
        "hyperparameters": {"epochs": "2", "dropout": "0"},
        "parent": True,
    },
}
DEFAULTS = "the defaults, on more processes than cores"
CASES |= {
    DEFAULTS: {
        "training": ["long.csv"],
        "hyperparameters": {"epochs": "2", "seed": "3"},
    },
    "patience that ends after two of twelve epochs": {
        "training": ["a.csv"],
        "hyperparameters": {
            **TINY,
            **{"epochs": "12", "early-stopping-patience": "1", "lr": "0.1"},
            "seed": "1",
        },
    },
}
CASES = {
    name: {"validation": [], "labels": [], "is_sharded": False, "parent": False} | case
    for name, case in CASES.items()
}

TEAMS = {1: list(CASES), 2: list(CASES), 3: list(CASES), 4: [DEFAULTS]}
"""The sizes of the teams, and which cases each is given."""

IN_DISTRIBUTION = {"scaler", "repeated", "rows", "digest"}
"""What is exact where files are divided by key: the batches are others."""


def timed(series: np.ndarray) -> bytes:
    """Return a file with names and times, from which rows and cells are missing."""
    lines = [b"time,p,f"]
    for minute, (p, f) in enumerate(series.tolist()):
        if minute % 97 > 3 and not 150 < minute < 190:
            cell = b"" if minute % 13 == 5 else b"%r" % f
            lines.append(b"%d,%r,%s" % (60 * minute, p, cell))
    return b"\n".join(lines)


def run_member(
    folder: Path, port: int, rank: int, size: int, cases: list[str]
) -> subprocess.Popen:
    """Start one process of a team, for some cases."""
    return subprocess.Popen(
        [sys.executable, MEMBER, folder, *cases],
        env={
            "PYTHONPATH": str(SOURCE),
            "CUDA_VISIBLE_DEVICES": "",  # NCCL would want one for each
            "OMP_NUM_THREADS": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            # Its thread may still be at work when the process ends, and abort it.
            "ORT_DISABLE_TELEMETRY": "1",
            "RANK": str(rank),
            "LOCAL_RANK": "0",
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
    tmp_path_factory: pytest.TempPathFactory,
    make_series,
    as_csv,
    free_port,
    tiny_fit: Fit,
) -> Mapping[tuple[str, int], Mapping[str, np.ndarray]]:
    """Return what every case gives to teams of each size."""
    folder = tmp_path_factory.mktemp("team")
    (folder / "cases.json").write_text(json.dumps(CASES))
    for channel, files in FILES.items():
        (folder / channel).mkdir()
        for name, n_timesteps in files.items():
            n_series = 1 if name == SINGLE else 2
            series = make_series(n_timesteps, seed=n_timesteps)[:, :n_series]
            text = timed(series) if name in TIMED else as_csv(series)
            (folder / channel / name).write_bytes(text)
    artifacts.save(folder / "parent", tiny_fit)
    (folder / "labels").mkdir()
    for name, n_timesteps in FILES["validation"].items():
        is_anomaly = np.arange(n_timesteps) // 10 % 5 == 4
        text = b"\n".join(b"%d" % one for one in is_anomaly)
        (folder / "labels" / name).write_bytes(text)
    for size, cases in TEAMS.items():
        port = free_port()
        members = [run_member(folder, port, rank, size, cases) for rank in range(size)]
        logs = [member.communicate(timeout=120)[0].decode() for member in members]
        assert [member.returncode for member in members] == [0] * size, "\n".join(logs)
    return {
        (case, size): dict(np.load(folder / f"result-{size}" / f"{case}.npz"))
        for size, cases in TEAMS.items()
        for case in cases
    }


@pytest.mark.parametrize(
    ("case", "size"), [(case, n) for n in TEAMS if n > 1 for case in TEAMS[n]]
)
def test_several_processes_give_what_one_gives(results, case: str, size: int) -> None:
    """Weights, scaler, Gaussian, threshold, losses, report: to float tolerance.

    However the batches fall. Where the files are divided by key, the batches are
    others, and so are the weights, unless they are a model's; what is of the rows alone
    is still the same.
    """
    expected, found = results[case, 1], results[case, size]
    is_exact = not CASES[case]["is_sharded"] or not expected["history"].size
    names = set(expected) if is_exact else IN_DISTRIBUTION

    assert list(found) == list(expected)
    for name in names:
        np.testing.assert_allclose(
            found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name
        )
    for name, value in expected.items():
        assert found[name].shape == value.shape, name


JOB = {
    **TINY,
    "batch-size": "8",
    "epochs": "10",
    "sagemaker_torch_distributed_enabled": '"true"',
}
HOSTS = ["127.0.0.1", "127.0.0.2"]
REASON_SECONDS = 30
"""After a process has died, every host has ended: connections break at once."""


@pytest.fixture
def make_hosts(make_opt_ml, make_series):
    """Return the function that makes the folders of a job, one per host.

    Both have all files, but for one that only the second may have.
    """

    def make(second_file: bytes | None = None) -> list:
        both = {"a.csv": make_series(700), "b.csv": make_series(500, seed=1)}
        files = [dict(both), dict(both)]
        if second_file:
            files[1]["c.csv"] = second_file
        folders = []
        for host, training in zip(HOSTS, files, strict=True):
            opt_ml = make_opt_ml()
            opt_ml.write_config("hyperparameters", JOB)
            opt_ml.write_config(
                "resourceconfig",
                {
                    "hosts": HOSTS,
                    "current_host": host,
                    "network_interface_name": "lo",
                },
            )
            opt_ml.write_config("checkpointconfig", {"LocalPath": CHECKPOINTS})
            opt_ml.add_channel("training", training)
            opt_ml.add_channel("validation", {"v.csv": make_series(200, seed=2)})
            folders.append(opt_ml)
        return folders

    return make


CHECKPOINTS = "/opt/ml/checkpoints"


@pytest.fixture
def launch_hosts(launch_train, free_port):
    """Return the function that starts a job on every host, one process on each."""

    def launch(folders: list) -> list:
        variables = {
            "MASTER_PORT": str(free_port()),
            "OMP_NUM_THREADS": str(len(os.sched_getaffinity(0))),
        }
        return [launch_train(folder, variables) for folder in folders]

    return launch


def workers_of(training) -> list[int]:
    """Return the processes that train on a host: their server's children."""
    (server,) = servers_of(training.process.pid)
    return servers_of(server)


def servers_of(pid: int) -> list[int]:
    """Return the children of a process that serve processes, or come from such."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def running_in_group(leader: int) -> list[str]:
    """Return the processes of a group that still run: name, state, parent, group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            name, _, rest = path.read_text().rpartition(")")
            state, _, group = rest.split()[:3]
            if int(group) == leader and state != "Z":
                found.append(name)
    return found


def test_a_job_of_two_hosts_stops_together_and_goes_on_to_the_model_of_one(
    make_hosts, launch_hosts, make_opt_ml, run_train
) -> None:
    """SIGTERM on one host ends both with a model; started again, nothing was lost.

    What they end with is, to float tolerance, what one process makes of all files.
    Metrics are in the log of the first host alone, and so is the model. The fingerprint
    is the same: a job may go on with another number of processes.
    """
    folders = make_hosts()
    trainings = launch_hosts(folders)
    trainings[0].wait_for_log("epoch: 3 ")
    trainings[1].process.terminate()
    stopped = [training.end() for training in trainings]

    assert [(end.returncode, end.failure) for end in stopped] == [(0, None)] * 2
    assert "Training was asked to stop in epoch" in stopped[0].log
    assert (folders[0].model_dir / "model.json").exists()

    ended = [training.end() for training in launch_hosts(folders)]
    together = make_opt_ml()
    together.write_config(
        "hyperparameters",
        {k: v for k, v in JOB.items() if k[0] != "s" or k == "sequence-length"},
    )
    for channel in ("training", "validation"):
        files = {
            path.name: path.read_bytes()
            for folder in folders
            for path in (folder.data_dir / channel).iterdir()
        }
        together.add_channel(channel, files)
    alone = run_train(together)

    assert [(end.returncode, end.failure) for end in ended] == [(0, None)] * 2
    assert "Training goes on after epoch" in ended[0].log
    assert "epoch" not in ended[1].log
    assert list(folders[1].model_dir.iterdir()) == []
    assert alone.returncode == 0, alone.log
    expected, found = (
        load_file(folder.model_dir / "weights.safetensors")
        for folder in (together, folders[0])
    )
    for name, weights in expected.items():
        np.testing.assert_allclose(found[name], weights, rtol=1e-3, atol=1e-4)
    documents = [
        json.loads((folder.model_dir / "model.json").read_text())
        for folder in (together, folders[0])
    ]
    assert documents[0]["fingerprint"] == documents[1]["fingerprint"]


def test_the_first_reason_is_the_failure_of_every_host(
    make_hosts, launch_hosts
) -> None:
    """A bad row in a file that one host alone has."""
    folders = make_hosts(second_file=b"1,2\n" * 300 + b"3\n")

    ends = [training.end() for training in launch_hosts(folders)]

    reason = (
        "c.csv: Row 301 has 1 cell, but the rows before have 2; all rows need the same "
        "number."
    )
    assert [(end.returncode, end.failure) for end in ends] == [(1, reason)] * 2


def test_a_process_that_is_killed_ends_the_job_on_every_host(
    make_hosts, launch_hosts
) -> None:
    """With the process and the signal as the reason, and nothing left running."""
    folders = make_hosts()
    for folder in folders:
        folder.write_config("hyperparameters", {**JOB, "epochs": "100000"})
    trainings = launch_hosts(folders)
    trainings[0].wait_for_log("epoch: 3 ")
    (worker,) = workers_of(trainings[1])

    os.kill(worker, signal.SIGKILL)
    for training in trainings:
        training.process.wait(REASON_SECONDS)
    ends = [training.end() for training in trainings]

    reason = "Training process 1 was killed with SIGKILL: is its memory too small?"
    assert [(end.returncode, end.failure) for end in ends] == [(1, reason)] * 2
    for training in trainings:
        assert_nothing_is_left_of(training)


def assert_nothing_is_left_of(training) -> None:
    """Helpers end when their parent has."""
    group = training.process.pid
    deadline = time.monotonic() + REASON_SECONDS
    while running_in_group(group) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert running_in_group(group) == []


UNSAID = {"OMP_NUM_THREADS": ""}
"""As in a container; tests have one thread otherwise."""


@pytest.fixture
def endless(opt_ml, make_series):
    """Return a job that trains for long, and says nothing of processes.

    Nobody knows its host's name, nor is there the network that the platform names.
    """
    host = {"hosts": ["algo-7"], "current_host": "algo-7"}
    opt_ml.write_config("resourceconfig", {**host, "network_interface_name": "eth7"})
    settings = {**TINY, "batch-size": "64", "epochs": "1000000"}
    opt_ml.write_config("hyperparameters", settings)
    opt_ml.add_channel("training", {"a.csv": make_series(700)})
    return opt_ml


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_a_long_job_trains_with_several_processes_unless_it_says_otherwise(
    endless, launch_train
) -> None:
    """Without a switch, and stops with a model when it is told to."""
    training = launch_train(endless, UNSAID)
    training.wait_for_log("epoch: 3 ")
    assert len(workers_of(training)) == 2
    training.process.terminate()
    end = training.end()

    assert "Training with 2 processes on 1 instances." in end.log
    assert (end.returncode, end.failure) == (0, None)
    assert (endless.model_dir / "model.json").exists()


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one core")
def test_processes_end_when_what_started_them_is_killed(endless, launch_train) -> None:
    """They do not train on for nobody."""
    training = launch_train(endless, UNSAID)
    training.wait_for_log("epoch: 3 ")

    training.process.kill()

    assert_nothing_is_left_of(training)


def test_several_hosts_with_the_switch_off_are_refused(opt_ml, run_train) -> None:
    """Each would train the same model: the sentence names the switch."""
    switch = "sagemaker_torch_distributed_enabled"
    opt_ml.write_config("hyperparameters", {switch: "false"})
    hosts = {"hosts": ["algo-1", "algo-2"], "current_host": "algo-1"}
    opt_ml.write_config("resourceconfig", hosts)

    end = run_train(opt_ml)

    assert end.returncode == 1
    assert end.failure == (
        f"The job has 2 instances, but {switch} is false: each would train the same "
        f"model by itself. Accepted are one instance, or several with {switch} being "
        f"true or left out."
    )
