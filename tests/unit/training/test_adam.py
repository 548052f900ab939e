"""The optimiser is torch's Adam, without the import of its compiler."""

import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from lstm_ad.training.adam import Adam

SOURCE = Path(__file__).parents[3] / "src"


def test_steps_are_those_of_torchs_adam() -> None:
    """Bit by bit, at a learning rate that changes, with a gradient that is missing."""
    torch.manual_seed(0)
    ours, theirs = nn.LSTM(3, 4), nn.LSTM(3, 4)
    theirs.load_state_dict(ours.state_dict())
    adam, reference = Adam(ours.parameters()), torch.optim.Adam(theirs.parameters())

    for step in range(20):
        for group in reference.param_groups:
            group["lr"] = 0.01 / (1 + step)
        for network in (ours, theirs):
            rows = torch.linspace(-1, 1, 30).view(5, 2, 3) * step
            network(rows)[0].square().sum().backward()
            if step == 7:
                network.bias_hh_l0.grad = None
        adam.step(0.01 / (1 + step))
        reference.step()
        adam.forget_gradients()
        reference.zero_grad()

    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_training_imports_no_compiler() -> None:
    """It would cost more time than a short job has to learn."""
    code = """
import sys
import numpy as np
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters

series = np.sin(np.arange(60.0))[:, np.newaxis]
fit(Rows.of({"a": series}), Hyperparameters(sequence_length=5, hidden_size=2, epochs=1))
print("torch._dynamo" in sys.modules)
"""
    output = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout

    assert output == b"False\n"
