"""The demo's parts, and the sample predictions that it writes."""

import contextlib
import importlib
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ROOT / "scripts"
OUTPUT = ROOT / "data/inference/output"


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that shows the product at work."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("demo")


def test_roc_auc_counts_ties_half(demo: ModuleType) -> None:
    """It is the share of pairs in which the faulty row scores lower.

    By hand: the faulty rows score -5 and -2, the normal ones -2, -1 and 0. Of the six
    pairs, the first row wins all three, the second wins two and ties once: 5.5 / 6.
    """
    score = np.array([-5.0, -2.0, -2.0, -1.0, 0.0])
    is_anomaly = np.array([True, True, False, False, False])

    assert demo.roc_auc(score, is_anomaly) == pytest.approx(5.5 / 6, abs=1e-15)


def test_roc_auc_is_0_if_normal_rows_score_lowest(demo: ModuleType) -> None:
    """A score that has it backwards is not taken for a good one."""
    score, is_anomaly = np.array([0.0, -1.0]), np.array([True, False])

    assert demo.roc_auc(score, is_anomaly) == 0


def test_roc_auc_leaves_unscored_rows_out(demo: ModuleType) -> None:
    """A row without a score is neither right nor wrong, whatever its label."""
    score = np.array([np.nan, np.nan, -3.0, -1.0])
    is_anomaly = np.array([True, False, True, False])

    assert demo.roc_auc(score, is_anomaly) == 1


def test_empty_cells_are_read_as_no_number(demo: ModuleType) -> None:
    """The rows of the first sequence stay where they are on the time axis."""
    table = demo.parse(b",,\n-1.5,2,3e-1\n")

    np.testing.assert_array_equal(
        table, [[np.nan, np.nan, np.nan], [-1.5, 2.0, 0.3]], strict=True
    )


