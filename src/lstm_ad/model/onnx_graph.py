"""Write the network as an ONNX graph, which is what every score is computed with.

The graph is written by hand rather than traced: one LSTM node per layer and one linear
layer, the same at every version of torch, small enough to be read in a graph viewer. It
has one of two forms, in single precision, with ``N`` and ``R`` free:

- Sequences that do not overlap are reconstructed apart from each other: ``rows``, of
  shape ``(N, C, D)``, to ``reconstructions``, of shape ``(N, P, D)``.
- Where sequences overlap, one series is read row by row: ``rows``, of shape
  ``(R, D)``, to the ``reconstructions`` of the sequence after each, of shape
  ``(R, P, D)``. The layers' states go in and come out, ``hidden_<layer>`` and
  ``cell_<layer>`` of shape ``(1, 1, hidden_size)``, so that a series can be read in
  pieces.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from lstm_ad.axes import ScaledArray, Weights
from lstm_ad.model.layout import Layout, adds_origin
from lstm_ad.model.runtime import RECONSTRUCTIONS, ROWS
from lstm_ad.model.scaling import INPUT_BOUND

OPSET = 17
IR_VERSION = 8
"""Both old enough for every ONNX Runtime since 1.12 (2022)."""


def to_onnx(weights: Weights, layout: Layout) -> bytes:
    """Return the ONNX graph of a stacked LSTM in evaluation mode.

    Args:
        weights: The network's parameters.
        layout: How it divides a series; it is kept in the graph's metadata.
    """
    n_series = weights["lstm.weight_ih_l0"].shape[1]
    hidden_size = weights["lstm.weight_hh_l0"].shape[1]
    n_layers = sum(name.startswith("lstm.weight_ih_l") for name in weights)
    inputs, outputs = _ports(layout, n_series, hidden_size, n_layers)
    constants = _constants(weights, layout, n_series, n_layers)
    graph = helper.make_graph(
        _nodes(layout, n_series, hidden_size, n_layers),
        "StackedLSTM",
        inputs,
        outputs,
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
    helper.set_model_props(model, layout.to_metadata())
    onnx.checker.check_model(model, full_check=True)
    serialised: bytes = model.SerializeToString(deterministic=True)
    return serialised


def _nodes(
    layout: Layout, n_series: int, hidden_size: int, n_layers: int
) -> list[NodeProto]:
    """Return the nodes of the whole graph, in the order of computing."""
    carries, layers = layout.is_overlapping, range(n_layers)
    # Rows become (rows, batch, D); what the last layer gives becomes (origins, hidden).
    if carries:
        arrange = helper.make_node("Unsqueeze", ["bounded", "second_axis"], ["below_0"])
        last = [f"below_{n_layers}", "second_axis"]
    else:
        arrange = helper.make_node(
            "Transpose", ["bounded"], ["below_0"], perm=[1, 0, 2]
        )
        last = [f"next_hidden_{layers[-1]}", "first_axis"]
    head = ["origins", "head.weight", "head.bias"]
    nodes = [
        helper.make_node("Clip", [ROWS, "lower_bound", "upper_bound"], ["bounded"]),
        arrange,
        *(node for layer in layers for node in _layer(layer, hidden_size, carries)),
        helper.make_node("Squeeze", last, ["origins"]),
        helper.make_node("Gemm", head, ["flat"], transB=1),
    ]
    if adds_origin(layout, n_series):
        return [
            *nodes,
            helper.make_node("Reshape", ["flat", "sequence_shape"], ["changes"]),
            helper.make_node("Add", ["below_0", "changes"], [RECONSTRUCTIONS]),
        ]
    reshape = helper.make_node("Reshape", ["flat", "sequence_shape"], [RECONSTRUCTIONS])
    return [*nodes, reshape]


def _constants(
    weights: Weights, layout: Layout, n_series: int, n_layers: int
) -> dict[str, npt.NDArray[Any]]:
    """Return the constants of the graph, by name."""
    constants: dict[str, npt.NDArray[Any]] = {
        "lower_bound": np.array(-INPUT_BOUND, dtype=np.float32),
        "upper_bound": np.array(INPUT_BOUND, dtype=np.float32),
        "head.weight": weights["head.weight"],
        "head.bias": weights["head.bias"],
        "first_axis": np.array([0], dtype=np.int64),
        "second_axis": np.array([1], dtype=np.int64),
        "sequence_shape": np.array(
            [-1, layout.prediction_length, n_series], dtype=np.int64
        ),
    }
    for layer in range(n_layers):
        constants |= _parameters(weights, layer)
    return constants


def _ports(
    layout: Layout, n_series: int, hidden_size: int, n_layers: int
) -> tuple[list[ValueInfoProto], list[ValueInfoProto]]:
    """Return the declarations of the graph's inputs and outputs."""
    carries = layout.is_overlapping
    rows_shape = ["R", n_series] if carries else ["N", layout.context_length, n_series]
    inputs = [_declared(ROWS, rows_shape)]
    sequences = [rows_shape[0], layout.prediction_length, n_series]
    outputs = [_declared(RECONSTRUCTIONS, sequences)]
    if carries:
        states = [f"{s}_{i}" for i in range(n_layers) for s in ("hidden", "cell")]
        shape = [1, 1, hidden_size]
        inputs += [_declared(name, shape) for name in states]
        outputs += [_declared(f"next_{name}", shape) for name in states]
    return inputs, outputs


def _layer(layer: int, hidden_size: int, carries: bool) -> list[NodeProto]:
    """Return the nodes of one LSTM layer, from 0.

    It reads ``below_<layer>``, of shape ``(rows, batch, ...)``, and writes
    ``below_<layer + 1>`` and its last states, ``next_hidden_<layer>`` and
    ``next_cell_<layer>``.
    """
    given = [f"below_{layer}", f"W_{layer}", f"R_{layer}", f"B_{layer}"]
    if carries:
        given += ["", f"hidden_{layer}", f"cell_{layer}"]
    returned = [f"directions_{layer}", f"next_hidden_{layer}", f"next_cell_{layer}"]
    return [
        helper.make_node("LSTM", given, returned, hidden_size=hidden_size),
        # (rows, 1, batch, hidden_size): ONNX keeps an axis for the direction.
        helper.make_node(
            "Squeeze", [returned[0], "second_axis"], [f"below_{layer + 1}"]
        ),
    ]


def _parameters(weights: Weights, layer: int) -> dict[str, ScaledArray]:
    """Return the constants of one LSTM layer, with their axis for the direction."""

    def gates(name: str) -> ScaledArray:
        """Return a parameter, torch's gates i, f, g, o put in ONNX's order."""
        i, f, g, o = np.split(weights[f"lstm.{name}_l{layer}"], 4)
        return np.concatenate([i, o, f, g])

    biases = np.concatenate([gates("bias_ih"), gates("bias_hh")])
    return {
        f"W_{layer}": gates("weight_ih")[np.newaxis],
        f"R_{layer}": gates("weight_hh")[np.newaxis],
        f"B_{layer}": biases[np.newaxis],
    }


def _declared(name: str, shape: list[Any]) -> ValueInfoProto:
    """Return the declaration of an input or output in single precision."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
