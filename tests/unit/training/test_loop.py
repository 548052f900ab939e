import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lstm_ad.data.partition import Owned
from lstm_ad.exceptions import TrainingError
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.losses import EpochMetrics
from lstm_ad.model.scaling import INPUT_BOUND, Scaler
from lstm_ad.model.sequences import Ranges
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.training import loop as training
from lstm_ad.training.adam import BETA_1
from lstm_ad.training.checkpoints import CheckpointFolder
from lstm_ad.training.loop import (
    MAX_GRADIENT_NORM,
    Control,
    Trained,
    TrainingRows,
    train_network,
)

Series = list[np.ndarray]
"""Standardised values, each of shape ``(T, D)``."""


def rows_of(
    fitting: Series,
    selection: Series,
    name: str = "valid",
    owners: tuple[int, ...] = (0,),
) -> TrainingRows:
    """Return the rows of one process, which has all of them."""
    lengths = np.array([len(one) for one in [*fitting, *selection]])
    first, n_fitting = np.cumsum(lengths) - lengths, len(fitting)
    parts = [slice(0, n_fitting), slice(n_fitting, None)]
    learnt, chosen = ((Owned(owners, Ranges(first[p], lengths[p])),) for p in parts)
    values = np.concatenate([*fitting, *selection])
    return TrainingRows(values, None, learnt, {"train": learnt, name: chosen})


def scaled(series: np.ndarray) -> np.ndarray:
    """Return a series standardised by itself."""
    return Scaler.fit([series]).transform(series)


@pytest.fixture
def train(make_series):
    """Return the function that trains on two sines with given hyperparameters."""
    series = [make_series(300), make_series(57, seed=1)]
    scaler = Scaler.fit(series)
    fitting = [scaler.transform(one) for one in series]
    selection = [scaler.transform(make_series(123, seed=2))]

    def run(
        hyperparameters: Hyperparameters,
        control: Control | None = None,
    ) -> Trained:
        return train_network(
            rows_of(fitting, selection), hyperparameters, control or Control(), None
        )

    return run


def bits(trained: Trained) -> dict[str, bytes]:
    """Return the weights of a network, byte for byte."""
    state = trained.network.state_dict()
    return {name: value.numpy().tobytes() for name, value in state.items()}


@pytest.fixture(params=["tiny", "overlapping"])
def settings(request: pytest.FixtureRequest) -> Hyperparameters:
    """Return settings without and with overlapping sequences."""
    return request.getfixturevalue(request.param)


def test_the_same_seed_gives_the_same_weights_bit_by_bit(
    train, settings: Hyperparameters
) -> None:
    """Initial weights, dropout, phases and order of batches; another seed does not."""
    first, second = train(settings), train(settings)

    assert bits(first) == bits(second)
    assert first.history == second.history
    assert bits(train(dataclasses.replace(settings, seed=1))) != bits(first)


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


def test_the_loss_falls(train, settings: Hyperparameters) -> None:
    """On two sines a tiny network halves it in 30 epochs."""
    history = train(dataclasses.replace(settings, epochs=30)).history

    assert history[-1].train.mse < 0.5 * history[0].train.mse
    assert history[-1].valid.mse < 0.5 * history[0].valid.mse


