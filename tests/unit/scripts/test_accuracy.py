import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

import accuracy  # noqa: E402

LABELS = np.zeros(1000, dtype=bool)
LABELS[400:450] = True


@pytest.mark.parametrize(
    ("row", "expected"), [(299, 0.0), (300, 1.0), (420, 1.0), (549, 1.0), (550, 0.0)]
)
def test_a_hit_lies_within_100_rows_of_the_labelled_interval(
    row: int, expected: float
) -> None:
    """The archive's own measure: the most anomalous row, and no other, decides."""
    anomaly = np.zeros(1000)
    anomaly[row] = 1.0

    assert accuracy.ucr_hit(anomaly, LABELS) == expected


def test_the_area_under_the_curve_counts_ties_as_half() -> None:
    """By hand: of the six pairs, three are in order, one is not and two are ties."""
    labels = np.array([True, True, False, False, False])
    anomaly = np.array([2.0, 3.0, 2.0, 3.0, 1.0])

    assert accuracy.roc_auc(anomaly, labels) == pytest.approx((3 + 2 / 2) / 6)


@pytest.mark.parametrize(("kind", "column"), [("univariate", 1), ("multivariate", 2)])
def test_the_readme_recommends_what_is_measured(kind: str, column: int) -> None:
    """Its table has each hyperparameter of the setting, and nothing else."""
    readme = (ROOT / "README.md").read_text()
    table = readme.split("| | one series | several series |\n")[1].split("\n\n")[0]
    rows = [re.findall(r"[^|` ]+", line) for line in table.splitlines()[1:]]
    expected = {cells[0]: float(cells[column]) for cells in rows}

    assert expected == accuracy.SETTINGS["recommended"][kind]


@pytest.mark.parametrize("kind", ["univariate", "multivariate"])
def test_the_passes_that_training_is_compared_with_can_be_made(kind: str) -> None:
    """Of the recommended setting, once; it follows what training itself calls.

    In a process of its own, whose memory it sets up as training does.
    """
    code = f"""
import accuracy, training

setting = accuracy.SETTINGS["recommended"]["{kind}"] | {{"epochs": 1}}
strings = {{name: str(value) for name, value in setting.items()}}
print(training.seconds_of_passes(600, {1 if kind == "univariate" else 3}, strings))
"""
    output = subprocess.check_output(
        [sys.executable, "-c", code], cwd=ROOT / "benchmarks"
    )

    assert float(output) > 0
