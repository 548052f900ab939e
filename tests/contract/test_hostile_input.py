"""What hostile or broken clients send: always one plain sentence, and never a 5xx.

One server answers everything in this file, so whatever breaks it breaks what follows.
"""

import contextlib
import gzip
import http.client
import re
import socket
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

CSV = {"Content-Type": "text/csv"}
ROWS = b"1.5,50\n" * 30
TELLING = b"87654321"
"""What is looked for in the log: payloads hold it, and the log must not."""


@pytest.fixture(autouse=True)
def _server_is_well_afterwards(shared_server):
    """Check after each test that the server works, and what it has written."""
    yield
    answer = shared_server.request("POST", "/invocations", ROWS, CSV)

    assert answer.status == 200
    assert answer.body.count(b"\n") == 30
    assert "Traceback" not in shared_server.log
    assert "ERROR" not in shared_server.log
    assert TELLING.decode() not in shared_server.log


def sentence(status: int, content_type: str | None, body: bytes) -> str:
    """Return the one sentence of a refusal."""
    text = body.decode()
    assert 400 <= status < 500, (status, text)
    assert content_type == "text/plain"
    assert re.fullmatch(r"[^\n]+\.( \.\.\.)?\n", text), text
    assert len(text) < 500
    assert "Traceback" not in text
    assert ".py" not in text
    assert "/opt/" not in text
    return text[:-1]


@pytest.fixture
def refuse(shared_server) -> Callable[..., tuple[int, str]]:
    """Return the function that posts a body and returns the status and the sentence."""

    def post(body: bytes, headers: dict[str, str] = CSV) -> tuple[int, str]:
        answer = shared_server.request("POST", "/invocations", body, headers)
        content_type = answer.headers["Content-Type"]
        return answer.status, sentence(answer.status, content_type, answer.body)

    return post


@pytest.fixture
def raw(shared_server) -> Callable[[bytes], tuple[int, str]]:
    """Return the function that sends bytes as they are, and then no more."""

    def send(data: bytes) -> tuple[int, str]:
        address = ("127.0.0.1", shared_server.port)
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            response = http.client.HTTPResponse(connection)
            with contextlib.closing(response):
                response.begin()
                body = response.read()
            content_type = response.getheader("Content-Type")
        return response.status, sentence(response.status, content_type, body)

    return send


JSON = {"Content-Type": "application/json"}
TABLE = b'{"series": [' + b"[1.5, 50], " * 30
LARGE_JSON = (TABLE[:-2] + b"]}").ljust(20 * 2**20 + 1)
"""As CSV, a body of this size is read."""

GZIP = CSV | {"Content-Encoding": "gzip"}
ZIPPED = gzip.compress(ROWS)
BOMB = gzip.compress(b"1.5,50\n" * 2**14) * 2**12
"""Half a megabyte of gzip that holds half a gigabyte."""

NO_GZIP = "The gzip body cannot be decompressed; "
TOO_LARGE = "The request body is larger than 100 MB, "


