import numpy as np
import pytest
import torch

from lstm_ad.model.layout import Layout
from lstm_ad.model.network import VARIATION, StackedLSTM
from lstm_ad.model.scaling import INPUT_BOUND

LAYOUT = Layout(context_length=7, prediction_length=7, stride=7)
OVERLAPPING = Layout(context_length=4, prediction_length=6, stride=2)


def network_of(
    num_layers: int = 2, dropout: float = 0.5, layout: Layout = LAYOUT
) -> StackedLSTM:
    """Return a network whose linear layer is not at its zeros any more."""
    torch.manual_seed(0)
    network = StackedLSTM(
        n_series=3,
        layout=layout,
        hidden_size=5,
        num_layers=num_layers,
        dropout=dropout,
    )
    torch.nn.init.normal_(network.head.weight)
    return network


INPUTS = torch.from_numpy(
    np.random.default_rng(0).normal(size=(4, 7, 3)).astype(np.float32)
)


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_each_sequence_gives_the_whole_next_one(num_layers: int) -> None:
    """N sequences in, N out, after one origin each; a context may be longer."""
    longer = Layout(context_length=7, prediction_length=4, stride=4)

    assert network_of(num_layers)(INPUTS).shape == (4, 1, 7, 3)
    assert network_of(num_layers, layout=longer)(INPUTS).shape == (4, 1, 4, 3)


@pytest.mark.parametrize(("layout", "n_rows"), [(LAYOUT, 7), (OVERLAPPING, 6)])
def test_an_untrained_network_reconstructs_the_mean(
    layout: Layout, n_rows: int
) -> None:
    """Zero is the mean of a standardised series: no step is lost on noise.

    Nor must an abnormal level of one of several series explain itself a row later.
    """
    assert not StackedLSTM(3, layout, 5, 2, 0.1).eval()(INPUTS[:, :n_rows]).any()


def test_every_input_row_counts() -> None:
    """The reconstruction comes from the whole input sequence, from row 1 on."""
    network = network_of().eval()
    outputs = network(INPUTS)

    for row in range(7):
        changed = INPUTS.clone()
        changed[0, row] += 1.0
        difference = (network(changed) - outputs).abs().amax(dim=(1, 2, 3))
        assert difference[0] > 1e-4
        assert difference[1:].tolist() == [0.0, 0.0, 0.0]


def test_values_beyond_the_bound_are_read_as_the_bound() -> None:
    """A giant spike does not decide how the rows after it are reconstructed."""
    network = network_of().eval()
    at_bound, beyond = INPUTS.clone(), INPUTS.clone()
    at_bound[0, 0] = torch.tensor([INPUT_BOUND, -INPUT_BOUND, INPUT_BOUND])
    beyond[0, 0] = torch.tensor([1e6, -np.inf, np.inf])

    assert torch.equal(network(at_bound), network(beyond))


def chosen(network: StackedLSTM, n_segments: int, n_rows: int, seed: int = 3) -> tuple:
    """Return the units that a network keeps of some segments."""
    random = torch.Generator().manual_seed(seed)
    return network.kept_units(n_segments, n_rows, random)


@pytest.mark.parametrize(("layout", "n_rows"), [(LAYOUT, 7), (OVERLAPPING, 6)])
@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_dropout_comes_after_every_layer_where_it_is_asked_for(
    num_layers: int, layout: Layout, n_rows: int
) -> None:
    """After the last layer, too, where half of the units count twice for the others.

    The same as torch's own layers give, one after the other with the units between.
    """
    network, rows = network_of(num_layers, layout=layout), INPUTS[:, :n_rows]
    kept = chosen(network, 4, n_rows)
    hidden = rows
    layers = zip(network.lstm.all_weights, kept, strict=True)
    for layer, (weights, units) in enumerate(layers, start=1):
        alone = torch.nn.LSTM(hidden.shape[-1], 5, batch_first=True)
        alone.load_state_dict(dict(zip(alone.state_dict(), weights, strict=True)))
        hidden = alone(hidden)[0]
        if layer == num_layers:
            hidden = hidden[:, layout.context_length - 1 :: layout.stride]
        hidden = 2 * units * hidden

    learnt = network(rows, kept_units=kept)

    torch.testing.assert_close(learnt.flatten(2), network.head(hidden))
    assert not torch.allclose(network(rows), learnt)
    assert torch.equal(network(rows), network.eval()(rows))


