"""A job as one or several processes, each of which sees itself as part of a group.

A group of one returns what it was given. Larger groups are made by
:func:`lstm_ad.training.processes.joined`, which knows how processes communicate; so
nothing that only uses a group imports torch. Every process of a group must call the
same methods in the same order.
"""

import dataclasses
from typing import Any, Protocol, TypeVar

from lstm_ad.axes import FloatArray

Item = TypeVar("Item")


class LostError(Exception):
    """Raised if the other processes cannot be reached: one of them has the reason."""


class Collectives(Protocol):
    """How the processes of a group communicate."""

    def sum(self, array: FloatArray) -> FloatArray:
        """Return the sum over all processes."""

    def minimum(self, array: FloatArray) -> FloatArray:
        """Return the smallest of each element over all processes."""

    def gather(self, item: Any) -> list[Any]:
        """Return the items of all processes, by rank."""

    def broadcast(self, item: Any) -> Any:
        """Return the item of the first process."""


@dataclasses.dataclass(frozen=True)
class ProcessGroup:
    """The processes of a job, as one of them sees them."""

    rank: int = 0
    """The number of this process, from 0; the first one writes logs and files."""
    size: int = 1
    """The number of processes."""
    local_rank: int = 0
    """The number of this process on its host, and of the GPU that it uses."""
    host: int = 0
    """The number of its host, from 0."""
    collectives: Collectives | None = None
    """How it communicates; None for a group of one."""

    def sum(self, array: FloatArray) -> FloatArray:
        """Return the sum of an array over all processes, the same bits in each."""
        return self.collectives.sum(array) if self.collectives else array

    def minimum(self, array: FloatArray) -> FloatArray:
        """Return the smallest of each element over all processes."""
        return self.collectives.minimum(array) if self.collectives else array

    def gather(self, item: Item) -> list[Item]:
        """Return the items of all processes, in the order of their ranks."""
        return self.collectives.gather(item) if self.collectives else [item]

    def broadcast(self, item: Item) -> Item:
        """Return the item of the first process."""
        if self.collectives is None:
            return item
        found: Item = self.collectives.broadcast(item)
        return found

    def wait(self) -> None:
        """Return when every process has called this."""
        self.gather(None)


ALONE = ProcessGroup()
"""The group of a job of one process."""


def share(n_items: int, position: int, n_shares: int) -> slice:
    """Return one of several contiguous shares of some items, even to one item."""
    first, last = (k * n_items // n_shares for k in (position, position + 1))
    return slice(first, last)
