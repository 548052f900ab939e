"""Fit the network: the loop over epochs and the recipe that makes it converge.

The recipe, beyond the document's mean squared error on non-overlapping sequences:
standardised series, remembering initial states (see ``network``), a random phase of
the sequences' grid in each epoch, batches of even size, Adam with a learning rate that
rises to ``lr``, stays and falls to zero, and gradients clipped to norm 1.

Everything random in an epoch comes from a seed of its own, so training goes on after
any epoch from its checkpoint, bit by bit as if it had never stopped (on a CPU, with
the same number of threads).

A team of processes takes the steps that one process would, each with its part of every
batch: sums over elements are divided by the elements of the whole batch and their
gradients added up, so the weights are equal but for rounding (and, with dropout, for
the chance of each process). Which sequences make up a batch does not depend on who
holds their rows: the rows of some batches at a time are sent to those who compute with
them (see :meth:`_Loop._sent`), so the work is even as well.
"""

import dataclasses
import logging
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from lstm_ad.axes import IndexArray
from lstm_ad.data.partition import Whereabouts
from lstm_ad.exceptions import TrainingError
from lstm_ad.hyperparameters import BF16, Hyperparameters
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.model.export import EARLY_DIFFERENCE, export, export_difference
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.scaling import INPUT_BOUND
from lstm_ad.model.sequences import Rows, Segments, training_starts
from lstm_ad.training.adam import Adam
from lstm_ad.training.checkpoints import Checkpoint, CheckpointFolder
from lstm_ad.training.precision import usable_precision
from lstm_ad.training.processes import ALONE, Team

logger = logging.getLogger(__name__)

WARM_UP = 0.05
"""The part of all steps in which the learning rate rises to its peak."""

DECAY = 0.5
"""The part of all steps, the last one, in which the learning rate falls to zero."""

MAX_GRADIENT_NORM = 1.0

SENT_BYTES = 2**24
"""How much a process of a team receives at a time: rows of many batches, so that
sending them costs few messages, and little memory beyond its share."""

MAX_GPU_SHARE = 0.5
"""The part of a GPU's free memory that the rows may take; more stay on the host."""

MAX_CHECKPOINT_SHARE = 0.05
"""The part of the time that writing checkpoints may take: epochs of a few milliseconds
are not each worth one."""


@dataclasses.dataclass(frozen=True)
class Control:
    """How the caller watches training and ends it early."""

    on_epoch_end: Callable[[EpochMetrics], None] = lambda metrics: None
    """Called after each epoch."""
    should_stop: Callable[[], bool] = lambda: False
    """Asked after each step: whether training is to end with what it has."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A trained network, and how it came about."""

    network: StackedLSTM
    """With the weights of the best epoch, on the CPU and in evaluation mode."""
    history: tuple[EpochMetrics, ...]
    """The metrics of every epoch, also of those before a checkpoint."""
    best_epoch: int
    """The epoch whose weights these are; 0 if training was stopped in the first."""
    precision: str
    """The precision that was used."""


def train_network(
    fitting: Rows,
    selection: Rows,
    is_validation: bool,
    hyperparameters: Hyperparameters,
    control: Control,
    checkpoints: CheckpointFolder | None,
    team: Team = ALONE,
    whereabouts: Whereabouts | None = None,
) -> Trained:
    """Return a network fitted to reconstruct each sequence from the rows before it.

    The weights are those of the epoch with the smallest mean squared error on
    ``selection``. On several GPUs the batches are divided with
    ``torch.nn.DataParallel``.

    Args:
        fitting: What the network learns from, each series of at least ``C + P`` rows;
            its values are bounded in place.
        selection: What chooses the best epoch, each series of more than ``C`` rows.
        is_validation: Whether that is validation series or calibration parts.
        hyperparameters: The settings of the job.
        control: How training is watched and ended early.
        checkpoints: Where to keep what is needed to go on; None keeps nothing, as all
            processes of a team do but the first.
        team: Who trains; ``fitting`` and ``selection`` are what this process holds.
        whereabouts: Who holds which rows; None if this process holds all, in order.

    Raises:
        TrainingError: If the loss of the first epoch is not a finite number, or if the
            exported network reconstructs otherwise.
    """
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        where = whereabouts or Whereabouts.of_one(fitting.n_timesteps)
        loop = _Loop(fitting, selection, is_validation, hyperparameters, team, where)
        checkpoint = team.from_first(checkpoints.latest() if checkpoints else None)
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


