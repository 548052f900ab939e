"""The precision that the hardware has."""

import logging
import os
import subprocess
import sys

import pytest
import torch

from lstm_ad.training.precision import usable_precision

CPU = torch.device("cpu")

CODE = """
import logging, torch
from lstm_ad.training.precision import usable_precision
logging.basicConfig(format="%(message)s")
print(usable_precision("bf16", torch.device("cpu")))
"""


def test_without_bf16_training_goes_on_in_fp32() -> None:
    """After a warning; oneDNN's limit makes this a processor without AVX-512."""
    ended = subprocess.run(
        [sys.executable, "-c", CODE],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(sys.path), "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        check=True,
        text=True,
    )

    assert ended.stdout == "fp32\n"
    assert ended.stderr == (
        "This machine cannot train an LSTM in bf16, so training goes on in fp32: the "
        "model is as good.\n"
    )


@pytest.mark.parametrize("asked_for", ["fp32", "bf16"])
def test_trying_leaves_no_trace(
    asked_for: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No random number is drawn, and a precision that exists is used in silence."""
    before = torch.random.get_rng_state()

    with caplog.at_level(logging.WARNING):
        found = usable_precision(asked_for, CPU)

    assert torch.equal(torch.random.get_rng_state(), before)
    assert (found == asked_for) == (not caplog.messages)
