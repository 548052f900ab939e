"""Read the channels of a training job: all files, or a process's share of them."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ad.axes import FloatArray
from lstm_ad.data.labels import Labelled, normal_stretches
from lstm_ad.data.labels import check as check_labels
from lstm_ad.data.partition import File, Held, Piece, Shares, readers_of
from lstm_ad.data.validate import check_files
from lstm_ad.exceptions import SettingError
from lstm_ad.training.checkpoints import digest_series, fingerprint
from sagemaker_container.formats.csv import read_file, read_rows, read_shape
from sagemaker_container.job import (
    LABELS,
    TRAINING,
    VALIDATION,
    TrainingEnvironment,
)

if TYPE_CHECKING:
    # A type alone: bad input is refused before torch is imported.
    from lstm_ad.training.processes import Team

logger = logging.getLogger(__name__)

MAX_LINES = 20
"""Files of a channel that have a line of the log each; more have one line together."""

Paths = Mapping[str, Path]


def read_all(environment: TrainingEnvironment) -> dict[str, dict[str, FloatArray]]:
    """Return the series of every file of each channel, and log what was found.

    Raises:
        SeriesError: If a file cannot be read as it stands.
    """
    channels = {}
    for channel in (TRAINING, VALIDATION):
        paths = environment.channels[channel]
        series = {name: read_file(path, name) for name, path in paths.items()}
        _log(channel, [File(name, *values.shape) for name, values in series.items()])
        channels[channel] = series
    channels[LABELS] = {
        name: read_file(path, f"{LABELS}/{name}")
        for name, path in environment.channels[LABELS].items()
    }
    return channels


@dataclasses.dataclass(frozen=True)
class Share:
    """What a process reads of the channels."""

    held: Held
    """The rows that it holds."""
    labelled: list[Labelled] | None
    """The validation series that it scores if there are labels; None if not."""
    digest: str
    """A digest of what all processes hold."""


def read_share(environment: TrainingEnvironment, team: Team) -> Share:
    """Return what this process holds of the channels, and log what all of them have.

    The files are listed and their rows counted first, each by one process that has it:
    a host may have all of them or, where SageMaker has divided them, some.

    Raises:
        SeriesError: If a file cannot be read as it stands, or is too short, or has
            another number of columns than the others.
        SettingError: If no host has a file of the training channel.
    """
    hyperparameters = environment.hyperparameters
    paths = environment.channels
    training, validation = (
        _listed(paths[channel], team) for channel in (TRAINING, VALIDATION)
    )
    if not training:
        raise SettingError(
            "The training channel is empty: no instance holds a file with data, but at "
            "least one CSV file is needed."
        )
    _log(TRAINING, training)
    _log(VALIDATION, validation)
    check_files(training, validation, hyperparameters)
    labels = _read_labels(paths[LABELS], team)
    stretches = None
    if labels:
        n_unscored = hyperparameters.layout.n_unscored
        n_timesteps = {file.name: range(file.n_timesteps) for file in validation}
        check_labels(labels, n_timesteps, n_unscored)
        stretches = normal_stretches(labels, n_unscored)

    shares = Shares.of(training, validation, hyperparameters, team.size, stretches)
    fitting = _read(paths[TRAINING], training, shares.fitting[team.rank])
    calibrating = _read(paths[TRAINING], training, shares.calibrating[team.rank])
    validating = _read(paths[VALIDATION], validation, shares.validating[team.rank])
    labelled = [
        Labelled(
            file.name,
            functools.partial(read_file, paths[VALIDATION][file.name], file.name),
            labels[file.name][:, 0] == 1,
        )
        for number, file in enumerate(validation)
        if labels and _turn(number, file.readers) == team.rank
    ]
    parts = {TRAINING: [*fitting, *calibrating], VALIDATION: validating}
    numbered = {
        channel: {str(number): part for number, part in enumerate(parts)}
        for channel, parts in parts.items()
    }
    names = {TRAINING: list(map(str, training)), VALIDATION: list(map(str, validation))}
    digests = team.gather(digest_series({**numbered, LABELS: labels}))
    return Share(
        Held(shares, team.rank, fitting, calibrating, validating),
        labelled if labels else None,
        fingerprint(names, " ".join(digests)),
    )


def _read_labels(paths: Paths, team: Team) -> dict[str, FloatArray]:
    """Return the labels of every file, which are one number per row, for all."""
    readers = readers_of(team.gather(list(paths)))
    read = {
        name: read_file(paths[name], f"{LABELS}/{name}")
        for number, (name, ranks) in enumerate(readers.items())
        if _turn(number, ranks) == team.rank
    }
    found = {name: column for one in team.gather(read) for name, column in one.items()}
    return {name: found[name] for name in readers}


def _turn(number: int, readers: Sequence[int]) -> int:
    """Return which of those who can read a file does so alone."""
    return readers[number % len(readers)]


def _listed(paths: Paths, team: Team) -> list[File]:
    """Return all files of a channel, in order of their names."""
    readers = readers_of(team.gather(list(paths)))
    counted = {
        name: read_shape(paths[name], name)
        for number, (name, ranks) in enumerate(readers.items())
        if _turn(number, ranks) == team.rank
    }
    shapes = {
        name: shape for one in team.gather(counted) for name, shape in one.items()
    }
    return [File(name, *shapes[name], ranks) for name, ranks in readers.items()]


def _read(
    paths: Paths, files: Sequence[File], pieces: Sequence[Piece]
) -> list[FloatArray]:
    """Return what is held of each piece; a file is read once for all of its pieces."""
    parts: list[FloatArray] = []
    for number, some in itertools.groupby(pieces, key=lambda piece: piece.file):
        name = files[number].name
        ranges = [range(piece.first, piece.held) for piece in some]
        parts += read_rows(paths[name], name, ranges)
    return parts


def _log(channel: str, files: Sequence[File]) -> None:
    """Say what was found: few files one by one, many together."""
    purpose = {TRAINING: "Training", VALIDATION: "Validating"}[channel]
    if len(files) > MAX_LINES:
        rows = [file.n_timesteps for file in files]
        logger.info(
            "%s on %d files, from %s to %s: %d time series, %d time steps in all, "
            "from %d to %d per file.",
            purpose,
            len(files),
            files[0].name,
            files[-1].name,
            files[0].n_series,
            sum(rows),
            min(rows),
            max(rows),
        )
        return
    for file in files:
        logger.info(
            "%s on %s: %d time series of length %d.",
            purpose,
            file.name,
            file.n_series,
            file.n_timesteps,
        )
