"""What SageMaker sees of a training job: the real ``train``, its files, log and end."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lstm_ad import artifacts
from lstm_ad.hyperparameters import Hyperparameters, declarations
from sagemaker_container.metrics import METRIC_DEFINITIONS

TINY = {
    # As the SDK's Estimator sends them, as boto3 and tuning jobs do, and the rest.
    "sequence-length": '"10"',
    "hidden-size": "8",
    "epochs": "3.0",
    "batch-size": "8",
    "lr": '"1e-2"',
    "_tuning_objective_metric": "valid_loss",
    "sagemaker_job_name": '"job"',
}

ARTIFACTS = [
    "model.json",
    "network.onnx",
    "statistics.safetensors",
    "weights.safetensors",
]

DECIMALS = r"\d+\.\d{10,}"


@pytest.fixture(scope="module")
def job(make_opt_ml, make_series):
    """Return the folder of a job with every kind of file in a channel."""
    opt_ml = make_opt_ml()
    opt_ml.write_config("hyperparameters", TINY)
    opt_ml.add_channel(
        "training",
        {
            "2023/train.csv": make_series(300),
            "2024/train.csv": make_series(200, seed=1),
            ".hidden.csv": b"not,read\n",
            ".sagemaker-marker": b"not,read\n",
            "training-manifest": b'[{"prefix": "s3://"}]',
            "empty.csv": b"",
        },
    )
    opt_ml.add_channel("validation", {"valid.csv": make_series(123, seed=2)})
    opt_ml.failure_file.parent.mkdir()
    opt_ml.failure_file.write_text("The job before this one failed.")
    (opt_ml.base / "home").mkdir()
    return opt_ml


@pytest.fixture(scope="module")
def ended(job, run_train):
    """Return how that job ended."""
    return run_train(job, HOME=str(job.base / "home"))


def test_a_job_completes_and_leaves_its_artifacts(job, ended) -> None:
    """Exit code 0, four files, and no failure, not even an earlier job's."""
    assert ended.returncode == 0, ended.log
    assert ended.failure is None
    assert sorted(path.name for path in job.model_dir.iterdir()) == ARTIFACTS


def test_neither_training_nor_serving_leaves_an_identifier_at_home(
    job, ended, start_server
) -> None:
    """ONNX Runtime's telemetry, which begins with an identifier on disk, is off."""
    home = job.base / "home"

    server = start_server(job.base, HOME=str(home))

    assert "telemetry" not in server.log
    # .nv is CUDA's, where there is a GPU: kernels that it has compiled.
    assert [path for path in home.rglob("*") if ".nv" not in path.parts] == []


def test_the_model_says_what_it_was_made_of(job, ended) -> None:
    """Hyperparameters in every spelling, and the rows of both files, cut in time."""
    document = json.loads((job.model_dir / "model.json").read_text())

    expected = Hyperparameters(
        sequence_length=10, hidden_size=8, epochs=3, batch_size=8, lr=0.01
    )
    assert document["hyperparameters"] == expected.to_public()
    assert document["rows"] == {"train": 400, "valid": 123, "calibration": 100}


def test_the_log_says_what_was_found(ended) -> None:
    """Every file under its own name, with data and without."""
    found = re.findall(r"^(?:Left out|\w+ on) .*$", ended.log, re.MULTILINE)

    assert found == [
        "Left out of training, no data: .hidden.csv, .sagemaker-marker, empty.csv, "
        "training-manifest",
        "Training on 2023/train.csv: 2 time series of length 300.",
        "Training on 2024/train.csv: 2 time series of length 200.",
        "Validating on valid.csv: 2 time series of length 123.",
    ]


