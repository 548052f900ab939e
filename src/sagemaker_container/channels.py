"""Read the channels of a training job into the store of this host."""

from pathlib import Path

from lstm_ad.data.rows import LABELS, Block, Rows, store
from sagemaker_container.formats.csv_file import FileColumns, read_blocks, read_file
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
    return store(
        folder,
        (
            (channel, name, blocks)
            for channel in CHANNELS
            for name, path in environment.channels[channel].items()
            for blocks in [
                map(Block, read_blocks(path, f"{LABELS}/{name}"))
                if channel == LABELS
                else read_file(path, name, columns, settings.longest_gap)
            ]
        ),
    )
