"""Run the saved network with ONNX Runtime: the one path by which anything is scored."""

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnxruntime

from lstm_ad.axes import ScaledArray
from lstm_ad.exceptions import ArtifactError
from lstm_ad.model.layout import Layout

logger = logging.getLogger(__name__)

CPU, GPU = "CPUExecutionProvider", "CUDAExecutionProvider"
"""What ONNX Runtime calls the two that compute."""

ROWS = "rows"
RECONSTRUCTIONS = "reconstructions"
"""What the graph calls its first input and its first output."""

BATCH_SIZE = 64
"""Sequences per run: more fall out of the processor's cache and are slower."""

GPU_BATCH_SIZE = 1024
"""The same on a GPU: 64 take as long there as all of these."""

GPU_HIDDEN_SIZE = 256
"""From how many hidden units on a GPU computes where sequences overlap.

There one row follows the other, and on a GPU a row takes its time however little is to
be computed. docs/scaling.md has what was measured.
"""

RUN_ROWS = 1024
"""Rows per run where sequences overlap."""

MAX_RUN_ELEMENTS = 4_000_000
"""Elements per run, so that long and wide sequences do not fill the memory."""

States = Mapping[str, ScaledArray]
"""The states of the layers by their names, between two runs over one series."""


class OnnxNetwork:
    """A network, as saved, that reconstructs sequences.

    A run computes on one thread; several runs at a time use several cores better than
    the threads of one run do (see :class:`lstm_ad.parallel.Cores`).

    Args:
        model: The ONNX graph that :func:`lstm_ad.model.onnx_graph.to_onnx` wrote.
        gpu: The number of the GPU that computes, if there are any.

    Raises:
        ArtifactError: If ``model`` cannot be read as a network.
    """

    def __init__(self, model: bytes, gpu: int = 0) -> None:
        available = onnxruntime.get_available_providers()
        if has_gpu := GPU in available:
            onnxruntime.preload_dlls()  # the CUDA libraries that pip installs
            # Each session would warn that it finds no plugin; none is needed.
            onnxruntime.set_default_logger_severity(3)
        try:
            with _in_memory(model) as source:
                self._session = _session(source, [(CPU, {})])
                rows, *states = self._session.get_inputs()
                self._state_shapes = {state.name: state.shape for state in states}
                self._outputs = [output.name for output in self._session.get_outputs()]
                self.n_series = int(rows.shape[-1])
                metadata = self._session.get_modelmeta().custom_metadata_map
                self.layout = Layout.from_metadata(metadata)
                if wants_gpu := has_gpu and self._is_worth_a_gpu:
                    self._session = _session(source, providers(available, gpu))
        except Exception as error:  # ONNX Runtime's own exceptions share no base
            raise ArtifactError(
                f"The network cannot be read as ONNX: {error}"
            ) from error
        self._is_on_gpu = GPU in self._session.get_providers()
        if wants_gpu and not self._is_on_gpu:
            logger.warning(
                "ONNX Runtime cannot use GPU %d, so the processor computes; the lines "
                "before say why.",
                gpu,
            )
        self.model = model

    def drop_model(self) -> None:
        """Free the bytes of the graph: half of its memory. It cannot be saved then."""
        del self.model

    @property
    def batch_size(self) -> int:
        """How many sequences that do not overlap one run takes at most."""
        longer = max(self.layout.context_length, self.layout.prediction_length)
        most = GPU_BATCH_SIZE if self._is_on_gpu else BATCH_SIZE
        return max(1, min(most, MAX_RUN_ELEMENTS // (longer * self.n_series)))

    @property
    def run_rows(self) -> int:
        """How many rows one run takes at most where sequences overlap."""
        sequence = self.layout.prediction_length * self.n_series
        return max(1, min(RUN_ROWS, MAX_RUN_ELEMENTS // sequence))

    @property
    def _is_worth_a_gpu(self) -> bool:
        """Whether a GPU computes this network faster than the processor."""
        hidden_sizes = [shape[-1] for shape in self._state_shapes.values()]
        return not hidden_sizes or max(hidden_sizes) >= GPU_HIDDEN_SIZE

    def initial_states(self) -> States:
        """Return the states before the first row of a series."""
        return {
            name: np.zeros(shape, dtype=np.float32)
            for name, shape in self._state_shapes.items()
        }

    def run(
        self, rows: ScaledArray, states: States | None = None
    ) -> tuple[ScaledArray, States]:
        """Return reconstructed sequences, and the states after the rows.

        Args:
            rows: Standardised values. Contexts, of shape ``(N, C, D)``, or, where
                sequences overlap, the next rows of one series, of shape ``(R, D)``.
            states: Where sequences overlap, the states before the rows.

        Returns:
            The sequence after each context, or after each row, of shape
            ``(N or R, P, D)``, and the states, if any.
        """
        given = {ROWS: np.ascontiguousarray(rows), **(states or {})}
        reconstructions, *following = self._session.run(self._outputs, given)
        return reconstructions, dict(zip(self._state_shapes, following, strict=True))


@contextlib.contextmanager
def _in_memory(model: bytes) -> Iterator[str | bytes]:
    """Give the path of a file in memory: a session given bytes would keep them.

    Where there can be no such file, as under a limit on the size of files, the bytes.
    """
    with contextlib.ExitStack() as stack:
        source: str | bytes = model
        with contextlib.suppress(OSError):
            file = stack.enter_context(
                os.fdopen(os.memfd_create("model"), "wb", buffering=0)
            )
            if file.write(model) == len(model):
                source = f"/proc/self/fd/{file.fileno()}"
        yield source


def _session(
    source: str | bytes, chosen: Sequence[tuple[str, dict[str, object]]]
) -> onnxruntime.InferenceSession:
    """Return what runs a graph.

    Args:
        source: The graph, or where it is.
        chosen: From :func:`providers`.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    # A pool of its own would cost each of many models half a megabyte, and a run
    # is no faster with one.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(source, options, providers=chosen)


def providers(
    available: Sequence[str], gpu: int
) -> list[tuple[str, dict[str, object]]]:
    """Return what computes: a GPU, if ONNX Runtime is built for that, then the CPU.

    The GPU multiplies in single precision, as the CPU does. Left to itself it takes
    numbers of 10 bits (TF32): reconstructions then change by 1e-4 standard deviations
    with the size of a batch, and so would the score of a row with its neighbours.
    """
    wanted: list[tuple[str, dict[str, object]]] = [
        (GPU, {"device_id": gpu, "use_tf32": 0}),
        (CPU, {}),
    ]
    return [(name, options) for name, options in wanted if name in available]
