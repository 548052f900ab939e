import re

import numpy as np
import pytest

from lstm_ad.exceptions import ArtifactError
from lstm_ad.model import runtime
from lstm_ad.model.layout import Layout
from lstm_ad.model.onnx_graph import to_onnx
from lstm_ad.model.runtime import OnnxNetwork
from lstm_ad.scoring.detector import LSTMAD


def zeros_network(layout: Layout, n_series: int) -> OnnxNetwork:
    """Return the smallest network of a shape."""
    shapes = {
        "lstm.weight_ih_l0": (4, n_series),
        "lstm.weight_hh_l0": (4, 1),
        "lstm.bias_ih_l0": (4,),
        "lstm.bias_hh_l0": (4,),
        "head.weight": (layout.prediction_length * n_series, 1),
        "head.bias": (layout.prediction_length * n_series,),
    }
    weights = {name: np.zeros(s, dtype=np.float32) for name, s in shapes.items()}
    return OnnxNetwork(to_onnx(weights, layout))


@pytest.mark.parametrize("layout", [Layout(7, 7, 7), Layout(8, 6, 2), Layout(5, 4, 1)])
def test_the_shape_is_read_from_the_graph(layout: Layout) -> None:
    """Layout and number of series need no second source."""
    network = zeros_network(layout, 3)

    assert (network.layout, network.n_series) == (layout, 3)


@pytest.mark.parametrize(
    ("sequence_length", "n_series", "expected"),
    [(50, 2, 64), (6250, 10, 64), (6250, 20, 32), (4000, 2000, 1)],
)
def test_long_and_wide_sequences_run_in_small_batches(
    sequence_length: int, n_series: int, expected: int
) -> None:
    """64 sequences, but no more than 4 000 000 elements, and at least one sequence."""
    layout = Layout(sequence_length, sequence_length, sequence_length)

    assert zeros_network(layout, n_series).batch_size == expected


@pytest.mark.parametrize(
    ("available", "expected"),
    [
        (["CPUExecutionProvider"], [("CPUExecutionProvider", {})]),
        (
            ["CUDAExecutionProvider", "CPUExecutionProvider"],
            [("CUDAExecutionProvider", {"device_id": 3}), ("CPUExecutionProvider", {})],
        ),
        (
            ["AzureExecutionProvider", "CPUExecutionProvider"],
            [("CPUExecutionProvider", {})],
        ),
    ],
)
def test_a_gpu_is_used_where_it_can_be(
    available: list[str], expected: list[tuple[str, dict[str, int]]]
) -> None:
    """The one that is asked for; what it cannot compute, the CPU does."""
    assert runtime.providers(available, gpu=3) == expected


@pytest.mark.parametrize("model", [b"", b"no network", b"\x08\x08"])
def test_what_is_no_network_is_refused(model: bytes) -> None:
    """ONNX Runtime's many exceptions become one."""
    with pytest.raises(ArtifactError, match=r"^The network cannot be read as ONNX: "):
        OnnxNetwork(model)


def test_a_truncated_network_is_refused(detector: LSTMAD) -> None:
    """Half a file is no network."""
    model = detector.reconstructor.network.model

    with pytest.raises(ArtifactError, match=re.escape("cannot be read as ONNX")):
        OnnxNetwork(model[: len(model) // 2])


def test_a_sequence_is_reconstructed_alike_in_every_batch(detector: LSTMAD) -> None:
    """To the rounding of single precision, alone or among others."""
    network = detector.reconstructor.network
    inputs = np.random.default_rng(0).normal(size=(runtime.BATCH_SIZE, 10, 2))
    inputs = inputs.astype(np.float32)

    together, _ = network.run(inputs)

    alone = np.concatenate([network.run(inputs[i : i + 1])[0] for i in range(64)])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("prediction_length", "n_series", "expected"),
    [(10, 2, 1024), (10, 1000, 400), (4000, 2000, 1)],
)
def test_wide_series_are_read_in_short_runs(
    prediction_length: int, n_series: int, expected: int
) -> None:
    """1024 rows, but no more than 4 000 000 elements come out, and at least one row."""
    layout = Layout(5, prediction_length, prediction_length // 2)

    assert zeros_network(layout, n_series).run_rows == expected


def test_a_series_starts_with_states_of_zeros() -> None:
    """One hidden and one cell state per layer; none where nothing is carried."""
    carrying = zeros_network(Layout(5, 4, 1), 3)

    states = {name: state.tolist() for name, state in carrying.initial_states().items()}

    assert states == {"hidden_0": [[[0.0]]], "cell_0": [[[0.0]]]}
    assert zeros_network(Layout(4, 4, 4), 3).initial_states() == {}
