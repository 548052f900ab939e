"""The notebook runs from top to bottom, and what is stored in it is of this code."""

import base64
import getpass
import hashlib
import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest

import make_data

ROOT = Path(__file__).parents[2]
PATH = ROOT / "notebook.ipynb"
NOTEBOOK = nbformat.read(PATH, as_version=4)
CODE = [cell for cell in NOTEBOOK.cells if cell.cell_type == "code"]
MAX_SECONDS = 900
"""Far beyond the minute that it takes: only a hang meets it."""


OURS = {
    "ROLE": "arn:aws:iam::444455556666:role/Ours",
    "BUCKET": "s3://our-bucket/pumps",
    "REGISTRY": "444455556666.dkr.ecr.eu-west-1.amazonaws.com",
}
"""What somebody puts in."""


def cells_tagged(tag: str) -> list[str]:
    """Return the code of the cells with a tag, in order."""
    return [cell.source for cell in CODE if tag in cell.metadata.get("tags", [])]


def shape_of(cells: list[Any]) -> list[list[tuple[str, list[str]]]]:
    """Return what kinds of outputs each cell has."""
    return [
        [
            (output.output_type, sorted(output.get("data", {})))
            for output in cell.outputs
        ]
        for cell in cells
    ]


def text_of(cells: list[Any]) -> str:
    """Return all text that cells put out, tables and errors included."""
    outputs = [output for cell in cells for output in cell.outputs]
    return "\n".join(
        content if isinstance(content, str) else json.dumps(content)
        for output in outputs
        for key, content in [*output.items(), *output.get("data", {}).items()]
        if key not in ("data", "image/png")
    )


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """Return the code cells after a run in a folder of its own, as `make notebook`."""
    folder = tmp_path_factory.mktemp("notebook")
    for name in ("data", "docs", "scripts", "src"):
        (folder / name).symlink_to(ROOT / name)
    output = folder / "executed.ipynb"
    command = [sys.executable, str(ROOT / "scripts/run_notebook.py"), str(PATH)]
    process = subprocess.run(
        [*command, "--folder", str(folder), "--output", str(output)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=MAX_SECONDS,
        check=False,
    )
    assert process.returncode == 0, process.stdout
    cells = nbformat.read(output, as_version=4).cells
    return [cell for cell in cells if cell.cell_type == "code"]


@pytest.mark.notebook
def test_it_runs_from_top_to_bottom(executed: list[Any]) -> None:
    """Through the real train and the real server; every cell has the stored outputs.

    Their kinds, that is: the numbers differ in their last digits between machines.
    """
    assert [cell.execution_count for cell in executed] == list(
        range(1, len(executed) + 1)
    )
    assert shape_of(executed) == shape_of(CODE)


@pytest.mark.notebook
def test_what_it_says_of_the_sample_comes_true(executed: list[Any]) -> None:
    """Five faults, five events; the pieces of a series have the scores of the whole."""
    told = text_of(executed)
    (events,) = [cell for cell in executed if cell.id == "events"]
    (table,) = [output.data["text/html"] for output in events.outputs]
    (difference,) = re.findall(r"largest difference: (\S+?)\n", told)

    assert re.findall(r"<th>(\d+)</th>", table) == list("12345")
    assert float(difference) < 1e-9


@pytest.mark.notebook
def test_what_it_says_of_the_export_comes_true(executed: list[Any]) -> None:
    """Each fault is in an event, by its times; what is off or missing says so."""
    (events,) = [cell for cell in executed if cell.id == "events-with-times"]
    (table,) = [output.data["text/html"] for output in events.outputs[1:]]
    times = [np.datetime64(text) for text in re.findall(r"\d{4}-[\dT:-]+", table)]
    begin = make_data.BEGIN + make_data.N_TRAIN + make_data.N_VALID
    reasons = text_of([cell for cell in executed if cell.id == "count-the-reasons"])

    for rows, fault in make_data.FAULTS:
        first, last = begin + rows.start, begin + rows.stop
        pairs = zip(times[::2], times[1::2], strict=True)
        assert any(a <= last and b >= first for a, b in pairs), fault.__name__
    assert len(times) < 2 * 2 * len(make_data.FAULTS)
    assert {"MACHINE_OFF", "MISSING_DATA", "WARM_UP"} <= set(reasons.split())


@pytest.mark.notebook
def test_what_it_says_of_the_day_after_comes_true(executed: list[Any]) -> None:
    """The drift is measured, and the calibrated model is better."""
    told = text_of(executed)
    (drift,) = re.findall(r"lstm_ad_drift_index (\S+)", told)

    assert float(drift) > 0.25
    assert "promote: True" in told


def test_its_outputs_are_stored_and_of_this_code() -> None:
    """Every cell was run, in order, as it stands: else `make notebook` is due."""
    code = json.dumps([cell.source for cell in CODE])
    counts = [cell.execution_count for cell in CODE]

    assert counts == list(range(1, len(CODE) + 1))
    assert (
        NOTEBOOK.metadata["executed_sha256"]
        == hashlib.sha256(code.encode()).hexdigest()
    )


def test_its_outputs_have_no_error_no_warning_and_nothing_of_a_machine() -> None:
    """No absolute path and no user's name, neither in texts nor in metadata."""
    told = text_of(CODE)
    kinds = {output.output_type for cell in CODE for output in cell.outputs}
    streams = {output.get("name") for cell in CODE for output in cell.outputs}
    of_users = {getpass.getuser(), Path.home().name} - {"root"}

    assert kinds == {"stream", "display_data", "execute_result"} & kinds
    assert "stderr" not in streams
    assert "Warning" not in told
    assert re.findall(r"(?<![\w.:/])/[a-z]+/[\w./-]+", told) == []
    assert [name for name in of_users if name in told] == []
    assert set(NOTEBOOK.metadata) == {"executed_sha256", "kernelspec", "language_info"}


def test_it_is_small_and_its_pictures_are_sharp() -> None:
    """Under 2 MB; 700 pixels wide on the page, with twice as many stored."""
    pictures = [
        output
        for cell in CODE
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    stored = [
        int.from_bytes(bytes_of(picture.data["image/png"])[16:20], "big")
        for picture in pictures
    ]

    assert PATH.stat().st_size < 2_000_000
    assert len(pictures) >= 7
    assert {picture.metadata["image/png"]["width"] for picture in pictures} == {700}
    assert set(stored) == {1400}


def bytes_of(base64_text: str) -> bytes:
    """Return what Base64 stands for."""
    return base64.b64decode(base64_text)


def test_without_an_account_it_says_what_is_needed() -> None:
    """Part 2 asks nothing of AWS as it stands: each cell is one sentence."""
    guarded = [cell for cell in CODE if cell.source.startswith("if CLIENT != ")]
    told = [text_of([cell]) for cell in guarded]

    assert len(guarded) == 7
    assert all(text.count(" needs AWS credentials, your ROLE") == 1 for text in told)
    assert [text.count(".\n") for text in told] == [1] * 7


@pytest.mark.parametrize(
    ("client", "number"), [("boto3", 1), ("SDK v3", 2), ("SDK v2", 3)]
)
def test_part_2_is_the_example_that_is_tried_against_a_stand_in(
    client: str, number: int
) -> None:
    """The code behind the guard is that of docs/on-sagemaker.md, letter by letter."""
    document = (ROOT / "docs/on-sagemaker.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", document, re.DOTALL | re.MULTILINE)
    guard = f'if CLIENT != "{client}":\n'
    cell = next(cell.source for cell in CODE if cell.source.startswith(guard))

    assert textwrap.dedent(cell.partition("else:\n")[2]) + "\n" == blocks[number]


@pytest.fixture
def run_part_2(aws: Any, tmp_path: Path) -> Callable[[], str]:
    """Return the function that runs the cells of part 2 with boto3, as a user would."""
    for name in ("docs", "scripts"):
        (tmp_path / name).symlink_to(ROOT / name)
    series = tmp_path / "data/inference/input/test_data.csv"
    series.write_text(series.read_text() + "1e3,1e3\n")  # an event
    given = 'TEST = Path("data/inference/input/test_data.csv"); display = print'
    script = "\n".join([*cells_tagged("setup"), given, *cells_tagged("boto3")])
    for name, value in {"CLIENT": "boto3", **OURS}.items():
        script = re.sub(rf'^{name} = ".*?"', f'{name} = "{value}"', script, flags=re.M)

    def run() -> str:
        process = subprocess.run(
            [sys.executable, "-c", script],
            cwd=tmp_path,
            env=aws.variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        assert process.returncode == 0, process.stdout
        return process.stdout

    return run


def test_part_2_asks_aws_for_what_it_shows(
    aws: Any, run_part_2: Callable[[], str]
) -> None:
    """Train, deploy, invoke, tune, score in batches, clean up: with our names."""
    told = run_part_2()
    asked = [operation for operation, _ in aws.requests]
    bodies = json.dumps([body for _, body in aws.requests])

    assert [name for name in asked if not name.startswith("Describe")] == [
        "CreateTrainingJob",
        "CreateModel",
        "CreateEndpointConfig",
        "CreateEndpoint",
        "InvokeEndpoint",
        "InvokeEndpoint",
        "CreateHyperParameterTuningJob",
        "CreateTransformJob",
        "DeleteEndpoint",
        "DeleteEndpointConfig",
        "DeleteModel",
    ]
    assert "start_row" in told
    assert "{'lr': '0.01'}" in told
    assert re.findall("111122223333|amzn-s3-demo-bucket", bodies) == []
    assert all(name in bodies for name in OURS.values())
