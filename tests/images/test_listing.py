"""What SageMaker does with the images before it accepts a listing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.images

ROOT = Path(__file__).parents[2]
REQUEST = ROOT / "docs" / "sagemaker" / "create-algorithm-listing.json"


def sample_file(part: dict[str, Any]) -> Path:
    """Return the file of the sample that a part of the request names."""
    location: str = part["DataSource"]["S3DataSource"]["S3Uri"]
    return ROOT / "data" / location.partition("/sample/")[2]


def test_the_images_pass_their_own_validation(
    train_image: str,
    infer_image: str,
    run_container: Callable[..., Any],
    start_container: Callable[..., Any],
    opt_ml: Any,
) -> None:
    """Train on the sample and transform its test series, with no network at all."""
    (profile,) = json.loads(REQUEST.read_text())["ValidationSpecification"][
        "ValidationProfiles"
    ]
    training = profile["TrainingJobDefinition"]
    transform = profile["TransformJobDefinition"]
    for channel in training["InputDataConfig"]:
        path = sample_file(channel)
        opt_ml.add_channel(channel["ChannelName"], {path.name: path.read_bytes()})
    opt_ml.write_config("hyperparameters", training["HyperParameters"])
    series = sample_file(transform["TransformInput"]).read_bytes()

    trained = run_container(
        train_image, "train", options=("--volume", f"{opt_ml.base}:/opt/ml")
    )
    assert trained.returncode == 0, trained.stdout
    server = start_container(
        infer_image,
        "serve",
        options=(
            *("--volume", f"{opt_ml.base}/model:/opt/ml/model:ro"),
            *("--env", "SAGEMAKER_BATCH=true"),
        ),
    )
    server.wait_for_ping(60)
    answer = server.request("POST", "/invocations", series)

    assert answer.status == 200
    assert answer.body.count(b"\n") == series.count(b"\n")
