import numpy as np
import pytest
import torch

from lstm_ad.network import StackedLSTM
from lstm_ad.scaling import INPUT_BOUND


def network_of(num_layers: int = 2, dropout: float = 0.5) -> StackedLSTM:
    """Return a network whose linear layer is not at its zeros any more."""
    torch.manual_seed(0)
    network = StackedLSTM(
        n_series=3,
        sequence_length=7,
        hidden_size=5,
        num_layers=num_layers,
        dropout=dropout,
    )
    torch.nn.init.normal_(network.head.weight)
    return network


INPUTS = torch.from_numpy(
    np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float32)
)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_each_sequence_gives_the_whole_next_one(num_layers: int) -> None:
    """N sequences in, N sequences of the same shape out."""
    assert network_of(num_layers)(INPUTS).shape == (4, 7, 3)


def test_an_untrained_network_reconstructs_the_mean() -> None:
    """Zero is the mean of a standardised series: no step is lost on noise."""
    network = StackedLSTM(3, 7, 5, 2, 0.1)

    assert not network(INPUTS).any()


def test_every_input_row_counts() -> None:
    """The reconstruction comes from the whole input sequence, from row 1 on."""
    network = network_of().eval()
    outputs = network(INPUTS)

    for row in range(7):
        changed = INPUTS.clone()
        changed[0, row] += 1.0
        difference = (network(changed) - outputs).abs().amax(dim=(1, 2))
        assert difference[0] > 1e-4
        assert difference[1:].tolist() == [0.0, 0.0, 0.0]


def test_values_beyond_the_bound_are_read_as_the_bound() -> None:
    """A giant spike does not decide how the rows after it are reconstructed."""
    network = network_of().eval()
    at_bound, beyond = INPUTS.clone(), INPUTS.clone()
    at_bound[0, 0] = torch.tensor([INPUT_BOUND, -INPUT_BOUND, INPUT_BOUND])
    beyond[0, 0] = torch.tensor([1e6, -np.inf, np.inf])

    assert torch.equal(network(at_bound), network(beyond))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_dropout_comes_after_every_layer_in_training_alone(num_layers: int) -> None:
    """After the last layer, too, and with a single one; never when scoring."""
    network = network_of(num_layers)
    torch.nn.init.eye_(network.head.weight)
    torch.nn.init.ones_(network.head.bias)

    in_training = network.train()(INPUTS)
    scoring = network.eval()

    # A hidden unit that is dropped leaves the bias alone.
    assert (in_training[:, 0] == 1.0).any()
    assert not (scoring(INPUTS)[:, 0] == 1.0).any()
    assert torch.equal(scoring(INPUTS), scoring(INPUTS))
    assert network.lstm.dropout == (0.5 if num_layers > 1 else 0.0)


def test_states_are_remembered_from_the_start() -> None:
    """Orthogonal recurrence per gate, forget gates open, all other biases zero."""
    network = network_of(num_layers=2)

    for layer in (0, 1):
        for gate in getattr(network.lstm, f"weight_hh_l{layer}").detach().chunk(4):
            product = (gate @ gate.T).numpy()
            np.testing.assert_allclose(product, np.eye(5), atol=1e-6)
        bias = getattr(network.lstm, f"bias_ih_l{layer}").detach().chunk(4)
        assert [gate.unique().tolist() for gate in bias] == [[0.0], [1.0], [0.0], [0.0]]
        assert not getattr(network.lstm, f"bias_hh_l{layer}").any()
