"""Work as one of several processes that train one network together.

Each process computes its part of every batch and holds its share of the rows; what
they must agree on they add up, or take from the first of them. A process that works
alone is a team of one: the same code runs, and nothing is communicated.

Collectives are torch.distributed's: gloo between CPUs, NCCL between GPUs. Every
process of a team must call the same ones in the same order.
"""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from lstm_ad.axes import FloatArray

Item = TypeVar("Item")

PATIENCE = timedelta(hours=2)
"""How long a process waits for the others: one may read or save for long. That others
have died is noticed otherwise, and much sooner, by those who started them."""


class LostError(Exception):
    """Raised if the other processes cannot be reached: one of them has the reason."""


@dataclasses.dataclass(frozen=True)
class Team:
    """The processes that train together, as one of them sees them."""

    rank: int = 0
    """The number of this process, from 0; the first one writes logs and files."""
    size: int = 1
    """How many there are."""
    local_rank: int = 0
    """The number of this process on its host, and of the GPU that it uses."""

    def sum_in_place(self, tensor: Tensor) -> Tensor:
        """Add a tensor up over all processes, in place; all get the same bits."""
        if self.size > 1:
            with _reaching_others():
                dist.all_reduce(tensor)
        return tensor

    def add_up(self, array: FloatArray) -> FloatArray:
        """Return the sum of an array over all processes; all get the same bits."""
        if self.size > 1:
            return self.sum_in_place(torch.from_numpy(array.copy())).numpy()
        return array

    def lowest(self, array: FloatArray) -> FloatArray:
        """Return the smallest of each element over all processes."""
        if self.size > 1:
            array = array.copy()
            with _reaching_others():
                dist.all_reduce(torch.from_numpy(array), dist.ReduceOp.MIN)
        return array

    def gather(self, item: Item) -> list[Item]:
        """Return what every process gave, in the order of their ranks."""
        items: list[Any] = [item] * self.size
        if self.size > 1:
            with _reaching_others():
                dist.all_gather_object(items, item)
        return items

    def from_first(self, item: Item) -> Item:
        """Return what the first process gave."""
        items: list[Any] = [item]
        if self.size > 1:
            with _reaching_others():
                dist.broadcast_object_list(items)
        return items[0]  # type: ignore[no-any-return]

    def exchange(
        self, parts: Tensor, n_to: Sequence[int], n_from: Sequence[int]
    ) -> Tensor:
        """Return the parts that every process has for this one.

        Args:
            parts: What this one has for the first process, for the second, and so on,
                of shape ``(sum(n_to), ...)``.
            n_to: How many parts it has for each.
            n_from: How many parts each has for it.
        """
        if self.size == 1:
            return parts
        received = parts.new_empty((sum(n_from), *parts.shape[1:]))
        with _reaching_others():
            dist.all_to_all_single(received, parts, list(n_from), list(n_to))
        return received

    def any_soon(self, claim: Callable[[], bool]) -> Callable[[], bool]:
        """Return the question whether a claim is true for any of the processes.

        A claim is asked for at once, and while the answer is on its way there is time
        to compute something; whoever works alone is asked when the answer is wanted.
        """
        if self.size == 1:
            return claim
        count = torch.tensor([float(claim())])
        with _reaching_others():
            pending = dist.all_reduce(count, async_op=True)

        def answer() -> bool:
            with _reaching_others():
                pending.wait()
            return bool(count.item())

        return answer

    def meet(self) -> None:
        """Return when every process has come here."""
        self.gather(None)


ALONE = Team()
"""The team of a process that works alone."""


@contextlib.contextmanager
def joined() -> Iterator[Team]:
    """Be part of the team that torchrun's variables describe.

    Raises:
        LostError: If the others do not come.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _reaching_others():
        dist.init_process_group(backend, timeout=PATIENCE)
    team = Team(dist.get_rank(), dist.get_world_size(), dist.get_node_local_rank())
    if torch.cuda.is_available():
        torch.cuda.set_device(team.local_rank)
    yield team
    team.meet()  # what went well for one has gone well for all
    dist.destroy_process_group()


@contextlib.contextmanager
def _reaching_others() -> Iterator[None]:
    """Turn what a collective raises when others are gone into a LostError."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(str(error)) from error
