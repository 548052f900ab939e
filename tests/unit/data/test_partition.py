import dataclasses
import re

import numpy as np
import pytest

from lstm_ad.data.partition import Owned, Partition
from lstm_ad.data.rows import Rows
from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm
from lstm_ad.exceptions import SeriesError
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


def with_schema(rows: Rows, schema: Schema, **facts: object) -> Rows:
    """Return rows whose files have these columns, and other facts."""
    files = [dataclasses.replace(file, schema=schema, **facts) for file in rows.files]
    return dataclasses.replace(rows, files=tuple(files))


P, F = Column("p", Role.SERIES), Column("f", Role.SERIES)
NAMED = Schema((P, F), is_named=True, clock=Clock(TimeForm.INTEGER, 60))


def test_the_clock_is_that_of_most_rows() -> None:
    """Of the files of all hosts; a step may differ by a tenth."""
    later = dataclasses.replace(NAMED, clock=Clock(TimeForm.INTEGER, 62))
    one = with_schema(Rows.of({"a": table(100)}), NAMED)
    other = with_schema(Rows.of({"b": table(101, seed=1)}), later)

    assert Partition.of(one, SETTINGS, group_of(one, other)).schema == later
    assert Partition.of(one, SETTINGS).schema == NAMED


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (Schema.unnamed(2), "it has no header, unlike"),
        (Schema((F, P), is_named=True), "its header differs from that of"),
        (
            dataclasses.replace(NAMED, clock=Clock(TimeForm.ISO, 60)),
            "its times are in another form than those of",
        ),
        (
            dataclasses.replace(NAMED, clock=Clock(TimeForm.INTEGER, 120)),
            "its rows are 120 apart, and not 60 as those of",
        ),
    ],
)
def test_columns_of_hosts_must_agree(schema: Schema, problem: str) -> None:
    """Each host has put those of its own files in order, and knows no other."""
    one = with_schema(Rows.of({"a": table(100)}), NAMED)
    other = with_schema(Rows.of({"b": table(101, seed=1)}), schema)

    message = (
        f"b: {problem} a; all files need the same columns in the same order, and the "
        f"same step of time."
    )
    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        Partition.of(one, SETTINGS, group_of(one, other))


def test_names_and_times_are_part_of_the_digest() -> None:
    """A table without them has the digest that it had."""
    rows = Rows.of({"a": table(100)})
    named = with_schema(rows, NAMED)

    plain = Partition.of(rows, SETTINGS)
    assert plain.schema == Schema.unnamed(2)
    assert Partition.of(named, SETTINGS).digest != plain.digest


def test_labels_are_of_the_rows_that_were_sent() -> None:
    """A row that is absent in time is labelled 0."""
    labels = np.zeros((95, 1))
    labels[60] = 1
    stored = Rows.of({"a": table(100)}, {"v": table(100)}, {"v": labels})
    rows = with_schema(stored, NAMED, inserted=((50, 53), (80, 82)))

    found = Partition.of(rows, SETTINGS).labels["v"]
    assert np.flatnonzero(found).tolist() == [63]
    assert found.shape == (100, 1)
