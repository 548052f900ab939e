"""The exported network and the trained one reconstruct alike."""

import numpy as np
import pytest
import torch

from lstm_ad.exceptions import TrainingError
from lstm_ad.model.export import GROSS_DIFFERENCE, export, export_difference
from lstm_ad.model.layout import Layout
from lstm_ad.model.network import StackedLSTM


def random_network(
    layout: Layout, hidden_size: int = 8, times: float = 1.0
) -> StackedLSTM:
    """Return a network whose weights are some times as large as at its beginning."""
    torch.manual_seed(0)
    network = StackedLSTM(2, layout, hidden_size, num_layers=2, dropout=0.5).eval()
    network.head.reset_parameters()  # it begins with zeros
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= times
    return network


def rows(n_timesteps: int) -> np.ndarray:
    """Return standardised values."""
    random = np.random.default_rng(0)
    return random.normal(size=(n_timesteps, 2)).astype(np.float32)


@pytest.mark.parametrize("layout", [Layout(10, 10, 10), Layout(9, 6, 2)])
@pytest.mark.parametrize("is_training", [False, True])
def test_an_export_differs_by_rounding(layout: Layout, is_training: bool) -> None:
    """Compared without dropout, also in the middle of training."""
    network = random_network(layout).train(is_training)

    difference = export_difference(network, export(network), rows(200))

    assert 0 < difference < 1e-5
    assert network.training == is_training


def test_rounding_that_grows_is_accepted() -> None:
    """Large weights: more than 1e-5, and nothing is wrong."""
    network = random_network(Layout(50, 50, 50), hidden_size=128, times=4.0)

    difference = export_difference(network, export(network), rows(250))

    assert 1e-5 < difference < GROSS_DIFFERENCE


def test_a_wrong_export_is_refused() -> None:
    """Here two gates are exchanged."""
    network = random_network(Layout(10, 10, 10), times=3.0)
    runtime = export(network)
    with torch.no_grad():
        i, f, g, o = network.lstm.weight_ih_l0.chunk(4)
        network.lstm.weight_ih_l0.copy_(torch.cat([f, i, g, o]))

    with pytest.raises(
        TrainingError,
        match=r"^The exported network differs from the trained one by \d\.\de[-+]\d+ "
        r"standard deviations, but must not by more than 0\.1\.$",
    ):
        export_difference(network, runtime, rows(200))


def test_a_difference_is_relative_where_reconstructions_are_far_from_the_mean() -> None:
    """1e-3 is 1e-5 of one that is a hundred standard deviations away."""
    network = random_network(Layout(3, 3, 3), times=0.0)
    differences = []
    for level in (0.5, 100.0):
        torch.nn.init.constant_(network.head.bias, level + 1e-3)
        runtime = export(network)
        torch.nn.init.constant_(network.head.bias, level)
        differences.append(export_difference(network, runtime, rows(20)))

    assert differences == pytest.approx([1e-3, 1e-5], rel=0.1)
