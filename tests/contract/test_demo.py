"""The demo's parts, and the sample predictions that it writes."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import demo

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, str(ROOT / "scripts/demo.py")]
OUTPUT = ROOT / "data/inference/output"
NONE = np.nan


@pytest.mark.parametrize(
    ("score", "labels", "expected"),
    [
        # Of six pairs, the first faulty row wins three, the second two and a tie.
        ([-5, -2, -2, -1, 0], [1, 1, 0, 0, 0], 5.5 / 6),
        ([0, -1], [1, 0], 0),
        ([NONE, NONE, -3, -1], [1, 0, 1, 0], 1),
    ],
    ids=["ties count half", "normal rows score lowest", "unscored rows are left out"],
)
def test_roc_auc(score: list[float], labels: list[int], expected: float) -> None:
    """It is the share of pairs in which the faulty row scores lower."""
    found = demo.roc_auc(np.array(score), np.array(labels, dtype=bool))

    assert found == pytest.approx(expected, abs=1e-15)


def test_empty_cells_are_read_as_no_number() -> None:
    """The rows of the first sequence stay where they are on the time axis."""
    table = demo.parse(b",,\n-1.5,2,3e-1\n")

    np.testing.assert_array_equal(table, [[NONE] * 3, [-1.5, 2.0, 0.3]], strict=True)


def test_the_story_names_the_faults_that_events_meet() -> None:
    """A fault is found if an event has a row of it; one that meets none says so.

    Rows are counted from 1, the last one included: the phase slip is in rows 356 to
    391, the flat stretch in rows 813 to 846.
    """
    event = {"anomaly_score": 0.75, "name": "2", "direction": "below"}
    events = [
        {"start_row": 300, "end_row": 355, **event},
        {"start_row": 391, "end_row": 450, **event},
        {"start_row": 700, "end_row": 813, **event},
    ]

    assert demo.story(events).splitlines() == [
        "  1  rows  300 to  355  severity 0.75  current below its reconstruction  "
        "no fault",
        "  2  rows  391 to  450  severity 0.75  current below its reconstruction  "
        "phase slip",
        "  3  rows  700 to  813  severity 0.75  current below its reconstruction  "
        "flat stretch",
        "Faults found: 2 of 5",
    ]


def test_a_demo_that_cannot_write_says_so_in_one_sentence(tmp_path: Path) -> None:
    """A failure is one plain sentence and exit code 1, never a traceback."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()

    ended = subprocess.run(
        [*COMMAND, in_the_way], capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.startswith("The demo failed: Not a directory: ")
    assert ended.stderr.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_demo_ends_at_once(tmp_path: Path, number: int) -> None:
    """Ctrl-C, a request to end and a closed terminal end it in one plain sentence."""
    with subprocess.Popen(
        [*COMMAND, tmp_path],
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


def test_the_sample_predictions_are_one_answer_with_a_row_per_row() -> None:
    """Batch transform's and the endpoint's: empty for the first 50 rows, then scored.

    The first sequence has 50 rows, the default sequence-length.
    """
    batch = (OUTPUT / "batch/batch_predictions.csv").read_bytes()
    real_time = (OUTPUT / "real-time/real_time_predictions.csv").read_bytes()
    table = demo.parse(batch)

    assert batch == real_time
    assert batch.startswith(b",,\n" * 50)
    assert batch.endswith(b"\n")
    assert b"\r" not in batch
    assert table.shape == (2_500, 3)
    assert np.isfinite(table[50:]).all()


def test_the_sample_predictions_find_every_fault() -> None:
    """The sample shows a product that works: ROC AUC at least 0.9, no fault missed.

    A fault is missed if none of its rows is among the hundredth of normal rows that
    score lowest, far from any fault.
    """
    score = demo.parse((OUTPUT / "batch/batch_predictions.csv").read_bytes())[:, 0]
    is_anomaly = np.loadtxt(OUTPUT / "test_labels.csv") > 0
    is_far = ~np.convolve(is_anomaly, np.ones(301), mode="same").astype(bool)
    alarm = float(np.nanquantile(score[is_far], 0.01))

    assert demo.roc_auc(score, is_anomaly) >= 0.9
    assert all(score[rows].min() < alarm for rows, _ in demo.FAULTS)
