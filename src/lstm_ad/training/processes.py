"""Join the processes of a job with torch.distributed: gloo on CPUs, NCCL on GPUs."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from lstm_ad.axes import FloatArray
from lstm_ad.processes import LostError, ProcessGroup

TIMEOUT = timedelta(hours=2)
"""How long a process waits for the others: one may read or save for long. That others
have died is noticed otherwise, and much sooner, by those who started them."""


@contextlib.contextmanager
def joined(host: int) -> Iterator[ProcessGroup]:
    """Be part of the process group that torchrun's variables describe.

    Args:
        host: The number of the host that this process runs on.

    Raises:
        LostError: If the others do not come.
    """
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with _reaching_others():
        dist.init_process_group(backend, timeout=TIMEOUT)
    local_rank = dist.get_node_local_rank()
    group = ProcessGroup(
        dist.get_rank(), dist.get_world_size(), local_rank, host, _Collectives()
    )
    if torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    yield group
    group.wait()  # what went well for one has gone well for all
    dist.destroy_process_group()


def sum_in_place(tensor: Tensor, group: ProcessGroup) -> Tensor:
    """Sum a tensor over all processes, in place; all get the same bits."""
    if group.size > 1:
        with _reaching_others():
            dist.all_reduce(tensor)
    return tensor


def sum_gradients(parameters: Iterable[nn.Parameter], group: ProcessGroup) -> None:
    """Give every process the gradients of the whole batch, in one message.

    Args:
        parameters: Those of the network; one without a gradient counts as 0.
        group: The processes that have computed a part of the batch, or none of it.
    """
    if group.size == 1:
        return
    parameters = list(parameters)
    gradients = [
        p.new_zeros(p.numel()) if p.grad is None else p.grad.flatten()
        for p in parameters
    ]
    total = sum_in_place(torch.cat(gradients), group)
    parts = torch.split(total, [p.numel() for p in parameters])
    for parameter, part in zip(parameters, parts, strict=True):
        parameter.grad = part.view_as(parameter)


def any_soon(claim: Callable[[], bool], group: ProcessGroup) -> Callable[[], bool]:
    """Return the question whether a claim is true for any of the processes.

    The claim is all-reduced over gloo while something else is computed; a process
    without others is asked when the answer is wanted.
    """
    if group.size == 1:
        return claim
    count = torch.tensor([float(claim())])
    with _reaching_others():
        pending = dist.all_reduce(count, async_op=True)

    def answer() -> bool:
        with _reaching_others():
            pending.wait()
        return bool(count.item())

    return answer


class _Collectives:
    """The collectives of torch.distributed, for arrays and picklable objects."""

    def sum(self, array: FloatArray) -> FloatArray:
        return _reduced(array, dist.ReduceOp.SUM)

    def minimum(self, array: FloatArray) -> FloatArray:
        return _reduced(array, dist.ReduceOp.MIN)

    def gather(self, item: Any) -> list[Any]:
        items: list[Any] = [None] * dist.get_world_size()
        with _reaching_others():
            dist.all_gather_object(items, item)
        return items

    def broadcast(self, item: Any) -> Any:
        items: list[Any] = [item]
        with _reaching_others():
            dist.broadcast_object_list(items)
        return items[0]


def _reduced(array: FloatArray, operation: Any) -> FloatArray:
    """Return an array reduced over all processes."""
    result = array.copy()
    with _reaching_others():
        dist.all_reduce(torch.from_numpy(result), operation)
    return result


@contextlib.contextmanager
def _reaching_others() -> Iterator[None]:
    """Turn what a collective raises when others are gone into a LostError."""
    try:
        yield
    except RuntimeError as error:
        raise LostError(str(error)) from error
