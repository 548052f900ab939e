import gzip
import io
import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from flask.testing import FlaskClient

import specification
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import Gaussian
from sagemaker_container.formats.csv import write_scores
from sagemaker_container.http.app import MAX_REQUESTS, create_app


@pytest.fixture
def client(detector: LSTMAD) -> FlaskClient:
    """Return a client of the application with the tiny detector, limited to 1 MB."""
    return create_app(detector, max_payload_mb=1).test_client()


@pytest.fixture
def series(make_series) -> np.ndarray:
    """Return a series with a last partial sequence."""
    return make_series(47, seed=5)


@pytest.fixture
def body(series: np.ndarray, as_csv) -> bytes:
    """Return that series as CSV."""
    return as_csv(series)


def sentence(response) -> str:
    """Return the one line of an error."""
    assert response.content_type == "text/plain"
    text = response.get_data(as_text=True)
    assert text.endswith(".\n")
    assert text.count("\n") == 1
    return text[:-1]


def test_ping_is_200_and_nothing_else(client: FlaskClient) -> None:
    """The application is only made once the model is loaded."""
    response = client.get("/ping")

    assert response.status_code == 200
    assert response.data == b""


def test_execution_parameters_let_a_large_file_be_one_request(
    client: FlaskClient,
) -> None:
    """Two numbers, and no BatchStrategy: the SDK's local mode refuses its spelling."""
    response = client.get("/execution-parameters")

    assert response.status_code == 200
    assert response.content_type == "application/json"
    assert response.json == {"MaxConcurrentTransforms": 1, "MaxPayloadInMB": 1}


def test_invocations_answer_a_row_of_scores_per_row(
    client: FlaskClient, detector: LSTMAD, series: np.ndarray, body: bytes
) -> None:
    """The bytes are those of the detector's own scores; the type is exact."""
    response = client.post("/invocations", data=body, content_type="text/csv")

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/csv"
    assert response.headers["Content-Length"] == str(len(response.data))
    assert response.data == write_scores(detector.score(series))
    lines = response.data.decode().split("\n")
    assert lines[:10] == [",,"] * 10
    assert len(lines) == 47 + 1
    assert lines[-1] == ""


@pytest.mark.parametrize(
    "content_type",
    [
        None,
        "text/csv",
        "TEXT/CSV",
        "text/csv; charset=utf-8",
        "text/csv;label_size=0",
        'text/csv; charset="UTF-8"; header=absent',
    ],
)
def test_csv_is_accepted_with_any_parameters(
    client: FlaskClient, body: bytes, content_type: str | None
) -> None:
    """Real clients send them; none at all is taken for CSV."""
    response = client.post("/invocations", data=body, content_type=content_type)

    assert response.status_code == 200


@pytest.mark.parametrize(
    "content_type",
    ["application/jsonlines", "text/plain", "application/x-npy", "csv", "json"],
)
def test_another_content_type_is_415(
    client: FlaskClient, body: bytes, content_type: str
) -> None:
    """The sentence has what was sent and what is accepted."""
    response = client.post("/invocations", data=body, content_type=content_type)

    assert response.status_code == 415
    assert sentence(response) == (
        f'The content type is "{content_type}": accepted are text/csv and '
        f"application/json."
    )


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "text/*",
        "text/csv",
        "TEXT/CSV",
        "text/csv; charset=utf-8",
        "text/csv;q=0.5",
        "application/json;q=0.1, text/csv;q=0.5",
        "application/json;q=0.5, text/csv;q=0.5",
        "application/jsonlines;q=0.9, text/*",
        "text/html, */*;q=0.1",
        "text/csv, application/json;q=0",
    ],
)
def test_whoever_accepts_csv_gets_csv(
    client: FlaskClient, body: bytes, accept: str | None
) -> None:
    """Absent, wildcards, lists with weights and parameters."""
    headers = {} if accept is None else {"Accept": accept}

    response = client.post(
        "/invocations", data=body, content_type="text/csv", headers=headers
    )

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/csv"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("application/json", "application/json"),
        ("Application/JSON; charset=utf-8", "application/json"),
        ("application/json, text/csv;q=0.1", "application/json"),
        ("application/json, */*", "application/json"),
        ("application/*", "application/json"),
        ("text/csv;q=0, */*", "application/json"),
        ("text/csv;q=0.1, */*", "application/json"),
        ("application/jsonlines", "application/jsonlines"),
        ("application/json;q=0.5, application/jsonlines", "application/jsonlines"),
        ("text/csv;q=0.1, application/jsonlines;q=0.2", "application/jsonlines"),
        ("text/html, application/jsonlines;q=0.1", "application/jsonlines"),
        ("application/json;q=0, application/*", "application/jsonlines"),
    ],
)
def test_what_a_client_likes_best_it_gets(
    client: FlaskClient, body: bytes, accept: str, expected: str
) -> None:
    """By the weights of what it accepts; the more specific name first."""
    response = client.post(
        "/invocations", data=body, content_type="text/csv", headers={"Accept": accept}
    )

    assert response.status_code == 200
    assert response.headers["Content-Type"] == expected