def test_the_metric_lines_are_exactly_these_in_this_order(ended) -> None:
    """One line per epoch, one for the saved network, and the original's own."""
    lines = re.findall(
        r"^(?:epoch: |best epoch: |train:|valid:|calibration:).*$",
        ended.log,
        re.MULTILINE,
    )

    measures, parts = ("loss", "mse", "mae"), ("train", "valid", "calibration")

    def names(*parts: str) -> str:
        """Return the pattern of a line with every loss of these parts."""
        return " ".join(f"{p}_{m}: {DECIMALS}" for p in parts for m in measures)

    expected = [
        *(f"epoch: {epoch} {names('train', 'valid')}" for epoch in (1, 2, 3)),
        f"best epoch: [123] {names(*parts)}",
        *(f"{part}:{measure} {DECIMALS}" for part in parts for measure in measures),
    ]
    assert re.fullmatch("\n".join(expected), "\n".join(lines))


def test_the_last_value_of_each_metric_is_that_of_the_saved_model(job, ended) -> None:
    """The service takes the last match of each published regex in the whole log."""
    losses = json.loads((job.model_dir / "model.json").read_text())["losses"]
    found = {
        definition["Name"]: re.findall(definition["Regex"], ended.log)
        for definition in METRIC_DEFINITIONS
        if "alarm" not in definition["Name"] and "previous" not in definition["Name"]
    }

    last = {name: float(values[-1]) for name, values in found.items()}
    expected = {
        f"{part}_{name}": losses[part][measure]
        for part in ("train", "valid", "calibration")
        for name, measure in (("loss", "mse"), ("mae", "mae"))
    }
    assert last == pytest.approx(expected, abs=1e-11)
    assert {name: len(values) for name, values in found.items()} == {
        name: 1 if name.startswith("calibration") else 4 for name in expected
    }


def rows(n_timesteps: int, n_series: int = 2) -> np.ndarray:
    """Return any table of a shape."""
    return np.random.default_rng(0).normal(size=(n_timesteps, n_series))


NAMES = ", ".join(d.name for d in declarations())

FAILURES: dict[str, tuple[Callable, str]] = {
    # One of each kind; the sentences are tested where they are made.
    "no training channel": (
        lambda job: job.add_channel("validation", {"a.csv": rows(400)}),
        "The job has no training channel: it is mandatory, and holds CSV files of "
        "normal data.",
    ),
    "a ragged file": (
        lambda job: job.add_channel(
            "training", {"a.csv": rows(400), "b/c.csv": b"1,2\n3,4\n5\n"}
        ),
        "b/c.csv: Row 3 has 1 cell, but the rows before have 2; all rows need the same "
        "number.",
    ),
    "labels of another length": (
        lambda job: (
            job.add_channel("training", {"a.csv": rows(400)}),
            job.write_config("hyperparameters", {"sequence-length": "10"}),
            job.add_channel("validation", {"v.csv": rows(60)}),
            job.add_channel("labels", {"v.csv": b"0\n1\n"}),
        ),
        "labels/v.csv has 2 rows, but validation/v.csv has 60: one label per row is "
        "needed.",
    ),
    "labels that are no numbers": (
        lambda job: (
            job.add_channel("training", {"a.csv": rows(400)}),
            job.add_channel("labels", {"v.csv": b"0\nyes\n"}),
        ),
        'labels/v.csv: Row 2, column 1: "yes" is a word for true or false; use '
        "1 and 0.",
    ),
    "many faults at once": (
        lambda job: job.write_config(
            "hyperparameters", {"epochs": "0", "lr": '"fast"', "hidden_size": "8"}
        ),
        'epochs must be an integer from 1 to 1000000, but "0" was given. lr must be a '
        'number from 1e-09 to 10.0, but "fast" was given. hidden_size is not a '
        f"hyperparameter (did you mean hidden-size?); choose from {NAMES}.",
    ),
}


@pytest.mark.parametrize(("build", "sentence"), FAILURES.values(), ids=FAILURES)
def test_a_job_that_cannot_be_done_fails_with_one_sentence(
    opt_ml, run_train, build: Callable, sentence: str
) -> None:
    """The failure file is exactly that sentence, exit code 1, and there is no model."""
    build(opt_ml)

    end = run_train(opt_ml)

    assert end.failure == sentence
    assert end.returncode == 1
    assert list(opt_ml.model_dir.iterdir()) == []
    assert not (opt_ml.base / "output" / "success").exists()


