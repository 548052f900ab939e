import re

import numpy as np
import pytest

from lstm_ad import runtime
from lstm_ad.detector import LSTMAD
from lstm_ad.exceptions import ArtifactError
from lstm_ad.onnx_graph import to_onnx
from lstm_ad.runtime import OnnxNetwork


def zeros_network(sequence_length: int, n_series: int) -> OnnxNetwork:
    """Return the smallest network of a shape."""
    shapes = {
        "lstm.weight_ih_l0": (4, n_series),
        "lstm.weight_hh_l0": (4, 1),
        "lstm.bias_ih_l0": (4,),
        "lstm.bias_hh_l0": (4,),
        "head.weight": (sequence_length * n_series, 1),
        "head.bias": (sequence_length * n_series,),
    }
    weights = {name: np.zeros(s, dtype=np.float32) for name, s in shapes.items()}
    return OnnxNetwork(to_onnx(weights, sequence_length))


def test_the_shape_is_read_from_the_graph() -> None:
    """Length and number of series need no second source."""
    network = zeros_network(7, 3)

    assert (network.sequence_length, network.n_series) == (7, 3)


@pytest.mark.parametrize(
    ("sequence_length", "n_series", "expected"),
    [(50, 2, 64), (6250, 10, 64), (6250, 20, 32), (4000, 2000, 1)],
)
def test_long_and_wide_sequences_run_in_small_batches(
    sequence_length: int, n_series: int, expected: int
) -> None:
    """64 sequences, but no more than 4 000 000 elements, and at least one sequence."""
    assert zeros_network(sequence_length, n_series).batch_size == expected


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

    together = network.reconstruct(inputs)

    alone = np.concatenate([network.reconstruct(inputs[i : i + 1]) for i in range(64)])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)
