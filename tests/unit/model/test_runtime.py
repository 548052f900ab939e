import warnings

import numpy as np
import onnxruntime
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
    ("length", "stride", "n_series", "batch_size", "run_rows"),
    [
        (50, 50, 2, 64, None),
        (6250, 6250, 10, 64, None),
        (6250, 6250, 20, 32, None),
        (4000, 4000, 2000, 1, None),
        (10, 5, 2, None, 1024),
        (10, 5, 1000, None, 400),
        (4000, 2000, 2000, None, 1),
    ],
)
def test_long_and_wide_series_run_in_small_parts(
    length: int,
    stride: int,
    n_series: int,
    batch_size: int | None,
    run_rows: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """64 sequences or 1024 rows, at most 4 000 000 elements, and at least one."""
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [runtime.CPU])
    network = zeros_network(Layout(length, length, stride), n_series)

    assert batch_size in (None, network.batch_size)
    assert run_rows in (None, network.run_rows)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([], []),
        ([runtime.GPU], [(runtime.GPU, {"device_id": 3, "use_tf32": 0})]),
        (["AzureExecutionProvider"], []),
    ],
)
def test_a_gpu_is_used_where_it_can_be(
    others: list[str], expected: list[tuple[str, dict[str, int]]]
) -> None:
    """The one that is asked for; what it cannot compute, the CPU does."""
    cpu = "CPUExecutionProvider"

    assert runtime.providers([*others, cpu], gpu=3) == [*expected, (cpu, {})]


@pytest.mark.parametrize(("stride", "is_said"), [(4, True), (1, False)])
def test_a_gpu_that_cannot_be_used_is_said(
    stride: int,
    is_said: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And the processor computes; not said of a network that belongs there anyway."""
    runs_on = onnxruntime.get_available_providers()
    available = [runtime.GPU, *(name for name in runs_on if name != runtime.GPU)]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # nor is there one where tests run

    with warnings.catch_warnings(action="ignore"):  # ONNX Runtime's own
        network = zeros_network(Layout(4, 4, stride), 2)

    rows = np.zeros((4, 4, 2)[stride == 1 :], dtype=np.float32)
    reconstructions, _ = network.run(rows, network.initial_states())
    assert reconstructions.shape == (4, 4, 2)
    assert ("ONNX Runtime cannot use GPU 0" in caplog.text) == is_said


def test_what_is_no_network_or_half_of_one_is_refused(detector: LSTMAD) -> None:
    """ONNX Runtime's many exceptions become one."""
    model = detector.reconstructor.network.model

    for data in (b"", b"no network", b"\x08\x08", model[: len(model) // 2]):
        with pytest.raises(ArtifactError, match=r"^The network cannot be read as ONNX"):
            OnnxNetwork(data)


def test_a_sequence_is_reconstructed_alike_in_every_batch(detector: LSTMAD) -> None:
    """To the rounding of single precision, alone or among others."""
    network = detector.reconstructor.network
    inputs = np.random.default_rng(0).normal(size=(runtime.BATCH_SIZE, 10, 2))
    inputs = inputs.astype(np.float32)

    together, _ = network.run(inputs)

    alone = np.concatenate([network.run(inputs[i : i + 1])[0] for i in range(64)])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)


def test_a_series_starts_with_states_of_zeros() -> None:
    """One hidden and one cell state per layer; none where nothing is carried."""
    carrying = zeros_network(Layout(5, 4, 1), 3)

    states = {name: state.tolist() for name, state in carrying.initial_states().items()}

    assert states == {"hidden_0": [[[0.0]]], "cell_0": [[[0.0]]]}
    assert zeros_network(Layout(4, 4, 4), 3).initial_states() == {}
