"""Read the channels of a training job into the store of this host."""

from collections.abc import Iterator
from pathlib import Path

from lstm_ad.data.off import marked
from lstm_ad.data.rows import LABELS, Block, Rows, Source, store
from sagemaker_container.formats.csv_file import FileColumns, read_blocks, read_file
from sagemaker_container.formats.csv_machines import read_machines
from sagemaker_container.formats.header import Declared
from sagemaker_container.job import CHANNELS, TrainingEnvironment


def read(environment: TrainingEnvironment, folder: Path) -> Rows:
    """Return the rows of every file of each channel; each is read once.

    Args:
        environment: What the platform gives the job.
        folder: The scratch folder for the store.

    Raises:
        SeriesError: If a file cannot be read as it stands.
        SettingError: If the scratch folder cannot be written.
    """
    settings = environment.hyperparameters
    columns = FileColumns(
        Declared(settings.timestamp_column, settings.ids, settings.group_column),
        environment.schema,
    )

    def sources() -> Iterator[Source]:
        """Yield what there is to read, one after the other."""
        gap = settings.longest_gap
        for channel in CHANNELS:
            for name, path in environment.channels[channel].items():
                if channel == LABELS:
                    blocks = map(Block, read_blocks(path, f"{LABELS}/{name}"))
                    yield Source(channel, name, blocks)
                elif settings.group_column:
                    yield from read_machines(channel, path, name, columns, gap, folder)
                else:
                    rows = read_file(path, name, columns, gap)
                    yield Source(channel, name, rows)

    def switched_off(source: Source) -> Source:
        """Return a source whose rows are marked in which the machine is off."""
        if not settings.off_when or source.channel == LABELS:
            return source
        return source._replace(blocks=marked(source.blocks, settings.off_when))

    return store(folder, map(switched_off, sources()))
