"""Training on a GPU gives what it gives on a processor, and does not wait."""

import dataclasses
import logging
import math
import warnings

import pytest
import torch

from lstm_ad.exceptions import TrainingError
from lstm_ad.hyperparameters import BF16, FP32, Hyperparameters
from lstm_ad.training import device
from lstm_ad.training.control import Control
from lstm_ad.training.loop import Trained

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available(), reason="there is no GPU here"
)

TINY = {"sequence-length": "10", "hidden-size": "8", "epochs": "2"}


def bits(trained: Trained) -> list[bytes]:
    """Return the weights of a network, byte for byte."""
    return [value.numpy().tobytes() for value in trained.network.state_dict().values()]


def test_the_losses_are_those_of_a_processor(
    train, settings: Hyperparameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To rounding: without dropout, the same is drawn for every device."""
    alike = dataclasses.replace(settings, dropout=0.0)
    on_gpu = train(alike)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    on_cpu = train(alike)

    assert {p.device.type for p in on_gpu.network.parameters()} == {"cpu"}
    for found, expected in zip(on_gpu.history, on_cpu.history, strict=True):
        assert found.train.mse == pytest.approx(expected.train.mse, rel=1e-3)
        assert found.valid.mse == pytest.approx(expected.valid.mse, rel=1e-3)


def test_the_same_seed_gives_the_same_bits_wherever_the_rows_are(
    train, settings: Hyperparameters, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the GPU, or on the host because they would take too much of its memory."""
    kept_on_gpu = bits(train(settings))

    assert bits(train(settings)) == kept_on_gpu
    monkeypatch.setattr(device, "MAX_GPU_SHARE", 0.0)
    assert bits(train(settings)) == kept_on_gpu


def test_a_step_does_not_wait_for_the_gpu(
    train, settings: Hyperparameters, request: pytest.FixtureRequest
) -> None:
    """CUDA raises at whatever would, from the end of one step to that of the next.

    Between epochs their losses are read, and for that training has to wait.
    """
    request.addfinalizer(lambda: torch.cuda.set_sync_debug_mode("default"))
    n_asked = 0

    def count() -> bool:
        """Count the steps: whether to stop is asked at the end of each."""
        nonlocal n_asked
        n_asked += 1
        return False

    train(settings, Control(should_stop=count))
    n_steps = n_asked // settings.epochs

    def watch() -> bool:
        """Allow the next step to wait for nothing."""
        count()
        is_last = n_asked % n_steps == 0
        torch.cuda.set_sync_debug_mode("default" if is_last else "error")
        return False

    assert n_steps > 1
    assert len(train(settings, Control(should_stop=watch)).history) == settings.epochs
    assert n_asked == 2 * n_steps * settings.epochs


def test_users_read_what_trains_and_no_warning(
    train, settings: Hyperparameters, caplog: pytest.LogCaptureFixture
) -> None:
    """One line of the log names the GPU."""
    caplog.set_level(logging.INFO)

    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        train(settings)

    assert [str(warning.message) for warning in found] == []
    assert f"Using a GPU: {torch.cuda.get_device_name()}." in caplog.messages


def test_bf16_is_bf16_or_fp32(train, settings: Hyperparameters) -> None:
    """Never half precision, in which small gradients vanish."""
    trained = train(dataclasses.replace(settings, precision=BF16))

    assert trained.precision in (BF16, FP32)
    assert math.isfinite(trained.history[-1].train.mse)


def test_a_memory_that_is_too_small_is_the_users_to_mend(
    train, settings: Hyperparameters, request: pytest.FixtureRequest
) -> None:
    """One sentence, with the hyperparameters that take it."""
    request.addfinalizer(lambda: torch.cuda.set_per_process_memory_fraction(1.0))
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.0)

    with pytest.raises(
        TrainingError, match=r"^The memory of the GPU \(\d+ GB\) is too"
    ):
        train(settings)


@pytest.mark.parametrize(
    "hyperparameters",
    [{}, {"sagemaker_torch_distributed_enabled": "true"}],
    ids=["alone", "over NCCL"],
)
def test_a_job_trains_on_the_gpu(
    opt_ml, run_train, make_series, hyperparameters: dict[str, str]
) -> None:
    """As one process, and as the only one of a group."""
    opt_ml.add_channel("training", {"a.csv": make_series(400)})
    opt_ml.write_config("hyperparameters", TINY | hyperparameters)

    ended = run_train(opt_ml)

    assert ended.returncode == 0, ended.log
    assert f"Using a GPU: {torch.cuda.get_device_name()}." in ended.log


def test_a_gpu_that_cannot_be_used_is_not(opt_ml, run_train, make_series) -> None:
    """As where the driver is too old; the log says so, because it is paid for."""
    opt_ml.add_channel("training", {"a.csv": make_series(400)})
    opt_ml.write_config("hyperparameters", TINY)

    ended = run_train(opt_ml, CUDA_VISIBLE_DEVICES="")

    assert ended.returncode == 0, ended.log
    assert f"Using the processor: torch {torch.__version__} finds no GPU." in ended.log
