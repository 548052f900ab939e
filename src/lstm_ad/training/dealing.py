"""Deal the segments of an epoch to its batches, and draw all that is random in it.

Everything comes from the seed, the number of the epoch and the part of the files, so it
is the same after a restart, and whichever process computes it.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lstm_ad.axes import IndexArray
from lstm_ad.data.partition import Owned
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.sequences import Segments
from lstm_ad.processes import share

Drawn = tuple[Tensor | None, tuple[Tensor, ...] | None]
"""What :meth:`StackedLSTM.variation` and :meth:`StackedLSTM.kept_units` give."""


@dataclasses.dataclass(frozen=True)
class Generators:
    """What is random in an epoch, or in the part of it that some files have."""

    order: np.random.Generator
    """What the grid of segments and their order are drawn from."""
    levels: torch.Generator
    """What levels and scales are drawn from."""
    dropout: torch.Generator
    """What hidden units to drop are drawn from."""

    @classmethod
    def of(
        cls, device: torch.device, seed: int, epoch: int, *part: int
    ) -> "Generators":
        """Return the generators of an epoch.

        Args:
            device: Where the network learns: a GPU draws for itself what is large.
            seed: The hyperparameter.
            epoch: Its number, from 1.
            part: The number of a part of the files that is drawn by itself, if any.
        """
        sequence = np.random.SeedSequence((seed, epoch, *part))
        state = torch_seed(sequence)
        return cls(
            np.random.default_rng(sequence),
            torch.Generator(device).manual_seed(state),
            torch.Generator(device).manual_seed(state),
        )

    def draw(
        self, network: StackedLSTM, n_segments: int, n_read: int, mine: slice
    ) -> Drawn:
        """Draw how a network learns from some of a host's segments of a batch.

        It is drawn for all of them, so that it is the same whoever computes it.

        Args:
            network: What learns.
            n_segments: How many the host has.
            n_read: The rows of each that are read.
            mine: Those that this process computes.
        """
        variation = network.variation(n_segments, self.levels)
        kept_units = network.kept_units(n_segments, n_read, self.dropout)
        if variation is not None:
            variation = variation[mine]
        if kept_units is not None:
            kept_units = tuple(units[mine] for units in kept_units)
        return variation, kept_units


@dataclasses.dataclass(frozen=True)
class Batch:
    """The segments of one step, as one process knows them."""

    starts: IndexArray
    """Where the segments start that the host of this process has."""
    mine: slice
    """Those of them that this process computes."""
    size: int
    """How many segments all hosts have."""


def deal(
    fitting: Sequence[Owned],
    segments: Segments,
    hyperparameters: Hyperparameters,
    epoch: int,
    rank: int,
    device: torch.device,
) -> tuple[list[Batch], Generators]:
    """Deal the segments of an epoch to its batches.

    Where the files are divided between hosts, each host's segments are dealt evenly to
    all batches. Everyone draws for all hosts, to know how large the batches are.

    Args:
        fitting: What the LSTM is fitted to, by the processes that have it.
        segments: How it is cut.
        hyperparameters: The settings of the job.
        epoch: Its number, from 1.
        rank: The number of this process.
        device: Where the network learns.

    Returns:
        The batches, and what else is random in them.
    """
    drawn = []
    for number, owned in enumerate(fitting):
        part = (number,) if len(fitting) > 1 else ()
        random = Generators.of(device, hyperparameters.seed, epoch, *part)
        starts = owned.ranges.training_starts(segments, random.order)
        drawn.append((owned.owners, random.order.permutation(starts), random))
    n_segments = sum(len(order) for _, order, _ in drawn)
    n_batches = math.ceil(n_segments / hyperparameters.batch_size)
    sizes = np.zeros(n_batches, dtype=np.int64)
    dealt: list[IndexArray] = [np.empty(0, dtype=np.int64)] * n_batches
    mine = [slice(0, 0)] * n_batches
    generators = Generators.of(device, hyperparameters.seed, epoch)
    for owners, order, random in drawn:
        parts = np.array_split(order, n_batches)
        sizes += [len(part) for part in parts]
        if rank in owners:
            place = owners.index(rank)
            mine = [share(len(part), place, len(owners)) for part in parts]
            dealt, generators = parts, random
    return list(map(Batch, dealt, mine, sizes.tolist())), generators


def torch_seed(sequence: np.random.SeedSequence) -> int:
    """Return a seed for torch."""
    return int(sequence.generate_state(1, np.uint64)[0])
