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

    Args:
        model: The ONNX graph that :func:`lstm_ad.onnx_graph.to_onnx` wrote.
        n_threads: The threads of one run; None leaves one per core.

    Raises:
        ArtifactError: If ``model`` cannot be read as a network.
    """

    def __init__(self, model: bytes, n_threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = n_threads or 0
        options.inter_op_num_threads = 1
        # Threads that wait busily for the next run take the cores from other work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
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
