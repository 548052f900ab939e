"""Export the trained network to ONNX, and compare what the two reconstruct."""

import copy

import numpy as np
import torch

from lstm_ad.axes import ScaledArray
from lstm_ad.exceptions import TrainingError
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.onnx_graph import to_onnx
from lstm_ad.model.runtime import OnnxNetwork
from lstm_ad.model.sequences import input_sequences

GROSS_DIFFERENCE = 0.1
"""The difference beyond which a model is refused, in standard deviations.

Rounding grows with the weights and the sequence length: with a network as it begins,
but weights four times as large, 3e-4 was seen after 50 rows. Scores stay sound, because
the Gaussian and the threshold are fitted to what the exported network reconstructs. A
difference as large as a good model's errors, though, is that of another network than
the one whose loss was measured.
"""

EARLY_DIFFERENCE = 1e-3
"""The same after the first epoch, when weights are small and so is all that they do:
gates in the wrong order then gave 2e-3, and rounding gives less than 1e-6."""


def export(network: StackedLSTM) -> OnnxNetwork:
    """Return what scores with the weights of a network."""
    weights = {k: v.cpu().numpy() for k, v in network.state_dict().items()}
    return OnnxNetwork(to_onnx(weights, network.layout))


def export_difference(
    network: StackedLSTM,
    runtime: OnnxNetwork,
    scaled: ScaledArray,
    limit: float = GROSS_DIFFERENCE,
) -> float:
    """Return how far an exported network is from the trained one, at most.

    Args:
        network: The trained one, on any device; it is not changed.
        runtime: The exported one.
        scaled: A series to compare them on, of shape ``(T, D)``.
        limit: The largest difference that is accepted.

    Returns:
        In standard deviations of the series, or, for reconstructions further than one
        from the mean, relatively.

    Raises:
        TrainingError: If it is more than ``limit``, or no number.
    """
    layout = runtime.layout
    if layout.is_overlapping:
        # Along a carried state, harmless differences of rounding grow with the rows.
        rows = scaled[: 2 * layout.n_shortest]
        found, _ = runtime.run(rows, runtime.initial_states())
        found = found[layout.context_length - 1 :: layout.stride]
        inputs = rows[np.newaxis]
    else:
        inputs = input_sequences(scaled, layout)[: runtime.batch_size]
        found, _ = runtime.run(inputs)
    with torch.no_grad():
        on_cpu = copy.deepcopy(network).cpu().eval()
        expected = on_cpu(torch.from_numpy(inputs.copy())).numpy()
    expected = expected.reshape(found.shape)
    magnitude = np.maximum(np.abs(expected), 1.0)  # single precision is relative
    difference = float((np.abs(found - expected) / magnitude).max())
    if not difference <= limit:
        raise TrainingError(
            f"The exported network differs from the trained one by {difference:.1e} "
            f"standard deviations, but must not by more than {limit:g}."
        )
    return difference
