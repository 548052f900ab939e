"""Where the network learns: on a GPU if torch can use one, else on the processor.

A GPU works through what it is given while the processor goes on. It stalls when the
processor waits for it, so nothing is read back within a step, and what is sent to it
is sent from pinned memory, without waiting for the copy.
"""

import contextlib
import logging
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor

from lstm_ad.exceptions import TrainingError

logger = logging.getLogger(__name__)

MAX_GPU_SHARE = 0.5
"""The fraction of a GPU's free memory that the rows may take; more stay on the host."""


def training_device(local_rank: int) -> torch.device:
    """Return what a process learns on.

    Args:
        local_rank: The number of the process on its host.
    """
    if torch.cuda.is_available():
        return torch.device("cuda", local_rank)
    return torch.device("cpu")


def storage_device(device: torch.device, n_bytes: int) -> torch.device:
    """Return where rows are kept: with the network, if there is room.

    Args:
        device: Where the network is.
        n_bytes: What the rows take.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if n_bytes > MAX_GPU_SHARE * free:
            return torch.device("cpu")
    return device


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor of the processor on a device, without waiting for a GPU."""
    if device.type == "cpu":
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


@contextlib.contextmanager
def learning_on(device: torch.device, batch_size: int) -> Iterator[None]:
    """Learn on a device, and leave the random states of the caller as they are.

    Args:
        device: From :func:`training_device`.
        batch_size: What a user can lower if the GPU's memory is too small.

    Raises:
        TrainingError: If the GPU's memory is too small.
    """
    is_gpu = device.type == "cuda"
    if is_gpu:
        logger.info("Using a GPU: %s.", torch.cuda.get_device_name(device))
    elif torch.version.cuda:
        logger.info("Using the processor: torch %s finds no GPU.", torch.__version__)
    try:
        with (
            # Of this GPU alone: asking others for their states takes memory there.
            torch.random.fork_rng(devices=[device] if is_gpu else []),
            warnings.catch_warnings(),
        ):
            # With dropout the layers run one by one, so cuDNN copies the weights of
            # each: a small part of a step, which users can do nothing about.
            warnings.filterwarnings("ignore", "RNN module weights are not part of")
            yield
    except torch.OutOfMemoryError as error:
        total = torch.cuda.get_device_properties(device).total_memory
        raise TrainingError(
            f"The memory of the GPU ({total / 2**30:.0f} GB) is too small for a "
            f"batch-size of {batch_size} with this network; use a smaller batch-size, "
            "sequence-length or hidden-size."
        ) from error
