"""What the demo and the notebook run the product with."""

import contextlib
import json
import os
import select
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import laptop


@pytest.mark.parametrize(
    ("preparation", "expected"),
    [("", -signal.SIGTERM), ("trap '' TERM;", -signal.SIGKILL)],
    ids=["ends when asked", "ignores the request to end"],
)
def test_nothing_that_was_started_is_left(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    preparation: str,
    expected: int,
) -> None:
    """A process and its child end with their context, even if it is interrupted.

    Both hold a pipe open: it ends when neither lives.
    """
    monkeypatch.setattr(laptop, "STOP_SECONDS", 0.5)
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = f"{preparation} exec 3>{pipe}; (echo a child >&3; sleep 600) & sleep 600"

    with (
        contextlib.suppress(KeyboardInterrupt),
        laptop.running(["sh", "-c", script], tmp_path, tmp_path / "log") as process,
    ):
        has_started = next_of(reader)
        raise KeyboardInterrupt
    has_ended = next_of(reader)
    os.close(reader)

    assert has_started == b"a child\n"
    assert has_ended == b""
    assert process.returncode == expected


def next_of(reader: int) -> bytes | None:
    """Return what comes out of a pipe next; b"" is its end, None is 30 s of silence."""
    is_readable = select.select([reader], [], [], 30)[0]
    return os.read(reader, 100) if is_readable else None


def test_a_failing_job_says_why_in_its_own_sentence(tmp_path: Path) -> None:
    """What `train` says is wrong with the data is what the user reads."""
    series = tmp_path / "train.csv"
    series.write_text("1,2\n3\n")
    laptop.lay_out(tmp_path / "job", {"training": series})

    with pytest.raises(laptop.LaptopError, match=r"train\.csv: Row 2 has 1 cell"):
        laptop.train(tmp_path / "job")


def test_a_server_without_a_model_is_not_waited_for(tmp_path: Path) -> None:
    """Its log is named, which says what is missing."""
    with (
        pytest.raises(
            laptop.LaptopError, match=r"did not start; .*server\.log says why"
        ),
        laptop.serving(tmp_path),
    ):
        pass

    assert "model.json cannot be read" in (tmp_path / "server.log").read_text()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With the command that writes the sample data."""
    with pytest.raises(laptop.LaptopError, match=r"no\.csv is missing; `make data`"):
        laptop.lay_out(tmp_path / "job", {"training": tmp_path / "no.csv"})


def test_what_the_server_refuses_is_told_in_its_words(model_dir: Path) -> None:
    """The status and the sentence, as a client would read them."""
    with (
        laptop.serving(model_dir.parent) as endpoint,
        pytest.raises(laptop.LaptopError, match=r"answered 400: .*Row 2 has 1 cell"),
    ):
        endpoint.invoke(b"1,2\n3\n")


def test_an_endpoint_is_asked_as_boto3_asks_it(
    model_dir: Path, make_series: Any, as_csv: Any
) -> None:
    """Format and columns as the caller names them, from the image's own server."""
    series = as_csv(make_series(40))
    asked = {"custom_attributes": "output=is_anomaly;header=true;return=last:2"}

    with laptop.serving(model_dir.parent) as endpoint:
        default = endpoint.invoke(series)
        columns = endpoint.invoke(series, **asked)
        document = endpoint.invoke(series, accept="application/json")

    assert default.count(b"\n") == 40
    assert columns.splitlines()[0] == b"is_anomaly"
    assert columns.count(b"\n") == 3
    assert len(json.loads(document)["rows"]) == 40


def test_the_command_is_printed_as_a_shell_takes_it(
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """What a reader copies does what was done, in the same folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job").mkdir()
    script = 'echo "$SAGEMAKER_BASE_DIR" "$WORDS"'

    with laptop.running(
        ["sh", "-c", script], Path("job"), tmp_path / "log", WORDS="two words"
    ) as process:
        process.wait()
    command = capfd.readouterr().out.removeprefix("$ ")
    copied = subprocess.run(command, shell=True, capture_output=True, check=True)

    assert copied.stdout == (tmp_path / "log").read_bytes() == b"job two words\n"
