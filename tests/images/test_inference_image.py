"""What the inference image promises to whoever runs it as SageMaker does."""

import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lstm_ad import artifacts
from sagemaker_container.formats.csv_answer import write_scores
from sagemaker_container.formats.csv_table import read_table

pytestmark = pytest.mark.images

FIRST_PING_SECONDS = 5
STOP_SECONDS = 5

STERN = (
    *("--read-only", "--tmpfs", "/tmp:rw,size=16m", "--memory", "1g"),
    *("--user", "12345:54321", "--cap-drop", "all"),
)
"""The least that a container may be given: no disk, little memory, no rights."""

UPLOAD = """\
import http.client, socket, sys
body = sys.stdin.buffer.readline() * int(sys.argv[1])
connection = socket.create_connection(("127.0.0.1", 8080))
connection.sendall(
    b"POST /invocations HTTP/1.1\\r\\nHost: x\\r\\nContent-Type: text/csv\\r\\n"
    b"Content-Length: %d\\r\\nExpect: 100-continue\\r\\n\\r\\n" % len(body)
)
interim = connection.makefile("rb", 0)
assert interim.readline() == b"HTTP/1.1 100 Continue\\r\\n"
assert interim.readline() == b"\\r\\n"
connection.sendall(body[: len(body) // 2])
print("running", flush=True)
sys.stdin.buffer.readline()
connection.sendall(body[len(body) // 2 :])
response = http.client.HTTPResponse(connection)
response.begin()
print(response.status, response.read().count(b"\\n"), flush=True)
"""
"""Begin a request, wait for a line, then end the request."""

PING_UNDER_LOAD = """\
import http.client, json, sys, threading, time
n_requests, timeout = int(sys.argv[1]), float(sys.argv[2])
body = sys.stdin.buffer.read()
statuses, pings, left = [], [], threading.Semaphore(0)

def ask(method, path, body=None, timeout=None):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=timeout)
    connection.request(method, path, body, {"Content-Type": "text/csv"})
    response = connection.getresponse()
    response.read()
    return response.status

def score():
    statuses.append(ask("POST", "/invocations", body))
    left.release()

threads = [threading.Thread(target=score) for _ in range(n_requests)]
for thread in threads:
    thread.start()
while not left.acquire(blocking=False):
    pings.append(ask("GET", "/ping", timeout=timeout))
for thread in threads:
    thread.join()
print(json.dumps({"pings": sorted(set(pings)), "scores": statuses}))
"""
"""Ping again and again until the first of several large requests is answered."""

LARGEST = """\
import http.client, sys
rows = sys.stdin.buffer.read()
body = rows * (100 * 2**20 // len(rows))
connection = http.client.HTTPConnection("127.0.0.1", 8080)
connection.request("POST", "/invocations", body, {"Content-Type": "text/csv"})
response = connection.getresponse()
n_rows = 0
while piece := response.read(2**20):
    n_rows += piece.count(b"\\n")
print(response.status, n_rows == body.count(b"\\n"))
"""
"""Send as much as batch transform may, and count the rows of the answer."""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def series(make_series: Callable[..., Any], as_csv: Callable[..., bytes]) -> bytes:
    """Return a series as CSV whose last sequence is a partial one."""
    return as_csv(make_series(1234, seed=7))


def test_it_serves_with_no_network_no_disk_no_rights_and_little_memory(
    serve: Callable[..., Any], series: bytes, trained_model_dir: Path
) -> None:
    """The answer is the saved model's own, in a container that may do nothing."""
    container = serve(*STERN)
    answer = container.request("POST", "/invocations", series)
    detector = artifacts.load(trained_model_dir)
    table = read_table(io.BytesIO(series), detector.schema)
    expected = write_scores(detector.score(table.values))

    assert answer.status == 200
    assert answer.body.split(b"\n") == expected.split(b"\n")
    assert "telemetry" not in container.log


