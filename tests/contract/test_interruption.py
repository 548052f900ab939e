"""A training job that is killed, or asked to stop, at any moment: nothing is lost."""

import contextlib
import dataclasses
import os
import random
import signal
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lstm_ad import artifacts
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.training.control import Control

ARTIFACTS = [
    "model.json",
    "network.onnx",
    "statistics.safetensors",
    "weights.safetensors",
]

SETTINGS = {
    "sequence-length": "10",
    "hidden-size": "16",
    "batch-size": "32",
    "epochs": "150",
    "lr": "0.003",
}

SAMPLE_SECONDS = 20
"""What a job on the sample data may take from SIGTERM to its end."""


@pytest.fixture(scope="module")
def make_job(make_opt_ml, make_series) -> Callable[[], object]:
    """Return the function that makes a folder of the same job with checkpoints."""

    def make():
        opt_ml = make_opt_ml()
        opt_ml.write_config("hyperparameters", SETTINGS)
        opt_ml.write_config("checkpointconfig", {"LocalPath": "/opt/ml/checkpoints"})
        opt_ml.add_channel("training", {"train.csv": make_series(2000)})
        opt_ml.add_channel("validation", {"valid.csv": make_series(500, seed=1)})
        return opt_ml

    return make


@pytest.fixture(scope="module")
def undisturbed(make_job, run_train) -> dict[str, bytes]:
    """Return the artifacts of the job when nothing interrupts it."""
    opt_ml = make_job()
    ended = run_train(opt_ml)
    assert ended.returncode == 0, ended.log
    return model_of(opt_ml)


def model_of(opt_ml) -> dict[str, bytes]:
    """Return the artifacts of a job, byte for byte."""
    return {path.name: path.read_bytes() for path in opt_ml.model_dir.iterdir()}


def checkpoints_of(opt_ml) -> set[str]:
    """Return the names of the files in a job's checkpoint folder."""
    folder = opt_ml.base / "checkpoints"
    return set(os.listdir(folder)) if folder.is_dir() else set()  # noqa: PTH208  # fast


def test_the_same_job_gives_the_same_bytes(make_job, run_train, undisturbed) -> None:
    """Same seed, data and thread count: every artifact, bit by bit, without a kill.

    And without checkpoints: they have no say in the model.
    """
    opt_ml = make_job()
    (opt_ml.config_dir / "checkpointconfig.json").unlink()

    ended = run_train(opt_ml)

    assert ended.returncode == 0, ended.log
    assert checkpoints_of(opt_ml) == set()
    assert sorted(undisturbed) == ARTIFACTS
    assert model_of(opt_ml) == undisturbed


def log_says(*texts: str) -> Callable[[object], Callable[[], bool]]:
    """Return the moment when the log of a running job holds one of some texts."""
    return lambda training: lambda: any(text in training.log for text in texts)


def folder_changes(n_changes: int) -> Callable[[object], Callable[[], bool]]:
    """Return the moment when the checkpoint folder has changed so many times.

    A file is begun, gets its final name, an old one goes: three changes per checkpoint,
    of which a look at the folder may miss some.
    """

    def moment(training) -> Callable[[], bool]:
        """Return the question whether it has come."""
        seen = [checkpoints_of(training.opt_ml)]

        def has_come() -> bool:
            """Look at the folder once more."""
            files = checkpoints_of(training.opt_ml)
            if files != seen[-1]:
                seen.append(files)
            return len(seen) > n_changes

        return has_come

    return moment


def either(*moments: Callable[[object], Callable[[], bool]]):
    """Return the first of some moments: of a few seconds, some may never come."""

    def first(training) -> Callable[[], bool]:
        """Return the question whether it has come."""
        questions = [moment(training) for moment in moments]
        return lambda: any(has_come() for has_come in questions)

    return first


def test_a_job_killed_at_20_moments_ends_as_the_one_that_was_not(
    make_job, launch_train, undisturbed
) -> None:
    """Byte for byte, wherever SIGKILL fell.

    Two jobs, side by side, are killed ten times each: twice before the first
    checkpoint, six times around the writing of one, twice after the last epoch, while
    the model is evaluated and saved; more often then, where the machine is so busy that
    a job writes few checkpoints. Each kill is late by a random part of the time that
    this takes.
    """
    end = log_says("epoch: 150 ", "Training goes on after epoch 150.")

    def survive(seed: int):
        """Run a job, killed ten times; return its folder and how it ended."""
        opt_ml = make_job()
        chance = random.Random(seed)
        changes = [chance.randint(1, 5) for _ in range(6)]
        moments = [
            (log_says("Hyperparameters"), 1.0),
            (log_says("Training the model."), 0.05),
            *[(either(folder_changes(n), end), 0.01) for n in changes],
            *[(end, 0.1)] * 2,
        ]
        for moment, most_seconds in moments:
            # A kill that came too late is no kill: the job is started again.
            assert any(
                kill_at(opt_ml, moment, chance.uniform(0, most_seconds))
                for _ in range(3)
            )
        return opt_ml, launch_train(opt_ml).end()

    def kill_at(opt_ml, moment, delay_seconds: float) -> bool:
        """Start the job and kill it; return whether it had not ended before."""
        training = launch_train(opt_ml)
        training.wait_until(moment(training))
        with contextlib.suppress(subprocess.TimeoutExpired):
            training.process.wait(delay_seconds)
        training.process.kill()
        return training.process.wait() == -signal.SIGKILL

    with ThreadPoolExecutor(2) as lanes:
        jobs = list(lanes.map(survive, (0, 1)))

    for opt_ml, ended in jobs:
        assert ended.returncode == 0, ended.log
        assert "Training goes on after epoch" in ended.log
        assert "is not used" not in ended.log
        assert model_of(opt_ml) == undisturbed
        unfinished = {n for n in checkpoints_of(opt_ml) if n.endswith("-ignore")}
        assert len(checkpoints_of(opt_ml) - unfinished) == 2