def test_missing_files_of_the_platform_fail_the_job(opt_ml, run_train) -> None:
    """sagemaker-training itself reads this one, before any code of ours runs.

    Its own report is what the user sees; the exit code is that of the OSError. (Were
    the output folder missing, too, it would end with 0: the platform always makes it.)
    """
    opt_ml.failure_file.parent.mkdir()
    (opt_ml.config_dir / "resourceconfig.json").unlink()

    end = run_train(opt_ml)

    assert end.returncode == 2
    assert end.failure.startswith("Framework Error:")
    assert "resourceconfig.json" in end.failure


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("raise SystemExit(2)", "SystemExit: 2"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt: "),
        ("raise OSError('no errno')", "OSError: no errno"),
    ],
)
def test_what_sagemaker_training_takes_for_success_is_a_failure(
    opt_ml, run_train, tmp_path: Path, statement: str, reason: str
) -> None:
    """Here a broken installation of torch; the traceback is in the log alone."""
    opt_ml.add_channel("training", {"a.csv": rows(600)})
    (tmp_path / "torch.py").write_text(statement)
    source = Path(__file__).parents[2] / "src"

    end = run_train(opt_ml, PYTHONPATH=f"{tmp_path}:{source}")

    assert end.returncode == 1
    assert end.failure == f"Training failed unexpectedly: {reason}"
    assert "Traceback" in end.log


def test_a_failure_is_no_longer_than_what_sagemaker_shows(opt_ml, run_train) -> None:
    """1024 characters, whatever the number of faults."""
    opt_ml.write_config("hyperparameters", {f"unknown-{i}": "1" for i in range(50)})

    end = run_train(opt_ml)

    assert end.returncode == 1
    assert len(end.failure) == 1024
    assert end.failure.startswith("unknown-0 is not a hyperparameter")


def test_labels_choose_the_threshold_of_a_job(opt_ml, run_train, make_series) -> None:
    """It is saved beside that of the alarm rate, and both are in the log."""
    validation, labels = make_series(120, seed=1), np.zeros((120, 1))
    validation[60] += [30.0, -70.0]
    labels[60] = 1
    opt_ml.write_config("hyperparameters", {"sequence-length": "10", "epochs": "2"})
    opt_ml.add_channel("training", {"a.csv": make_series(400)})
    opt_ml.add_channel("validation", {"v.csv": validation})
    opt_ml.add_channel("labels", {"v.csv": labels})

    job = run_train(opt_ml)

    assert job.returncode == 0, job.log
    decision = artifacts.load(opt_ml.model_dir).decision
    assert decision.labelled is not None
    assert decision.threshold == decision.labelled.threshold
    assert (decision.labelled.n_rows, decision.labelled.n_anomalies) == (110, 1)
    for line in (r"Threshold -\S+: scores below", r"Threshold of the labels: a score"):
        assert re.search(f"^{line} ", job.log, re.MULTILINE)


def test_a_job_without_bf16_trains_in_fp32_and_says_so(
    opt_ml, run_train, make_series
) -> None:
    """In the log, in model.json and in the report; oneDNN's limit takes it away."""
    opt_ml.write_config("hyperparameters", TINY | {"precision": "bf16"})
    opt_ml.add_channel("training", {"a.csv": make_series(400)})

    end = run_train(opt_ml, ONEDNN_MAX_CPU_ISA="AVX2")

    document = json.loads((opt_ml.model_dir / "model.json").read_text())
    report = json.loads((opt_ml.base / "output/data/metrics.json").read_text())
    assert end.returncode == 0
    assert end.log.count("cannot train an LSTM in bf16") == 1
    for found in (document, report):
        assert found["hyperparameters"]["precision"] == "bf16"
        assert found["precision"] == "fp32"
