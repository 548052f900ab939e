"""The stacked LSTM that reconstructs sequences from the rows before them."""

import torch
from torch import Tensor, nn

from lstm_ad.model.layout import Layout, adds_origin
from lstm_ad.model.scaling import INPUT_BOUND

VARIATION = 0.15
"""How much a single series' level and scale vary while the network learns from
sequences that overlap, in standard deviations: see :class:`StackedLSTM`."""


class StackedLSTM(nn.Module):
    """Reads rows with stacked LSTM layers and reconstructs the sequences after them.

    The paper's stacked architecture (Malhotra et al., section 2): every layer reads
    the hidden states of the layer below. At each origin the top layer's hidden state,
    which has seen all the rows up to it, is mapped linearly to the whole sequence that
    follows.

    Where the sequences of a single series overlap, what is mapped is the change from
    the origin's value: so near to it, that is already a good guess. With several series
    it is not done: an abnormal level of one would explain itself a row later, while
    what the others do says that it is abnormal.

    A normal single series also wanders and breathes more than the rows that it is
    learnt from show. So, while the network learns its changes, it reads each segment at
    another level and another scale: the shape is what it must know. What it gives is
    scaled back.
    """

    def __init__(
        self,
        n_series: int,
        layout: Layout,
        hidden_size: int,
        num_layers: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.n_series = n_series
        self.layout = layout
        # nn.LSTM drops out after every layer but the last, nn.Dropout after the last;
        # with one layer, nn.LSTM would warn about a rate that it does not apply.
        self.lstm = nn.LSTM(
            input_size=n_series,
            hidden_size=hidden_size,
            num_layers=num_layers,
            dropout=dropout if num_layers > 1 else 0.0,
            batch_first=True,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden_size, layout.prediction_length * n_series)
        self._initialise()

    def variation(self, n_segments: int, random: torch.Generator) -> Tensor | None:
        """Return how segments are varied while the network learns from them.

        Args:
            n_segments: ``N``.
            random: The source of the variation, on the CPU.

        Returns:
            The logarithm of the scale, and the level, that each is read at, of shape
            ``(N, 2)``; None where the network learns no changes.
        """
        if not adds_origin(self.layout, self.n_series):
            return None
        return VARIATION * torch.randn(2, n_segments, generator=random).T

    def forward(self, rows: Tensor, variation: Tensor | None = None) -> Tensor:
        """Return the reconstruction of the sequence after each origin.

        Args:
            rows: Standardised values, of shape ``(N, C + (M - 1) S, D)``: a context,
                and the rows up to the last of ``M`` origins.
            variation: What :meth:`variation` returns; None leaves segments as they are.

        Returns:
            Standardised values, of shape ``(N, M, P, D)``.
        """
        bounded = rows.clamp(-INPUT_BOUND, INPUT_BOUND)
        read, scale = bounded, bounded.new_ones(())
        if variation is not None:
            log_scale, level = variation[..., None, None].unbind(dim=1)  # (N, 1, 1)
            scale = log_scale.exp()
            read = scale * bounded + level
        self.lstm.flatten_parameters()  # DataParallel's replicas lose cuDNN's layout
        hidden_states, _ = self.lstm(read)  # (N, rows, hidden_size)
        first, step = self.layout.context_length - 1, self.layout.stride
        at_origins = self.dropout(hidden_states[:, first::step])  # (N, M, hidden_size)
        flat: Tensor = self.head(at_origins)  # (N, M, P * D)
        shape = (*flat.shape[:2], self.layout.prediction_length, self.n_series)
        if adds_origin(self.layout, self.n_series):
            return (flat / scale).view(shape) + bounded[:, first::step, None]
        return flat.view(shape)

    @torch.no_grad()
    def _initialise(self) -> None:
        """Start with remembering states, and from the mean of each series.

        A recurrence that neither grows nor shrinks a state (Saxe et al., 2014) and
        forget gates that start open (Jozefowicz et al., 2015) carry gradients across
        the whole sequence from the first step on. A linear layer of zeros reconstructs
        0, the mean of every series, so that no step is spent on unlearning noise.
        """
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight_hh"):
                for gate in parameter.chunk(4):  # i, f, g, o
                    nn.init.orthogonal_(gate)
            elif name.startswith("bias"):
                parameter.zero_()
                if name.startswith("bias_ih"):
                    parameter.chunk(4)[1].fill_(1.0)
        self.head.weight.zero_()
        self.head.bias.zero_()
