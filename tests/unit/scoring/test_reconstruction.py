import dataclasses
import re
import threading

import numpy as np
import pytest
import torch

from lstm_ad.exceptions import SeriesError
from lstm_ad.model import runtime
from lstm_ad.model.layout import Layout
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.onnx_graph import to_onnx
from lstm_ad.model.runtime import OnnxNetwork
from lstm_ad.model.scaling import Scaler
from lstm_ad.parallel import Cores
from lstm_ad.scoring import reconstruction
from lstm_ad.scoring.reconstruction import Reconstructor, error_vectors


@pytest.fixture
def reconstructor() -> Reconstructor:
    """Return one whose network always says (0, 1), (2, 3) in standardised units.

    With means (10, 100) and scales (1, 10), that is (10, 110), (12, 130).
    """
    weights = {
        "lstm.weight_ih_l0": np.zeros((4, 2), dtype=np.float32),
        "lstm.weight_hh_l0": np.zeros((4, 1), dtype=np.float32),
        "lstm.bias_ih_l0": np.zeros(4, dtype=np.float32),
        "lstm.bias_hh_l0": np.zeros(4, dtype=np.float32),
        "head.weight": np.zeros((4, 1), dtype=np.float32),
        "head.bias": np.array([0, 1, 2, 3], dtype=np.float32),
    }
    scaler = Scaler(mean=np.array([10.0, 100.0]), scale=np.array([1.0, 10.0]))
    return Reconstructor(scaler, OnnxNetwork(to_onnx(weights, Layout(2, 2, 2))))


SERIES = np.array([[0, 0], [0, 0], [11, 100], [11, 100], [10, 110.0]])


def test_errors_are_target_minus_reconstruction_in_the_series_units(
    reconstructor: Reconstructor,
) -> None:
    """Signed, from the row after the first sequence on, the partial one included."""
    assert np.vstack([*reconstructor.errors(SERIES)]).tolist() == [
        [11.0 - 10.0, 100.0 - 110.0],
        [11.0 - 12.0, 100.0 - 130.0],
        [10.0 - 10.0, 110.0 - 110.0],
    ]


def test_every_row_is_reconstructed_once_in_order_and_in_bounded_parts(
    reconstructor: Reconstructor,
) -> None:
    """However long the series is, one batch of sequences is in memory."""
    series = np.zeros((1001, 2))

    parts, reconstructions, _ = zip(*reconstructor.with_errors(series), strict=True)

    rows = np.concatenate([np.arange(1001)[rows] for rows in parts])
    values = np.concatenate(reconstructions)[:, 0]
    assert rows.tolist() == list(range(2, 1001))
    assert max(map(len, reconstructions)) == 64 * 2
    assert values.tolist() == ([[10.0, 110.0], [12.0, 130.0]] * 500)[: len(rows)]


@pytest.mark.parametrize("n_series", [1, 3])
def test_another_number_of_columns_is_refused(
    reconstructor: Reconstructor, n_series: int
) -> None:
    """The message has what was found and what the model was trained on."""
    expected = (
        f"The number of columns is wrong: {n_series} were found, but the model was "
        f"trained on 2 series, one per column."
    )

    with pytest.raises(SeriesError, match=f"^{re.escape(expected)}$"):
        np.vstack([*reconstructor.errors(np.zeros((10, n_series)))])


@pytest.mark.parametrize("n_timesteps", [1, 2])
def test_a_series_no_longer_than_a_sequence_is_refused(
    reconstructor: Reconstructor, n_timesteps: int
) -> None:
    """The message has the smallest number of rows that is accepted."""
    expected = (
        f"The series is too short: {n_timesteps} rows were found, but at least 3 are "
        f"needed, because the first 2 rows have no score."
    )

    with pytest.raises(SeriesError, match=f"^{re.escape(expected)}$"):
        np.vstack([*reconstructor.errors(np.zeros((n_timesteps, 2)))])


def test_the_shortest_series_has_one_error(reconstructor: Reconstructor) -> None:
    """One row more than a sequence is enough, as the message above says."""
    assert np.vstack([*reconstructor.errors(np.zeros((3, 2)))]).tolist() == [
        [-10.0, -110.0]
    ]


def random_network(layout: Layout) -> StackedLSTM:
    """Return a network of two series with weights as large as after training."""
    torch.manual_seed(0)
    network = StackedLSTM(2, layout, 8, 2, dropout=0.5).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return network


def overlapping_reconstructor(network: StackedLSTM) -> Reconstructor:
    """Return a reconstructor of that network, with units of its own."""
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    scaler = Scaler(mean=np.array([10.0, 100.0]), scale=np.array([1.0, 10.0]))
    return Reconstructor(scaler, OnnxNetwork(to_onnx(weights, network.layout)))


def brute_force(network: StackedLSTM, scaled: np.ndarray) -> np.ndarray:
    """Return all reconstructions of each row after the unscored ones, by loops.

    The whole series is read at once; a row's nearest origin is the last one before
    it, and each further one is a stride earlier.
    """
    layout = network.layout
    with torch.no_grad():
        sequences = network(torch.from_numpy(scaled[np.newaxis, :-1])).numpy()[0]
    rows = []
    for row in range(layout.n_unscored, len(scaled)):
        nearest = (row - layout.context_length) // layout.stride
        rows.append(
            [
                sequences[origin, row - layout.context_length - origin * layout.stride]
                for origin in range(nearest, nearest - layout.n_reconstructions, -1)
            ]
        )
    return np.array(rows)