@pytest.mark.parametrize("dropout", [0.1, 0.9])
def test_as_many_units_are_dropped_as_is_said(dropout: float) -> None:
    """Of each layer; others with another seed, and none without a rate."""
    network = network_of(dropout=dropout)

    kept, other = chosen(network, 1000, 7), chosen(network, 1000, 7, seed=4)

    assert [units.shape for units in kept] == [(1000, 7, 5), (1000, 1, 5)]
    for units in kept:
        assert units.float().mean().item() == pytest.approx(1 - dropout, abs=0.02)
    assert not torch.equal(kept[0], other[0])
    assert chosen(network_of(dropout=0.0), 4, 7) is None


def test_states_are_remembered_from_the_start() -> None:
    """Orthogonal recurrence per gate, forget gates open, all other biases zero."""
    network = network_of(num_layers=2)

    for layer in (0, 1):
        for gate in getattr(network.lstm, f"weight_hh_l{layer}").detach().chunk(4):
            product = (gate @ gate.T).numpy()
            np.testing.assert_allclose(product, np.eye(5), atol=1e-6)
        bias = getattr(network.lstm, f"bias_ih_l{layer}").detach().chunk(4)
        assert [gate.unique().tolist() for gate in bias] == [[0.0], [1.0], [0.0], [0.0]]
        assert not getattr(network.lstm, f"bias_hh_l{layer}").any()


TWO_ORIGINS = INPUTS[:, :6]
"""A context of 4 rows, and the rows up to the second origin."""


@pytest.mark.parametrize("stride", [1, 2, 3, 6])
@pytest.mark.parametrize("num_layers", [1, 2])
def test_many_origins_give_what_each_gives_alone(stride: int, num_layers: int) -> None:
    """The sequence after an origin comes from the rows up to it, and from no other."""
    layout = Layout(context_length=3, prediction_length=6, stride=stride)
    network = network_of(num_layers, layout=layout).eval()
    rows = torch.from_numpy(
        np.random.default_rng(1).normal(size=(2, 3 + 4 * stride, 3)).astype(np.float32)
    )

    together = network(rows)

    assert together.shape == (2, 5, 6, 3)
    for origin in range(5):
        alone = network(rows[:, : 3 + origin * stride])[:, -1]
        np.testing.assert_allclose(
            together[:, origin].detach(), alone.detach(), rtol=0, atol=1e-6
        )


def test_overlapping_sequences_of_one_series_start_from_the_value_at_their_origin() -> (
    None
):
    """Untrained, each repeats the last value read, no further than the bound."""
    network = StackedLSTM(1, OVERLAPPING, 5, 2, 0.1).eval()
    rows = TWO_ORIGINS[..., :1].clone()
    rows[0, 3], rows[1, 5] = 1e6, -np.inf

    outputs = network(rows)

    expected = rows.clamp(-INPUT_BOUND, INPUT_BOUND)
    assert torch.equal(outputs[:, 0], expected[:, 3:4].expand(4, 6, 1))
    assert torch.equal(outputs[:, 1], expected[:, 5:6].expand(4, 6, 1))


def test_a_single_series_that_overlaps_is_learnt_at_other_levels_and_scales() -> None:
    """What the network makes of segments that are moved and scaled is scaled back."""
    network = StackedLSTM(1, OVERLAPPING, 5, 2, dropout=0.0)
    torch.nn.init.normal_(network.head.weight)
    rows = TWO_ORIGINS[..., :1]

    variation = network.variation(4, torch.Generator().manual_seed(1))
    learnt = network(rows, variation)

    scale = variation[:, 0].exp()[:, None, None]
    level = variation[:, 1][:, None, None]
    expected = (network(scale * rows + level) - level[:, None]) / scale[:, None]
    torch.testing.assert_close(learnt, expected)
    assert (learnt - network(rows)).abs().amax() > 0.01


def test_levels_and_scales_vary_as_far_as_is_said() -> None:
    """The standard deviations of both, over many segments."""
    network = StackedLSTM(1, OVERLAPPING, 5, 2, dropout=0.0)

    variation = network.variation(10_000, torch.Generator().manual_seed(1))

    assert variation.shape == (10_000, 2)
    torch.testing.assert_close(
        variation.std(dim=0), torch.full((2,), VARIATION), rtol=0.03, atol=0
    )


@pytest.mark.parametrize(("n_series", "layout"), [(3, OVERLAPPING), (1, LAYOUT)])
def test_nothing_else_is_learnt_at_other_levels(n_series: int, layout: Layout) -> None:
    """Of several series, the levels matter; and the default is the document's."""
    network = StackedLSTM(n_series, layout, 5, 2, dropout=0.0)

    assert network.variation(4, torch.Generator()) is None
