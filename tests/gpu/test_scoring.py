"""ONNX Runtime on a GPU gives what it gives on a processor, with fewer rows or more."""

import dataclasses

import numpy as np
import onnxruntime
import pytest
import torch

from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model import runtime
from lstm_ad.model.export import export
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.runtime import GPU, OnnxNetwork

pytestmark = pytest.mark.skipif(
    GPU not in onnxruntime.get_available_providers() or not torch.cuda.is_available(),
    reason="there is no GPU here, or ONNX Runtime is not built for one",
)


@pytest.fixture(params=["tiny", "overlapping"])
def networks(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> tuple[OnnxNetwork, OnnxNetwork]:
    """Return a network on the GPU, and the same on the processor."""
    settings: Hyperparameters = dataclasses.replace(
        request.getfixturevalue(request.param),
        hidden_size=runtime.GPU_HIDDEN_SIZE,
    )
    torch.manual_seed(0)
    network = StackedLSTM(2, settings.layout, settings.hidden_size, 2, dropout=0.0)
    torch.nn.init.normal_(network.head.weight, std=0.05)
    on_gpu = export(network)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [runtime.CPU])
    return on_gpu, export(network)


def reconstructions(network: OnnxNetwork, n_rows: int, step: int) -> np.ndarray:
    """Return what a network makes of noise that it reads in pieces."""
    noise = np.random.default_rng(0).normal(size=(n_rows, 10, 2)).astype(np.float32)
    inputs, states = noise, network.initial_states()
    if network.layout.is_overlapping:
        inputs = noise[:, 0]
    found = []
    for start in range(0, n_rows, step):
        some, states = network.run(inputs[start : start + step], states)
        found.append(some)
    return np.concatenate(found)


def test_a_gpu_reconstructs_as_a_processor_does(
    networks: tuple[OnnxNetwork, OnnxNetwork],
) -> None:
    """To the rounding of single precision."""
    on_gpu, on_cpu = networks

    assert on_gpu.batch_size == runtime.GPU_BATCH_SIZE
    assert on_cpu.batch_size == runtime.BATCH_SIZE
    np.testing.assert_allclose(
        reconstructions(on_gpu, 500, 500),
        reconstructions(on_cpu, 500, 500),
        rtol=0,
        atol=1e-5,
    )


def test_a_row_is_reconstructed_alike_with_others_and_alone(
    networks: tuple[OnnxNetwork, OnnxNetwork],
) -> None:
    """Scores must not depend on how large a request is."""
    on_gpu, _ = networks

    np.testing.assert_allclose(
        reconstructions(on_gpu, 200, 200),
        reconstructions(on_gpu, 200, 1),
        rtol=0,
        atol=1e-6,
    )


def test_small_networks_with_overlapping_sequences_stay_on_the_processor(
    overlapping: Hyperparameters,
) -> None:
    """There a GPU is slower."""
    network = StackedLSTM(2, overlapping.layout, 8, 2, dropout=0.0)

    assert export(network).batch_size == runtime.BATCH_SIZE