def learning_rate(progress: float, peak: float) -> float:
    """Return the learning rate: up to the peak, flat, and down to zero, linearly.

    Args:
        progress: The part of all training steps done, from 0 to 1.
        peak: The ``lr`` hyperparameter.
    """
    return peak * min(1.0, progress / WARM_UP, (1 - progress) / DECAY)


class _Loop:
    """The state of training, epoch by epoch."""

    def __init__(
        self,
        fitting: Rows,
        selection: Rows,
        is_validation: bool,
        hyperparameters: Hyperparameters,
        team: Team,
        where: Whereabouts,
    ) -> None:
        self.hyperparameters = hyperparameters
        self.team = team
        self.where = where
        self.selection = selection
        self.is_validation = is_validation
        self.segments = Segments.of(hyperparameters.layout, where.n_timesteps)
        self.device = torch.device("cpu")
        if torch.cuda.is_available():
            self.device = torch.device("cuda", team.local_rank)
        self.precision = usable_precision(hyperparameters.precision, self.device)
        self._seed(epoch=0)
        self.network = StackedLSTM(
            n_series=fitting.values.shape[1],
            layout=hyperparameters.layout,
            hidden_size=hyperparameters.hidden_size,
            num_layers=hyperparameters.num_layers,
            dropout=hyperparameters.dropout,
        ).to(self.device)
        self.parallel: nn.Module = self.network
        if torch.cuda.device_count() > 1 and team.size == 1:
            self.parallel = nn.DataParallel(self.network)
        self.optimiser = Adam(self.network.parameters())
        # What the network is not shown, it is not asked for; in place, for the memory.
        np.clip(fitting.values, -INPUT_BOUND, INPUT_BOUND, out=fitting.values)
        home = _home(self.device, fitting.values.nbytes + selection.values.nbytes)
        self.values = torch.from_numpy(fitting.values).to(home)
        self.selection_values = torch.from_numpy(selection.values).to(home)
        self.history: tuple[EpochMetrics, ...] = ()
        self.best_epoch = 0
        self.best: dict[str, Tensor] = {}

    def is_finished(self) -> bool:
        """Return whether there is nothing more to gain from another epoch."""
        epoch, patience = (
            len(self.history),
            self.hyperparameters.early_stopping_patience,
        )
        if epoch >= self.hyperparameters.epochs:
            return True
        if patience and epoch - self.best_epoch >= patience:
            logger.info("Training ends early: no better epoch in %d.", patience)
            return True
        return False

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
        selection = self._evaluate()
        if not math.isfinite(train.mse + selection.mse):
            self._diverge(epoch)
            return False
        metrics = EpochMetrics(
            epoch=epoch,
            train=train,
            valid=selection if self.is_validation else None,
            calibration=None if self.is_validation else selection,
        )
        best = (
            self.history[self.best_epoch - 1].selection.mse if self.best else math.inf
        )
        if selection.mse < best:
            self.best_epoch, self.best = epoch, _copied(self.network)
        self.history += (metrics,)
        if epoch == 1 and len(self.selection.n_timesteps):
            # A broken export is found now, not after hours that are paid for.
            runtime, scaled = export(self.network), self.selection.series(0)
            export_difference(self.network, runtime, scaled, EARLY_DIFFERENCE)
        return True

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

    def result(self) -> Trained:
        """Return the network with its best weights, or with those it has.

        Raises:
            TrainingError: If it has none that are finite numbers.
        """
        if self.best:
            self.network.load_state_dict(self.best)
        elif not all(p.isfinite().all() for p in self.network.parameters()):
            self._diverge(epoch=1)
        return Trained(
            self.network.cpu().eval(), self.history, self.best_epoch, self.precision
        )

    def _learn(self, epoch: int, should_stop: Callable[[], bool]) -> Loss | None:
        """Take one optimiser step per batch; return the loss, or None if stopped."""
        settings = self.hyperparameters
        random = self._seed(epoch)
        starts = training_starts(self.where.n_timesteps, self.segments, random)
        n_batches = math.ceil(len(starts) / settings.batch_size)
        self.parallel.train()
        sums = torch.zeros(2, dtype=torch.float64, device=self.device)
        n_elements = 0
        batches = self._batches(random.permutation(starts), n_batches)
        for step, (windows, n_segments) in enumerate(batches):
            progress = (epoch - 1 + (step + 0.5) / n_batches) / settings.epochs
            stops = self.team.any_soon(should_stop)
            self.optimiser.forget_gradients()
            n_in_batch = n_segments * self.segments.n_targets * windows.shape[2]
            # Drawn for all of the batch, so that it is the same whoever computes it.
            variation = self.network.variation(n_segments, self.chance)
            if variation is not None:
                part = _part(n_segments, self.team.rank, self.team.size)
                variation = variation[part].to(self.device)
            if len(windows):  # of a small batch, not every process has a part
                with torch.autocast(
                    self.device.type,
                    torch.bfloat16,
                    enabled=self.precision == BF16,
                ):
                    errors = self._errors(windows, variation)
                loss = errors.square().sum() / n_in_batch
                loss.backward()  # type: ignore[no-untyped-call]
                sums += _sums(errors.detach())
            self._add_up_gradients()
            nn.utils.clip_grad_norm_(self.network.parameters(), MAX_GRADIENT_NORM)
            self.optimiser.step(learning_rate(progress, settings.lr))
            n_elements += n_in_batch
            if stops():
                return None
        return _loss(self.team.sum_in_place(sums), n_elements)

    def _batches(
        self, order: IndexArray, n_batches: int
    ) -> Iterator[tuple[Tensor, int]]:
        """Yield, for each batch, the rows of this process's part, and the batch's size.

        The size is in segments. Sizes differ by one at most, and so do those of parts.

        Args:
            order: Where the segments of the epoch start, on the axis of all rows.
            n_batches: Into how many batches they are divided.
        """
        if self.team.size == 1 and self.values.device == self.device:
            positions = torch.from_numpy(order).to(self.device)
            for batch in torch.tensor_split(positions, n_batches):
                yield self._windows(self.values, batch), len(batch)
            return
        n_bytes = self.segments.n_rows * self.values.shape[1] * self.values.itemsize
        per_batch = n_bytes * math.ceil(len(order) / n_batches / self.team.size)
        n_sent = max(1, SENT_BYTES // per_batch)
        batches = np.array_split(order, n_batches)
        for first in range(0, n_batches, n_sent):
            some = batches[first : first + n_sent]
            windows = self._sent(some)
            if self.values.device != self.device:
                windows = windows.pin_memory().to(self.device, non_blocking=True)
            sizes = [
                len(batch[_part(len(batch), self.team.rank, self.team.size)])
                for batch in some
            ]
            for part, size in zip(torch.split(windows, sizes), some, strict=True):
                yield part, len(size)

    def _sent(self, batches: list[IndexArray]) -> Tensor:
        """Return the rows of this process's parts of some batches, from who holds them.

        Every process knows where all segments are, so no one has to ask for any.

        Args:
            batches: The starts of their segments, on the axis of all rows.

        Returns:
            Of shape ``(segments, rows, D)``, in order.
        """
        ranks = range(self.team.size)
        parts = [
            np.concatenate([b[_part(len(b), r, len(ranks))] for b in batches])
            for r in ranks
        ]
        mine, n_to = [], []
        for part in parts:  # what each process computes
            owners, positions = self.where.find(part)
            is_mine = owners == self.team.rank
            mine.append(positions[is_mine])
            n_to.append(int(is_mine.sum()))
        owners, _ = self.where.find(parts[self.team.rank])
        n_from = np.bincount(owners, minlength=len(ranks)).tolist()
        starts = torch.from_numpy(np.concatenate(mine)).to(self.values.device)
        held = self._windows(self.values, starts)
        received = self.team.exchange(held, n_to, n_from)
        # They come by owner; what is asked for has an order of its own.
        order = np.empty(len(owners), dtype=np.int64)
        order[np.argsort(owners, kind="stable")] = np.arange(len(owners))
        return received[torch.from_numpy(order).to(received.device)]

    def _add_up_gradients(self) -> None:
        """Give every process the gradients of the whole batch, in one message."""
        if self.team.size == 1:
            return
        parameters = list(self.network.parameters())
        gradients = [
            p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten()
            for p in parameters
        ]
        total = self.team.sum_in_place(torch.cat(gradients))
        parts = torch.split(total, [p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def _windows(self, values: Tensor, starts: Tensor) -> Tensor:
        """Return the rows of some segments.

        Args:
            values: Rows, of shape ``(T, D)``.
            starts: The first rows of segments, of shape ``(N,)``.

        Returns:
            Of shape ``(N, rows, D)``. Rows beyond the last are taken as the last.
        """
        rows = torch.arange(self.segments.n_rows, device=starts.device)
        return values[(starts[:, None] + rows).clamp(max=len(values) - 1)]

    def _errors(self, windows: Tensor, variation: Tensor | None = None) -> Tensor:
        """Return target minus reconstruction of each sequence of some segments.

        Args:
            windows: Their rows, of shape ``(N, rows, D)``.
            variation: How they are varied, of shape ``(N, 2)``, if they are.

        Returns:
            Of shape ``(N, M, P, D)``.
        """
        zero = torch.zeros(1, dtype=torch.int64, device=windows.device)
        targets = windows[:, self._target_rows(zero)[0]]
        outputs: Tensor = self.parallel(windows[:, : self.segments.n_read], variation)
        return targets - outputs

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
    def _evaluate(self) -> Loss:
        """Return the loss over every sequence of the selection, also partial ones."""
        starts, ends = self.selection.scored_starts(self.segments)
        self.parallel.eval()
        sums = torch.zeros(3, dtype=torch.float64, device=self.device)
        batch_size = self.hyperparameters.batch_size
        for first in range(0, len(starts), batch_size):
            batch = slice(first, first + batch_size)
            positions = torch.from_numpy(starts[batch]).to(self.selection_values.device)
            windows = self._windows(self.selection_values, positions).to(self.device)
            end = torch.from_numpy(ends[batch]).to(positions.device)
            exists = self._target_rows(positions) < end[:, None, None]  # (N, M, P)
            exists = exists.to(self.device)
            errors = self._errors(windows)
            sums += torch.cat(
                [
                    _sums(errors * exists[..., None]),
                    exists.sum(dtype=torch.float64)[None],
                ]
            )
        *losses, n_rows = self.team.sum_in_place(sums)
        return _loss(torch.stack(losses), int(n_rows) * self.values.shape[1])

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

    def _seed(self, epoch: int) -> np.random.Generator:
        """Seed everything random in an epoch, and return NumPy's part of it."""
        entropy = (self.hyperparameters.seed, epoch)
        sequence = np.random.SeedSequence(entropy)
        # All start with the same weights; then each drops out by its own chance.
        own = (*entropy, self.team.rank) if epoch and self.team.rank else entropy
        torch.manual_seed(_state(np.random.SeedSequence(own)))
        self.chance = torch.Generator().manual_seed(_state(sequence))
        return np.random.default_rng(sequence)


def _state(sequence: np.random.SeedSequence) -> int:
    """Return a seed for torch."""
    return int(sequence.generate_state(1, np.uint64)[0])


def _part(n_segments: int, rank: int, n_processes: int) -> slice:
    """Return the part of a batch that one of several processes computes."""
    ends = [number * n_segments // n_processes for number in (rank, rank + 1)]
    return slice(*ends)


def _home(device: torch.device, n_bytes: int) -> torch.device:
    """Return where rows are kept: with the network, if there is room."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if n_bytes > MAX_GPU_SHARE * free:
            return torch.device("cpu")
    return device


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
