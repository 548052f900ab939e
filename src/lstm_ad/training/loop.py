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
from lstm_ad.processes import ALONE, ProcessGroup, share
from lstm_ad.training.adam import Adam
from lstm_ad.training.checkpoints import Checkpoint, CheckpointFolder
from lstm_ad.training.control import Control
from lstm_ad.training.device import home, learning_on, sent, training_device
from lstm_ad.training.precision import usable_precision
from lstm_ad.training.processes import any_soon, sum_in_place
from lstm_ad.training.schedule import last_epoch, learning_rate

logger = logging.getLogger(__name__)

MAX_GRADIENT_NORM = 1.0

MAX_CHECKPOINT_SHARE = 0.05
"""The part of the time that writing checkpoints may take: epochs of a few milliseconds
are not each worth one."""


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


@dataclasses.dataclass(frozen=True)
class _Chance:
    """Everything random in an epoch, or in what a part of the files has of it."""

    order: np.random.Generator
    """What the grid of segments and their order are drawn from."""
    levels: torch.Generator
    """What levels and scales are drawn from."""
    dropout: torch.Generator
    """What hidden units to drop are drawn from."""

    @classmethod
    def of(cls, device: torch.device, seed: int, epoch: int, *part: int) -> "_Chance":
        """Return the chance of an epoch.

        Args:
            device: Where the network learns: a GPU draws for itself what is large.
            seed: The hyperparameter.
            epoch: Its number, from 1.
            part: The number of a part of the files that is drawn by itself, if any.
        """
        sequence = np.random.SeedSequence((seed, epoch, *part))
        state = _state(sequence)
        return cls(
            np.random.default_rng(sequence),
            torch.Generator(device).manual_seed(state),
            torch.Generator(device).manual_seed(state),
        )


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
        self.segments = Segments.of(
            hyperparameters.layout,
            np.concatenate([owned.ranges.n_timesteps for owned in rows.fitting]),
        )
        self.device = device
        self.precision = usable_precision(hyperparameters.precision, self.device)
        # What is drawn before the first epoch are the initial weights.
        torch.manual_seed(_state(np.random.SeedSequence((hyperparameters.seed, 0))))
        self.chance = _Chance.of(device, hyperparameters.seed, epoch=1)
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
        kept_on = home(self.device, rows.values.nbytes)
        self.values = torch.from_numpy(rows.values).to(kept_on)
        self.observed = None
        if rows.observed is not None:
            self.observed = torch.from_numpy(rows.observed).to(kept_on)
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
        selection = self._evaluate(self.rows.evaluated[self.rows.selection])
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
        loss = self._evaluate(self.rows.evaluated[self.rows.selection]).mse
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
        losses = {
            name: self._evaluate(owned) for name, owned in self.rows.evaluated.items()
        }
        network = self.network.cpu().eval()
        return Trained(network, self.history, self.best_epoch, self.precision, losses)

    def _learn(self, epoch: int, should_stop: Callable[[], bool]) -> Loss | None:
        """Take one optimiser step per batch; return the loss, or None if stopped."""
        settings = self.hyperparameters
        self.parallel.train()
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        n_elements = 0
        shares, sizes, seat = self._deal(epoch)
        last = self.last_epoch
        for step, (starts, n_segments) in enumerate(zip(shares, sizes, strict=True)):
            done = epoch - 1 + (step + 0.5) / len(sizes)
            stops = any_soon(should_stop, self.group)
            self.optimiser.forget_gradients()
            n_in_batch = n_segments * self.segments.n_targets * self.values.shape[1]
            mine = share(len(starts), *seat)
            drawn = self._draw(len(starts), mine)
            if len(starts[mine]):  # of a small batch, not every process has a part
                windows = self._windows(self.values, starts[mine])
                windows = windows.clamp(-INPUT_BOUND, INPUT_BOUND)
                with torch.autocast(
                    self.device.type,
                    torch.bfloat16,
                    enabled=self.precision == BF16,
                ):
                    errors = self._errors(windows, *drawn)
                missing = self._missing(starts[mine])
                if missing is not None:
                    errors = errors.masked_fill(missing, 0.0)
                    sums[2] += missing.sum()
                loss = errors.square().sum() / n_in_batch
                loss.backward()  # type: ignore[no-untyped-call]
                sums[:2] += _sums(errors.detach())
            self._sum_gradients()
            nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
            rate = learning_rate(done, settings.epochs, last, settings.lr)
            self.optimiser.step(rate)
            n_elements += n_in_batch
            if stops():
                return None
        *losses, n_missing = sum_in_place(sums, self.group)
        return _loss(torch.stack(losses), n_elements - int(n_missing))

    def _deal(self, epoch: int) -> tuple[list[IndexArray], list[int], tuple[int, int]]:
        """Deal the segments of an epoch to its batches.

        Where the files are divided between hosts, each host's segments are dealt evenly
        to all batches. Everyone draws for all hosts, to know how large the batches are.

        Returns:
            Where the segments of each batch start that the host of this process has;
            the segments of each whole batch; and the number of this process among the
            ones that have those rows, and how many these are.
        """
        fitting, drawn = self.rows.fitting, []
        for number, owned in enumerate(fitting):
            part = (number,) if len(fitting) > 1 else ()
            chance = _Chance.of(self.device, self.hyperparameters.seed, epoch, *part)
            starts = owned.ranges.training_starts(self.segments, chance.order)
            drawn.append((owned.owners, chance.order.permutation(starts), chance))
        n_segments = sum(len(order) for _, order, _ in drawn)
        n_batches = math.ceil(n_segments / self.hyperparameters.batch_size)
        sizes = np.zeros(n_batches, dtype=np.int64)
        dealt, seat = [np.empty(0, dtype=np.int64)] * n_batches, (0, 1)
        for owners, order, chance in drawn:
            parts = np.array_split(order, n_batches)
            sizes += [len(part) for part in parts]
            if self.group.rank in owners:
                dealt, self.chance = parts, chance
                seat = owners.index(self.group.rank), len(owners)
        return dealt, sizes.tolist(), seat

    def _sum_gradients(self) -> None:
        """Give every process the gradients of the whole batch, in one message."""
        if self.group.size == 1:
            return
        parameters = list(self.network.parameters())
        gradients = [
            p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten()
            for p in parameters
        ]
        total = sum_in_place(torch.cat(gradients), self.group)
        parts = torch.split(total, [p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def _windows(self, values: Tensor, starts: IndexArray) -> Tensor:
        """Return the rows of some segments, where the network is.

        Args:
            values: Of all rows, of shape ``(rows, D)``.
            starts: The first rows of segments, of shape ``(N,)``.

        Returns:
            Of shape ``(N, rows, D)``. Rows beyond the last are taken as the last.
        """
        kept_on = values.device
        rows = torch.arange(self.segments.n_rows, device=kept_on)
        positions = sent(torch.from_numpy(starts), kept_on)[:, None] + rows
        windows = values[positions.clamp(max=len(values) - 1)]
        return windows if kept_on == self.device else sent(windows, self.device)

    def _draw(
        self, n_segments: int, mine: slice
    ) -> tuple[Tensor | None, tuple[Tensor, ...] | None]:
        """Draw how the network learns from this process's part of a share.

        It is drawn for all of the share, so that it is the same whoever computes it.

        Args:
            n_segments: Those of the share.
            mine: Which of them are this process's.

        Returns:
            What :meth:`StackedLSTM.variation` and :meth:`StackedLSTM.kept_units` give.
        """
        chance, n_read = self.chance, self.segments.n_read
        variation = self.network.variation(n_segments, chance.levels)
        kept_units = self.network.kept_units(n_segments, n_read, chance.dropout)
        if variation is not None:
            variation = variation[mine]
        if kept_units is not None:
            kept_units = tuple(units[mine] for units in kept_units)
        return variation, kept_units

    def _errors(
        self,
        windows: Tensor,
        variation: Tensor | None = None,
        kept_units: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """Return target minus reconstruction of each sequence of some segments.

        Args:
            windows: Their rows, of shape ``(N, rows, D)``.
            variation: How they are varied, of shape ``(N, 2)``, if they are.
            kept_units: Their hidden units that are not dropped, if any are.

        Returns:
            Of shape ``(N, M, P, D)``.
        """
        read = windows[:, : self.segments.n_read]
        outputs: Tensor = self.parallel(read, variation, kept_units)
        return self._targets(windows) - outputs

    def _missing(self, starts: IndexArray) -> Tensor | None:
        """Return which targets of some segments are missing, ``(N, M, P, D)``.

        Args:
            starts: As for :meth:`_windows`.
        """
        if self.observed is None:
            return None
        return ~self._targets(self._windows(self.observed, starts))

    def _targets(self, windows: Tensor) -> Tensor:
        """Return the sequences of some segments' rows, of shape ``(N, M, P, D)``."""
        zero = torch.zeros(1, dtype=torch.int64, device=windows.device)
        return windows[:, self._target_rows(zero)[0]]

    def _target_rows(self, starts: Tensor) -> Tensor:
        """Return the rows of each sequence of some segments, of shape ``(N, M, P)``."""
        layout = self.segments.layout
        first = starts + layout.context_length
        to_sequence = torch.arange(
            0, self.segments.step, layout.stride, device=starts.device
        )
        within = torch.arange(layout.prediction_length, device=starts.device)
        return first[:, None, None] + to_sequence[:, None] + within

    @torch.no_grad()
    def _evaluate(self, everything: tuple[Owned, ...]) -> Loss:
        """Return the loss over every sequence of some ranges, also partial ones.

        Args:
            everything: The ranges; their owners share the segments evenly.
        """
        self.parallel.eval()
        sums = torch.zeros(4, dtype=torch.float64, device=self.device)
        batch_size = self.hyperparameters.batch_size
        for owned in everything:
            if self.group.rank not in owned.owners:
                continue
            seat = owned.owners.index(self.group.rank), len(owned.owners)
            starts, ends = owned.ranges.scored_starts(self.segments)
            mine = share(len(starts), *seat)
            for first in range(mine.start, mine.stop, batch_size):
                batch = slice(first, min(first + batch_size, mine.stop))
                positions = sent(torch.from_numpy(starts[batch]), self.device)
                end = sent(torch.from_numpy(ends[batch]), self.device)
                errors = self._errors(self._windows(self.values, starts[batch]))
                exists = self._target_rows(positions) < end[:, None, None]  # (N, M, P)
                errors = errors * exists[..., None]
                sums[2] += exists.sum()
                missing = self._missing(starts[batch])
                if missing is not None:
                    errors = errors.masked_fill(missing, 0.0)
                    sums[3] += (missing & exists[..., None]).sum()
                sums[:2] += _sums(errors)
        *losses, n_rows, n_missing = sum_in_place(sums, self.group)
        n_elements = int(n_rows) * self.values.shape[1] - int(n_missing)
        return _loss(torch.stack(losses), n_elements)

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


def _state(sequence: np.random.SeedSequence) -> int:
    """Return a seed for torch."""
    return int(sequence.generate_state(1, np.uint64)[0])


def _loss(sums: Tensor, n_elements: int) -> Loss:
    """Return the loss from the sums that :func:`_sums` returns."""
    mse, mae = (sums / n_elements).tolist()
    return Loss(mse=mse, mae=mae)


def _sums(errors: Tensor) -> Tensor:
    """Return the sums of squares and of absolute values, without reading them.

    They stay where the errors are: reading a number at each step would stall a GPU.
    """
    return torch.stack([errors.square().sum(), errors.abs().sum()]).double()


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
