"""Read the channels of a training job into the store of this host."""

from pathlib import Path

from lstm_ad.data.rows import LABELS, Rows, store
from sagemaker_container.formats.csv import read_blocks
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
    return store(
        folder,
        (
            (channel, name, read_blocks(path, _spoken(channel, name)))
            for channel in CHANNELS
            for name, path in environment.channels[channel].items()
        ),
    )


def _spoken(channel: str, name: str) -> str:
    """Return what messages call a file: validation and labels share their names."""
    return f"{LABELS}/{name}" if channel == LABELS else name
