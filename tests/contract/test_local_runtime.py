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

Invoke = Callable[[str | bytes], tuple[int, str, str]]


@pytest.fixture
def csv_file(
    tmp_path: Path, make_series: Callable[..., Any], as_csv: Callable[..., bytes]
) -> Path:
    """Return a file of the size that a batch transform sends at a time, and more."""
    path = tmp_path / "series.csv"
    path.write_bytes(as_csv(make_series(50_000)))
    assert 1.5 * 2**20 < path.stat().st_size < 2 * 2**20
    return path


@pytest.fixture
def small_csv_file(csv_file: Path) -> Path:
    """Return a file that fits into any payload."""
    lines = csv_file.read_bytes().splitlines(keepends=True)
    path = csv_file.with_name("small.csv")
    path.write_bytes(b"".join(lines[:123]))
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
def invoke(
    local: Any, model_dir: Path, start_server: Callable[..., Any]
) -> Callable[..., Invoke]:
    """Return the function that serves with variables, and then how to call that."""
    _, local_session = local

    def serve(**variables: str) -> Invoke:
        server = start_server(model_dir.parent, **variables)
        client = local_session.LocalSagemakerRuntimeClient(
            {"local": {"serving_port": server.port}}
        )

        def call(body: str | bytes) -> tuple[int, str, str]:
            answer = client.invoke_endpoint(
                Body=body,
                EndpointName="any",
                ContentType="text/csv",
                Accept="text/csv",
            )["Body"]
            content_type = answer.headers["Content-Type"]
            text = answer.read().decode()
            answer.release_conn()
            return answer.status, content_type, text

        return call

    return serve


def batches(local: Any, splitting: str, path: Path, mb: int) -> list[str]:
    """Return the bodies that a batch transform makes of a file."""
    data, _ = local
    split_type, strategy = SPLITTERS[splitting]
    splitter = data.get_splitter_instance(split_type)
    return list(data.get_batch_strategy_instance(strategy, splitter).pad(path, mb))


def test_a_whole_file_gives_a_row_for_each_row(
    local: Any, invoke: Callable[..., Invoke], small_csv_file: Path
) -> None:
    """SplitType None is one request, and its answer has as many rows as the file."""
    (body,) = batches(local, "whole files", small_csv_file, mb=100)
    status, content_type, text = invoke(SAGEMAKER_BATCH="true")(body)

    assert (status, content_type) == (200, "text/csv")
    assert text.count("\n") == 123
    assert text.endswith("\n")


def test_an_endpoint_answers_what_a_batch_transform_answers(
    local: Any, invoke: Callable[..., Invoke], small_csv_file: Path
) -> None:
    """The scores do not depend on who asks, nor on text or bytes."""
    (body,) = batches(local, "whole files", small_csv_file, mb=100)

    assert invoke()(body.encode()) == invoke(SAGEMAKER_BATCH="true")(body)


def test_lines_that_fit_into_one_payload_are_the_whole_file(
    local: Any, invoke: Callable[..., Invoke], small_csv_file: Path
) -> None:
    """Line with MultiRecord is harmless for files below the payload's limit."""
    (whole,) = batches(local, "whole files", small_csv_file, mb=100)
    (lines,) = batches(local, "as many rows as fit", small_csv_file, mb=100)
    call = invoke(SAGEMAKER_BATCH="true")

    assert call(lines) == call(whole)


def test_a_file_sent_row_by_row_is_refused_with_what_to_set(
    local: Any, invoke: Callable[..., Invoke], small_csv_file: Path
) -> None:
    """Line with SingleRecord gets 400, because no row can be scored alone."""
    first, *_ = batches(local, "one row at a time", small_csv_file, mb=100)
    status, _, text = invoke(SAGEMAKER_BATCH="True")(first)

    assert status == 400
    assert text == (
        "The series is too short: 1 rows were found, but at least 11 are needed, "
        f"because the first 10 rows have no score. {ADVICE}\n"
    )


def test_a_file_cut_in_the_middle_is_refused_with_what_to_set(
    local: Any, invoke: Callable[..., Invoke], csv_file: Path
) -> None:
    """Line with MultiRecord gets 400 for a file above the limit, not wrong scores."""
    first, _ = batches(local, "as many rows as fit", csv_file, mb=1)
    call = invoke(SAGEMAKER_BATCH="true", SAGEMAKER_MAX_PAYLOAD_IN_MB="1")
    status, _, text = call(first)

    assert status == 400
    assert text.startswith("The body is a piece of a larger file: ")
    assert ADVICE in text


def test_an_endpoint_takes_a_body_of_the_size_of_a_piece(
    local: Any, invoke: Callable[..., Invoke], csv_file: Path
) -> None:
    """Only a batch transform cuts files: other requests of that size are scored."""
    first, _ = batches(local, "as many rows as fit", csv_file, mb=1)
    status, _, text = invoke(SAGEMAKER_MAX_PAYLOAD_IN_MB="1")(first)

    assert status == 200
    assert text.count("\n") == first.count("\n")


def test_a_batch_transform_may_do_without_a_limit(
    local: Any, invoke: Callable[..., Invoke], csv_file: Path
) -> None:
    """MaxPayloadInMB 0 sends whole files of any size: no size is a piece's."""
    (body,) = batches(local, "as many rows as fit", csv_file, mb=0)
    call = invoke(SAGEMAKER_BATCH="true", SAGEMAKER_MAX_PAYLOAD_IN_MB="0")
    status, _, text = call(body)

    assert status == 200
    assert text.count("\n") == 50_000
