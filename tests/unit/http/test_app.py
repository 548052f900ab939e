"""The routes, through Flask's own client."""

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

import specification
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import Gaussian
from sagemaker_container.formats.csv_answer import write_scores
from sagemaker_container.http.app import MAX_REQUESTS, create_app

ROUTES = "GET /ping, GET /metrics, GET /execution-parameters or POST /invocations"


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


def post(
    client: FlaskClient,
    body: bytes,
    accept: str | None = None,
    attributes: str = "",
    content_type: str | None = "text/csv",
    encoding: str = "",
) -> TestResponse:
    """Return the answer to a body."""
    headers = {
        "Accept": accept,
        "X-Amzn-SageMaker-Custom-Attributes": attributes,
        "Content-Encoding": encoding,
    }
    given = {name: value for name, value in headers.items() if value is not None}
    return client.post(
        "/invocations", data=body, content_type=content_type, headers=given
    )


@pytest.mark.parametrize(
    ("path", "content_type", "expected"),
    [
        ("/ping", "text/html; charset=utf-8", b""),
        # No BatchStrategy: the SDK's local mode refuses its spelling.
        (
            "/execution-parameters",
            "application/json",
            b'{"MaxConcurrentTransforms":1,"MaxPayloadInMB":1}\n',
        ),
    ],
)
def test_what_the_platform_polls_is_200(
    client: FlaskClient, path: str, content_type: str, expected: bytes
) -> None:
    """The application is only made once the model is loaded."""
    response = client.get(path)

    assert response.status_code == 200
    assert response.content_type == content_type
    assert response.data == expected


def test_invocations_answer_a_row_of_scores_per_row(
    client: FlaskClient, detector: LSTMAD, series: np.ndarray, body: bytes
) -> None:
    """The bytes are those of the detector's own scores; the type is exact."""
    response = post(client, body)

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
        "TEXT/CSV",
        "text/csv; charset=utf-8",
        "text/csv;label_size=0",
        'text/csv; charset="UTF-8"; header=absent',
        "application/json",
        "Application/JSON; a=b",
    ],
)
def test_a_series_is_accepted_with_any_parameters_of_its_type(
    client: FlaskClient, series: np.ndarray, body: bytes, content_type: str | None
) -> None:
    """Real clients send them; none at all is taken for CSV. JSON scores the same."""
    is_json = "json" in (content_type or "").lower()
    sent = json.dumps({"series": series.tolist()}).encode() if is_json else body

    response = post(client, sent, content_type=content_type)

    assert response.status_code == 200
    assert response.data == post(client, body).data


def test_the_formats_that_sagemaker_is_told_of_are_those_that_are_served(
    client: FlaskClient, series: np.ndarray, body: bytes
) -> None:
    """All that are declared, in and out."""
    declared = specification.create_algorithm()["InferenceSpecification"]
    bodies = {
        "text/csv": body,
        "application/json": json.dumps({"series": series.tolist()}).encode(),
    }

    answers = {
        (given, accepted): post(client, bodies[given], accepted, content_type=given)
        for given in declared["SupportedContentTypes"]
        for accepted in declared["SupportedResponseMIMETypes"]
    }

    assert len(answers) == 6
    for (_, accepted), answer in answers.items():
        assert (answer.status_code, answer.content_type) == (200, accepted)


