"""Get the LSTM of a job: trained, or that of the model that the job starts from."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

from lstm_ad.axes import Weights
from lstm_ad.data.partition import Owned, Part, loss_parts
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.parallel import Cores
from lstm_ad.parent import Parent
from lstm_ad.preparation import Job
from lstm_ad.scoring.reconstruction import Reconstructor
from lstm_ad.training.checkpoints import CheckpointFolder
from lstm_ad.training.control import Control

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Learnt:
    """The LSTM, and how it came about."""

    reconstructor: Reconstructor
    weights: Weights
    precision: str
    losses: Mapping[str, Loss]
    """See :attr:`Fit.losses`; empty if it was not trained."""
    export_difference: float = 0.0
    history: tuple[EpochMetrics, ...] = ()
    best_epoch: int = 0


def train(job: Job, control: Control) -> Learnt:
    """Train the LSTM, from the weights of the parent if there is one.

    Args:
        job: The rows, and the settings.
        control: How training is watched, kept and ended early.

    Raises:
        TrainingError: If it diverges from its first epoch on, or if the exported
            network does not reconstruct as the trained one.
    """
    # Not for what calibrates only: it takes seconds.
    import torch

    from lstm_ad.model.export import export, export_difference
    from lstm_ad.training.loop import TrainingRows, train_network

    logger.info("Training the model.")
    checkpoints = None
    if control.checkpoint_dir and job.group.rank == 0:
        checkpoints = CheckpointFolder(control.checkpoint_dir, job.fingerprint)
    evaluated = {
        name: Owned.of(parts, job.rows) for name, parts in _evaluated(job).items()
    }
    trained = train_network(
        TrainingRows(job.scaled, job.observed, evaluated["train"], evaluated),
        job.hyperparameters,
        control,
        checkpoints,
        job.group,
        job.parent.weights if job.parent else None,
    )
    runtime = export(trained.network)
    difference = 0.0
    selection = job.partition.selection
    own = (part for part in selection if job.group.rank in part.owners)
    if part := next(own, None):
        scaled, _ = job.standardised(part)
        difference = export_difference(trained.network, runtime, scaled)
    reconstructor = Reconstructor(
        job.scaler,
        runtime,
        Cores(torch.get_num_threads()),
        has_level=job.hyperparameters.scores_levels(job.partition.n_series),
        max_gap=job.hyperparameters.longest_gap,
    )
    return Learnt(
        reconstructor,
        {name: value.numpy() for name, value in trained.network.state_dict().items()},
        trained.precision,
        trained.losses,
        difference,
        trained.history,
        trained.best_epoch,
    )


def _evaluated(job: Job) -> dict[str, Sequence[Part]]:
    """Return the rows that losses are of, by their names."""
    partition = job.partition
    evaluated: dict[str, Sequence[Part]] = {"train": partition.fitting}
    if partition.validation:
        evaluated["valid"] = partition.validation
    counted = loss_parts(partition.calibration, job.hyperparameters)
    return {**evaluated, "calibration": counted}


def keep(job: Job, parent: Parent) -> Learnt:
    """Return the LSTM of the parent as it is.

    Args:
        job: The rows, and the settings.
        parent: The model that the job starts from.
    """
    logger.info("Calibrating the model: its LSTM stays.")
    reconstructor = dataclasses.replace(
        parent.detector.reconstructor,
        scaler=job.scaler,
        has_level=job.hyperparameters.scores_levels(job.partition.n_series),
    )
    return Learnt(reconstructor, parent.weights, parent.precision, losses={})
