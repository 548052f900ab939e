"""How the caller of training watches it, keeps it and ends it early."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from lstm_ad.losses import EpochMetrics


@dataclasses.dataclass(frozen=True)
class Control:
    """How the caller watches training, keeps it and ends it early."""

    on_epoch_end: Callable[[EpochMetrics], None] = lambda metrics: None
    """Called after each epoch."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked after each step: whether training is to end with what it has."""
    checkpoint_dir: Path | None = None
    """Where the first process keeps what is needed to go on; None keeps nothing."""
