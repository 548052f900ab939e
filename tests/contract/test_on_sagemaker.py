"""The examples of docs/on-sagemaker.md, tried against a stand-in for AWS.

The stand-in speaks HTTP: each example runs in a process of its own, with the client it
is written for, which checks what it sends. Its endpoint is our own server.
"""

import dataclasses
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
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

MODEL_DATA = "s3://amzn-s3-demo-bucket/lstm-ad/output/lstm-ad/output/model.tar.gz"

DESCRIPTIONS: dict[str, dict[str, Any]] = {
    "DescribeTrainingJob": {
        "TrainingJobName": "lstm-ad",
        "TrainingJobStatus": "Completed",
        "SecondaryStatus": "Completed",
        "ModelArtifacts": {"S3ModelArtifacts": MODEL_DATA},
        "ResourceConfig": {"InstanceCount": 1, "VolumeSizeInGB": 10},
    },
    "DescribeModel": {"ModelName": "lstm-ad"},
    "DescribeEndpointConfig": {"EndpointConfigName": "lstm-ad"},
    "DescribeEndpoint": {"EndpointName": "lstm-ad", "EndpointStatus": "InService"},
    "DescribeLogStreams": {"logStreams": []},
}
"""What the stand-in says of what was made: all is well."""

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


@dataclasses.dataclass(frozen=True)
class Aws:
    """A stand-in for AWS."""

    url: str
    requests: list[tuple[str, Any]]
    """The operations that were asked for, and their parameters."""


@pytest.fixture
def aws(model_dir: Path, start_server: Callable[..., Any]) -> Iterator[Aws]:
    """Return a stand-in for AWS whose one endpoint is our server."""
    endpoint = start_server(model_dir.parent)
    requests: list[tuple[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/endpoints/lstm-ad/invocations":
                headers = {"Content-Type": self.headers["Content-Type"]}
                answer = endpoint.request("POST", "/invocations", body, headers)
                requests.append(("InvokeEndpoint", self.headers["Content-Type"]))
                return self.answer(answer.status, "text/csv", answer.body)
            operation = self.headers["X-Amz-Target"].split(".")[-1]
            requests.append((operation, json.loads(body)))
            made = {"TrainingJobArn": "arn", "ModelArn": "arn", "EndpointArn": "arn"}
            document = DESCRIPTIONS.get(operation, {})
            content = json.dumps({**made, **document}).encode()
            return self.answer(200, "application/x-amz-json-1.1", content)

        def answer(self, status: int, content_type: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Aws(f"http://127.0.0.1:{server.server_port}", requests)
        server.shutdown()
        thread.join()


@pytest.fixture
def run_example(aws: Aws, tmp_path: Path, make_series: Any, as_csv: Any) -> Any:
    """Return the function that runs an example as a user would, and its scores."""
    series = tmp_path / "data" / "inference" / "input" / "test_data.csv"
    series.parent.mkdir(parents=True)
    series.write_bytes(as_csv(make_series(123)))
    config = tmp_path / "config.yaml"
    config.write_text(
        "SchemaVersion: '1.0'\n"
        "SageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n"
    )
    variables = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
    }

    def run(example: str, python: Path) -> str:
        script = f"{BLOCKS[0]}\n{example}\nopen('scores.csv', 'w').write(scores)"
        process = subprocess.run(
            [python, "-c", script],
            cwd=tmp_path,
            env=variables,
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
    example: str, python: Path, aws: Aws, run_example: Callable[[str, Path], str]
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
    assert container["ModelDataUrl"] == MODEL_DATA
    assert variant["ModelName"] == asked["CreateModel"]["ModelName"]
