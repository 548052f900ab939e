"""The examples of docs/on-sagemaker.md, tried against a stand-in for AWS.

The stand-in speaks HTTP: each example runs in a process of its own, with the client it
is written for, which checks what it sends. Its endpoint is our own server.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SDK_PYTHON = ROOT / ".venv-sdk" / "bin" / "python"

BLOCKS = re.findall(
    r"^```python\n(.*?)^```",
    (ROOT / "docs" / "on-sagemaker.md").read_text(),
    re.DOTALL | re.MULTILINE,
)

EXAMPLES = [
    pytest.param(BLOCKS[1], Path(sys.executable), id="boto3"),
    pytest.param(BLOCKS[2], Path(sys.executable), id="SDK v3"),
    pytest.param(
        BLOCKS[3],
        SDK_PYTHON,
        id="SDK v2",
        marks=pytest.mark.skipif(
            not os.environ.get("SDK_TESTS"),
            reason="needs SageMaker's SDK v2: `make sdk test-sdk` runs it",
        ),
    ),
]


@pytest.fixture
def run_example(aws: Any, tmp_path: Path) -> Callable[..., str]:
    """Return the function that runs an example as a user would, and its scores."""

    def run(example: str, python: Path, printed: str = "scores") -> str:
        script = f"{BLOCKS[0]}\n{example}\nopen('scores.csv', 'w').write({printed})"
        process = subprocess.run(
            [python, "-c", script],
            cwd=tmp_path,
            env=aws.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 0, process.stdout
        return (tmp_path / "scores.csv").read_text()

    return run


@pytest.mark.parametrize(("example", "python"), EXAMPLES)
def test_the_example_trains_deploys_and_scores(
    example: str, python: Path, aws: Any, run_example: Callable[..., str]
) -> None:
    """It asks for the job, the model and the endpoint that it shows; it is answered."""
    scores = run_example(example, python)
    asked = dict(aws.requests)
    job = asked["CreateTrainingJob"]
    (container,) = [
        asked["CreateModel"].get("PrimaryContainer")
        or asked["CreateModel"]["Containers"][0]
    ]
    (variant,) = asked["CreateEndpointConfig"]["ProductionVariants"]

    assert scores.count("\n") == 123
    assert scores.startswith(",,\n" * 10)
    assert asked["InvokeEndpoint"] == "text/csv"
    assert job["AlgorithmSpecification"]["TrainingImage"].endswith("/lstm-ad-train")
    assert job["HyperParameters"]["sequence-length"].strip('"') == "50"
    assert [channel["ChannelName"] for channel in job["InputDataConfig"]] == [
        "training"
    ]
    assert job["EnableNetworkIsolation"] is True
    assert container["Image"].endswith("/lstm-ad-infer")
    assert container["ModelDataUrl"] == aws.model_data
    assert variant["ModelName"] == asked["CreateModel"]["ModelName"]


def test_the_asynchronous_example_is_answered_with_where_its_scores_will_be(
    aws: Any, run_example: Callable[..., str]
) -> None:
    """The platform sends the file on S3 to our server, with what was asked for."""
    (example,) = [block for block in BLOCKS if "invoke_endpoint_async" in block]

    printed = run_example(example, Path(sys.executable), "str(started)")

    (answer,) = [asked for name, asked in aws.requests if name == "InvokeEndpointAsync"]
    assert "s3://OutputLocation" in printed
    assert answer.status == 200
    assert answer.headers["Content-Length"] == str(len(answer.body))
    assert answer.body.startswith(b"score,is_anomaly\n,\n")
    assert answer.body.count(b"\n") == 1 + 123
