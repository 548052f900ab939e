"""SageMaker's own runtime client and batch splitters, against the server as a process.

sagemaker-core is what the SDK's local mode calls endpoints and runs batch transforms
with: what it sends is what a user's request becomes.
"""

import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

SPLITTERS = {
    "whole files": (None, "MultiRecord"),
    "one row at a time": ("Line", "SingleRecord"),
    "as many rows as fit": ("Line", "MultiRecord"),
}

ADVICE = (
    "In a batch transform set SplitType to None: every row depends on the rows before "
    "it, so a file cannot be split."
)

BATCH = {"SAGEMAKER_BATCH": "true"}


@pytest.fixture
def csv_file(tmp_path: Path, make_series, as_csv) -> Path:
    """Return a file of the size that a batch transform sends at a time, and more."""
    path = tmp_path / "series.csv"
    path.write_bytes(as_csv(make_series(50_000)))
    assert 1.5 * 2**20 < path.stat().st_size < 2 * 2**20
    return path


@pytest.fixture(scope="module")
def local() -> Iterator[Any]:
    """Return sagemaker-core's local mode, told that containers are on this machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own dependencies are full of them
        from sagemaker.core.local import data, local_session
    with patch.object(local_session, "get_docker_host", return_value="localhost"):
        yield data, local_session


@pytest.fixture
def call(local: Any) -> Callable[..., tuple[int, str, str]]:
    """Return the function that sends a body to a server: status, type and text."""

    def call(server: Any, body: str | bytes) -> tuple[int, str, str]:
        client = local[1].LocalSagemakerRuntimeClient(
            {"local": {"serving_port": server.port}}
        )
        csv = "text/csv"
        answer = client.invoke_endpoint(
            Body=body, EndpointName="any", ContentType=csv, Accept=csv
        )["Body"]
        text = answer.read().decode()
        answer.release_conn()
        return answer.status, answer.headers["Content-Type"], text

    return call


def batches(local: Any, splitting: str, path: Path, mb: int) -> list[str]:
    """Return the bodies that a batch transform makes of a file."""
    split_type, strategy = SPLITTERS[splitting]
    splitter = local[0].get_splitter_instance(split_type)
    return list(local[0].get_batch_strategy_instance(strategy, splitter).pad(path, mb))


def test_a_small_file_is_scored_whole_or_refused_with_what_to_set(
    local,
    call,
    tmp_path: Path,
    model_dir,
    start_server,
    shared_server,
    make_series,
    as_csv,
) -> None:
    """A row for each row, whoever asks, in text or bytes; no row can be scored alone.

    Line with MultiRecord is harmless for files below the payload's limit.
    """
    path = tmp_path / "small.csv"
    path.write_bytes(as_csv(make_series(123)))
    (whole,) = batches(local, "whole files", path, mb=100)
    (lines,) = batches(local, "as many rows as fit", path, mb=100)
    first, *_ = batches(local, "one row at a time", path, mb=100)
    server = start_server(model_dir.parent, **BATCH)

    status, content_type, text = call(server, whole)

    assert (status, content_type, text.count("\n")) == (200, "text/csv", 123)
    assert text.endswith("\n")
    assert call(server, lines) == call(server, whole)
    assert call(shared_server, whole.encode()) == call(server, whole)
    assert call(server, first)[::2] == (
        400,
        "The series is too short: 1 rows were found, but at least 11 are needed, "
        f"because the first 10 rows have no score. {ADVICE}\n",
    )


@pytest.mark.parametrize(
    ("mb", "variables", "status"),
    [(1, BATCH, 400), (1, {}, 200), (0, BATCH, 200)],
    ids=["a piece", "no batch transform", "no limit"],
)
def test_a_piece_of_a_large_file_is_refused_with_what_to_set(
    local, call, csv_file: Path, model_dir, start_server, mb, variables, status
) -> None:
    """Not answered with wrong scores: Line with MultiRecord cuts above the limit.

    Only a batch transform cuts files, and only if it has a limit: MaxPayloadInMB 0
    sends whole files of any size.
    """
    first, *others = batches(local, "as many rows as fit", csv_file, mb=mb)
    limit = {"SAGEMAKER_MAX_PAYLOAD_IN_MB": str(mb)}
    server = start_server(model_dir.parent, **variables, **limit)

    found, _, text = call(server, first)

    assert found == status
    assert len(others) == mb
    if status == 200:
        assert text.count("\n") == first.count("\n")
    else:
        assert text.startswith("The body is a piece of a larger file: ")
        assert ADVICE in text
