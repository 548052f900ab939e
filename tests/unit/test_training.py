import dataclasses

import numpy as np
import pytest
import torch

from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.losses import EpochMetrics
from lstm_ad.scaling import Scaler
from lstm_ad.sequences import Rows
from lstm_ad.training import (
    DECAY,
    WARM_UP,
    Control,
    Trained,
    learning_rate,
    train_network,
)


@pytest.fixture
def train(make_series):
    """Return the function that trains on two sines with given hyperparameters."""
    series = [make_series(300), make_series(57, seed=1)]
    scaler = Scaler.fit(series)
    fitting = scaler.transform_all(series)
    selection = scaler.transform_all([make_series(123, seed=2)])

    def run(hyperparameters: Hyperparameters, is_validation: bool = True) -> Trained:
        return train_network(
            fitting,
            selection,
            is_validation=is_validation,
            hyperparameters=hyperparameters,
            control=Control(),
            checkpoints=None,
        )

    return run


def bits(trained: Trained) -> dict[str, bytes]:
    """Return the weights of a network, byte for byte."""
    state = trained.network.state_dict()
    return {name: value.numpy().tobytes() for name, value in state.items()}


def test_the_same_seed_gives_the_same_weights_bit_by_bit(
    train, tiny: Hyperparameters
) -> None:
    """Initial weights, dropout, phases and the order of the batches included."""
    first, second = train(tiny), train(tiny)

    assert bits(first) == bits(second)
    assert first.history == second.history


def test_another_seed_gives_other_weights(train, tiny: Hyperparameters) -> None:
    """The seed is the job's, not a constant."""
    other = dataclasses.replace(tiny, seed=1)

    assert bits(train(tiny)) != bits(train(other))


def test_training_ignores_and_leaves_the_callers_random_states(
    train, tiny: Hyperparameters
) -> None:
    """A seed set by the caller has no say, and goes on where it was."""
    torch.manual_seed(7)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  # the global state is the point
    first = train(tiny)

    assert torch.equal(torch.get_rng_state(), torch_state)
    assert (np.random.get_state()[1] == numpy_state).all()  # noqa: NPY002
    torch.manual_seed(8)
    assert bits(train(tiny)) == bits(first)


def test_the_loss_falls(train, tiny: Hyperparameters) -> None:
    """On two sines a tiny network halves it in 30 epochs."""
    history = train(dataclasses.replace(tiny, epochs=30)).history

    assert history[-1].train.mse < 0.5 * history[0].train.mse
    assert history[-1].valid.mse < 0.5 * history[0].valid.mse


def test_each_epoch_is_reported_once_in_order(make_series, tiny) -> None:
    """As it ends, with the loss that chooses the best epoch under its own name."""
    series = Scaler.fit([make_series(100)]).transform_all([make_series(100)])
    reported: list[EpochMetrics] = []

    trained = train_network(
        series,
        series,
        is_validation=False,
        hyperparameters=tiny,
        control=Control(on_epoch_end=reported.append),
        checkpoints=None,
    )

    assert [metrics.epoch for metrics in reported] == [1, 2, 3]
    assert tuple(reported) == trained.history
    assert [list(metrics.losses) for metrics in reported] == [
        ["train", "calibration"]
    ] * 3


def test_the_training_loss_is_the_mean_over_the_elements_of_the_pairs(tiny) -> None:
    """Worked by hand: untrained and hardly learning, the network says 0.

    Two series of exactly two sequences leave one pair each; the targets are the last
    ten rows, 2 and 3.
    """
    values = np.repeat(np.float32([[1.0], [2.0], [1.0], [3.0]]), 10, axis=0)
    rows = Rows(values, np.array([20, 20]))
    hardly = dataclasses.replace(tiny, lr=1e-9, epochs=1, batch_size=1)

    (metrics,) = train_network(
        rows,
        rows,
        is_validation=True,
        hyperparameters=hardly,
        control=Control(),
        checkpoints=None,
    ).history

    assert metrics.train.mse == pytest.approx((4 + 9) / 2, rel=1e-5)
    assert metrics.train.mae == pytest.approx((2 + 3) / 2, rel=1e-5)
    assert metrics.valid.mse == pytest.approx((4 + 9) / 2, rel=1e-5)


def test_the_validation_loss_covers_every_row_after_the_first_sequence(tiny) -> None:
    """Worked by hand: 13 and 25 rows leave 3 and 15, the partial sequences included."""
    fitting = Rows(np.zeros((20, 1), dtype=np.float32), np.array([20]))
    values = np.zeros((38, 1), dtype=np.float32)
    values[10:13] = 2.0
    values[13 + 10 :] = -4.0
    hardly = dataclasses.replace(tiny, lr=1e-9, epochs=1)

    (metrics,) = train_network(
        fitting,
        Rows(values, np.array([13, 25])),
        is_validation=True,
        hyperparameters=hardly,
        control=Control(),
        checkpoints=None,
    ).history

    assert metrics.valid.mse == pytest.approx((3 * 4 + 15 * 16) / 18, rel=1e-5)
    assert metrics.valid.mae == pytest.approx((3 * 2 + 15 * 4) / 18, rel=1e-5)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    """From 0 to the peak, flat, and to 0 again, all in straight lines."""
    marks = [0.0, WARM_UP / 2, WARM_UP, 0.3, 1 - DECAY, 1 - DECAY / 2, 1.0]

    rates = [learning_rate(progress, peak=4.0) for progress in marks]

    assert rates == pytest.approx([0.0, 2.0, 4.0, 4.0, 4.0, 2.0, 0.0])


def test_several_devices_share_the_batches_with_the_same_result(
    train, tiny: Hyperparameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With two devices torch.nn.DataParallel runs; the weights keep their names.

    This machine may have no GPU: torch is told that there are two, and DataParallel,
    which looks for itself, runs its module as it is.
    """
    alone = bits(train(tiny))
    wrapped: list[torch.nn.Module] = []

    class Recorded(torch.nn.DataParallel):
        def __init__(self, module: torch.nn.Module) -> None:
            wrapped.append(module)
            super().__init__(module, device_ids=None)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: None)
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: None)
    monkeypatch.setattr(torch.nn, "DataParallel", Recorded)
    together = train(tiny)

    assert wrapped == [together.network]
    assert bits(together) == alone


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
def test_a_gpu_gives_the_loss_of_a_cpu(
    train, tiny: Hyperparameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not bit by bit, but to the rounding that training amplifies; weights on CPU."""
    short = dataclasses.replace(tiny, epochs=1, dropout=0.0)
    on_gpu = train(short)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    on_cpu = train(short)

    assert {p.device.type for p in on_gpu.network.parameters()} == {"cpu"}
    assert on_gpu.history[0].valid.mse == pytest.approx(
        on_cpu.history[0].valid.mse, rel=1e-2
    )
