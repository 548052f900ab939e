"""The one slow job of the tests, run beside all the others, and a stand-in for AWS."""

import dataclasses
import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

ORIGINAL = Path(__file__).parents[3] / "shared" / "original"
"""The original product's sample: beside the repository where it may be used."""

MODEL_DATA = "s3://where-the-job-put-it/output/model.tar.gz"

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
    "DescribeHyperParameterTuningJob": {
        "HyperParameterTuningJobStatus": "Completed",
        "BestTrainingJob": {"TunedHyperParameters": {"lr": "0.01"}},
    },
    "DescribeTransformJob": {"TransformJobStatus": "Completed"},
    "DescribeLogStreams": {"logStreams": []},
}
"""What the stand-in says of what was made: all is well."""


@pytest.fixture(scope="session", autouse=True)
def original_training(
    request: pytest.FixtureRequest,
    make_opt_ml: Callable[[], Any],
    run_train: Callable[..., Any],
) -> Iterator[Future[Any] | None]:
    """Start training on the original's sample; yield what will be (folder, end).

    It takes half a minute of one core, so it begins with the first contract test and
    is awaited by the tests that need it. Without those, or without the sample, there
    is nothing to start.
    """
    is_needed = any(i.path.name == "test_original.py" for i in request.session.items)
    if not (is_needed and ORIGINAL.is_dir()):
        yield None
        return
    job = make_opt_ml()
    for channel, name in (("training", "train.csv"), ("validation", "valid.csv")):
        job.add_channel(channel, {name: (ORIGINAL / name).read_bytes()})
    with ThreadPoolExecutor(max_workers=1) as background:
        yield background.submit(lambda: (job, run_train(job)))


@dataclasses.dataclass(frozen=True)
class Aws:
    """A stand-in for AWS."""

    requests: list[tuple[str, Any]]
    """The operations that were asked for, and their parameters."""
    variables: dict[str, str]
    """The environment of whoever is to ask it, with a folder that holds a series."""
    model_data: str = MODEL_DATA
    """Where it says that the job has put the model."""


@pytest.fixture
def aws(
    model_dir: Path,
    start_server: Callable[..., Any],
    tmp_path: Path,
    make_series: Callable[..., Any],
    as_csv: Callable[..., bytes],
) -> Iterator[Aws]:
    """Return a stand-in for AWS whose one endpoint is our server."""
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
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
    }
    endpoint = start_server(model_dir.parent)
    requests: list[tuple[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/endpoints/lstm-ad/invocations":
                names = ("Content-Type", "Accept")
                headers = {n: self.headers[n] for n in names if self.headers[n]}
                answer = endpoint.request("POST", "/invocations", body, headers)
                requests.append(("InvokeEndpoint", self.headers["Content-Type"]))
                content_type = answer.headers["Content-Type"]
                return self.answer(answer.status, content_type, answer.body)
            if self.path.endswith("/async-invocations"):
                return self.invoke_later()
            operation = self.headers["X-Amz-Target"].split(".")[-1]
            requests.append((operation, json.loads(body)))
            made = {"TrainingJobArn": "arn", "ModelArn": "arn", "EndpointArn": "arn"}
            document = DESCRIPTIONS.get(operation, {})
            content = json.dumps({**made, **document}).encode()
            return self.answer(200, "application/x-amz-json-1.1", content)

        def invoke_later(self) -> None:
            location = self.headers["X-Amzn-SageMaker-InputLocation"]
            names = ("Content-Type", "Accept", "X-Amzn-SageMaker-Custom-Attributes")
            headers = {n: self.headers[n] for n in names if self.headers[n]}
            content = (series.parent / location.rpartition("/")[2]).read_bytes()
            answer = endpoint.request("POST", "/invocations", content, headers)
            requests.append(("InvokeEndpointAsync", answer))
            self.send_response(202)
            for name in ("OutputLocation", "FailureLocation"):
                self.send_header(f"X-Amzn-SageMaker-{name}", f"s3://{name}")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

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
        url = f"http://127.0.0.1:{server.server_port}"
        yield Aws(requests, {**variables, "AWS_ENDPOINT_URL": url})
        server.shutdown()
        thread.join()
