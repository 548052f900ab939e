"""Receiving a body: its formats, its compression, and its limits to the byte."""

import gzip
import io

import pytest

from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import SeriesError
from sagemaker_container.http.body import (
    Body,
    BodyFormat,
    BrokenBodyError,
    PayloadTooLargeError,
    UnsupportedBodyError,
)

SCHEMA = Schema.unnamed(2)

ROW = b"1.5,2.5\n"
LIMIT_ROWS = 2**17
"""Rows that make 1 MB."""

BOMB = gzip.compress(ROW * LIMIT_ROWS + b"\n")
JSON_BOMB = b'{"series": [' + b"[1.5,2.5]," * LIMIT_ROWS + b"[1,2]]}"


def read(data: bytes, name: str = "text/csv", encoding: str = "", n_announced: int = 0):
    """Return the shape of the series in a body, and the bytes that were read."""
    body = Body(io.BytesIO(data), max_mb=1, n_announced=n_announced)
    table = BodyFormat.of(name, encoding).read_table(body, SCHEMA)
    return table.values.shape, body.n_bytes


@pytest.mark.parametrize(
    ("compress", "encoding"),
    [
        (bytes, ""),
        (bytes, "identity"),
        (gzip.compress, ""),
        (gzip.compress, "identity"),
        (gzip.compress, "gzip"),
        (gzip.compress, " GZIP "),
    ],
)
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("", ROW * 3),
        ("text/csv", ROW * 3),
        ("application/json", b'{"series": [[1, 2], [3, 4], [5, 6]]}'),
    ],
)
def test_gzip_is_read_whether_it_is_declared_or_not(
    name: str, data: bytes, encoding: str, compress
) -> None:
    """As training reads files: by their first bytes."""
    sent = compress(data)

    assert read(sent, name, encoding) == ((3, 2), len(sent))


@pytest.mark.parametrize("n_announced", [0, 2**20])
def test_a_body_at_the_limit_is_read(n_announced: int) -> None:
    """The limit itself is within it, to the byte, announced or chunked."""
    data = ROW * LIMIT_ROWS

    assert read(data, n_announced=n_announced) == ((LIMIT_ROWS, 2), 2**20)


@pytest.mark.parametrize(
    ("data", "name", "encoding", "n_announced"),
    [
        (ROW * LIMIT_ROWS + b"\n", "text/csv", "", 0),
        (b"", "text/csv", "", 2**20 + 1),  # nothing of it is read
        (JSON_BOMB, "application/json", "", 0),
        (BOMB, "text/csv", "gzip", 0),
        (BOMB, "text/csv", "", 0),
        (gzip.compress(JSON_BOMB), "application/json", "", 0),
    ],
    ids=["chunked", "announced", "JSON", "declared gzip", "gzip", "gzip of JSON"],
)
def test_a_body_over_the_limit_is_refused(
    data: bytes, name: str, encoding: str, n_announced: int
) -> None:
    """However it is sent: a few kilobytes of gzip can hold gigabytes."""
    with pytest.raises(PayloadTooLargeError) as refusal:
        read(data, name, encoding, n_announced)

    assert str(refusal.value) == (
        "The request body is larger than 1 MB, the limit of this server; "
        "SAGEMAKER_MAX_PAYLOAD_IN_MB sets it."
    )


def test_without_a_limit_any_size_is_read() -> None:
    """It is 0 then."""
    assert Body(io.BytesIO(ROW), max_mb=0, n_announced=2**40).n_bytes == 0


class Failing:
    """A connection that fails."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def read(self, size: int) -> bytes:
        """Fail."""
        raise self.error


@pytest.mark.parametrize("encoding", ["", "gzip"])
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (io.BytesIO(BOMB[:50]), BrokenBodyError),
        (Failing(ConnectionResetError()), BrokenBodyError),
        (Failing(ValueError("not a chunk")), BrokenBodyError),
        (Failing(TimeoutError("too slow")), TimeoutError),
    ],
    ids=["shorter than announced", "reset", "broken chunk", "too slow"],
)
def test_a_body_that_breaks_off_is_told_from_a_slow_one(
    source: Failing, expected: type[Exception], encoding: str
) -> None:
    """Neither is a fault of the series in it."""
    body = Body(source, max_mb=1, n_announced=100)

    with pytest.raises(expected):
        BodyFormat.of("text/csv", encoding).read_table(body, SCHEMA)


def test_an_incomplete_body_is_one_sentence() -> None:
    """What is wrong, and what is right."""
    assert str(BrokenBodyError()) == (
        "The request body is incomplete or not well-formed; send as many bytes as its "
        "headers announce."
    )


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (gzip.compress(ROW * 99)[:20], ""),
        (gzip.compress(ROW * 99)[:-8], "gzip"),
        (gzip.compress(ROW * 99)[:-1], "gzip"),
        (ROW * 99, "gzip"),
    ],
    ids=["a start", "no checksum", "a byte less", "plain"],
)
def test_damaged_gzip_is_refused(data: bytes, encoding: str) -> None:
    """With what to send."""
    with pytest.raises(SeriesError) as refusal:
        read(data, encoding=encoding)

    assert str(refusal.value) == (
        "The gzip body cannot be decompressed; send a whole gzip stream."
    )


@pytest.mark.parametrize(
    ("name", "encoding", "expected"),
    [
        (
            "application/jsonlines",
            "",
            'The content type is "application/jsonlines"; use text/csv or '
            "application/json.",
        ),
        ("csv", "", 'The content type is "csv"; '),
        ("x" * 9999, "", f'The content type is "{"x" * 200}"; '),
        (
            "text/csv",
            "br",
            'The content encoding is "br"; use gzip, or leave the header out.',
        ),
        ("", "gzip, gzip", 'The content encoding is "gzip, gzip"; '),
    ],
)
def test_another_type_or_encoding_is_refused(
    name: str, encoding: str, expected: str
) -> None:
    """The sentence has what was sent and what to use."""
    with pytest.raises(UnsupportedBodyError) as refusal:
        BodyFormat.of(name, encoding)

    assert str(refusal.value).startswith(expected)
