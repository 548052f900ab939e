"""Fit the network: the loop over epochs and the recipe that makes it converge.

The recipe, beyond the document's mean squared error on non-overlapping sequences:
standardised series, remembering initial states (see ``network``), a random phase of
the sequences' grid in each epoch, batches of even size, Adam with a learning rate that
rises to ``lr``, stays and falls to zero (see ``schedule``), and gradients clipped to
norm 1.

Everything random in an epoch comes from a seed of its own, so training goes on after
any epoch from its checkpoint, bit by bit as if it had never stopped (on a CPU, with
the same number of threads).

A group of processes takes the steps that one process would, each with its part of
every batch: sums over elements are divided by the elements of the whole batch and their
gradients summed, so the weights are equal but for rounding: what is random is drawn for
each segment, whoever learns from it. Where the files are divided between hosts, the
processes of a host draw its share of every batch from its own files: a batch is then as
good a sample of all rows, but not the one that a single process would draw.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from lstm_ad.axes import IndexArray, ScaledArray, Weights
from lstm_ad.data.partition import Owned
from lstm_ad.exceptions import TrainingError
from lstm_ad.hyperparameters import BF16, Hyperparameters
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.model.export import EARLY_DIFFERENCE, export, export_difference
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.scaling import INPUT_BOUND
from lstm_ad.model.sequences import Segments
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.training.adam import Adam
from lstm_ad.training.checkpoints import Checkpoint, CheckpointFolder
from lstm_ad.training.control import Control
from lstm_ad.training.dealing import Drawn, deal, torch_seed
from lstm_ad.training.device import learning_on, training_device
from lstm_ad.training.evaluation import evaluate, loss_of, sums_of
from lstm_ad.training.precision import usable_precision
from lstm_ad.training.processes import any_soon, sum_gradients, sum_in_place
from lstm_ad.training.schedule import last_epoch, learning_rate
from lstm_ad.training.windows import Windows

logger = logging.getLogger(__name__)

MAX_GRADIENT_NORM = 1.0

MAX_CHECKPOINT_SHARE = 0.05
"""The fraction of the time that writing checkpoints may take: epochs of a few
milliseconds are not each worth one."""


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """The standardised rows of a host, and what they are used for."""

    values: ScaledArray
    """Of shape ``(rows, D)``, in memory or mapped."""
    observed: npt.NDArray[np.bool_] | None
    """Which of them are not missing, likewise; None if all are there."""
    fitting: tuple[Owned, ...]
    """What the LSTM is fitted to: ranges of at least ``C + P`` rows."""
    evaluated: Mapping[str, tuple[Owned, ...]]
    """What losses are of, by their names: ranges of more than ``C`` rows."""

    @property
    def selection(self) -> str:
        """The name of the loss that chooses the best epoch."""
        return "valid" if "valid" in self.evaluated else "calibration"


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, and how it came about."""

    network: StackedLSTM
    """With the weights of the best epoch, on the CPU and in evaluation mode."""
    history: tuple[EpochMetrics, ...]
    """The metrics of every epoch, also of those before a checkpoint."""
    best_epoch: int
    """The epoch whose weights these are; 0 if training was stopped in the first, or if
    none is better than the weights that it began with."""
    precision: str
    """The precision that was used."""
    losses: Mapping[str, Loss]
    """Of these weights, on everything that is evaluated."""


def train_network(
    rows: TrainingRows,
    hyperparameters: Hyperparameters,
    control: Control,
    checkpoints: CheckpointFolder | None,
    group: ProcessGroup = ALONE,
    weights: Weights | None = None,
) -> Trained:
    """Return a network fitted to reconstruct each sequence from the rows before it.

    The weights are those of the epoch with the smallest mean squared error on
    ``rows.selection``. A single process divides its batches between several GPUs with
    ``torch.nn.DataParallel``.

    Args:
        rows: The rows of this host.
        hyperparameters: The settings of the job.
        control: How training is watched and ended early.
        checkpoints: Where to keep what is needed to go on; None keeps nothing, as all
            processes but the first do.
        group: The processes that train.
        weights: What to begin with, by their torch names; None begins afresh.

    Raises:
        TrainingError: If the loss of the first epoch is not a finite number, if the
            exported network reconstructs otherwise, or if the memory of a GPU is too
            small.
    """
    device = training_device(group.local_rank)
    with learning_on(device, hyperparameters.batch_size):
        loop = _Loop(rows, hyperparameters, group, device)
        if weights is not None:
            loop.start_from(weights)
        checkpoint = group.broadcast(checkpoints.latest() if checkpoints else None)
        if checkpoint:
            loop.restore(checkpoint)
            logger.info("Training goes on after epoch %d.", checkpoint.epoch)
        began, spent = time.monotonic(), 0.0
        while not loop.is_finished() and loop.run_epoch(control.should_stop):
            control.on_epoch_end(loop.history[-1])
            now = time.monotonic()
            if checkpoints and spent <= MAX_CHECKPOINT_SHARE * (now - began):
                checkpoints.save(loop.checkpoint())
                spent += time.monotonic() - now
        return loop.result()


