"""What SageMaker sees of an endpoint: the real server, its socket and its end."""

import gzip
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.formats.columns import CSV, JSON, JSON_LINES
from sagemaker_container.formats.table import Table
from sagemaker_container.http.answers import answer
from sagemaker_container.http.request import Asked

SOURCE = Path(__file__).parents[2] / "src"
COLUMNS = ("severity", "is_anomaly")

Headers = dict[str, str]


def plain(series: np.ndarray, as_csv: Callable[..., bytes]) -> bytes:
    """Return the series as it is."""
    return as_csv(series)


def chunked(series: np.ndarray, as_csv: Callable[..., bytes]) -> Iterator[bytes]:
    """Return the series in pieces, whose length nobody announces."""
    body = as_csv(series)
    return iter([body[:999], body[999:]])


def zipped(series: np.ndarray, as_csv: Callable[..., bytes]) -> bytes:
    """Return the series compressed."""
    return gzip.compress(as_csv(series))


def as_json(series: np.ndarray, as_csv: Callable[..., bytes]) -> bytes:
    """Return the series as JSON."""
    return json.dumps({"series": series.tolist()}).encode()


REQUESTS: list[tuple[Callable[..., Any], Headers, Asked]] = [
    (plain, {"Content-Type": CSV}, Asked(columns=COLUMNS)),
    (chunked, {"Content-Type": CSV}, Asked(columns=COLUMNS)),
    (zipped, {"Content-Encoding": "gzip"}, Asked(columns=COLUMNS)),
    (as_json, {"Content-Type": JSON}, Asked(columns=COLUMNS)),
    (plain, {"Accept": JSON_LINES}, Asked(JSON_LINES)),
    (plain, {"Accept": JSON}, Asked(JSON)),
    (
        plain,
        {
            "X-Amzn-SageMaker-Custom-Attributes": "output=is_anomaly,score;header=true;"
            "return=last:1500"
        },
        Asked(CSV, ("is_anomaly", "score"), True, 1500),
    ),
]


def test_a_server_answers_and_ends_when_it_is_told(
    model_dir: Path, start_server, detector: LSTMAD, make_series, as_csv
) -> None:
    """Whatever is asked for, whole on a socket; SIGTERM ends it with 0, at once.

    One server for all of it: starting one takes longer than everything else.
    """
    series = make_series(5000, seed=6)
    series[4000, 1] = 500.0
    server = start_server(
        model_dir.parent,
        SAGEMAKER_MAX_PAYLOAD_IN_MB="1",
        SAGEMAKER_INFERENCE_OUTPUT=",".join(COLUMNS),
    )

    parameters = server.request("GET", "/execution-parameters")
    answers = [
        server.request("POST", "/invocations", send(series, as_csv), headers)
        for send, headers, _ in REQUESTS
    ]
    too_large = [b"1.5,2.5\n" * 2**13] * 17
    refusals = [
        server.request("POST", "/invocations", body, {"Content-Type": CSV})
        for body in (b"".join(too_large), iter(too_large))
    ]
    server.process.terminate()
    returncode = server.process.wait(30)  # then SageMaker kills

    assert json.loads(parameters.body)["MaxPayloadInMB"] == 1
    for found, (_, _, asked) in zip(answers, REQUESTS, strict=True):
        length, pieces = answer(detector, Table(series), asked)
        assert found.status == 200
        assert found.headers["Content-Type"] == asked.content_type
        assert found.headers["Content-Length"] == str(length)
        assert found.body == b"".join(pieces)
    assert [refusal.status for refusal in refusals] == [413, 413]
    assert refusals[0].body == refusals[1].body
    assert returncode == 0, server.log
    assert "abort" not in server.log.lower()
    assert "Traceback" not in server.log


def remove(folder: Path) -> str:
    """Leave no model at all."""
    for path in folder.iterdir():
        path.unlink()
    return f"{folder}/model.json cannot be read: No such file or directory."


def truncate(folder: Path) -> str:
    """Break a download off."""
    network = folder / "network.onnx"
    network.write_bytes(network.read_bytes()[:100])
    return (
        f"{network} is damaged: its 100 bytes are not the ones that model.json lists."
    )


@pytest.mark.parametrize("spoil", [remove, truncate])
def test_a_model_that_cannot_be_served_ends_the_server(
    model_dir: Path, launch_server, spoil: Callable[[Path], str]
) -> None:
    """A non-zero exit code and the reason, as test_artifacts.py has it.

    The port is not left open by a master that starts worker after worker.
    """
    reason = spoil(model_dir)

    server = launch_server(model_dir.parent)
    returncode = server.process.wait(60)

    errors = [line for line in server.log.splitlines() if line.startswith("ERROR")]
    assert returncode != 0
    assert errors == [f"ERROR {reason}"]
    assert not server.is_listening()
    assert "Traceback" not in server.log


def test_a_setting_that_cannot_be_used_ends_the_server(
    model_dir: Path, launch_server
) -> None:
    """One sentence, before anything starts."""
    server = launch_server(model_dir.parent, SAGEMAKER_MAX_PAYLOAD_IN_MB="lots")

    assert server.process.wait(60) == 1
    assert server.log.startswith("ERROR SAGEMAKER_MAX_PAYLOAD_IN_MB must be ")
    assert server.log.count("\n") == 1


PROBE = """
import io, json, pathlib, sys
import serve
from lstm_ad import artifacts
from sagemaker_container.http.app import create_app
from sagemaker_container.http import worker as http_worker
detector = artifacts.load(pathlib.Path(sys.argv[1]))
detector.warm_up()
client = create_app(detector, max_payload_mb=1).test_client()
answer = client.post("/invocations", data=b"1,50\\n" * 30, content_type="text/csv")
print(json.dumps([answer.status_code, sorted(sys.modules)]))
"""


def test_the_serving_process_never_imports_what_trains(model_dir: Path) -> None:
    """Neither torch nor anything else that its image does not hold."""
    output = subprocess.run(
        [sys.executable, "-c", PROBE, model_dir],
        env={"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    status, modules = json.loads(output)

    absent = {"torch", "onnx", "scipy", "matplotlib", "boto3", "sagemaker_training"}
    assert status == 200
    assert absent & {name.split(".")[0] for name in modules} == set()
    assert {"flask", "gunicorn", "onnxruntime"} <= set(modules)
