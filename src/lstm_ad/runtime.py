"""Run the saved network with ONNX Runtime: the one path by which anything is scored."""

import onnxruntime

from lstm_ad.axes import ScaledArray
from lstm_ad.exceptions import ArtifactError

BATCH_SIZE = 64
"""Sequences per run: more fall out of the processor's cache and are slower."""

MAX_BATCH_ELEMENTS = 4_000_000
"""Input elements per run, so that long and wide sequences do not fill the memory."""


class OnnxNetwork:
    """A network, as saved, that reconstructs sequences.

    A run computes on one thread; several runs at a time use several cores better than
    the threads of one run do (see :class:`lstm_ad.parallel.Cores`).

    Args:
        model: The ONNX graph that :func:`lstm_ad.onnx_graph.to_onnx` wrote.

    Raises:
        ArtifactError: If ``model`` cannot be read as a network.
    """

    def __init__(self, model: bytes) -> None:
        # The CUDA libraries that pip installs; nothing where ONNX Runtime is for CPUs.
        onnxruntime.preload_dlls()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        providers = [
            provider
            for provider in ("CUDAExecutionProvider", "CPUExecutionProvider")
            if provider in onnxruntime.get_available_providers()
        ]
        try:
            self._session = onnxruntime.InferenceSession(
                model, options, providers=providers
            )
            (given,) = self._session.get_inputs()
            (returned,) = self._session.get_outputs()
            _, length, n_series = given.shape
            self.sequence_length, self.n_series = int(length), int(n_series)
        except Exception as error:  # ONNX Runtime's own exceptions share no base
            raise ArtifactError(
                f"The network cannot be read as ONNX: {error}"
            ) from error
        self._names = given.name, returned.name
        self.model = model

    @property
    def batch_size(self) -> int:
        """How many sequences one run takes at most."""
        sequence = self.sequence_length * self.n_series
        return max(1, min(BATCH_SIZE, MAX_BATCH_ELEMENTS // sequence))

    def reconstruct(self, input_sequences: ScaledArray) -> ScaledArray:
        """Return the reconstruction of the sequence that follows each input.

        Args:
            input_sequences: Standardised values, of shape ``(N, L, D)``, with
                ``N`` at most :attr:`batch_size`.

        Returns:
            Standardised values, of shape ``(N, L, D)``.
        """
        given, returned = self._names
        (reconstructions,) = self._session.run([returned], {given: input_sequences})
        return reconstructions  # type: ignore[no-any-return]