@pytest.mark.parametrize(
    "accept",
    ["text/html", "text/csv;q=0", "text/plain, image/*", "application/x-ndjson"],
)
def test_whoever_accepts_none_of_the_formats_gets_406(
    client: FlaskClient, body: bytes, accept: str
) -> None:
    """The sentence says what the answer can be."""
    response = client.post(
        "/invocations", data=body, content_type="text/csv", headers={"Accept": accept}
    )

    assert response.status_code == 406
    assert sentence(response).startswith(
        "The answer can be text/csv, application/json or application/jsonlines, but "
        'the request accepts only "'
    )


def post(client: FlaskClient, body: bytes, accept: str, attributes: str = ""):
    """Return the answer to a series in CSV."""
    headers = {"Accept": accept, "X-Amzn-SageMaker-Custom-Attributes": attributes}
    return client.post(
        "/invocations", data=body, content_type="text/csv", headers=headers
    )


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; a=b"])
def test_a_series_may_come_as_json(
    client: FlaskClient, series: np.ndarray, body: bytes, content_type: str
) -> None:
    """It is the same series: the answer has the same bytes."""
    response = client.post(
        "/invocations",
        data=json.dumps({"series": series.tolist()}),
        content_type=content_type,
    )

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/csv"
    assert response.data == post(client, body, "text/csv").data


def test_the_formats_that_sagemaker_is_told_of_are_those_that_are_served(
    client: FlaskClient, series: np.ndarray, body: bytes
) -> None:
    """All that are declared, in and out."""
    declared = specification.create_algorithm()["InferenceSpecification"]
    bodies = {
        "text/csv": body,
        "application/json": json.dumps({"series": series.tolist()}),
    }

    answers = {
        (given, accepted): client.post(
            "/invocations",
            data=bodies[given],
            content_type=given,
            headers={"Accept": accepted},
        )
        for given in declared["SupportedContentTypes"]
        for accepted in declared["SupportedResponseMIMETypes"]
    }

    assert len(answers) == 6
    for (_, accepted), answer in answers.items():
        assert (answer.status_code, answer.content_type) == (200, accepted)


def test_json_that_cannot_be_used_is_400(client: FlaskClient) -> None:
    """With the row and the column, as for CSV."""
    response = client.post(
        "/invocations",
        data='{"series": [[1, 2], [3, null]]}',
        content_type="application/json",
    )

    assert response.status_code == 400
    assert sentence(response) == (
        "Row 2, column 2: the value is missing; each cell needs a finite number."
    )


def test_json_over_the_limit_is_413(client: FlaskClient) -> None:
    """Its size is limited as that of CSV is."""
    data = b'{"series": [' + b"[1.5,2.5]," * 2**17 + b"[1,2]]}"

    response = client.post("/invocations", data=data, content_type="application/json")

    assert response.status_code == 413
    assert sentence(response) == TOO_LARGE


def test_attributes_choose_columns_and_rows(
    client: FlaskClient, detector: LSTMAD, series: np.ndarray, body: bytes
) -> None:
    """In the order of the request, with their names, the last rows alone."""
    attributes = "return=last:2;header=true;output=is_anomaly,score"
    scores = detector.score(series).normality_score[-2:]
    anomalies = detector.decision.is_anomaly(scores)

    response = post(client, body, "text/csv", attributes)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/csv"
    assert response.get_data(as_text=True) == "is_anomaly,score\n" + "".join(
        f"{int(is_anomaly)},{score!r}\n"
        for is_anomaly, score in zip(anomalies, scores.tolist(), strict=True)
    )


@pytest.mark.parametrize("accept", ["text/csv", "application/json"])
def test_attributes_that_cannot_be_met_are_400(
    client: FlaskClient, body: bytes, accept: str
) -> None:
    """With one sentence; nothing is scored."""
    response = post(client, body, accept, "return=last")

    assert response.status_code == 400
    assert sentence(response) == (
        'The custom attribute return is "last": accepted is last:N, N a positive '
        "integer, such as last:100."
    )


