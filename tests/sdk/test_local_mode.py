"""SageMaker's own SDK trains, deploys and transforms with the two images.

Its local mode writes what the service writes (/opt/ml, hyperparameters as JSON strings,
the variables of batch transform) and runs the images over a Docker socket. It is one
story: each test takes up where the one before ended.
"""

import json
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.sdk

COMPOSE = """\
#!/bin/sh
# docker-compose may ask for the exit code of a container before podman knows that it
# has ended, and then takes it for 0: ask once more.
real=%s
trap : TERM  # the SDK ends a server through this, and the real one as well
$real "$@" || exit
case " $* " in *" --abort-on-container-exit "*)
  for container in $($real "$1" "$2" ps --quiet); do
    code=$(docker wait "$container")
    [ "$code" = 0 ] || exit "$code"
  done
esac
"""
"""Put before docker-compose, where there is one of its own (version 1)."""

SEQUENCE_LENGTH = 10
N_ROWS = 234


@pytest.fixture(scope="module", autouse=True)
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give the SDK what it wants to start: credentials, a region, no telemetry."""
    if not os.environ.get("SDK_TESTS"):
        pytest.skip("needs SageMaker's SDK and Docker: `make images sdk test-sdk`")
    config = tmp_path_factory.mktemp("config") / "config.yaml"
    config.write_text(
        "SchemaVersion: '1.0'\n"
        "SageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n"
    )
    with pytest.MonkeyPatch.context() as variables:
        if compose := shutil.which("docker-compose"):
            wrapper = config.with_name("docker-compose")
            wrapper.write_text(COMPOSE % compose)
            wrapper.chmod(0o755)
            variables.setenv("PATH", str(wrapper.parent), prepend=os.pathsep)
        variables.setenv("AWS_ACCESS_KEY_ID", "none")
        variables.setenv("AWS_SECRET_ACCESS_KEY", "none")
        variables.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        variables.setenv("AWS_EC2_METADATA_DISABLED", "true")
        variables.setenv("SAGEMAKER_SUPPRESS_V2_WARNING", "1")
        variables.setenv("SAGEMAKER_USER_CONFIG_OVERRIDE", str(config))
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the channels, and the file to be scored."""
    folder = tmp_path_factory.mktemp("sdk")
    phase = 2 * np.pi * np.arange(1000)[:, None] / [20, 25]
    noise = np.random.default_rng(0).normal(scale=0.1, size=phase.shape)
    series = np.sin(phase) + noise
    for name, rows in (
        ("training/train.csv", series[:700]),
        ("validation/valid.csv", series[700:]),
        ("input/test.csv", series[:N_ROWS]),
    ):
        (folder / name).parent.mkdir()
        np.savetxt(folder / name, rows, delimiter=",")
    (folder / "broken").mkdir()
    (folder / "broken" / "train.csv").write_text("1.0,2.0\n3.0\n")
    return folder


@pytest.fixture(scope="module")
def make_estimator(folder: Path, offline: None) -> Callable[..., Any]:
    """Return the function that makes an estimator of the training image."""
    from sagemaker.estimator import Estimator
    from sagemaker.local import LocalSession

    session = LocalSession()
    root = folder / "containers"
    root.mkdir()
    session.config = {"local": {"local_code": True, "container_root": str(root)}}
    settings = {
        "sequence-length": SEQUENCE_LENGTH,
        "hidden-size": 8,
        "epochs": 2,
        "lr": 0.01,
    }
    defaults = {"instance_count": 1, "hyperparameters": settings}
    return lambda **options: Estimator(
        image_uri=os.environ["TRAIN_IMAGE"],
        role="arn:aws:iam::111111111111:role/none",
        instance_type="local",
        sagemaker_session=session,
        output_path=f"file://{folder}/output",
        **{**defaults, **options},
    )


@pytest.fixture(scope="module")
def estimator(make_estimator: Callable[[], Any], folder: Path) -> Any:
    """Return an estimator, fitted with both channels."""
    estimator = make_estimator()
    estimator.fit(
        {
            "training": f"file://{folder}/training",
            "validation": f"file://{folder}/validation",
        }
    )
    return estimator


@pytest.fixture(scope="module")
def model(estimator: Any) -> Any:
    """Return the model of the training job in the inference image."""
    return estimator.create_model(image_uri=os.environ["INFER_IMAGE"])


