"""Nothing of what a customer does is reported to anyone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from lstm_ad.hyperparameters import Hyperparameters


def test_neither_training_nor_serving_leaves_an_identifier_at_home(
    tmp_path: Path,
    opt_ml: Any,
    tiny: Hyperparameters,
    make_series: Callable[..., Any],
    run_train: Callable[..., Any],
    start_server: Callable[..., Any],
) -> None:
    """ONNX Runtime's telemetry, which begins with an identifier on disk, is off."""
    home = tmp_path / "home"
    home.mkdir()
    opt_ml.write_config(
        "hyperparameters",
        {name: str(value) for name, value in tiny.to_public().items()},
    )
    opt_ml.add_channel("training", {"train.csv": make_series(300)})

    job = run_train(opt_ml, HOME=str(home))
    server = start_server(opt_ml.base, HOME=str(home))

    assert job.returncode == 0, job.log
    assert "telemetry" not in server.log
    assert list(home.rglob("*")) == []