def test_attributes_that_are_an_id_change_nothing(
    client: FlaskClient, body: bytes
) -> None:
    """SageMaker hands through whatever a client uses them for."""
    response = post(client, body, "*/*", "trace=42;Output of the pump")

    assert response.status_code == 200
    assert response.data == post(client, body, "text/csv").data


def test_the_columns_of_the_server_are_those_of_its_csv_alone(
    detector: LSTMAD, body: bytes
) -> None:
    """A request may name others; JSON has no columns to choose."""
    app = create_app(detector, max_payload_mb=1, columns=("severity", "is_anomaly"))
    client = app.test_client()

    configured = post(client, body, "text/csv", "header=true")
    asked = post(client, body, "text/csv", "header=true;output=upper")
    lines = post(client, body, "application/jsonlines")

    assert configured.data.startswith(b"severity,is_anomaly\n,\n")
    assert asked.data.startswith(b"upper_1,upper_2\n,\n")
    assert lines.data.startswith(b'{"prediction":')


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "There is no data; send at least one row of numbers."),
        (
            b"1,2\n3,x\n",
            'Row 2, column 2: "x" is not a number; use a finite decimal number.',
        ),
        (
            b"1,2,3\n" * 20,
            "The number of columns is wrong: 3 were found, but the model was trained "
            "on 2 series, one per column.",
        ),
        (
            b"1,2\n" * 10,
            "The series is too short: 10 rows were found, but at least 11 are needed, "
            "because the first 10 rows have no score.",
        ),
    ],
    ids=["empty", "text", "wrong width", "too short"],
)
def test_a_series_that_cannot_be_used_is_400(
    client: FlaskClient, data: bytes, expected: str
) -> None:
    """The sentence is the exception's own: a row and a column where there are any."""
    response = client.post("/invocations", data=data, content_type="text/csv")

    assert response.status_code == 400
    assert sentence(response) == expected


TOO_LARGE = (
    "The request body is larger than 1 MB, the limit of this server; "
    "SAGEMAKER_MAX_PAYLOAD_IN_MB sets it."
)


def test_a_body_over_the_limit_is_413(client: FlaskClient) -> None:
    """Its length is announced: nothing of it is read."""
    data = b"1.5,2.5\n" * (2**17 + 1)

    response = client.post("/invocations", data=data, content_type="text/csv")

    assert response.status_code == 413
    assert sentence(response) == TOO_LARGE


def test_a_chunked_body_over_the_limit_is_413(client: FlaskClient) -> None:
    """Nobody announces its length; it is not cut off and answered 200."""
    response = client.post(
        "/invocations",
        input_stream=io.BytesIO(b"1.5,2.5\n" * (2**17 + 1)),
        content_type="text/csv",
        headers={"Transfer-Encoding": "chunked"},
        environ_overrides={"wsgi.input_terminated": True},
    )

    assert response.status_code == 413
    assert sentence(response) == TOO_LARGE


@pytest.mark.parametrize("is_chunked", [True, False])
def test_a_body_at_the_limit_is_scored(client: FlaskClient, is_chunked: bool) -> None:
    """The limit itself is within it, to the byte."""
    data = b"1.5,2.5\n" * 2**17
    headers = {"Transfer-Encoding": "chunked"} if is_chunked else {}

    response = client.post(
        "/invocations",
        input_stream=io.BytesIO(data),
        content_length=None if is_chunked else len(data),
        content_type="text/csv",
        headers=headers,
        environ_overrides={"wsgi.input_terminated": is_chunked},
    )

    assert len(data) == 2**20
    assert response.status_code == 200
    assert response.data.count(b"\n") == 2**17


def test_a_compressed_body_is_decompressed(client: FlaskClient, body: bytes) -> None:
    """With gzip, if the header says so."""
    plain = client.post("/invocations", data=body, content_type="text/csv")

    response = client.post(
        "/invocations",
        data=gzip.compress(body),
        content_type="text/csv",
        headers={"Content-Encoding": "gzip"},
    )

    assert response.status_code == 200
    assert response.data == plain.data


