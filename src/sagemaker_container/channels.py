"""Read the channels of a training job: all files, or a process's share of them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_ad.axes import FloatArray
from lstm_ad.checkpoints import digest_series
from lstm_ad.checks import check_files
from lstm_ad.exceptions import SettingError
from lstm_ad.shares import File, Held, Piece, Shares, readers_of
from sagemaker_container.csv_format import read_file, read_rows, read_shape
from sagemaker_container.environment import TRAINING, VALIDATION, TrainingEnvironment

if TYPE_CHECKING:
    # A type alone: bad input is refused before torch is imported.
    from lstm_ad.team import Team

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
    for channel, paths in environment.channels.items():
        series = {name: read_file(path, name) for name, path in paths.items()}
        _log(channel, [File(name, *values.shape) for name, values in series.items()])
        channels[channel] = series
    return channels


def read_share(environment: TrainingEnvironment, team: Team) -> tuple[Held, str]:
    """Return the rows that this process holds, and a digest of what all of them hold.

    The files are listed and their rows counted first, each by one process that has it:
    a host may have all of them or, where SageMaker has divided them, some.

    Raises:
        SeriesError: If a file cannot be read as it stands, or is too short, or has
            another number of columns than the others.
        SettingError: If no host has a file of the training channel.
    """
    files = {
        channel: _listed(paths, team) for channel, paths in environment.channels.items()
    }
    if not files[TRAINING]:
        raise SettingError(
            "The training channel is empty: no instance holds a file with data, but at "
            "least one CSV file is needed."
        )
    for channel, listed in files.items():
        _log(channel, listed)
    hyperparameters = environment.hyperparameters
    check_files(files[TRAINING], files[VALIDATION], hyperparameters)
    shares = Shares.of(files[TRAINING], files[VALIDATION], hyperparameters, team.size)
    fitting, calibrating = (
        pieces[team.rank] for pieces in (shares.fitting, shares.calibrating)
    )
    training = _read(
        environment.channels[TRAINING], shares.training, [*fitting, *calibrating]
    )
    validating = _read(
        environment.channels[VALIDATION],
        shares.validation,
        shares.validating[team.rank],
    )
    held = Held(
        shares,
        team.rank,
        training[: len(fitting)],
        training[len(fitting) :],
        validating,
    )
    parts = {"training": training, "validation": validating}
    numbered = {
        k: dict(zip(map(str, range(len(v))), v, strict=True)) for k, v in parts.items()
    }
    digests = team.gather(digest_series(numbered))
    names = [file.name for listed in files.values() for file in listed]
    return held, hashlib.sha256(
        "\n".join([*names, *digests]).encode(errors="surrogateescape")
    ).hexdigest()


def _listed(paths: Paths, team: Team) -> list[File]:
    """Return all files of a channel, in order of their names."""
    readers = readers_of(team.gather(list(paths)))
    counted = {
        name: read_shape(paths[name], name)
        for number, (name, ranks) in enumerate(readers.items())
        if ranks[number % len(ranks)] == team.rank
    }
    shapes = {
        name: shape for one in team.gather(counted) for name, shape in one.items()
    }
    return [File(name, *shapes[name], ranks) for name, ranks in readers.items()]


def _read(
    paths: Paths, files: Sequence[File], pieces: Sequence[Piece]
) -> list[FloatArray]:
    """Return what is held of each piece; a file is read once for all of its pieces."""
    by_file: dict[int, list[int]] = {}
    for number, piece in enumerate(pieces):
        by_file.setdefault(piece.file, []).append(number)
    parts: dict[int, FloatArray] = {}
    for file, numbers in by_file.items():
        name = files[file].name
        ranges = [range(pieces[n].first, pieces[n].held) for n in numbers]
        parts |= zip(numbers, read_rows(paths[name], name, ranges), strict=True)
    return [parts[number] for number in range(len(pieces))]


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
