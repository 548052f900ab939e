"""Labelled validation rows: check the labels, and find what is normal among them.

A label is 0 (normal) or 1 (anomaly), one per row of a validation series. What is
labelled 1 takes no part in the validation loss: that is measured on the stretches
between, each as a series of its own. All rows that have a score choose the threshold
(see :mod:`lstm_ad.threshold.labelled`).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.rows import File
from lstm_ad.exceptions import SeriesError


def divided(
    labels: Mapping[str, FloatArray], validation: Sequence[File]
) -> dict[str, FloatArray]:
    """Return labels with those of files with several machines divided like these.

    Args:
        labels: By the name of the file, each of shape ``(T, 1)``.
        validation: The validation files, each machine as a file of its own.

    Raises:
        SeriesError: If a file with machines has other rows than its labels, or none.
    """
    found = dict(labels)
    machines: dict[str, dict[str, IndexArray]] = {}
    for file in validation:
        if labels and file.places is not None and file.name not in labels:
            machines.setdefault(file.whole, {})[file.name] = file.places
    for whole, places in machines.items():
        if whole not in labels:
            raise SeriesError(_missing(whole))
        column = found.pop(whole)
        _refuse_other_length(whole, column, sum(map(len, places.values())))
        found |= {name: column[rows] for name, rows in places.items()}
    return found


def check(
    labels: Mapping[str, FloatArray],
    n_timesteps: Mapping[str, int],
    n_unscored: int,
) -> None:
    """Refuse labels that do not say of every validation row what it is.

    Args:
        labels: By the name of the file, each of shape ``(T, 1)``.
        n_timesteps: The rows of each validation series, likewise.
        n_unscored: How many rows at the start of a series have no score.

    Raises:
        SeriesError: If a file is missing, or has too many columns, other rows or other
            values; if no row with a score is an anomaly; or if no stretch of normal
            rows is long enough to be scored.
    """
    for name in n_timesteps:
        if name not in labels:
            raise SeriesError(_missing(name))
    for name, column in labels.items():
        if name not in n_timesteps:
            raise SeriesError(
                f"labels/{name} has no series: there is no file of that name in the "
                f"validation channel."
            )
        if column.shape[1] != 1:
            raise SeriesError(
                f"labels/{name} has {column.shape[1]} columns; use one, with a "
                f"0 or 1 per row."
            )
        _refuse_other_length(name, column, n_timesteps[name])
        is_other = (column[:, 0] != 0) & (column[:, 0] != 1)
        if is_other.any():
            row = int(np.argmax(is_other))
            raise SeriesError(
                f"labels/{name}: row {row + 1}: {column[row, 0]:g} was found; use "
                f"0 (normal) or 1 (anomaly)."
            )
    if not any((column[n_unscored:] == 1).any() for column in labels.values()):
        raise SeriesError(
            f"The labels name no anomaly that has a score: at least one 1 is needed "
            f"after the first {n_unscored} rows of a file."
        )
    if not normal_stretches(labels, n_unscored):
        raise SeriesError(
            f"The labels leave no stretch of normal rows to validate on: at least "
            f"{n_unscored + 1} rows in a row must be labelled 0."
        )


def refuse_unscored(
    labels: Mapping[str, FloatArray],
    stretches: Mapping[str, Sequence[range]],
    n_unscored: int,
) -> None:
    """Refuse labels whose anomalies are all where no row has a score.

    Args:
        labels: As for :func:`check`.
        stretches: The runs of rows of each file that are a series each.
        n_unscored: How many rows at the start of a series have no score.

    Raises:
        SeriesError: If there is no other anomaly.
    """
    if not any(
        (labels[name][run.start + n_unscored : run.stop] == 1).any()
        for name, runs in stretches.items()
        for run in runs
    ):
        raise SeriesError(
            f"The labels name no anomaly that has a score: all lie in gaps, where the "
            f"machine is off, or in the {n_unscored} rows after that; at least one "
            f"must lie elsewhere."
        )


def _missing(name: str) -> str:
    """Return the sentence about a file without labels."""
    return (
        f"labels/{name} is missing: every file of the validation channel needs one of "
        f"the same name, with a 0 or 1 per row."
    )


def _refuse_other_length(name: str, column: FloatArray, n_timesteps: int) -> None:
    """Refuse labels that are not as many as the rows of their file.

    Raises:
        SeriesError: If they are more, or fewer.
    """
    if len(column) != n_timesteps:
        raise SeriesError(
            f"labels/{name} has {len(column)} rows, but validation/{name} has "
            f"{n_timesteps}: one label per row is needed."
        )


def normal_stretches(
    labels: Mapping[str, FloatArray], n_unscored: int
) -> list[tuple[str, range]]:
    """Return the runs of rows labelled 0 that are long enough to be scored.

    Args:
        labels: As for :func:`check`.
        n_unscored: As for :func:`check`.

    Returns:
        The file and the rows, counted from 0, of each.
    """
    stretches = []
    for name, column in labels.items():
        edges = np.flatnonzero(np.diff(column[:, 0] == 0, prepend=False, append=False))
        for start, end in edges.reshape(-1, 2).tolist():
            if end - start > n_unscored:
                stretches.append((name, range(start, end)))
    return stretches
