import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
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
