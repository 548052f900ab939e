"""Write the network as an ONNX graph, which is what every score is computed with.

The graph is written by hand rather than traced: one LSTM node per layer and one linear
layer, the same at every version of torch, small enough to be read in a graph viewer.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from lstm_ad.axes import ScaledArray, Weights
from lstm_ad.scaling import INPUT_BOUND

OPSET = 17
IR_VERSION = 8
"""Both old enough for every ONNX Runtime since 1.12 (2022)."""

INPUT = "input_sequences"
OUTPUT = "reconstructions"


def to_onnx(weights: Weights, sequence_length: int) -> bytes:
    """Return the ONNX graph of a stacked LSTM in evaluation mode.

    The graph maps ``input_sequences`` to ``reconstructions``, both of shape
    ``(N, L, D)`` and single precision, ``N`` free.

    Args:
        weights: The network's parameters.
        sequence_length: ``L``, in rows.
    """
    n_series = weights["lstm.weight_ih_l0"].shape[1]
    num_layers = sum(name.startswith("lstm.weight_ih_l") for name in weights)
    shape = ["N", sequence_length, n_series]
    nodes = [
        helper.make_node("Clip", [INPUT, "lower_bound", "upper_bound"], ["bounded"]),
        helper.make_node("Transpose", ["bounded"], ["states_0"], perm=[1, 0, 2]),
    ]
    initializers = []
    for layer in range(num_layers):
        layer_nodes, layer_initializers = _layer(weights, layer)
        nodes += layer_nodes
        initializers += layer_initializers
    constants: dict[str, npt.NDArray[Any]] = {
        "lower_bound": np.array(-INPUT_BOUND, dtype=np.float32),
        "upper_bound": np.array(INPUT_BOUND, dtype=np.float32),
        "head.weight": weights["head.weight"],
        "head.bias": weights["head.bias"],
        "first_axis": np.array([0], dtype=np.int64),
        "second_axis": np.array([1], dtype=np.int64),
        "sequence_shape": np.array([-1, sequence_length, n_series], dtype=np.int64),
    }
    initializers += [numpy_helper.from_array(v, name) for name, v in constants.items()]
    nodes += [
        helper.make_node(
            "Squeeze", [f"last_state_{num_layers}", "first_axis"], ["last_state"]
        ),
        helper.make_node(
            "Gemm", ["last_state", "head.weight", "head.bias"], ["flat"], transB=1
        ),
        helper.make_node("Reshape", ["flat", "sequence_shape"], [OUTPUT]),
    ]
    graph = helper.make_graph(
        nodes,
        "StackedLSTM",
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, shape)],
        initializers,
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _layer(
    weights: Weights, layer: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Return the nodes and constants of one LSTM layer, from 0.

    The layer reads ``states_<layer>`` of shape ``(L, N, ...)`` and writes
    ``states_<layer + 1>`` and, of shape ``(1, N, hidden_size)``, its last state.
    """

    def gates(name: str) -> ScaledArray:
        """Return a parameter, torch's gates i, f, g, o put in ONNX's order."""
        i, f, g, o = np.split(weights[f"lstm.{name}_l{layer}"], 4)
        return np.concatenate([i, o, f, g])

    below, above = f"states_{layer}", f"states_{layer + 1}"
    names = [f"W_{layer}", f"R_{layer}", f"B_{layer}"]
    values = [
        gates("weight_ih"),
        gates("weight_hh"),
        np.concatenate([gates("bias_ih"), gates("bias_hh")]),
    ]
    hidden_size = values[1].shape[1]
    nodes = [
        helper.make_node(
            "LSTM",
            [below, *names],
            [f"directions_{layer}", f"last_state_{layer + 1}"],
            hidden_size=hidden_size,
        ),
        # (L, 1, N, hidden_size): ONNX keeps an axis for the direction of reading.
        helper.make_node("Squeeze", [f"directions_{layer}", "second_axis"], [above]),
    ]
    constants = [
        numpy_helper.from_array(value[np.newaxis], name)
        for name, value in zip(names, values, strict=True)
    ]
    return nodes, constants
