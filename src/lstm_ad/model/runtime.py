"""Run the saved network with ONNX Runtime: the one path by which anything is scored."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import onnxruntime

from lstm_ad.axes import ScaledArray
from lstm_ad.exceptions import ArtifactError
from lstm_ad.model.layout import Layout

ROWS = "rows"
RECONSTRUCTIONS = "reconstructions"
"""What the graph calls its first input and its first output."""

BATCH_SIZE = 64
"""Sequences per run: more fall out of the processor's cache and are slower."""

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
        # The CUDA libraries that pip installs; nothing where ONNX Runtime is for CPUs.
        onnxruntime.preload_dlls()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        # A pool of its own would cost each of many models half a megabyte, and a run
        # is no faster with one.
        options.enable_cpu_mem_arena = False
        options.enable_mem_pattern = False
        chosen = providers(onnxruntime.get_available_providers(), gpu)
        try:
            with _in_memory(model) as source:
                self._session = onnxruntime.InferenceSession(
                    source, options, providers=chosen
                )
            rows, *states = self._session.get_inputs()
            self._state_shapes = {state.name: state.shape for state in states}
            self._outputs = [output.name for output in self._session.get_outputs()]
            self.n_series = int(rows.shape[-1])
            metadata = self._session.get_modelmeta().custom_metadata_map
            self.layout = Layout.from_metadata(metadata)
        except Exception as error:  # ONNX Runtime's own exceptions share no base
            raise ArtifactError(
                f"The network cannot be read as ONNX: {error}"
            ) from error
        self.model = model

    def drop_model(self) -> None:
        """Free the bytes of the graph: half of its memory. It cannot be saved then."""
        del self.model

    @property
    def batch_size(self) -> int:
        """How many sequences that do not overlap one run takes at most."""
        longer = max(self.layout.context_length, self.layout.prediction_length)
        return max(1, min(BATCH_SIZE, MAX_RUN_ELEMENTS // (longer * self.n_series)))

    @property
    def run_rows(self) -> int:
        """How many rows one run takes at most where sequences overlap."""
        sequence = self.layout.prediction_length * self.n_series
        return max(1, min(RUN_ROWS, MAX_RUN_ELEMENTS // sequence))

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


def providers(
    available: Sequence[str], gpu: int
) -> list[tuple[str, dict[str, object]]]:
    """Return what computes: a GPU, if ONNX Runtime is built for that, else the CPU."""
    wanted: list[tuple[str, dict[str, object]]] = [
        ("CUDAExecutionProvider", {"device_id": gpu}),
        ("CPUExecutionProvider", {}),
    ]
    return [(name, options) for name, options in wanted if name in available]