def test_a_job_that_was_stopped_leaves_a_usable_model_and_goes_on_later(
    make_job, launch_train, undisturbed, make_series
) -> None:
    """SIGTERM, and impatient ones after it: exit code 0 and a model that scores.

    Started again (a spot instance came back), it ends with the same bits as the job
    that nobody stopped.
    """
    opt_ml = make_job()
    training = launch_train(opt_ml)
    training.wait_for_log("epoch: 3 ")

    for _ in range(3):
        training.process.terminate()
    training.wait_for_log("Training was asked to stop")
    training.process.terminate()
    stopped = training.end()

    assert (stopped.returncode, stopped.failure) == (0, None), stopped.log
    assert stopped.log.count("Training was asked to stop in epoch") == 1
    assert stopped.log.index("asked to stop") < stopped.log.index("best epoch: ")
    assert sorted(model_of(opt_ml)) == ARTIFACTS
    assert model_of(opt_ml) != undisturbed
    check_model(opt_ml.model_dir, make_series(200, seed=2))

    resumed = launch_train(opt_ml).end()

    assert resumed.returncode == 0, resumed.log
    assert "Training goes on after epoch" in resumed.log
    assert model_of(opt_ml) == undisturbed


def test_a_job_stopped_before_its_first_step_takes_one(
    make_job, launch_train, make_series
) -> None:
    """While the CSV is read or torch imported: one step, then a model that scores."""
    opt_ml = make_job()
    # Long enough that the signal comes before the end of reading.
    opt_ml.add_channel("training", {"train.csv": make_series(100_000)})
    training = launch_train(opt_ml)
    training.wait_for_log("Hyperparameters")

    training.process.terminate()
    ended = training.end()

    assert (ended.returncode, ended.failure) == (0, None), ended.log
    assert "Training was asked to stop in epoch 1." in ended.log
    assert "best epoch: 0 " in ended.log
    check_model(opt_ml.model_dir, make_series(200, seed=2))


def test_a_stopped_job_of_the_samples_size_ends_in_time(
    make_opt_ml, launch_train, make_series
) -> None:
    """Default hyperparameters, 10 000 rows: SageMaker would kill after 120 s."""
    opt_ml = make_opt_ml()
    opt_ml.add_channel("training", {"train.csv": make_series(10_000)})
    opt_ml.add_channel("validation", {"valid.csv": make_series(2_500, seed=1)})
    training = launch_train(opt_ml)
    training.wait_for_log("epoch: 1 ")

    training.process.terminate()

    assert training.process.wait(SAMPLE_SECONDS) == 0
    check_model(opt_ml.model_dir, make_series(200, seed=2))


@pytest.mark.parametrize("change", ["a value", "a setting", "the validation"])
def test_checkpoints_of_another_job_are_refused(
    change: str, make_series, tiny, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With the reason in the log; training starts afresh, and gives what it gives."""
    training, validation = {"a": make_series(300)}, {"v": make_series(60, seed=1)}
    fit(Rows.of(training, validation), tiny, Control(checkpoint_dir=tmp_path))
    changed = make_series(300)
    changed[7, 1] = np.nextafter(changed[7, 1], np.inf)
    rows, settings = {
        "a value": (Rows.of({"a": changed}, validation), tiny),
        "a setting": (
            Rows.of(training, validation),
            dataclasses.replace(tiny, lr=0.02),
        ),
        "the validation": (Rows.of(training), tiny),
    }[change]
    caplog.clear()

    found = fit(rows, settings, Control(checkpoint_dir=tmp_path))

    reason = "it was written for other data, hyperparameters or versions."
    found_reasons = {
        record.getMessage().partition(" is not used: ")[2]
        for record in caplog.records
        if record.name == "lstm_ad.training.checkpoints"
    }
    assert found_reasons == {reason}
    afresh = fit(rows, settings)
    assert found.history == afresh.history
    assert {k: v.tobytes() for k, v in found.weights.items()} == {
        k: v.tobytes() for k, v in afresh.weights.items()
    }


def check_model(model_dir: Path, series) -> None:
    """Load a model as the server does, and score with it."""
    detector = artifacts.load(model_dir)
    scores = detector.score(series)
    first = detector.reconstructor.network.layout.n_unscored
    assert np.isfinite(scores.normality_score[first:]).all()
    assert np.isfinite(scores.reconstruction[first:]).all()


def test_no_process_is_left_after_a_job(make_job, launch_train) -> None:
    """The warm instance of the next job must be free, also after a failed one."""
    opt_ml = make_job()
    (opt_ml.data_dir / "training" / "train.csv").write_text("1,2\n3\n")
    training = launch_train(opt_ml)
    ended = training.end()

    assert ended.returncode == 1
    with pytest.raises(ProcessLookupError):
        os.killpg(training.process.pid, 0)