def test_each_epoch_is_reported_once_in_order(make_series, tiny) -> None:
    """As it ends, with the loss that chooses the best epoch under its own name."""
    series = [scaled(make_series(100))]
    reported: list[EpochMetrics] = []

    trained = train_network(
        rows_of(series, series, "calibration"),
        tiny,
        Control(on_epoch_end=reported.append),
        None,
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
    rows = [values[:20], values[20:]]
    hardly = dataclasses.replace(tiny, lr=1e-9, epochs=1, batch_size=1)

    (metrics,) = train_network(rows_of(rows, rows), hardly, Control(), None).history

    assert metrics.train.mse == pytest.approx((4 + 9) / 2, rel=1e-5)
    assert metrics.train.mae == pytest.approx((2 + 3) / 2, rel=1e-5)
    assert metrics.valid.mse == pytest.approx((4 + 9) / 2, rel=1e-5)


def test_the_validation_loss_covers_every_row_after_the_first_sequence(tiny) -> None:
    """Worked by hand: 13 and 25 rows leave 3 and 15, the partial sequences included."""
    fitting = [np.zeros((20, 1), dtype=np.float32)]
    values = np.zeros((38, 1), dtype=np.float32)
    values[10:13] = 2.0
    values[13 + 10 :] = -4.0
    hardly = dataclasses.replace(tiny, lr=1e-9, epochs=1)

    (metrics,) = train_network(
        rows_of(fitting, [values[:13], values[13:]]), hardly, Control(), None
    ).history

    assert metrics.valid.mse == pytest.approx((3 * 4 + 15 * 16) / 18, rel=1e-5)
    assert metrics.valid.mae == pytest.approx((3 * 2 + 15 * 4) / 18, rel=1e-5)


def test_gradients_are_clipped_to_norm_1(tiny, tmp_path) -> None:
    """A batch far off gives a gradient of 1: Adam's first mean is a tenth of it."""
    rows = [np.full((20, 1), 1e3, dtype=np.float32)]
    folder = CheckpointFolder(tmp_path, fingerprint="0" * 64)

    train_network(
        rows_of(rows, rows), dataclasses.replace(tiny, epochs=1), Control(), folder
    )

    arrays = folder.latest().arrays
    means = [value for name, value in arrays.items() if name.endswith(".exp_avg")]
    norm = np.sqrt(sum(float(np.square(mean).sum()) for mean in means))
    assert norm == pytest.approx(0.1, rel=1e-4)


@pytest.fixture
def _joined_alone() -> Iterator[None]:
    """Be in a group of one, which sums what its only process has."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("_joined_alone")
def test_the_shares_of_sixteen_processes_sum_to_the_gradient_of_one(
    make_series, tmp_path: Path
) -> None:
    """By default, with dropout: each drops the units that the only one would drop.

    Nothing is summed between them here, so that each has the gradient of its share.
    """
    rows = scaled(make_series(950))
    settings = Hyperparameters(sequence_length=15, epochs=1)

    def gradient(group: ProcessGroup) -> np.ndarray:
        folder = CheckpointFolder(tmp_path / str(group), fingerprint="0" * 64)
        owners = tuple(range(group.size))
        known = rows_of([rows], [rows], owners=owners)
        train_network(known, settings, Control(), folder, group)
        state = folder.latest().arrays
        assert {int(v) for k, v in state.items() if k.endswith(".step")} == {1}
        means = [v.ravel() for k, v in state.items() if k.endswith(".exp_avg")]
        return np.concatenate(means) / (1 - BETA_1)

    alone = gradient(ALONE)
    shares = [gradient(ProcessGroup(rank, 16)) for rank in range(16)]

    assert np.linalg.norm(alone) < MAX_GRADIENT_NORM  # else it would be clipped
    np.testing.assert_allclose(sum(shares), alone, rtol=1e-4, atol=1e-7)


@pytest.fixture
def _two_devices(monkeypatch: pytest.MonkeyPatch) -> list[torch.nn.Module]:
    """Tell torch that there are two devices; return what is wrapped for them.

    This machine may have no GPU: DataParallel, which looks for itself, runs its module
    as it is.
    """
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
    return wrapped


def test_several_devices_share_the_batches_with_the_same_result(
    train,
    settings: Hyperparameters,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With two devices torch.nn.DataParallel runs; the weights keep their names."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    alone = bits(train(settings))

    wrapped = request.getfixturevalue("_two_devices")
    together = train(settings)

    assert wrapped == [together.network]
    assert bits(together) == alone


@pytest.fixture
def job(make_series, tiny: Hyperparameters, tmp_path: Path) -> Callable[..., Trained]:
    """Return the function that runs a small job with checkpoints, as often as wanted.

    In its selection part, what follows the first sequence is turned upside down: the
    better the network learns, the worse it does there, so the first epoch is the best.
    """
    fitting = scaled(make_series(300))
    selection = np.concatenate([fitting[:10], -fitting[10:20]])

    def run(
        control: Control | None = None,
        folder: str | None = None,
        fitting: np.ndarray = fitting,
        selection: np.ndarray = selection,
        **changes: float,
    ) -> Trained:
        return train_network(
            rows_of([fitting], [selection], "calibration"),
            dataclasses.replace(tiny, **changes),
            control or Control(),
            CheckpointFolder(tmp_path / folder, "f" * 64) if folder else None,
        )

    return run


APART = {"batch_size": 8}
OVERLAPPING = {
    "context_length": 6,
    "prediction_length": 4,
    "sequence_stride": 2,
    "batch_size": 6,
}


def stop_after(n_steps: int) -> Callable[[], bool]:
    """Return a question that is answered with yes from the given step on."""
    remaining = iter(range(n_steps - 1))
    return lambda: next(remaining, None) is None


@pytest.fixture
def _every_epoch_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write a checkpoint after each epoch, however long that takes."""
    monkeypatch.setattr(training, "MAX_CHECKPOINT_SHARE", math.inf)


@pytest.mark.usefixtures("_every_epoch_is_kept")
@pytest.mark.parametrize("n_steps", [1, 2, 4, 5, 9, 12])
@pytest.mark.parametrize("lengths", [APART, OVERLAPPING])
def test_a_stopped_run_goes_on_as_if_it_had_never_stopped(
    job: Callable[..., Trained],
    lengths: dict[str, int],
    n_steps: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Bit by bit, wherever within an epoch it was stopped: 4 steps make one."""
    caplog.set_level(logging.INFO)
    job = functools.partial(job, epochs=4, **lengths)
    whole = job()
    stopped = job(Control(should_stop=stop_after(n_steps)), "c")
    reported: list[EpochMetrics] = []

    resumed = job(Control(on_epoch_end=reported.append), "c")

    n_done = (n_steps - 1) // 4
    assert len(stopped.history) == n_done
    assert f"Training was asked to stop in epoch {n_done + 1}." in caplog.messages
    assert [metrics.epoch for metrics in reported] == list(range(n_done + 1, 5))
    assert resumed.history == whole.history
    assert resumed.best_epoch == whole.best_epoch
    assert bits(resumed) == bits(whole)


@pytest.mark.usefixtures("_every_epoch_is_kept")
def test_the_log_says_where_training_goes_on(
    job: Callable[..., Trained], caplog: pytest.LogCaptureFixture
) -> None:
    """And a run that was at its end does nothing more."""
    caplog.set_level(logging.INFO)
    finished = job(None, "c", epochs=3)
    again = job(Control(on_epoch_end=pytest.fail), "c", epochs=3)

    assert "Training goes on after epoch 3." in caplog.messages
    assert bits(again) == bits(finished)


@pytest.mark.usefixtures("_every_epoch_is_kept")
@pytest.mark.parametrize(("damaged", "goes_on_after"), [({3}, 2), ({2, 3}, None)])
def test_damaged_checkpoints_cost_epochs_and_nothing_else(
    job: Callable[..., Trained],
    tmp_path: Path,
    damaged: set[int],
    goes_on_after: int | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """From an older one, or afresh, training ends with the same bits."""
    caplog.set_level(logging.INFO)
    whole = job(None, "c", epochs=3)
    for path in (tmp_path / "c").iterdir():
        epoch = int(path.stem[-7:])
        path.write_bytes(path.read_bytes()[: -100 if epoch in damaged else None])
    caplog.clear()

    resumed = job(None, "c", epochs=3)

    refused = [text for text in caplog.messages if "is not used: it is dam" in text]
    went_on = [text for text in caplog.messages if "goes on after" in text]
    assert len(refused) == len(damaged)
    assert went_on == (
        [f"Training goes on after epoch {goes_on_after}."] if goes_on_after else []
    )
    assert bits(resumed) == bits(whole)


def test_checkpoints_take_no_more_than_their_share_of_the_time(
    job: Callable[..., Trained], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no share there is the first alone: before it, nothing had been spent."""
    monkeypatch.setattr(training, "MAX_CHECKPOINT_SHARE", 0.0)
    job(None, "c", epochs=3)

    assert [path.stem[-7:] for path in (tmp_path / "c").iterdir()] == ["0000001"]


def test_a_run_stopped_in_its_first_epoch_has_what_it_learnt(
    job: Callable[..., Trained],
) -> None:
    """There is no epoch to choose from, but finite weights that are not the first."""
    one, two = (
        job(Control(should_stop=stop_after(n_steps)), batch_size=8)
        for n_steps in (1, 2)
    )

    assert (one.history, one.best_epoch) == ((), 0)
    assert bits(one) != bits(two)
    assert all(p.isfinite().all() for p in two.network.parameters())
    assert not two.network.training


def test_the_weights_are_those_of_the_best_epoch(
    job: Callable[..., Trained],
) -> None:
    """Not the last one's: to stop after the best epoch gives the same."""
    trained = job(batch_size=8, epochs=6)
    stopped = job(Control(should_stop=stop_after(5)), batch_size=8, epochs=6)

    losses = [metrics.calibration.mse for metrics in trained.history]
    assert losses == sorted(losses)
    assert (trained.best_epoch, stopped.best_epoch) == (1, 1)
    assert (len(trained.history), len(stopped.history)) == (6, 1)
    assert bits(trained) == bits(stopped)


@pytest.mark.parametrize(("patience", "n_epochs"), [(0, 20), (1, 4), (3, 8), (9, 20)])
def test_training_ends_when_patience_does(
    job: Callable[..., Trained],
    patience: int,
    n_epochs: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first epoch is the best; when patience ends, half of the epochs are done."""
    caplog.set_level(logging.INFO)
    trained = job(epochs=20, early_stopping_patience=patience, dropout=0.0)

    assert (len(trained.history), trained.best_epoch) == (n_epochs, 1)
    said = f"No better epoch in {patience}: training ends with epoch {n_epochs}."
    assert caplog.messages.count(said) == (n_epochs < 20)


@pytest.mark.usefixtures("_every_epoch_is_kept")
@pytest.mark.parametrize("n_steps", range(2, 32, 4))
def test_a_job_that_ends_early_goes_on_as_if_it_had_never_stopped(
    job: Callable[..., Trained], n_steps: int
) -> None:
    """Before its patience ended, then, and while the learning rate falls."""
    job = functools.partial(job, epochs=20, early_stopping_patience=3, **APART)
    job(Control(should_stop=stop_after(n_steps)), "c")

    whole, resumed = job(), job(folder="c")

    assert len(whole.history) == 8
    assert resumed.history == whole.history
    assert bits(resumed) == bits(whole)


@pytest.mark.parametrize("is_stopped", [False, True])
def test_a_loss_that_is_no_number_in_the_first_epoch_names_the_learning_rate(
    job: Callable[..., Trained], is_stopped: bool
) -> None:
    """There is no model to fall back to, not even when asked to stop at once.

    NaN stands for weights that exploded.
    """
    values = np.full((100, 2), np.nan, dtype=np.float32)

    with pytest.raises(
        TrainingError,
        match=r"^The loss of epoch 1 is not a finite number with a peak learning rate "
        r"\(lr\) of 0\.01: a smaller lr is needed\.$",
    ):
        job(Control(should_stop=lambda: is_stopped), fitting=values)


def test_a_later_loss_that_is_no_number_returns_to_the_best_weights(
    job: Callable[..., Trained], make_series, caplog: pytest.LogCaptureFixture
) -> None:
    """With a warning that names the epoch and the learning rate.

    The last row is NaN, and only one in ten phases of the grid reaches it: until
    such an epoch, training goes well.
    """
    values = Scaler.fit([make_series(49)]).transform(make_series(49))
    values[-1] = np.nan

    trained = job(fitting=values, selection=values[:-1], epochs=100)

    n_epochs = len(trained.history)
    assert 1 <= n_epochs < 100
    assert caplog.messages == [
        f"The loss of epoch {n_epochs + 1} is not a finite number with a peak learning "
        f"rate (lr) of 0.01: training ends early, with the weights of epoch "
        f"{trained.best_epoch}."
    ]
    assert all(p.isfinite().all() for p in trained.network.parameters())
    losses = [metrics.calibration.mse for metrics in trained.history]
    assert losses.index(min(losses)) + 1 == trained.best_epoch


def test_the_network_is_not_asked_for_what_it_is_not_shown(
    job: Callable[..., Trained],
) -> None:
    """Rows beyond the bound are learnt as the bound: the training loss is of those."""
    spikes = np.full((100, 2), 1e30, dtype=np.float32)

    history = job(fitting=spikes, lr=1e-9, epochs=1).history

    assert history[0].train.mse == pytest.approx(INPUT_BOUND**2)
    assert history[0].train.mae == pytest.approx(INPUT_BOUND)


def test_each_epoch_sees_another_phase_of_the_series(
    job: Callable[..., Trained],
) -> None:
    """A network that hardly learns says 0: its loss is that of the rows it is given."""
    history = job(lr=1e-9, epochs=5).history

    assert len({metrics.train.mse for metrics in history}) > 2
    assert len({round(metrics.calibration.mse, 5) for metrics in history}) == 1


def test_the_overlapping_training_loss_is_the_mean_over_all_sequences(tiny) -> None:
    """Worked by hand: untrained and hardly learning, each repeats its origin's row.

    On a ramp, a sequence of 4 rows is so off by 1, 2, 3 and 4, wherever it is.
    """
    values = np.arange(40, dtype=np.float32)[:, np.newaxis] / 8
    rows = [values]
    hardly = dataclasses.replace(
        tiny,
        context_length=5,
        prediction_length=4,
        sequence_stride=2,
        lr=1e-9,
        epochs=1,
        dropout=0.0,
    )

    (metrics,) = train_network(
        rows_of(rows, rows, "calibration"), hardly, Control(), None
    ).history

    assert metrics.train.mse == pytest.approx((1 + 4 + 9 + 16) / 4 / 64, rel=1e-4)
    assert metrics.train.mae == pytest.approx((1 + 2 + 3 + 4) / 4 / 8, rel=1e-4)


def test_the_overlapping_selection_loss_leaves_out_what_does_not_exist(tiny) -> None:
    """Worked by hand: the last sequences end with their series.

    Untrained, each repeats its origin's row: 0, 1, ... of a ramp of 9 rows. With
    C = 4, P = 4 and S = 2 the origins are rows 3, 5 and 7: two sequences of 4 and 3
    rows and one of 1 row. The other series, 100 higher, has 6 rows: 2 after row 3.
    """
    fitting = [np.zeros((20, 1), dtype=np.float32)]
    ramps = np.concatenate([np.arange(9), 2 + np.arange(6)]).astype(np.float32)
    settings = dataclasses.replace(
        tiny,
        context_length=4,
        prediction_length=4,
        sequence_stride=2,
        lr=1e-9,
        epochs=1,
    )

    (metrics,) = train_network(
        rows_of(fitting, [ramps[:9, np.newaxis], ramps[9:, np.newaxis]]),
        settings,
        Control(),
        None,
    ).history

    errors = [1, 2, 3, 4, 1, 2, 3, 1, 1, 2]
    assert metrics.valid.mse == pytest.approx(np.square(errors).mean(), rel=1e-4)
    assert metrics.valid.mae == pytest.approx(np.mean(errors), rel=1e-4)


def test_bf16_learns_what_fp32_learns(train, tiny: Hyperparameters) -> None:
    """Within a tenth of the loss, with weights that stay in single precision.

    Where the hardware has no bf16, it is fp32.
    """
    longer = dataclasses.replace(tiny, epochs=20)

    fp32 = train(longer)
    bf16 = train(dataclasses.replace(longer, precision="bf16"))

    assert (bits(fp32) == bits(bf16)) == (bf16.precision == fp32.precision == "fp32")
    assert {value.dtype for value in bf16.network.state_dict().values()} == {
        torch.float32
    }
    expected = fp32.history[-1].valid.mse
    assert bf16.history[-1].valid.mse == pytest.approx(expected, rel=0.1)


def test_a_broken_export_ends_the_job_after_its_first_epoch(
    train, tiny: Hyperparameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not after the last one; no difference is less than nothing."""
    monkeypatch.setattr(training, "EARLY_DIFFERENCE", -1.0)
    epochs: list[EpochMetrics] = []

    with pytest.raises(TrainingError, match=r"^The exported network differs"):
        train(tiny, control=Control(on_epoch_end=epochs.append))

    assert epochs == []
