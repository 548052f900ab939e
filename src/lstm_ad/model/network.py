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
        # Its own dropout would be drawn by whoever computes: see `kept_units`.
        self.lstm = nn.LSTM(n_series, hidden_size, num_layers, batch_first=True)
        self.dropout = dropout
        self.head = nn.Linear(hidden_size, layout.prediction_length * n_series)
        self._initialise()

    def variation(self, n_segments: int, random: torch.Generator) -> Tensor | None:
        """Return how segments are varied while the network learns from them.

        Args:
            n_segments: ``N``.
            random: The source of the variation, where the network is.

        Returns:
            The logarithm of the scale, and the level, that each is read at, of shape
            ``(N, 2)``; None where the network learns no changes.
        """
        if not adds_origin(self.layout, self.n_series):
            return None
        drawn = torch.randn(2, n_segments, generator=random, device=random.device)
        return VARIATION * drawn.T

    def kept_units(
        self, n_segments: int, n_rows: int, random: torch.Generator
    ) -> tuple[Tensor, ...] | None:
        """Return which hidden units are not dropped while the network learns.

        Args:
            n_segments: ``N``.
            n_rows: How many rows of each the network reads.
            random: The source of the choice, where the network is.

        Returns:
            Of each layer, of shape ``(N, rows, hidden_size)``; of the last one, only
            the origins' rows. None where nothing is dropped.
        """
        if not self.dropout:
            return None
        n_origins = len(range(n_rows)[self._origins])
        lengths = [n_rows] * (self.lstm.num_layers - 1) + [n_origins]
        shapes = [(length, n_segments, self.lstm.hidden_size) for length in lengths]
        return tuple(
            torch.empty(shape, dtype=torch.bool, device=random.device)
            .bernoulli_(1 - self.dropout, generator=random)
            .transpose(0, 1)
            for shape in shapes
        )

    def forward(
        self,
        rows: Tensor,
        variation: Tensor | None = None,
        kept_units: tuple[Tensor, ...] | None = None,
    ) -> Tensor:
        """Return the reconstruction of the sequence after each origin.

        Args:
            rows: Standardised values, of shape ``(N, C + (M - 1) S, D)``: a context,
                and the rows up to the last of ``M`` origins.
            variation: What :meth:`variation` returns; None leaves segments as they are.
            kept_units: What :meth:`kept_units` returns; None drops nothing.

        Returns:
            Standardised values, of shape ``(N, M, P, D)``.
        """
        bounded = rows.clamp(-INPUT_BOUND, INPUT_BOUND)
        read, scale = bounded, bounded.new_ones(())
        if variation is not None:
            log_scale, level = variation[..., None, None].unbind(dim=1)  # (N, 1, 1)
            scale = log_scale.exp()
            read = scale * bounded + level
        at_origins = self._hidden_at_origins(read, kept_units)  # (N, M, hidden_size)
        flat: Tensor = self.head(at_origins)  # (N, M, P * D)
        shape = (*flat.shape[:2], self.layout.prediction_length, self.n_series)
        if adds_origin(self.layout, self.n_series):
            return (flat / scale).view(shape) + bounded[:, self._origins, None]
        return flat.view(shape)

    @property
    def _origins(self) -> slice:
        """Which of the rows that are read are origins."""
        return slice(self.layout.context_length - 1, None, self.layout.stride)

    def _hidden_at_origins(
        self, rows: Tensor, kept_units: tuple[Tensor, ...] | None
    ) -> Tensor:
        """Return the last layer's hidden states at the origins, with dropout.

        The layers are called one after the other where units are dropped: that takes
        as long as one call for all.

        Args:
            rows: What the network reads, of shape ``(N, rows, D)``.
            kept_units: As for :meth:`forward`.

        Returns:
            Of shape ``(N, M, hidden_size)``.
        """
        if kept_units is None:
            # DataParallel's replicas lose cuDNN's layout.
            self.lstm.flatten_parameters()
            states: Tensor = self.lstm(rows)[0]
            return states[:, self._origins]
        start = rows.new_zeros(1, len(rows), self.lstm.hidden_size)
        hidden = rows.transpose(0, 1)  # (rows, N, D)
        layers = zip(self.lstm.all_weights, kept_units, strict=True)
        for layer, (weights, kept) in enumerate(layers, start=1):
            hidden, _, _ = torch.lstm(
                hidden,
                (start, start),
                tuple(weights),
                has_biases=True,
                num_layers=1,
                dropout=0.0,
                train=self.training,
                bidirectional=False,
                batch_first=False,
            )
            if layer == self.lstm.num_layers:
                hidden = hidden[self._origins]
            factors = kept.transpose(0, 1).to(hidden.dtype).div_(1 - self.dropout)
            hidden = hidden * factors
        return hidden.transpose(0, 1)

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
