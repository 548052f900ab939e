import math

import numpy as np
import onnx
import pytest
import torch

from lstm_ad.model.layout import Layout
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.onnx_graph import OPSET, to_onnx
from lstm_ad.model.runtime import OnnxNetwork

APART = Layout(context_length=12, prediction_length=12, stride=12)


def network_of(
    num_layers: int,
    n_series: int = 3,
    hidden_size: int = 16,
    layout: Layout = APART,
) -> StackedLSTM:
    """Return a network with weights as large as after training."""
    torch.manual_seed(num_layers)
    network = StackedLSTM(n_series, layout, hidden_size, num_layers, dropout=0.5).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def exported(network: StackedLSTM) -> bytes:
    """Return the ONNX graph of a network."""
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    return to_onnx(weights, network.layout)


def values(shape: tuple[int, ...], amplitude: float) -> np.ndarray:
    """Return rows of an amplitude; where it is infinite, of both signs in turn."""
    if math.isinf(amplitude):
        table = np.full(shape, amplitude, dtype=np.float32)
        table[..., ::2, :] *= -1
        return table
    random = np.random.default_rng(0)
    return random.normal(scale=amplitude, size=shape).astype(np.float32)


shapes = pytest.mark.parametrize(
    ("num_layers", "n_series", "hidden_size"),
    [(1, 3, 16), (2, 3, 16), (3, 3, 16), (1, 1, 1)],
)
"""No axis of length one is lost on the way."""

amplitudes = pytest.mark.parametrize(
    "amplitude",
    [1.0, 30.0, math.inf],
    ids=["inside the bound", "beyond it", "infinite"],
)
"""The bound is part of the graph: it holds wherever the network runs."""


@shapes
@amplitudes
def test_the_graph_reconstructs_as_torch_does(
    num_layers: int, n_series: int, hidden_size: int, amplitude: float
) -> None:
    """To 1e-5 standard deviations, for any number of sequences up to a batch."""
    network = network_of(num_layers, n_series, hidden_size)
    graph = OnnxNetwork(exported(network))

    for n_sequences in (1, 5, 64):
        inputs = values((n_sequences, 12, n_series), amplitude)
        with torch.no_grad():
            expected = network(torch.from_numpy(inputs)).numpy()[:, 0]
        reconstruction, _ = graph.run(inputs)
        assert reconstruction.shape == inputs.shape
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


OVERLAPPING = Layout(context_length=5, prediction_length=6, stride=2)


def read_by_torch(network: StackedLSTM, rows: np.ndarray) -> np.ndarray:
    """Return the sequence after each row, from a network that starts at the first."""
    every_row = Layout(1, network.layout.prediction_length, 1)
    layout, network.layout = network.layout, every_row
    with torch.no_grad():
        sequences = network(torch.from_numpy(rows[np.newaxis])).numpy()[0]
    network.layout = layout
    return sequences


@shapes
@amplitudes
@pytest.mark.parametrize("n_rows", [1, 200])
def test_the_carrying_graph_reconstructs_after_each_row_as_torch_does(
    num_layers: int, n_series: int, hidden_size: int, amplitude: float, n_rows: int
) -> None:
    """To 1e-5 standard deviations, in one run; nothing that comes out is infinite."""
    network = network_of(num_layers, n_series, hidden_size, layout=OVERLAPPING)
    graph = OnnxNetwork(exported(network))
    rows = values((n_rows, n_series), amplitude)

    sequences, _ = graph.run(rows, graph.initial_states())

    expected = read_by_torch(network, rows)
    assert np.isfinite(expected).all()
    assert sequences.shape == (n_rows, 6, n_series)
    np.testing.assert_allclose(sequences, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_a_series_read_in_pieces_gives_what_it_gives_at_once(num_layers: int) -> None:
    """The states that come out go in again: pieces of one row, and of many."""
    graph = OnnxNetwork(exported(network_of(num_layers, layout=OVERLAPPING)))
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    at_once, last_states = graph.run(rows, graph.initial_states())

    pieces, states = [], graph.initial_states()
    for piece in np.split(rows, [1, 2, 9, 40]):
        sequences, states = graph.run(piece, states)
        pieces.append(sequences)

    np.testing.assert_allclose(np.concatenate(pieces), at_once, rtol=0, atol=1e-6)
    assert len(states) == 2 * num_layers
    for name, state in states.items():
        np.testing.assert_allclose(state, last_states[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize("layout", [APART, Layout(9, 4, 4), OVERLAPPING])
def test_the_layout_is_in_the_graphs_metadata(layout: Layout) -> None:
    """A graph says how it divides a series; whoever runs it needs no other file."""
    model = onnx.load_from_string(exported(network_of(1, layout=layout)))

    metadata = {entry.key: entry.value for entry in model.metadata_props}
    assert Layout.from_metadata(metadata) == layout
