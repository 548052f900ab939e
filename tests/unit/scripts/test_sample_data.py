"""The sample data: made again from their seed, and as the story says."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[3]
DATA = ROOT / "data"
SHAPES = {
    "training/train.csv": (10_000, 2),
    "training/valid.csv": (2_500, 2),
    "inference/input/test_data.csv": (2_500, 2),
    "inference/output/test_labels.csv": (2_500, 1),
}
EXPORTED = {
    "historian/training/pump.csv": 5_976,
    "historian/validation/pump.csv": 2_476,
    "historian/inference/pump.csv": 2_476,
}
"""With a header, without the 25 rows that were never written."""


@pytest.fixture
def make_data(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script that makes the data."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return importlib.import_module("make_data")


def read(name: str) -> np.ndarray:
    """Return a file of the sample data as a table."""
    return np.loadtxt(DATA / name, delimiter=",", ndmin=2)


def test_the_files_are_what_the_script_writes(
    make_data: ModuleType, tmp_path: Path
) -> None:
    """Anyone can make the sample data again, byte for byte, in the README's shapes."""
    make_data.write(tmp_path)

    assert {name: read(name).shape for name in SHAPES} == SHAPES
    names = [*SHAPES, *EXPORTED]
    assert sorted(names) == sorted(
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.csv")
    )
    assert {name: (DATA / name).read_bytes() for name in names} == {
        name: (tmp_path / name).read_bytes() for name in names
    }
    n_lines = {name: len((DATA / name).read_text().splitlines()) for name in EXPORTED}
    assert n_lines == EXPORTED


def test_another_seed_makes_other_data(
    make_data: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything random follows from the seed."""
    before = make_data.make()["training/train.csv"]
    monkeypatch.setattr(make_data, "SEED", make_data.SEED + 1)

    assert not np.array_equal(before, make_data.make()["training/train.csv"])


def test_no_threshold_on_a_value_can_see_a_fault() -> None:
    """Every value of the test series lies within the range of the training values."""
    train, test = read("training/train.csv"), read("inference/input/test_data.csv")

    assert (train.min(axis=0) <= test.min(axis=0)).all()
    assert (train.max(axis=0) >= test.max(axis=0)).all()


def test_the_labels_mark_five_separate_faults(make_data: ModuleType) -> None:
    """Each fault is one stretch of labelled rows, and no other row is labelled."""
    labels = read("inference/output/test_labels.csv")[:, 0]
    edges = np.diff(labels, prepend=0, append=0)
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)

    assert {0.0, 1.0} == set(labels)
    assert len(starts) == 5
    assert [(rows.start, rows.stop) for rows, _ in make_data.FAULTS] == list(
        zip(starts, stops, strict=True)
    )


def test_a_fault_changes_the_labelled_rows_alone(make_data: ModuleType) -> None:
    """Outside the labels the test series is what the healthy pump would have shown."""
    healthy = make_data.record(15_000, np.random.default_rng(make_data.SEED))
    expected = healthy.rows(slice(12_500, None)).readings()
    test = read("inference/input/test_data.csv")
    differs = (expected != test).any(axis=1)
    is_labelled = read("inference/output/test_labels.csv")[:, 0] > 0

    assert not differs[~is_labelled].any()
    assert differs[is_labelled].mean() > 0.95


def test_the_two_series_are_related() -> None:
    """One machine: the current follows the pressure, as a joint model can learn."""
    train = read("training/train.csv")
    correlation = np.corrcoef(train.T)[0, 1]
    behind = np.corrcoef(train[:-5, 0], train[5:, 1])[0, 1]

    assert 0.5 < correlation < behind
