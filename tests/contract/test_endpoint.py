"""What SageMaker sees of an endpoint: the real server, its socket and its end."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.formats.csv import write_scores

SOURCE = Path(__file__).parents[2] / "src"
CSV = {"Content-Type": "text/csv"}
ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"


def test_a_server_answers_and_ends_when_it_is_told(
    model_dir: Path, start_server, detector: LSTMAD, make_series, as_csv
) -> None:
    """All routes on a real socket; SIGTERM ends it with 0, at once, aborting nothing.

    One server for all of it: starting one takes longer than everything else.
    """
    series = make_series(1000, seed=6)
    body = as_csv(series)
    expected = write_scores(detector.score(series))
    server = start_server(model_dir.parent, SAGEMAKER_MAX_PAYLOAD_IN_MB="7")

    ping = server.request("GET", "/ping")
    parameters = server.request("GET", "/execution-parameters")
    scored = server.request("POST", "/invocations", body, CSV)
    chunked = server.request(
        "POST", "/invocations", iter([body[:999], body[999:]]), CSV
    )
    zipped = server.request(
        "POST", "/invocations", gzip.compress(body), CSV | {"Content-Encoding": "gzip"}
    )
    bad = server.request("POST", "/invocations", b"1,2\n3\n", CSV)
    missing = server.request("GET", "/models")
    server.process.terminate()
    returncode = server.process.wait(30)  # then SageMaker kills

    assert (ping.status, ping.body) == (200, b"")
    assert json.loads(parameters.body) == {
        "MaxConcurrentTransforms": 1,
        "MaxPayloadInMB": 7,
    }
    assert (scored.status, scored.headers["Content-Type"]) == (200, "text/csv")
    assert scored.body == expected
    assert (chunked.status, chunked.body) == (200, expected)
    assert (zipped.status, zipped.body) == (200, expected)
    assert bad.status == 400
    assert bad.body == (
        b"Row 2 has 1 cell, but the rows before have 2; all rows need the same number."
        b"\n"
    )
    assert missing.status == 404
    assert returncode == 0, server.log
    assert "abort" not in server.log.lower()
    assert "Traceback" not in server.log


SCHEMA = json.loads((SOURCE.parent / "docs" / "answer.schema.json").read_text())
ROW = {"$ref": "#/$defs/row", "$defs": SCHEMA["$defs"]}


def test_a_server_answers_in_the_format_that_is_asked_for(
    model_dir: Path, start_server, detector: LSTMAD, make_series, as_csv
) -> None:
    """CSV with other columns, JSON Lines and JSON, whole and complete on a socket."""
    series = make_series(5000, seed=6)
    series[4000, 1] = 500.0
    score = detector.score(series).normality_score
    body = as_csv(series)
    server = start_server(model_dir.parent)

    def ask(accept: str, attributes: str = ""):
        headers = {"Accept": accept, ATTRIBUTES: attributes}
        return server.request("POST", "/invocations", body, CSV | headers)

    csv = ask("text/csv", "output=is_anomaly,score;header=true;return=last:1500")
    lines = ask("application/jsonlines")
    document = ask("application/json")
    from_json = server.request(
        "POST",
        "/invocations",
        json.dumps({"series": series.tolist()}).encode(),
        {"Content-Type": "application/json"},
    )
    default = ask("*/*", "Trace ID: 42")

    assert (csv.status, csv.headers["Content-Type"]) == (200, "text/csv")
    head, *cells = csv.body.decode().split("\n")
    assert head == "is_anomaly,score"
    assert len(cells) == 1500 + 1
    assert [float(line.split(",")[1]) for line in cells[:-1]] == score[-1500:].tolist()
    assert cells[4000 - 3500].startswith("1,")

    assert lines.status == 200
    assert lines.headers["Content-Type"] == "application/jsonlines"
    rows = [json.loads(line) for line in lines.body.decode().splitlines()]
    validator = jsonschema.Draft202012Validator(ROW)
    assert [error for row in rows for error in validator.iter_errors(row)] == []
    assert [row["normality_score"] for row in rows[10:]] == score[10:].tolist()

    assert document.status == 200
    assert document.headers["Content-Type"] == "application/json"
    answer = json.loads(document.body)
    jsonschema.Draft202012Validator(SCHEMA).validate(answer)
    assert answer["rows"] == rows
    assert 4001 in [event["peak_row"] for event in answer["events"]]

    expected = write_scores(detector.score(series))
    assert (default.body, from_json.body) == (expected, expected)
    assert default.headers["Content-Length"] == str(len(expected))
    formats = [
        json.loads(line.removeprefix("INFO "))["format"]
        for line in server.log.splitlines()
        if "POST /invocations" in line
    ]
    assert formats == [
        "text/csv",
        "application/jsonlines",
        "application/json",
        "text/csv",
        "text/csv",
    ]


def test_a_server_gives_the_columns_that_it_was_started_with(
    model_dir: Path, start_server, detector: LSTMAD, make_series, as_csv
) -> None:
    """In a batch transform there is no other way to ask: it sends no attributes."""
    series = make_series(47, seed=6)
    scores = detector.score(series)
    severity = detector.decision.severity(scores.normality_score)
    server = start_server(
        model_dir.parent,
        SAGEMAKER_BATCH="true",
        SAGEMAKER_INFERENCE_OUTPUT="severity,is_anomaly",
    )

    answer = server.request("POST", "/invocations", as_csv(series), CSV)

    lines = answer.body.decode().split("\n")
    assert answer.status == 200
    assert lines[:10] == [","] * 10
    assert lines[47:] == [""]
    assert [float(line.split(",")[0]) for line in lines[10:47]] == (
        severity[10:].tolist()
    )


def test_a_body_over_the_limit_is_413_on_a_socket_too(
    model_dir: Path, start_server
) -> None:
    """Chunked, its length unknown: neither cut nor a broken connection."""
    server = start_server(model_dir.parent, SAGEMAKER_MAX_PAYLOAD_IN_MB="1")
    piece = b"1.5,2.5\n" * 2**13

    announced = server.request("POST", "/invocations", piece * 17, CSV)
    chunked = server.request("POST", "/invocations", iter([piece] * 17), CSV)

    sentence = (
        b"The request body is larger than 1 MB, the limit of this server; "
        b"SAGEMAKER_MAX_PAYLOAD_IN_MB sets it.\n"
    )
    assert (announced.status, announced.body) == (413, sentence)
    assert (chunked.status, chunked.body) == (413, sentence)


def remove(folder: Path) -> None:
    """Leave no model at all."""
    for path in folder.iterdir():
        path.unlink()


def truncate(folder: Path) -> None:
    """Break a download off."""
    network = folder / "network.onnx"
    network.write_bytes(network.read_bytes()[:100])


def age(folder: Path) -> None:
    """Let another version have written it."""
    path = folder / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format_version": 0}))


def retouch(folder: Path) -> None:
    """Change the threshold by hand."""
    path = folder / "model.json"
    document = json.loads(path.read_text())
    document["decision"]["alarm_threshold"] = -7.0
    path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("spoil", "expected"),
    [
        (remove, "{model_dir}/model.json cannot be read: No such file or directory."),
        (
            truncate,
            "{model_dir}/network.onnx is damaged: its 100 bytes are not the ones that "
            "model.json lists.",
        ),
        (
            age,
            "{model_dir}/model.json has format version 0, but this product reads "
            "version 3: train the model again, or serve it with the image that trained "
            "it.",
        ),
        (
            retouch,
            "{model_dir}/model.json does not match its own digest, so it was changed "
            "after training: use it as it was saved, or train the model again.",
        ),
    ],
    ids=["missing", "truncated", "of another version", "changed by hand"],
)
def test_a_model_that_cannot_be_served_ends_the_server(
    model_dir: Path, launch_server, spoil, expected: str
) -> None:
    """A non-zero exit code, and the reason in one sentence, without a traceback."""
    spoil(model_dir)

    server = launch_server(model_dir.parent)
    returncode = server.process.wait(60)

    lines = server.log.splitlines()
    assert returncode != 0
    assert f"ERROR {expected.format(model_dir=model_dir)}" in lines
    assert "Traceback" not in server.log


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("SAGEMAKER_MAX_PAYLOAD_IN_MB", "lots", "must be "),
        ("SAGEMAKER_INFERENCE_OUTPUT", "score,predicted_label", "names "),
    ],
)
def test_a_setting_that_cannot_be_used_ends_the_server(
    model_dir: Path, launch_server, variable: str, value: str, expected: str
) -> None:
    """The variable, what was given and what is accepted, before anything starts."""
    server = launch_server(model_dir.parent, **{variable: value})

    assert server.process.wait(60) == 1
    assert server.log.startswith(f"ERROR {variable} {expected}")
    assert server.log.count("\n") == 1


PROBE = """
import io, json, pathlib, sys
import serve
from lstm_ad import artifacts
from sagemaker_container.http.app import create_app
from sagemaker_container.http import worker as http_worker
detector = artifacts.load(pathlib.Path(sys.argv[1]), n_threads=1)
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