@pytest.mark.parametrize(
    ("headers", "body", "status", "expected"),
    [
        (CSV, b"", 400, "There is no data; "),
        (CSV, ROWS + b"87654321\n", 400, "Row 31 has 1 cell, "),
        (CSV, ROWS + b"1,\xff\xfe\n", 400, "Row 31, column 2: "),
        (CSV, (b"1," * 9_999 + b"1\n") * 20, 400, "The number of columns is wrong: "),
        (CSV, b"8" * 50 * 2**20, 400, "Row 1, column 1: "),
        (CSV, b"8," * 25 * 2**20, 400, "Row 1 has 26214401 cells; "),
        (JSON, b"", 400, "There is no data; "),
        (JSON, ROWS, 400, "The JSON is "),
        (JSON, b'{"series": ' * 10**5, 400, "The JSON is "),
        (JSON, b'{"series": [[' + b"[" * 10**6, 400, 'Row 1, column 1: "[['),
        (JSON, b'{"series": [' + b"[1, 2], " * 10**5, 400, "The JSON ends after row "),
        (JSON, b'{"series": [[1, 2, ' + b"3" * 10**6 + b"]]}", 400, "Row 1, column 3"),
        (JSON, TABLE + b"[1, null]]}", 400, 'Row 31, column 2: "null" stands for '),
        (JSON, TABLE + b"[1, \xff]]}", 400, "Row 31, column 2: "),
        (JSON, TABLE + b'[1, "87654321"]]}', 400, "Row 31, column 2: "),
        (JSON, TABLE + b"[87654321]]}", 400, "Row 31 has 1 cell, "),
        (JSON, LARGE_JSON, 413, "The JSON is larger than 20 MB; "),
        (JSON, gzip.compress(LARGE_JSON), 413, "The JSON is larger than 20 MB; "),
        (GZIP, ROWS, 400, NO_GZIP),
        (GZIP, ZIPPED[:-9], 400, NO_GZIP),
        (GZIP, ZIPPED[:20] + b"\0" * 9, 400, NO_GZIP),
        (GZIP, ZIPPED + b"87654321", 400, NO_GZIP),
        (CSV, ZIPPED[:-9], 400, NO_GZIP),
        (GZIP, BOMB, 413, TOO_LARGE),
        (CSV, BOMB, 413, TOO_LARGE),
        (CSV | {"Content-Encoding": "deflate"}, ROWS, 415, "The content encoding is "),
        (CSV | {"Content-Encoding": "gzip, gzip"}, ZIPPED, 415, "The content encodi"),
        (CSV | {"Content-Encoding": "x" * 5000}, ROWS, 415, "The content encoding is "),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else "",
)
def test_a_bad_body_is_refused_with_the_reason(
    refuse, headers: dict[str, str], body: bytes, status: int, expected: str
) -> None:
    """What is no series, however deep or long; damaged gzip, and what is none."""
    found, reason = refuse(body, headers)

    assert found == status
    assert reason.startswith(expected)


@pytest.mark.parametrize(
    "attributes",
    [
        "output=passwords",
        "output=" + "score," * 1000,
        "output=" + "x" * 6000,
        "output=score;" * 500,
        "output=score;__class__=x",
        "return=last:" + "9" * 6000,
        "return=\xb2",
        "header=\x80",
    ],
    ids=lambda value: repr(value[:24]),
)
def test_bad_attributes_are_400_with_the_reason(refuse, attributes: str) -> None:
    """Unknown names, numbers out of all bounds, and what is no text."""
    headers = {"X-Amzn-SageMaker-Custom-Attributes": attributes}

    status, reason = refuse(ROWS, CSV | headers)

    assert status == 400
    assert reason.startswith("The custom attribute ")


LENGTH = b"Content-Length: %d\r\n" % len(ROWS)
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("headers", "body", "expected"),
    [
        (LENGTH + b"Content-Type: a/b\r\nContent-Type: text/csv\r\n", ROWS, {400, 415}),
        (LENGTH + b"Content-Type: " + b"x" * 8000 + b"\r\n", ROWS, {415}),
        (LENGTH + b"Content-Type: text/\xff\xe9\t\r\n", ROWS, {415}),
        (LENGTH + b"Accept: \xff;q=zz,,;\r\n", ROWS, {406}),
        (LENGTH + b"Accept: " + b"a/b," * 2000 + b"\r\n", ROWS, {406}),
        (LENGTH + b"Content-Length: 5\r\n", ROWS, {400}),
        (LENGTH + CHUNKED, ROWS, {400}),
        (b"Content-Length: -1\r\n", ROWS, {400}),
        (b"Content-Length: 1e3\r\n", ROWS, {400}),
        (b"Content-Length: %d\r\n" % (len(ROWS) + 1), ROWS, {400}),
        (b"Content-Length: 99999999999999999999\r\n", ROWS, {413}),
        (b"", ROWS, {400}),
        (CHUNKED, b"zz\r\n" + ROWS, {400}),
        (CHUNKED, b"d2\r\n" + ROWS, {400}),
        (CHUNKED, b"d2\r\n" + ROWS + b"\r\n", {400}),
        (CHUNKED, b"-1\r\n" + ROWS, {400}),
        (CHUNKED, b"f" * 5000 + b"\r\n" + ROWS, {400}),
        (LENGTH + b"no colon\r\n", ROWS, {400}),
        (LENGTH + b": no name\r\n", ROWS, {400}),
        (LENGTH + b"X-Large: " + b"x" * 10_000 + b"\r\n", ROWS, {400}),
        (LENGTH + b"X-Larger: " + b"x" * 200_000 + b"\r\n", ROWS, {400}),
        (LENGTH + b"X-Many: x\r\n" * 500, ROWS, {400}),
        (LENGTH + b"X-Zero: \0\r\n", ROWS, {400}),
        (LENGTH + b"Host: a\r\nHost: b\r\n", ROWS, {400}),
        (LENGTH + b"Expect: the unexpected\r\n", ROWS, {400, 417}),
    ],
    ids=lambda value: repr(value[:40]) if isinstance(value, bytes) else "",
)
def test_bad_headers_and_broken_bodies_are_refused(
    raw, headers: bytes, body: bytes, expected: set[int]
) -> None:
    """Wrong, repeated, contradicting, huge; and bodies that end before their end."""
    request = b"POST /invocations HTTP/1.1\r\n" + headers + b"\r\n" + body

    status, _ = raw(request)

    assert status in expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"GET /../etc/passwd HTTP/1.1", 404),
        (b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1", 404),
        (b"GET /ping/../../etc/passwd HTTP/1.1", 404),
        (b"GET /ping%00.csv HTTP/1.1", 404),
        (b"GET /ping%0d%0aX:%20y HTTP/1.1", 404),
        (b"GET /\xff\xfe HTTP/1.1", 400),
        (b"GET /%ff%fe HTTP/1.1", 404),
        (b"GET /static/app.py HTTP/1.1", 404),
        (b"POST /invocations/ HTTP/1.1", 404),
        (b"POST /Invocations HTTP/1.1", 404),
        (b"GET //ping/ HTTP/1.1", 404),
        (b"GET /" + b"a" * 2000 + b" HTTP/1.1", 404),
        (b"GET /" + b"a" * 100_000 + b" HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"BREW /ping HTTP/1.1", 405),
        (b"brew /ping HTTP/1.1", 400),
        (b"DELETE /invocations HTTP/1.1", 405),
        (b"TRACE /invocations HTTP/1.1", 405),
        (b"PATCH /nothing HTTP/1.1", 404),
        (b"CONNECT localhost:80 HTTP/1.1", 404),
        (b"GET /ping HTTP/9.9", 400),
        (b"GET /ping", 400),
        (b"PRI * HTTP/2.0", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
        (b"\0\0\0\0", 400),
        (b"", 400),
        (b"\xff" * 100_000, 400),
    ],
    ids=lambda value: repr(value[:32]) if isinstance(value, bytes) else "",
)
def test_bad_request_lines_are_refused(raw, line: bytes, expected: int) -> None:
    """Tricks with the path, methods that do not exist, and what is no HTTP at all."""
    assert raw(line + b"\r\nHost: here\r\n\r\n")[0] == expected


def test_a_name_of_the_application_is_not_taken_from_a_client(shared_server) -> None:
    """Some servers believe any client that says where the application lies."""
    headers = {"SCRIPT_NAME": "/x", "X-Forwarded-Proto": "https", "X-Script-Name": "/x"}

    assert shared_server.request("GET", "/ping", headers=headers).status == 200


def mutations(body: bytes) -> st.SearchStrategy[bytes]:
    """Return a strategy of CSV with some bytes replaced, put in or left out."""
    odd = st.one_of(
        st.binary(max_size=3),
        st.sampled_from([b",", b"\n", b"\r", b"\0", b" ", b"-", b"e", b"1e999", b'"']),
    )
    change = st.tuples(st.integers(0, len(body)), st.integers(0, 3), odd)

    def mutate(changes: list[tuple[int, int, bytes]]) -> bytes:
        mutant = body
        for start, n_removed, put_in in changes:
            mutant = mutant[:start] + put_in + mutant[start + n_removed :]
        return mutant

    return st.lists(change, max_size=4).map(mutate)


fuzz = settings(
    max_examples=300,
    derandomize=True,
    # The server is meant to be the same for all examples.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


LAST = b"return=last:900"
"""More rows than any body here has."""


@fuzz
@given(
    body=st.one_of(
        st.tuples(st.just(CSV), st.one_of(st.binary(max_size=300), mutations(ROWS))),
        st.tuples(st.just(JSON), mutations(TABLE + b"[1, 2]]}")),
    ),
    attributes=st.one_of(st.just(LAST), mutations(LAST)),
)
@example(body=(CSV, ROWS), attributes=LAST)
def test_any_body_and_any_attributes_are_answered_or_refused(
    shared_server, body: tuple[dict[str, str], bytes], attributes: bytes
) -> None:
    """JSON Lines, or one sentence: for arbitrary bytes, bent tables and attributes."""
    headers, data = body
    text = "".join(filter(str.isprintable, attributes.decode("latin-1")))
    asked = {
        "Accept": "application/jsonlines",
        "X-Amzn-SageMaker-Custom-Attributes": text,
    }

    answer = shared_server.request("POST", "/invocations", data, headers | asked)

    is_scored = answer.status == 200
    content_type = answer.headers["Content-Type"]
    has_all_rows = is_scored and headers == CSV and text == LAST.decode()
    assert is_scored or sentence(answer.status, content_type, answer.body)
    assert not is_scored or content_type == "application/jsonlines"
    assert not is_scored or answer.body.endswith(b"}\n")
    assert not has_all_rows or answer.body.count(b"\n") == len(data.splitlines())


@fuzz
@given(data=mutations(b"POST /invocations HTTP/1.1\r\n" + LENGTH + b"\r\n" + ROWS))
def test_any_bent_request_is_answered_or_refused(shared_server, data: bytes) -> None:
    """200, or one sentence, or a closed connection: the rest is up to the client."""
    with socket.create_connection(("127.0.0.1", shared_server.port), 60) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))

    statuses = re.findall(rb"^HTTP/1\.[01] (\d)", answer, re.MULTILINE)
    assert set(statuses) <= {b"2", b"4"}
    assert b"Traceback" not in answer
    assert b".py" not in answer