class _Loop:
    """The state of training, epoch by epoch."""

    def __init__(
        self,
        rows: TrainingRows,
        hyperparameters: Hyperparameters,
        group: ProcessGroup,
        device: torch.device,
    ) -> None:
        self.hyperparameters = hyperparameters
        self.group = group
        self.rows = rows
        segments = Segments.of(
            hyperparameters.layout,
            np.concatenate([owned.ranges.n_timesteps for owned in rows.fitting]),
        )
        self.device = device
        self.precision = usable_precision(hyperparameters.precision, self.device)
        # What is drawn before the first epoch are the initial weights.
        torch.manual_seed(torch_seed(np.random.SeedSequence((hyperparameters.seed, 0))))
        self.network = StackedLSTM(
            n_series=rows.values.shape[1],
            layout=hyperparameters.layout,
            hidden_size=hyperparameters.hidden_size,
            num_layers=hyperparameters.num_layers,
            dropout=hyperparameters.dropout,
        ).to(self.device)
        self.parallel: nn.Module = self.network
        if torch.cuda.device_count() > 1 and group.size == 1:
            self.parallel = nn.DataParallel(self.network)
        self.optimiser = Adam(self.network.parameters())
        self.windows = Windows(rows.values, rows.observed, segments, device)
        self.history: tuple[EpochMetrics, ...] = ()
        self.best_epoch = 0
        self.best: dict[str, Tensor] = {}
        self.first_loss = math.inf
        """Of the weights that training began with, if it was given any."""

    def is_finished(self) -> bool:
        """Return whether there is nothing more to gain from another epoch."""
        return len(self.history) >= self.last_epoch

    @property
    def last_epoch(self) -> int:
        """The epoch that training ends with, as its losses have it so far."""
        return last_epoch(
            (metrics.selection.mse for metrics in self.history),
            self.hyperparameters.epochs,
            self.hyperparameters.early_stopping_patience,
        )

    def run_epoch(self, should_stop: Callable[[], bool]) -> bool:
        """Learn for one epoch; return whether it came to its end.

        Raises:
            TrainingError: If the loss of the first epoch is not a finite number.
        """
        epoch = len(self.history) + 1
        train = self._learn(epoch, should_stop)
        if train is None:
            logger.info("Training was asked to stop in epoch %d.", epoch)
            return False
        selection = self._evaluated(self.rows.selection)
        if not math.isfinite(train.mse + selection.mse):
            self._diverge(epoch)
            return False
        metrics = EpochMetrics(
            epoch=epoch,
            train=train,
            **{self.rows.selection: selection},
        )
        best = self.first_loss
        if self.best_epoch:
            best = self.history[self.best_epoch - 1].selection.mse
        if selection.mse < best:
            self.best_epoch, self.best = epoch, _copied(self.network)
        last = self.last_epoch
        self.history += (metrics,)
        if self.last_epoch < last:
            logger.info(
                "No better epoch in %d: training ends with epoch %d.",
                self.hyperparameters.early_stopping_patience,
                self.last_epoch,
            )
        if epoch == 1:
            self._check_export()
        return True

    def _check_export(self) -> None:
        """Find a broken export now, not after hours that are paid for.

        Raises:
            TrainingError: If the exported network reconstructs otherwise.
        """
        for owned in self.rows.evaluated[self.rows.selection]:
            if self.group.rank in owned.owners:
                first, n_rows = owned.ranges.first[0], owned.ranges.n_timesteps[0]
                scaled = self.rows.values[first : first + n_rows]
                runtime = export(self.network)
                export_difference(self.network, runtime, scaled, EARLY_DIFFERENCE)
                return

    def checkpoint(self) -> Checkpoint:
        """Return what it takes to go on after the last epoch."""
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best.items()}
        for index, state in enumerate(self.optimiser.state):
            tensors |= {f"optimiser.{index}.{k}": v for k, v in state.items()}
        arrays = {name: value.cpu().numpy() for name, value in tensors.items()}
        return Checkpoint(self.best_epoch, self.history, arrays)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint, as if training had never stopped."""
        tensors = {k: torch.from_numpy(v.copy()) for k, v in checkpoint.arrays.items()}
        self.history, self.best_epoch = checkpoint.history, checkpoint.best_epoch
        self.network.load_state_dict(_under("network.", tensors))
        self.best = {
            name: value.to(self.device)
            for name, value in _under("best.", tensors).items()
        }
        for name, value in _under("optimiser.", tensors).items():
            index, key = name.split(".")
            self.optimiser.state[int(index)][key].copy_(value)

    def start_from(self, weights: Weights) -> None:
        """Begin with some weights, by their torch names: they may be the best."""
        self.network.load_state_dict(
            {name: torch.from_numpy(array.copy()) for name, array in weights.items()}
        )
        loss = self._evaluated(self.rows.selection).mse
        if math.isfinite(loss):
            self.first_loss, self.best = loss, _copied(self.network)

    def result(self) -> Trained:
        """Return the network with its best weights, or with those it has.

        Raises:
            TrainingError: If it has none that are finite numbers.
        """
        if self.best:
            self.network.load_state_dict(self.best)
        elif not all(p.isfinite().all() for p in self.network.parameters()):
            self._diverge(epoch=1)
        losses = {name: self._evaluated(name) for name in self.rows.evaluated}
        network = self.network.cpu().eval()
        return Trained(network, self.history, self.best_epoch, self.precision, losses)

    def _learn(self, epoch: int, should_stop: Callable[[], bool]) -> Loss | None:
        """Take one optimiser step per batch; return the loss, or None if stopped."""
        settings, segments = self.hyperparameters, self.windows.segments
        self.parallel.train()
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        n_elements = 0
        batches, generators = deal(
            self.rows.fitting, segments, settings, epoch, self.group.rank, self.device
        )
        last = self.last_epoch
        for step, batch in enumerate(batches):
            done = epoch - 1 + (step + 0.5) / len(batches)
            stops = any_soon(should_stop, self.group)
            self.optimiser.forget_gradients()
            n_in_batch = batch.size * segments.n_targets * self.windows.n_series
            drawn = generators.draw(
                self.network, len(batch.starts), segments.n_read, batch.mine
            )
            starts = batch.starts[batch.mine]
            if len(starts):  # of a small batch, not every process has a part
                sums += self._add_gradients(starts, drawn, n_in_batch)
            sum_gradients(self.network.parameters(), self.group)
            nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
            rate = learning_rate(done, settings.epochs, last, settings.lr)
            self.optimiser.step(rate)
            n_elements += n_in_batch
            if stops():
                return None
        return loss_of(sum_in_place(sums, self.group), n_elements)

    def _add_gradients(
        self, starts: IndexArray, drawn: Drawn, n_in_batch: int
    ) -> Tensor:
        """Compute what some segments of a batch add to its gradients.

        Args:
            starts: The first rows of the segments.
            drawn: What is random in how the network learns from them.
            n_in_batch: The elements of the whole batch, whose mean is the loss.

        Returns:
            The sums of :func:`sums_of` over the segments.
        """
        windows = self.windows.of(starts).clamp(-INPUT_BOUND, INPUT_BOUND)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.precision == BF16
        ):
            errors = self.windows.errors(self.parallel, windows, *drawn)
        missing = self.windows.missing(starts)
        if missing is not None:
            errors = errors.masked_fill(missing, 0.0)
        loss = errors.square().sum() / n_in_batch
        loss.backward()  # type: ignore[no-untyped-call]
        return sums_of(errors.detach(), missing)

    def _evaluated(self, name: str) -> Loss:
        """Return the loss over what is evaluated under a name."""
        everything = self.rows.evaluated[name]
        batch_size = self.hyperparameters.batch_size
        return evaluate(self.parallel, self.windows, everything, batch_size, self.group)

    def _diverge(self, epoch: int) -> None:
        """End training with the best weights so far, or without any."""
        reason = (
            f"The loss of epoch {epoch} is not a finite number with a peak learning "
            f"rate (lr) of {self.hyperparameters.lr}"
        )
        if not self.best:
            raise TrainingError(f"{reason}: a smaller lr is needed.")
        logger.warning(
            "%s: training ends early, with the weights of epoch %d.",
            reason,
            self.best_epoch,
        )


def _copied(network: nn.Module) -> dict[str, Tensor]:
    """Return a copy of a network's parameters."""
    return {name: value.clone() for name, value in network.state_dict().items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names start with a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
