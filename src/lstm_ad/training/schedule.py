"""The learning rate over the epochs of a job, and which epoch is its last.

Both follow from the losses of the epochs so far and nothing else, so that a job that
goes on from a checkpoint, and every process of a group, decides alike.
"""

import math
from collections.abc import Iterable

WARM_UP = 0.05
"""The part of all epochs in which the learning rate rises to its peak."""

DECAY = 0.5
"""The part of all epochs, the last one, in which the learning rate falls to zero."""


def last_epoch(losses: Iterable[float], epochs: int, patience: int) -> int:
    """Return the epoch that training ends with, as its losses have it so far.

    Where as many epochs as there is patience for were no better, while the learning
    rate does not fall yet, it falls from then on: over as many epochs as there were
    until then, as in a job that was given so few. To stop at the peak would lose what
    the falling rate gains.

    Args:
        losses: Of each epoch so far: what chooses the best one.
        epochs: The hyperparameter.
        patience: ``early-stopping-patience``; 0 = all epochs.
    """
    best, best_epoch = math.inf, 0
    for epoch, loss in enumerate(losses, start=1):
        last = math.ceil(epoch / (1 - DECAY))
        if last >= epochs or not patience:
            break
        if loss < best:
            best, best_epoch = loss, epoch
        elif epoch - best_epoch >= patience:
            return last
    return epochs


def learning_rate(done: float, epochs: int, last: int, peak: float) -> float:
    """Return the learning rate: up to the peak, flat, and down to zero, linearly.

    Args:
        done: The epochs done, with the part of the present one.
        epochs: The hyperparameter: the rise is a part of these.
        last: The epoch that training ends with: the fall is a part of these.
        peak: The ``lr`` hyperparameter.
    """
    return peak * min(1.0, done / epochs / WARM_UP, (1 - done / last) / DECAY)
