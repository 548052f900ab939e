"""Read the channels of a training job into the store of this host."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from lstm_ad.axes import FloatArray
from lstm_ad.data.off import marked
from lstm_ad.data.rows import LABELS, TRAINING, VALIDATION, Block, Rows, Source, store
from lstm_ad.exceptions import SettingError
from sagemaker_container.formats.csv_file import FileColumns, read_blocks, read_file
from sagemaker_container.formats.csv_machines import read_machines
from sagemaker_container.formats.header import Declared
from sagemaker_container.formats.time_ranges import (
    TimeRanges,
    excluded,
    holds_ranges,
    recorded,
)
from sagemaker_container.job import EXCLUDE, TrainingEnvironment


def read(environment: TrainingEnvironment, folder: Path) -> Rows:
    """Return the rows of every file of each channel; each is read once.

    Args:
        environment: What the platform gives the job.
        folder: The scratch folder for the store.

    Raises:
        SeriesError: If a file cannot be read as it stands.
        SettingError: If the scratch folder cannot be written, or if channels do not go
            together.
    """
    labels, excluding = _ranges(environment)
    of_rows: dict[str, list[FloatArray]] = {}

    def sources() -> Iterator[Source]:
        """Yield what there is to read, one after the other."""
        for file, source in _series(environment, folder):
            blocks = source.blocks
            if ranges := _of(excluding, file):
                blocks = excluded(blocks, ranges)
            has_own = file in environment.channels[LABELS] and file not in labels
            if source.channel == VALIDATION and labels and not has_own:
                found = of_rows.setdefault(source.name, [])
                blocks = recorded(blocks, _of(labels, file), found)
            if environment.hyperparameters.off_when:
                blocks = marked(blocks, environment.hyperparameters.off_when)
            yield source._replace(blocks=blocks)
        names = {ranges.name for ranges in labels.values()}
        for name, path in environment.channels[LABELS].items():
            if f"{LABELS}/{name}" not in names:
                blocks = map(Block, read_blocks(path, f"{LABELS}/{name}"))
                yield Source(LABELS, name, blocks)
        for name, parts in of_rows.items():
            yield Source(LABELS, name, map(Block, parts))
        for ranges in (*labels.values(), *excluding.values()):
            ranges.log_unused()

    return store(folder, sources())


def _series(
    environment: TrainingEnvironment, folder: Path
) -> Iterator[tuple[str, Source]]:
    """Yield the series of the data channels, and the names of their files."""
    settings = environment.hyperparameters
    times = settings.longest_gap, settings.sampling_step
    columns = FileColumns(
        Declared(settings.timestamp_column, settings.ids, settings.group_column),
        environment.schema,
        settings.codes,
    )
    for channel in (TRAINING, VALIDATION):
        for name, path in environment.channels[channel].items():
            if settings.group_column:
                for one in read_machines(channel, path, name, columns, folder, *times):
                    yield name, one
            else:
                yield (
                    name,
                    Source(channel, name, read_file(path, name, columns, *times)),
                )


def _ranges(
    environment: TrainingEnvironment,
) -> tuple[Mapping[str, TimeRanges], Mapping[str, TimeRanges]]:
    """Return the ranges that label, and those that exclude, by the names of the files.

    A file of ranges for all files has the empty name.

    Raises:
        SeriesError: If one cannot be read.
        SettingError: If there may be none, or if one belongs to no file.
    """
    channels, has_times = (
        environment.channels,
        bool(environment.hyperparameters.timestamp_column),
    )
    if channels[EXCLUDE] and not has_times:
        raise SettingError(
            f"The {EXCLUDE} channel holds ranges of time, which need the times of "
            f"rows; name their column in timestamp-column, or leave the channel out."
        )
    labels, excluding = (
        {
            name: TimeRanges.read(path, f"{channel}/{name}")
            for name, path in channels[channel].items()
            if channel == EXCLUDE or holds_ranges(path, f"{channel}/{name}", has_times)
        }
        for channel in (LABELS, EXCLUDE)
    )
    for name in channels[LABELS]:
        if name not in labels and environment.hyperparameters.sampling_interval:
            raise SettingError(
                f"labels/{name} has a label per row, but sampling-interval averages "
                f"rows; use ranges of time, start,end per line."
            )
    if (labels or excluding) and environment.divided:
        raise SettingError(
            f"Ranges of time are given, but the channel {environment.divided[0]} is "
            f"divided between the instances (ShardedByS3Key); use FullyReplicated for "
            f"all channels."
        )
    for channel, found, data in (
        (LABELS, labels, [VALIDATION]),
        (EXCLUDE, excluding, [TRAINING, VALIDATION]),
    ):
        names = {name for one in data for name in channels[one]}
        for name in [name for name in found if name not in names]:
            if not names or len(found) > 1:
                raise SettingError(
                    f"{channel}/{name} belongs to no file: use names of files of "
                    f"{' or '.join(data)}, or one file of ranges for all of them."
                )
            found[""] = found.pop(name)
    return labels, excluding


def _of(ranges: Mapping[str, TimeRanges], file: str) -> TimeRanges | None:
    """Return the ranges of a file: its own, or those that are for all."""
    return ranges.get(file) or ranges.get("")