def test_attributes_choose_columns_and_rows(
    client: FlaskClient, detector: LSTMAD, series: np.ndarray, body: bytes
) -> None:
    """In the order of the request, with their names, the last rows alone."""
    attributes = "return=last:2;header=true;output=is_anomaly,score"
    scores = detector.score(series).normality_score[-2:]
    anomalies = detector.decision.is_anomaly(scores)

    response = post(client, body, "text/csv", attributes)

    assert response.headers["Content-Type"] == "text/csv"
    assert response.get_data(as_text=True) == "is_anomaly,score\n" + "".join(
        f"{int(is_anomaly)},{score!r}\n"
        for is_anomaly, score in zip(anomalies, scores.tolist(), strict=True)
    )


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
    ("method", "path", "headers", "data", "status", "expected"),
    [
        ("GET", "/", {}, b"", 404, f"The path is unknown; use {ROUTES}."),
        ("GET", "/invocation", {}, b"", 404, "The path is unknown; "),
        ("GET", "/ping/", {}, b"", 404, "The path is unknown; "),
        ("PUT", "/models", {}, b"", 404, "The path is unknown; "),
        (
            "GET",
            "/invocations",
            {},
            b"",
            405,
            f"The method is not allowed; use {ROUTES}.",
        ),
        ("PUT", "/invocations", {}, b"", 405, "The method is not allowed; "),
        ("POST", "/ping", {}, b"", 405, "The method is not allowed; "),
        ("DELETE", "/metrics", {}, b"", 405, "The method is not allowed; "),
        (
            "POST",
            "/invocations",
            {"Content-Type": "a/b"},
            b"1",
            415,
            'The content type is "a/b"',
        ),
        (
            "POST",
            "/invocations",
            {"Content-Encoding": "br"},
            b"1",
            415,
            "The content enc",
        ),
        ("POST", "/invocations", {"Accept": "a/b"}, b"1", 406, "The answer can be "),
        (
            "POST",
            "/invocations",
            {"X-Amzn-SageMaker-Custom-Attributes": "header=1"},
            b"1",
            400,
            "The custom attribute header is ",
        ),
        ("POST", "/invocations", {}, b"", 400, "There is no data; "),
        ("POST", "/invocations", {}, b"1,2\n3,x\n", 400, "Row 2, column 2: "),
        (
            "POST",
            "/invocations",
            {},
            b"1,2,3\n" * 20,
            400,
            "The number of columns is wrong: ",
        ),
        ("POST", "/invocations", {}, b"1,2\n" * 10, 400, "The series is too short: "),
        (
            "POST",
            "/invocations",
            {},
            b"1,2\n" * 2**19,
            413,
            "The request body is larger than 1 MB",
        ),
    ],
)
def test_what_cannot_be_answered_is_one_sentence(
    client: FlaskClient,
    method: str,
    path: str,
    headers: dict[str, str],
    data: bytes,
    status: int,
    expected: str,
) -> None:
    """Its own status, plain text; how a body is refused in full is in test_body.py."""
    response = client.open(path, method=method, headers=headers, data=data)

    text = response.get_data(as_text=True)
    assert response.status_code == status
    assert response.content_type == "text/plain"
    assert text.startswith(expected)
    assert text.endswith(".\n")
    assert text.count("\n") == 1


def test_too_few_rows_of_a_batch_transform_may_be_a_piece(detector: LSTMAD) -> None:
    """Only there: the advice is about its SplitType."""
    batch = create_app(detector, max_payload_mb=1, is_batch=True).test_client()
    short, wide = b"1,2\n" * 10, b"1,2,3\n" * 20

    advised = post(batch, short).get_data(as_text=True)

    assert "(" not in advised
    assert advised.startswith("The series is too short: ")
    assert "In a batch transform set SplitType to None: " in advised
    assert b"SplitType" not in post(batch, wide).data


def test_a_failure_of_the_server_is_500_without_its_reason(
    detector: LSTMAD, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """The traceback is in the log, and nothing of it in the answer."""
    # A Gaussian of the wrong size: no file could hold it, and no score survives it.
    gaussian = Gaussian(mean=np.zeros(5), covariance=np.eye(5))
    broken = LSTMAD(detector.reconstructor, gaussian, detector.decision)
    client = create_app(broken, max_payload_mb=1).test_client()

    response = post(client, body)

    assert response.status_code == 500
    assert response.data == (
        b"The server failed to answer the request; the reason is in its log.\n"
    )
    assert "Traceback" in caplog.text
    assert "ValueError" in caplog.text
    assert client.get("/ping").status_code == 200


def test_a_request_is_logged_once_its_answer_is_sent(
    client: FlaskClient, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its fields are in test_calm.py; what SageMaker polls leaves no line."""
    caplog.set_level(logging.INFO)
    for path in ("/ping", "/metrics"):
        client.get(path, buffered=True)

    answer = post(client, body)

    assert caplog.records == []
    answer.close()

    (record,) = caplog.records
    line = SimpleNamespace(**json.loads(record.getMessage()))
    assert (line.request, line.status, line.rows) == ("POST /invocations", 200, 47)


def test_a_slot_is_held_until_the_answer_is_sent(
    client: FlaskClient, body: bytes
) -> None:
    """Whoever reads slowly counts among the requests that are being answered."""
    unread = [post(client, body) for _ in range(MAX_REQUESTS)]

    refusal = post(client, body)
    unread[0].close()
    answer = post(client, body)

    assert {response.status_code for response in unread} == {200}
    assert (refusal.status_code, refusal.headers["Retry-After"]) == (503, "1")
    assert refusal.data == (
        b"The server is busy with 32 requests, its limit; try again in 1 s.\n"
    )
    assert answer.status_code == 200
