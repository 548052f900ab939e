import dataclasses

import numpy as np
import pytest

from lstm_ad.data.partition import Owned, Partition
from lstm_ad.data.rows import Rows
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.processes import ALONE, ProcessGroup, share

SETTINGS = Hyperparameters(sequence_length=10)


class Others:
    """Collectives among hosts with given rows, as the first process sees them."""

    def __init__(self, items: list) -> None:
        self.items = items

    def gather(self, item: object) -> list:
        """Return what every host lists, and of all else this process's own."""
        if isinstance(item, tuple):
            return self.items
        return [item, *[{}] * (len(self.items) - 1)]


def group_of(*hosts: Rows) -> ProcessGroup:
    """Return a group of one process per host."""
    listings = [(host, rows.files) for host, rows in enumerate(hosts)]
    return ProcessGroup(size=len(hosts), collectives=Others(listings))


def table(n_rows: int, seed: int = 0) -> np.ndarray:
    """Return two random series."""
    return np.random.default_rng(seed).normal(size=(n_rows, 2))


def test_one_process_owns_every_part() -> None:
    """A fifth of each file calibrates; the validation files are whole."""
    rows = Rows.of({"a": table(100), "b": table(205)}, {"v": table(30)})

    partition = Partition.of(rows, SETTINGS)

    found = [(p.file.name, p.start, p.stop, p.owners) for p in partition.fitting]
    assert found == [("a", 0, 80, (0,)), ("b", 0, 164, (0,))]
    assert [(p.start, p.stop) for p in partition.calibration] == [(80, 100), (164, 205)]
    assert partition.selection == partition.validation
    assert dict(partition.n_rows) == {"train": 244, "valid": 30, "calibration": 61}


def test_hosts_with_the_same_files_own_them_together() -> None:
    """What is scored is dealt by size, the largest part first."""
    files = {name: table(n) for name, n in (("a", 100), ("b", 300), ("c", 180))}
    rows = Rows.of(files)

    partition = Partition.of(rows, SETTINGS, group_of(rows, Rows.of(files)))

    assert {part.owners for part in partition.fitting} == {(0, 1)}
    assert [part.scorer for part in partition.calibration] == [1, 0, 1]


def test_files_that_are_divided_between_hosts_belong_to_one_each() -> None:
    """In order of their names; a file that two have belongs to the first."""
    first = Rows.of({"a": table(100), "c": table(100)}, {"v": table(30)})
    second = Rows.of({"b": table(100), "c": table(100)}, {"v": table(30)})

    partition = Partition.of(first, SETTINGS, group_of(first, second))

    found = [(part.file.name, part.owners) for part in partition.fitting]
    assert found == [("a", (0,)), ("b", (1,)), ("c", (0,))]
    assert {part.owners for part in partition.validation} == {(0, 1)}
    groups = Owned.of(partition.fitting, first)
    assert [owned.owners for owned in groups] == [(0,), (1,)]
    assert groups[0].ranges.first.tolist() == [0, 100]


def test_the_digest_does_not_depend_on_the_processes() -> None:
    """So a checkpoint fits however many go on from it."""
    a, b = {"a": table(100)}, {"b": table(110, seed=1)}
    divided = Rows.of(a)

    together = Partition.of(Rows.of(a | b), SETTINGS, ALONE)

    found = Partition.of(divided, SETTINGS, group_of(divided, Rows.of(b)))
    assert found.digest == together.digest


@pytest.mark.parametrize(
    "other",
    [
        Rows.of({"a": table(100)}, {"w": table(30)}),
        Rows.of({"b": table(100)}, {"v": table(30)}),
        Rows.of({"a": np.nextafter(table(100), 9)}, {"v": table(30)}),
        Rows.of({"a": table(100)}),
    ],
)
def test_any_other_name_or_value_has_another_digest(other: Rows) -> None:
    """So another job's checkpoint is never taken for one's own."""
    digest = Partition.of(Rows.of({"a": table(100)}, {"v": table(30)}), SETTINGS).digest

    assert Partition.of(other, SETTINGS).digest != digest


def test_overlapping_the_calibration_part_borrows_rows_that_it_only_reads() -> None:
    """14 before the cut at 80; the selection starts one context before it."""
    settings = dataclasses.replace(
        SETTINGS, context_length=10, prediction_length=6, sequence_stride=2
    )

    partition = Partition.of(Rows.of({"a": table(100)}), settings)

    assert [part.start for part in partition.calibration] == [80 - 14]
    assert [part.start for part in partition.selection] == [80 - 10]


@pytest.mark.parametrize("n_items", [0, 1, 5, 12])
def test_shares_are_even_and_complete(n_items: int) -> None:
    """They differ by one at most."""
    found = [list(range(n_items))[share(n_items, k, 5)] for k in range(5)]

    assert [item for one in found for item in one] == list(range(n_items))
    assert max(map(len, found)) - min(map(len, found)) <= 1