def test_alarms_are_counted_per_fault_and_false_ones_by_distance(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An alarm after a fault is told from one that has nothing to do with it.

    Sequences of 2 rows; the fault is in the third, so rows 4 to 7 are near it.
    """
    monkeypatch.setattr(demo, "FAULTS", [(slice(4, 5), test_roc_auc_counts_ties_half)])
    score = np.array([np.nan, np.nan, -9.0, 0.0, -9.0, -9.0, 0.0, -9.0, -9.0, -5.0])
    is_anomaly = np.arange(10) == 4

    verdict = demo.judge(score, is_anomaly, alarm=-5.0)

    assert verdict == demo.Verdict(alarm=-5.0, n_alarmed=[1], n_false=4, n_false_near=2)


def test_the_story_says_which_faults_were_missed(demo: ModuleType) -> None:
    """A fault without any alarm is not called found."""
    verdict = demo.Verdict(-7.0, n_alarmed=[0, 30, 1, 2, 3], n_false=5, n_false_near=4)
    lines = demo.story(verdict).splitlines()

    assert lines[1] == "  1 phase slip       rows  356 to  391  missed   0 of 36 rows"
    assert lines[2] == "  2 flat stretch     rows  813 to  846  found   30 of 34 rows"


@pytest.mark.parametrize(
    ("preparation", "expected"),
    [("", -signal.SIGTERM), ("trap '' TERM;", -signal.SIGKILL)],
    ids=["ends when asked", "ignores the request to end"],
)
def test_nothing_that_was_started_is_left(
    demo: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    preparation: str,
    expected: int,
) -> None:
    """A process and its child end with the demo, even if it is interrupted.

    Both hold a pipe open: it ends when neither lives.
    """
    monkeypatch.setattr(demo, "STOP_SECONDS", 0.5)
    pipe = tmp_path / "alive"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    script = f"{preparation} exec 3>{pipe}; (echo a child >&3; sleep 600) & sleep 600"

    with (
        contextlib.suppress(KeyboardInterrupt),
        demo.running(["sh", "-c", script], tmp_path, tmp_path / "log") as process,
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


def test_a_failing_job_ends_the_demo_with_its_own_sentence(
    demo: ModuleType, tmp_path: Path
) -> None:
    """What `train` says is wrong with the data is what the user of the demo reads."""
    base = demo.lay_out(tmp_path)
    (base / "input/data/training/train.csv").write_text("1,2\n3\n")

    with pytest.raises(demo.DemoError, match=r"train\.csv: Row 2 has 1 cell"):
        demo.train(base, tmp_path / "train.log")


def test_a_server_without_a_model_ends_the_demo(
    demo: ModuleType, tmp_path: Path
) -> None:
    """A server that ends is not waited for, and its log is named."""
    with (
        pytest.raises(demo.DemoError, match=r"did not start; .*server\.log says why"),
        demo.serving(tmp_path, tmp_path / "server.log"),
    ):
        pass

    assert "model.json cannot be read" in (tmp_path / "server.log").read_text()


def test_a_demo_that_cannot_write_says_so_in_one_sentence(tmp_path: Path) -> None:
    """A failure is one plain sentence and exit code 1, never a traceback."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    command = [sys.executable, str(SCRIPTS / "demo.py"), str(in_the_way)]

    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert ended.returncode == 1
    assert ended.stderr.startswith("The demo failed: Not a directory: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_ends_at_once(tmp_path: Path, number: int) -> None:
    """Ctrl-C, a request to end and a closed terminal end it in one plain sentence."""
    command = [sys.executable, str(SCRIPTS / "demo.py"), str(tmp_path)]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell starts its background jobs with some of these signals ignored.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate()

    assert first.startswith("Training on data/training/train.csv")
    assert process.returncode == 1
    assert errors == "The demo was interrupted.\n"


def test_the_picture_is_drawn_without_a_display(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The demo leaves a picture, twice as wide as a README shows it."""
    monkeypatch.delenv("DISPLAY", raising=False)
    series = np.loadtxt(demo.TEST, delimiter=",")
    predictions = demo.parse((OUTPUT / "batch/batch_predictions.csv").read_bytes())
    verdict = demo.Verdict(-7.0, n_alarmed=[1] * 5, n_false=0, n_false_near=0)

    demo.draw(tmp_path / "demo.png", series, predictions, verdict)
    picture = (tmp_path / "demo.png").read_bytes()

    assert picture.startswith(b"\x89PNG\r\n")
    assert int.from_bytes(picture[16:20], "big") == 1400


def test_the_sample_predictions_are_one_answer() -> None:
    """Batch transform and the endpoint answer the same, byte for byte."""
    batch = (OUTPUT / "batch/batch_predictions.csv").read_bytes()
    real_time = (OUTPUT / "real-time/real_time_predictions.csv").read_bytes()

    assert batch == real_time
    assert batch.endswith(b"\n")
    assert b"\r" not in batch


def test_the_sample_predictions_have_a_row_per_row_of_the_input() -> None:
    """Row by row: empty for the first sequence, a score and two reconstructions after.

    The first sequence has 50 rows, the default sequence-length.
    """
    path = OUTPUT / "batch/batch_predictions.csv"
    lines = path.read_text().splitlines()
    numbers = np.array([line.split(",") for line in lines[50:]], dtype=float)

    assert len(lines) == 2_500
    assert lines[:50] == [",,"] * 50
    assert numbers.shape == (2_450, 3)
    assert np.isfinite(numbers).all()


def test_the_sample_predictions_find_every_fault(demo: ModuleType) -> None:
    """The sample shows a product that works: ROC AUC at least 0.9, no fault missed.

    A fault is missed if none of its rows is among the hundredth of normal rows that
    score lowest, far from any fault.
    """
    score = demo.parse((OUTPUT / "batch/batch_predictions.csv").read_bytes())[:, 0]
    is_anomaly = np.loadtxt(OUTPUT / "test_labels.csv") > 0
    is_far = ~np.convolve(is_anomaly, np.ones(301), mode="same").astype(bool)
    alarm = float(np.nanquantile(score[is_far], 0.01))

    assert demo.roc_auc(score, is_anomaly) >= 0.9
    assert 0 not in demo.judge(score, is_anomaly, alarm).n_alarmed
