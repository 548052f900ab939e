"""The loss of a network over ranges of rows, whichever processes have them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lstm_ad.data.partition import Owned
from lstm_ad.losses import Loss
from lstm_ad.processes import ProcessGroup, share
from lstm_ad.training.processes import sum_in_place
from lstm_ad.training.windows import Windows


@torch.no_grad()
def evaluate(
    network: nn.Module,
    windows: Windows,
    everything: Sequence[Owned],
    batch_size: int,
    group: ProcessGroup,
) -> Loss:
    """Return the loss over every sequence of some ranges, also partial ones.

    Args:
        network: What reconstructs them; it is left in evaluation mode.
        windows: The rows of this host.
        everything: The ranges; their owners share the segments evenly.
        batch_size: How many segments are computed at a time.
        group: The processes that own them.
    """
    network.eval()
    sums = torch.zeros(4, dtype=torch.float64, device=windows.device)
    for owned in everything:
        if group.rank not in owned.owners:
            continue
        starts, ends = owned.ranges.scored_starts(windows.segments)
        place = owned.owners.index(group.rank)
        mine = share(len(starts), place, len(owned.owners))
        for first in range(mine.start, mine.stop, batch_size):
            batch = slice(first, min(first + batch_size, mine.stop))
            errors = windows.errors(network, windows.of(starts[batch]))
            exist = windows.exist(starts[batch], ends[batch])
            errors = errors * exist[..., None]
            missing = windows.missing(starts[batch])
            if missing is not None:
                missing &= exist[..., None]
                errors = errors.masked_fill(missing, 0.0)
            sums[:3] += sums_of(errors, missing)
            sums[3] += exist.sum()
    sum_in_place(sums, group)
    return loss_of(sums[:3], int(sums[3]) * windows.n_series)


def sums_of(errors: Tensor, missing: Tensor | None) -> Tensor:
    """Return the sums of squares and of absolute values, and the missing elements.

    They stay where the errors are: reading a number at each step would stall a GPU.

    Args:
        errors: Of shape ``(N, M, P, D)``, 0 where an element is missing.
        missing: Which are, likewise; None if none is.
    """
    n_missing = errors.new_zeros(()) if missing is None else missing.sum()
    sums = errors.square().sum(), errors.abs().sum(), n_missing
    return torch.stack([value.double() for value in sums])


def loss_of(sums: Tensor, n_elements: int) -> Loss:
    """Return the loss of so many elements, the missing ones included.

    Args:
        sums: Those of :func:`sums_of`.
        n_elements: How many there are.
    """
    squares, absolutes, n_missing = sums.tolist()
    n_there = n_elements - int(n_missing)
    return Loss(mse=squares / n_there, mae=absolutes / n_there)