@pytest.mark.parametrize(
    "layout", [Layout(9, 4, 1), Layout(9, 10, 5), Layout(3, 12, 4)], ids=str
)
@pytest.mark.parametrize("run_rows", [1, 7, 1024])
def test_overlapping_reconstructions_are_those_of_the_whole_series_at_once(
    layout: Layout, run_rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many rows one run takes, and wherever the series ends.

    Every row after the first ones comes once and in order, all its reconstructions
    from the nearest origin on.
    """
    monkeypatch.setattr(runtime, "RUN_ROWS", run_rows)
    network = random_network(layout)
    reconstructor = overlapping_reconstructor(network)
    whole = np.random.default_rng(0).normal([10, 100], [1, 10], size=(100, 2))

    for n_timesteps in range(layout.n_unscored + 1, layout.n_unscored + 41):
        series = whole[:n_timesteps]
        parts, values, _ = zip(*reconstructor.with_errors(series), strict=True)
        rows = np.concatenate([np.arange(n_timesteps)[part] for part in parts])
        scaled = reconstructor.scaler.transform(series)
        expected = brute_force(network, scaled) * [1.0, 10.0] + [10.0, 100.0]
        assert rows.tolist() == list(range(layout.n_unscored, n_timesteps))
        np.testing.assert_allclose(np.concatenate(values), expected, rtol=0, atol=1e-4)


def test_a_long_series_is_read_in_parts_of_bounded_size() -> None:
    """No more rows come at a time than one run reads, and the rows kept over."""
    layout = Layout(9, 10, 5)
    reconstructor = overlapping_reconstructor(random_network(layout))

    series = np.zeros((3000, 2))
    sizes = [len(errors) for errors in reconstructor.errors(series)]

    assert len(sizes) == 3
    assert max(sizes) <= runtime.RUN_ROWS + layout.stride


def test_an_error_vector_holds_all_errors_of_a_row() -> None:
    """By hand: all series' errors from the nearest origin first, then the next."""
    targets = np.array([[10.0, 20.0], [30.0, 40.0]])
    reconstructions = np.array([[[1.0, 2.0], [3.0, 4.0]], [[30.0, 40.0], [31.0, 39.0]]])

    errors = error_vectors(targets, reconstructions)

    assert errors.tolist() == [[9.0, 18.0, 7.0, 16.0], [0.0, 0.0, -1.0, 1.0]]


def test_too_few_rows_for_overlapping_sequences_are_refused() -> None:
    """C + P - S rows have no score; one more is enough."""
    reconstructor = overlapping_reconstructor(random_network(Layout(30, 10, 5)))
    expected = (
        "The series is too short: 35 rows were found, but at least 36 are needed, "
        "because the first 35 rows have no score."
    )

    with pytest.raises(SeriesError, match=f"^{re.escape(expected)}$"):
        np.vstack([*reconstructor.errors(np.zeros((35, 2)))])
    assert np.vstack([*reconstructor.errors(np.zeros((36, 2)))]).shape == (1, 4)


@pytest.mark.parametrize("layout", [Layout(2, 2, 2), Layout(4, 2, 1)])
def test_whatever_computes_waits_for_its_turn(layout: Layout) -> None:
    """One limit for sequences that overlap and for those that do not."""
    cores = Cores(1)
    reconstructor = dataclasses.replace(
        overlapping_reconstructor(random_network(layout)), cores=cores
    )
    n_series = reconstructor.network.n_series
    done = threading.Event()

    def compute() -> None:
        """Reconstruct a short series."""
        list(reconstructor.errors(np.zeros((9, n_series))))
        done.set()

    thread = threading.Thread(target=compute)
    with cores.turn():
        thread.start()
        while not cores.n_waiting and thread.is_alive():
            thread.join(0.001)
        assert not done.is_set()
    thread.join(60)

    assert done.is_set()


@pytest.mark.parametrize("block_numbers", [1, 6, 40])
@pytest.mark.parametrize("outage_ratios", [None, np.array([2.0, 3.0])])
def test_what_is_missing_counts_alike_in_blocks_and_at_once(
    reconstructor: Reconstructor,
    outage_ratios: np.ndarray | None,
    block_numbers: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row depends on a few rows before it: those are looked at, too."""
    series = np.random.default_rng(0).normal(size=(200, 2))
    series[np.random.default_rng(1).random((200, 2)) < 0.6] = np.nan
    with_gaps = dataclasses.replace(
        reconstructor, max_gap=3, outage_ratios=outage_ratios
    )
    expected = with_gaps.ratios(series)
    monkeypatch.setattr(reconstruction, "BLOCK_NUMBERS", block_numbers)

    found = with_gaps.ratios(series)

    assert len(np.unique(expected)) > 1
    assert np.array_equal(found, expected, equal_nan=True)
