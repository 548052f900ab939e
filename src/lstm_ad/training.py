"""Fit the network: the loop over epochs and the recipe that makes it converge.

The recipe, beyond the document's mean squared error on non-overlapping sequences:
standardised series, remembering initial states (see ``network.py``), a random phase of
the sequences' grid in each epoch, Adam with a one-cycle learning rate that peaks at
``lr``, and gradients clipped to norm 1.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from lstm_ad.axes import ScaledArray
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.losses import EpochMetrics, Loss
from lstm_ad.network import StackedLSTM
from lstm_ad.sequences import input_sequences, on_time_axis, pair_starts

MAX_GRADIENT_NORM = 1.0
WARM_UP = 0.3
"""The part of training in which the learning rate rises to its peak."""

OnEpochEnd = Callable[[EpochMetrics], None]


def train_network(
    fitting: Sequence[ScaledArray],
    validation: Sequence[ScaledArray],
    hyperparameters: Hyperparameters,
    on_epoch_end: OnEpochEnd,
) -> StackedLSTM:
    """Return a network fitted to reconstruct each sequence from the one before it.

    On several GPUs the batches are divided with ``torch.nn.DataParallel``. The same
    seed, data and number of threads give the same weights, bit by bit, on a CPU.

    Args:
        fitting: Standardised values of each file, of shape ``(T, D)`` with
            ``T >= 2 L``.
        validation: Likewise, with ``T > L``; may be empty.
        hyperparameters: The settings of the job.
        on_epoch_end: Called after each epoch.

    Returns:
        The network, on the CPU and in evaluation mode.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        _seed(hyperparameters.seed, epoch=0)
        network = StackedLSTM(
            n_series=fitting[0].shape[1],
            sequence_length=hyperparameters.sequence_length,
            hidden_size=hyperparameters.hidden_size,
            num_layers=hyperparameters.num_layers,
            dropout=hyperparameters.dropout,
        ).to(device)
        parallel = (
            nn.DataParallel(network) if torch.cuda.device_count() > 1 else network
        )
        optimiser = torch.optim.Adam(network.parameters(), lr=hyperparameters.lr)
        rows = torch.from_numpy(np.concatenate(fitting)).to(device)
        for epoch in range(1, hyperparameters.epochs + 1):
            random = _seed(hyperparameters.seed, epoch)
            starts = random.permutation(
                pair_starts(
                    [len(part) for part in fitting],
                    hyperparameters.sequence_length,
                    random,
                )
            )
            train = _train_epoch(
                parallel, optimiser, rows, starts, epoch, hyperparameters
            )
            valid = _evaluate(parallel, validation, hyperparameters, device)
            on_epoch_end(EpochMetrics(epoch=epoch, train=train, valid=valid))
    return network.cpu().eval()


def learning_rate(progress: float, peak: float) -> float:
    """Return the learning rate of the one-cycle schedule (Smith & Topin, 2018).

    Args:
        progress: The part of all training steps done, from 0 to 1.
        peak: The ``lr`` hyperparameter.
    """
    if progress < WARM_UP:
        start, end, part = peak / 25, peak, progress / WARM_UP
    else:
        start, end, part = peak, 0.0, (progress - WARM_UP) / (1 - WARM_UP)
    return end + (start - end) * (1 + math.cos(math.pi * part)) / 2


def _seed(seed: int, epoch: int) -> np.random.Generator:
    """Seed everything random in ``epoch``, and return NumPy's part of it.

    Each epoch has its own seed, so that training can go on at any epoch without the
    random states of the ones before.
    """
    sequence = np.random.SeedSequence((seed, epoch))
    torch.manual_seed(int(sequence.generate_state(1, np.uint64)[0]))
    return np.random.default_rng(sequence)


def _train_epoch(
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    rows: Tensor,
    starts: np.typing.NDArray[np.int64],
    epoch: int,
    hyperparameters: Hyperparameters,
) -> Loss:
    """Take one optimiser step per batch of pairs; return the loss of the epoch."""
    network.train()
    sums = torch.zeros(2, dtype=torch.float64, device=rows.device)
    n_elements = 0
    n_batches = math.ceil(len(starts) / hyperparameters.batch_size)
    for step, (inputs, targets) in enumerate(_batches(rows, starts, hyperparameters)):
        progress = (epoch - 1 + step / n_batches) / hyperparameters.epochs
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(progress, hyperparameters.lr)
        optimiser.zero_grad(set_to_none=True)
        errors = targets - network(inputs)
        errors.square().mean().backward()
        nn.utils.clip_grad_norm_(network.parameters(), MAX_GRADIENT_NORM)
        optimiser.step()
        # Summed where the errors are: reading a number back would stall a GPU.
        errors = errors.detach()
        sums += torch.stack([errors.square().sum(), errors.abs().sum()])
        n_elements += errors.numel()
    squares, absolutes = sums.tolist()
    return Loss(mse=squares / n_elements, mae=absolutes / n_elements)


def _batches(
    rows: Tensor,
    starts: np.typing.NDArray[np.int64],
    hyperparameters: Hyperparameters,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield input and target sequences, each of shape ``(N, L, D)``."""
    length = hyperparameters.sequence_length
    within = torch.arange(2 * length, device=rows.device)
    positions = torch.from_numpy(starts).to(rows.device)
    for batch in torch.split(positions, hyperparameters.batch_size):
        pairs = rows[batch[:, None] + within]  # (N, 2 L, D)
        yield pairs[:, :length], pairs[:, length:]


@torch.no_grad()
def _evaluate(
    network: nn.Module,
    series: Sequence[ScaledArray],
    hyperparameters: Hyperparameters,
    device: torch.device,
) -> Loss | None:
    """Return the loss over every row after the first sequence of each series."""
    if not series:
        return None
    network.eval()
    length = hyperparameters.sequence_length
    inputs = [input_sequences(scaled, length) for scaled in series]
    everything = torch.from_numpy(np.concatenate(inputs))
    batches = torch.split(everything, hyperparameters.batch_size)
    outputs = torch.cat([network(batch.to(device)).cpu() for batch in batches]).numpy()
    ends = np.cumsum([len(sequences) for sequences in inputs])
    return Loss.of(
        scaled[length:].astype(np.float64) - on_time_axis(part, len(scaled))
        for scaled, part in zip(series, np.split(outputs, ends[:-1]), strict=True)
    )
