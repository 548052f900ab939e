import numpy as np
import onnx
import pytest
import torch

from lstm_ad.network import StackedLSTM
from lstm_ad.onnx_graph import OPSET, to_onnx
from lstm_ad.runtime import OnnxNetwork


def network_of(
    num_layers: int, n_series: int = 3, hidden_size: int = 16
) -> StackedLSTM:
    """Return a network with weights as large as after training."""
    torch.manual_seed(num_layers)
    network = StackedLSTM(n_series, 12, hidden_size, num_layers, dropout=0.5).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def exported(network: StackedLSTM) -> bytes:
    """Return the ONNX graph of a network."""
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return to_onnx(weights, network.sequence_length)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
@pytest.mark.parametrize(
    "amplitude", [1.0, 30.0], ids=["inside the bound", "beyond it"]
)
def test_the_graph_reconstructs_as_torch_does(
    num_layers: int, amplitude: float
) -> None:
    """To 1e-5 standard deviations, for any number of sequences up to a batch."""
    network = network_of(num_layers)
    graph = OnnxNetwork(exported(network))
    random = np.random.default_rng(0)

    for n_sequences in (1, 5, 64):
        inputs = random.normal(scale=amplitude, size=(n_sequences, 12, 3))
        inputs = inputs.astype(np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(inputs)).numpy()
        np.testing.assert_allclose(
            graph.reconstruct(inputs), expected, rtol=0, atol=1e-5
        )


def test_the_graph_reads_infinite_values_as_the_bound() -> None:
    """The bound is part of the graph: it holds wherever the network runs."""
    network = network_of(2)
    inputs = np.full((1, 12, 3), np.inf, dtype=np.float32)
    inputs[:, ::2] = -np.inf
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs)).numpy()

    reconstruction = OnnxNetwork(exported(network)).reconstruct(inputs)

    np.testing.assert_allclose(reconstruction, expected, rtol=0, atol=1e-5)


def test_a_single_series_and_a_single_unit_are_enough() -> None:
    """No axis of length one is lost on the way."""
    network = network_of(1, n_series=1, hidden_size=1)
    inputs = np.ones((2, 12, 1), dtype=np.float32)
    with torch.no_grad():
        expected = network(torch.from_numpy(inputs)).numpy()

    reconstruction = OnnxNetwork(exported(network)).reconstruct(inputs)

    assert reconstruction.shape == (2, 12, 1)
    np.testing.assert_allclose(reconstruction, expected, rtol=0, atol=1e-5)


def test_the_same_weights_give_the_same_bytes() -> None:
    """A model's file changes only if the model does."""
    assert exported(network_of(2)) == exported(network_of(2))


def test_the_graph_has_one_node_per_layer_and_names_its_opset() -> None:
    """Small enough to be read in a graph viewer, old enough for old runtimes."""
    model = onnx.load_from_string(exported(network_of(3)))

    operators = [node.op_type for node in model.graph.node]
    assert operators.count("LSTM") == 3
    assert operators.count("Gemm") == 1
    assert [opset.version for opset in model.opset_import] == [OPSET]
