"""The precision that the network is trained with, as far as the hardware has it."""

import logging

import torch
from torch import nn

from lstm_ad.hyperparameters import BF16, FP32

logger = logging.getLogger(__name__)


def usable_precision(asked_for: str, device: torch.device) -> str:
    """Return the precision to train with, after a warning if it is another one.

    Processors without AVX-512 have no LSTM in bf16, and on GPUs torch takes half
    precision (fp16) instead, in which small gradients vanish. Whether there is one
    depends on the hardware and on the versions of oneDNN and torch, so it is tried.

    Args:
        asked_for: The ``precision`` hyperparameter.
        device: What trains.
    """
    if asked_for != BF16 or _has_bf16(device):
        return asked_for
    logger.warning(
        "This machine cannot train an LSTM in bf16, so training goes on in fp32: the "
        "model is as good."
    )
    return FP32


def _has_bf16(device: torch.device) -> bool:
    """Return whether one step of a tiny LSTM can be taken in bf16."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):  # its weights are random
        lstm = nn.LSTM(input_size=1, hidden_size=1).to(device)
        try:
            with torch.autocast(device.type, torch.bfloat16):
                hidden_states, _ = lstm(torch.zeros(2, 1, 1, device=device))
            hidden_states.sum().backward()
        except RuntimeError:  # "could not create a primitive descriptor ..."
            return False
    dtype: torch.dtype = hidden_states.dtype
    return dtype == torch.bfloat16