def test_a_small_body_that_decompresses_beyond_the_limit_is_413(
    client: FlaskClient,
) -> None:
    """A few kilobytes of gzip can hold gigabytes."""
    data = gzip.compress(b"1.5,2.5\n" * (2**17 + 1))

    response = client.post(
        "/invocations",
        data=data,
        content_type="text/csv",
        headers={"Content-Encoding": "gzip"},
    )

    assert response.status_code == 413
    assert sentence(response) == TOO_LARGE


@pytest.mark.parametrize("data", [b"1,2\n", gzip.compress(b"1,2\n" * 20)[:-8], b""])
def test_a_damaged_compressed_body_is_400(client: FlaskClient, data: bytes) -> None:
    """The sentence says what is accepted."""
    response = client.post(
        "/invocations",
        data=data,
        content_type="text/csv",
        headers={"Content-Encoding": "gzip"},
    )

    assert response.status_code == 400
    assert "send " in sentence(response)


def test_another_encoding_is_415(client: FlaskClient, body: bytes) -> None:
    """The sentence has what was sent and what is accepted."""
    response = client.post(
        "/invocations",
        data=body,
        content_type="text/csv",
        headers={"Content-Encoding": "br"},
    )

    assert response.status_code == 415
    assert sentence(response) == (
        'The content encoding is "br": accepted are gzip and none.'
    )


@pytest.mark.parametrize("path", ["/", "/invocation", "/ping/", "/models"])
def test_an_unknown_path_is_404(client: FlaskClient, path: str) -> None:
    """The sentence has the three paths there are."""
    response = client.get(path)

    assert response.status_code == 404
    assert sentence(response) == (
        "There is nothing at this path: accepted are GET /ping, GET "
        "/execution-parameters and POST /invocations."
    )


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/invocations"),
        ("PUT", "/invocations"),
        ("POST", "/ping"),
        ("DELETE", "/execution-parameters"),
    ],
)
def test_a_method_that_does_not_fit_is_405(
    client: FlaskClient, method: str, path: str
) -> None:
    """The sentence has the methods that do."""
    response = client.open(path, method=method)

    assert response.status_code == 405
    assert sentence(response) == (
        "The method does not fit the path: accepted are GET /ping, GET "
        "/execution-parameters and POST /invocations."
    )


def test_a_failure_of_the_server_is_500_without_its_reason(
    detector: LSTMAD, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback is in the log, and nothing of it in the answer."""
    # A Gaussian of the wrong size: no file could hold it, and no score survives it.
    gaussian = Gaussian(mean=np.zeros(5), covariance=np.eye(5))
    broken = LSTMAD(detector.reconstructor, gaussian, detector.decision)
    client = create_app(broken, max_payload_mb=1).test_client()

    response = client.post("/invocations", data=body, content_type="text/csv")

    assert response.status_code == 500
    assert sentence(response) == (
        "The request failed for a reason that is not in the request; the server's log "
        "has it."
    )
    assert "Traceback" in caplog.text
    assert "ValueError" in caplog.text
    assert client.get("/ping").status_code == 200


@pytest.mark.parametrize("accept", ["text/csv", "application/jsonlines"])
def test_a_request_is_one_line_of_json_without_its_payload(
    client: FlaskClient, body: bytes, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What an operator needs, once the answer is sent; what SageMaker polls is none."""
    caplog.set_level(logging.INFO)
    client.get("/ping", buffered=True)
    metrics = client.get("/metrics", buffered=True)

    answer = client.post(
        "/invocations",
        data=body,
        content_type="text/csv",
        headers={"X-Amzn-SageMaker-Inference-Id": "abc", "Accept": accept},
    )

    assert caplog.records == []
    answer.close()

    assert (metrics.status_code, metrics.data) == (200, b"")
    (record,) = caplog.records
    line = SimpleNamespace(**json.loads(record.getMessage()))
    assert line.request == "POST /invocations"
    assert line.inference_id == "abc"
    assert (line.status, line.rows, line.series) == (200, 47, 2)
    assert line.format == accept
    assert line.bytes_in == len(body)
    assert line.milliseconds > 0
    assert body[:10].decode() not in record.getMessage()


def test_a_slot_is_held_until_the_answer_is_sent(
    client: FlaskClient, body: bytes
) -> None:
    """Whoever reads slowly counts among the requests that are being answered."""
    unread = [client.post("/invocations", data=body) for _ in range(MAX_REQUESTS)]

    refusal = client.post("/invocations", data=body)
    unread[0].close()
    answer = client.post("/invocations", data=body)

    assert {response.status_code for response in unread} == {200}
    assert refusal.status_code == 503
    assert answer.status_code == 200