def test_a_file_of_100_mb_is_scored_in_1_gb_of_memory(
    serve: Callable[..., Any], as_csv: Callable[..., bytes], make_series: Any
) -> None:
    """The largest payload of batch transform fits the smallest of instances."""
    container = serve(*STERN)
    printed = container.python(LARGEST, given=as_csv(make_series(10_000)))

    assert printed == b"200 True\n"


def test_the_first_ping_is_answered_within_5_seconds_of_the_start(
    infer_image: str, trained_model_dir: Path, start_container: Callable[..., Any]
) -> None:
    """A new instance takes requests soon, also where it may write nothing."""
    model = ("--volume", f"{trained_model_dir}:/opt/ml/model:ro")
    container = start_container(infer_image, "serve", options=(*model, *STERN))

    container.wait_for_ping(FIRST_PING_SECONDS)


def test_it_listens_where_the_platform_says(
    serve: Callable[..., Any],
    series: bytes,
    infer_image: str,
    engine: str,
) -> None:
    """The image says that it honours SAGEMAKER_BIND_TO_PORT, and it does.

    It also says that it can serve several models: test_multi_model.py shows it.
    """
    container = serve("--env", "SAGEMAKER_BIND_TO_PORT=9090")
    inspected = subprocess.check_output([engine, "image", "inspect", infer_image])
    labels = json.loads(inspected)[0]["Config"]["Labels"]

    assert container.request("POST", "/invocations", series).status == 200
    for capability in ("accept-bind-to-port", "multi-models"):
        assert labels[f"com.amazonaws.sagemaker.capabilities.{capability}"] == "true"


def test_an_idle_server_is_process_1_and_ends_within_5_seconds_of_sigterm(
    serve: Callable[..., Any],
) -> None:
    """No shell swallows the signal: the exit code is 0, not that of SIGKILL."""
    container = serve()
    command = container.python("print(open('/proc/1/cmdline').read())").decode()
    code = container.stop(STOP_SECONDS)

    assert command.split("\0")[1] == "/opt/lstm-ad/bin/serve"
    assert code == 0, container.log


def test_a_running_request_is_finished_after_sigterm(
    serve: Callable[..., Any],
) -> None:
    """A request whose body is still coming when the signal comes gets its answer."""
    container = serve()
    with subprocess.Popen(
        container.command(UPLOAD, "50000"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(b"1.5,50.25\n")
        client.stdin.flush()
        running = client.stdout.readline()
        container.signal("TERM")
        container.wait_for_log("Handling signal: term")
        client.stdin.write(b"go on\n")
        client.stdin.flush()
        answered = client.stdout.readline()

    assert (running, answered) == (b"running\n", b"200 50000\n")
    assert container.wait() == 0, container.log


def test_a_ping_is_answered_within_2_seconds_while_every_core_scores(
    serve: Callable[..., Any], as_csv: Callable[..., bytes], make_series: Any
) -> None:
    """SageMaker's health check does not fail on a busy server."""
    container = serve()
    body = as_csv(make_series(10_000)) * 20
    n_cores = int(container.python("import os; print(len(os.sched_getaffinity(0)))"))
    printed = container.python(PING_UNDER_LOAD, str(n_cores), "2", given=body)

    assert json.loads(printed) == {"pings": [200], "scores": [200] * n_cores}


@pytest.mark.parametrize("damage", ["empty", "torn"])
def test_a_model_that_cannot_be_loaded_ends_the_server_with_one_sentence(
    infer_image: str,
    run_container: Run,
    trained_model_dir: Path,
    tmp_path: Path,
    damage: str,
) -> None:
    """There is no ping without a model: the server ends, and the log says why."""
    if damage == "torn":
        for path in trained_model_dir.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / "network.onnx").write_bytes(b"torn")
    process = run_container(
        infer_image, "serve", options=("--volume", f"{tmp_path}:/opt/ml/model:ro")
    )
    sentence = {
        "empty": "/opt/ml/model/model.json cannot be read: No such file or directory.",
        "torn": "/opt/ml/model/network.onnx is damaged: its 4 bytes are not the ones "
        "that model.json lists.",
    }

    assert process.returncode != 0
    assert sentence[damage] in process.stdout