@pytest.fixture(scope="module")
def predictions(model: Any, folder: Path) -> list[list[str]]:
    """Return the rows that the endpoint answers to the file."""
    from sagemaker.deserializers import CSVDeserializer
    from sagemaker.predictor import Predictor
    from sagemaker.serializers import CSVSerializer

    # Without waiting, because the SDK then polls every 30 s; it returns after a ping.
    model.deploy(1, "local", wait=False)
    predictor = Predictor(
        model.endpoint_name,
        sagemaker_session=model.sagemaker_session,
        serializer=CSVSerializer(),
        deserializer=CSVDeserializer(),
    )
    try:
        rows = np.loadtxt(folder / "input" / "test.csv", delimiter=",")
        return list(predictor.predict(rows))
    finally:
        predictor.delete_endpoint()


def test_fit_leaves_the_artifacts_in_a_model_tar_gz(estimator: Any) -> None:
    """A training job of the SDK ends with the model where the service puts it."""
    with tarfile.open(estimator.model_data.removeprefix("file://")) as archive:
        names = {name.removeprefix("./") for name in archive.getnames()} - {"."}

    assert names == {
        "model.json",
        "network.onnx",
        "statistics.safetensors",
        "weights.safetensors",
    }


def test_predict_returns_a_score_and_the_reconstructions_per_row(
    predictions: list[list[str]],
) -> None:
    """An array goes in as CSV; a row comes out per row, empty in the first sequence."""
    empty, scored = predictions[:SEQUENCE_LENGTH], predictions[SEQUENCE_LENGTH:]

    assert empty == [["", "", ""]] * SEQUENCE_LENGTH
    assert len(scored) == N_ROWS - SEQUENCE_LENGTH
    assert np.isfinite(np.array(scored, dtype=np.float64)).all()


def test_batch_transform_answers_what_the_endpoint_answers(
    model: Any, predictions: list[list[str]], folder: Path
) -> None:
    """A whole file per request, with no setting of the user: equal row for row."""
    transformer = model.transformer(
        instance_count=1,
        instance_type="local",
        output_path=f"file://{folder}/transformed",
        accept="text/csv",
    )
    # It is at its end when this returns; waiting would ask the service for its log.
    transformer.transform(
        f"file://{folder}/input", content_type="text/csv", wait=False, logs=False
    )
    text = (folder / "transformed" / "test.csv.out").read_text()

    assert [line.split(",") for line in text.splitlines()] == predictions


def test_a_broken_file_fails_the_job_with_our_sentence(
    make_estimator: Callable[[], Any], folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """`fit` raises, and the failure reason is the sentence about the file."""
    with pytest.raises(RuntimeError, match=r"exited with code: 1$"):
        make_estimator().fit({"training": f"file://{folder}/broken"})

    assert (
        "train.csv: Row 2 has 1 cell, but the rows before have 2; all rows need the "
        "same number."
    ) in capfd.readouterr().out


def test_two_instances_train_one_model(
    make_estimator: Callable[..., Any],
    folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Over the containers' network, by the names that the SDK gives the hosts."""
    estimator = make_estimator(instance_count=2)
    estimator.fit({"training": f"file://{folder}/training"})
    log = capfd.readouterr().out

    with tarfile.open(estimator.model_data.removeprefix("file://")) as archive:
        names = {Path(name).name for name in archive.getnames()}
    assert {"model.json", "network.onnx"} <= names
    assert re.search(r"Training with \d+ processes on 2 instances\.", log)
    assert len(re.findall(r"best epoch: ", log)) == 1


def test_a_model_uri_is_where_training_starts(
    make_estimator: Callable[..., Any],
    estimator: Any,
    folder: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The SDK gives it as the channel `model`, of SageMaker's own content type."""

    def description(archive_uri: str) -> Any:
        with tarfile.open(archive_uri.removeprefix("file://")) as archive:
            (name,) = [n for n in archive.getnames() if n.endswith("model.json")]
            return json.load(archive.extractfile(name))

    old = description(estimator.model_data)
    calibrated = make_estimator(
        model_uri=estimator.model_data, hyperparameters={"warm-start": "calibrate"}
    )
    calibrated.fit({"training": f"file://{folder}/training"})

    assert description(calibrated.model_data)["parent"] == old["digest"]
    assert "Better than the model it came from?" in capfd.readouterr().out
