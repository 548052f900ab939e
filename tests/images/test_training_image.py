"""What the training image promises to whoever runs it as SageMaker does."""

import json
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import retraining

pytestmark = pytest.mark.images

Run = Callable[..., subprocess.CompletedProcess[str]]


def test_it_trains_with_no_network_and_no_rights_and_writes_only_to_opt_ml(
    trained: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """`docker run IMAGE train` leaves a model and nothing else, as any user."""
    base, process = trained

    assert process.returncode == 0, process.stdout
    assert {path.name for path in (base / "model").iterdir()} == {
        "model.json",
        "network.onnx",
        "statistics.safetensors",
        "weights.safetensors",
    }
    assert not (base / "output" / "failure").exists()


def test_a_broken_file_fails_the_job_with_one_sentence(
    train_image: str, run_container: Run, opt_ml: Any
) -> None:
    """The failure reason names file, row and column, and the exit code is 1."""
    opt_ml.add_channel("training", {"train.csv": b"1.0,2.0\n3.0,x\n"})

    process = run_container(
        train_image, "train", options=("--volume", f"{opt_ml.base}:/opt/ml")
    )

    assert process.returncode == 1, process.stdout
    assert opt_ml.failure_file.read_text() == (
        'train.csv: Row 2, column 2: "x" is not a number; use a finite decimal number.'
    )


@pytest.mark.parametrize("step", ["Unpack", "Keep"])
def test_it_runs_what_the_retraining_pipeline_asks_of_it(
    step: str, train_image: str, run_container: Run, tmp_path: Path
) -> None:
    """Its steps that unpack and copy have no image of their own."""
    (tmp_path / "input").mkdir()
    (tmp_path / "output").mkdir()
    (tmp_path / "metrics.json").write_text("{}")
    for name in ("output.tar.gz", "model.tar.gz"):
        with tarfile.open(tmp_path / "input" / name, "w:gz") as archive:
            archive.add(tmp_path / "metrics.json", "metrics.json")
    steps = retraining.pipeline_definition()["Steps"]
    steps += steps[-1]["Arguments"]["IfSteps"]
    (found,) = (one for one in steps if one["Name"] == step)

    process = run_container(
        train_image,
        *found["Arguments"]["AppSpecification"]["ContainerEntrypoint"],
        options=("--volume", f"{tmp_path}:/opt/ml/processing"),
    )

    assert process.returncode == 0, process.stdout
    assert [path.name for path in (tmp_path / "output").iterdir()] == [
        {"Unpack": "metrics.json", "Keep": "model.tar.gz"}[step]
    ]


def test_train_is_process_1_and_a_stop_saves_the_model(
    train_image: str,
    start_container: Callable[..., Any],
    opt_ml: Any,
    make_series: Callable[..., Any],
) -> None:
    """SIGTERM reaches the training itself: it ends with exit code 0 and a model."""
    opt_ml.add_channel("training", {"train.csv": make_series(1000)})
    opt_ml.write_config(
        "hyperparameters",
        {"sequence-length": "10", "hidden-size": "8", "epochs": "1000000"},
    )
    container = start_container(
        train_image, "train", options=("--volume", f"{opt_ml.base}:/opt/ml")
    )
    container.wait_for_log("epoch: 1 ")
    command = container.python("print(open('/proc/1/cmdline').read())").decode()
    code = container.stop(seconds=60)

    assert command.split("\0")[1] == "/opt/lstm-ad/bin/train"
    assert code == 0, container.log
    assert json.loads((opt_ml.model_dir / "model.json").read_text())["n_series"] == 2
