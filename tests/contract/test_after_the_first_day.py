"""Jobs that start from a model: calibrated to another load, or trained on."""

import dataclasses
import json
import logging
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lstm_ad import artifacts
from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.parent import Parent
from lstm_ad.quality.drift import Reference
from lstm_ad.quality.promotion import judge_promotion
from lstm_ad.quality.reasons import Level
from lstm_ad.training.control import Control
from lstm_ad.warm_start import inherited, trained_with

ROOT = Path(__file__).parents[2]
SETTINGS = {
    "sequence-length": "20",
    "hidden-size": "32",
    "epochs": "30",
    "lr": "0.005",
}
N_ROWS = 4000


def sample(name: str) -> np.ndarray:
    """Return the series of a file of the sample."""
    return np.loadtxt(ROOT / "data" / "training" / f"{name}.csv", delimiter=",")


def other_load(series: np.ndarray) -> np.ndarray:
    """Return what the sensors show under another load."""
    return 1.5 * series + 1


def started(folder: Path, rows: Rows, **options: Any) -> Fit:
    """Return a fit that starts from the model in a folder.

    Args:
        folder: The folder.
        rows: The new rows.
        options: Hyperparameters with underscores, and a ``control``.
    """
    control = options.pop("control", None)
    own = {name.replace("_", "-"): value for name, value in options.items()}
    settings = inherited(Hyperparameters.from_strings(own), trained_with(folder))
    return fit(rows, settings, control, parent=Parent.load(folder))


@pytest.fixture(scope="module")
def old_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a model of the sample's first rows."""
    folder = tmp_path_factory.mktemp("old")
    rows = Rows.of({"a": sample("train")[:N_ROWS]}, {"v": sample("valid")})
    artifacts.save(folder, fit(rows, Hyperparameters.from_strings(SETTINGS)))
    return folder


@pytest.fixture(scope="module")
def loaded() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return later rows of the sample under another load, and to validate on."""
    training = sample("train")[N_ROWS:]
    return {"a": other_load(training)}, {"v": other_load(sample("valid"))}


def test_calibrating_cures_another_load(
    old_dir: Path, loaded, run_train, opt_ml
) -> None:
    """A whole job, from the archive of the platform to the report.

    The old model alarms on most rows, the new one hardly more than it is allowed to;
    the network is byte for byte the old one. torch is not even imported.
    """
    opt_ml.write_config("hyperparameters", {"warm-start": "calibrate"})
    opt_ml.add_channel("training", {"a.csv": loaded[0]["a"]})
    opt_ml.add_channel("validation", {"v.csv": loaded[1]["v"]})
    opt_ml.add_channel("model", {})
    with tarfile.open(opt_ml.data_dir / "model" / "model.tar.gz", "w:gz") as archive:
        archive.add(old_dir, ".")

    job = run_train(opt_ml, PYTHONPROFILEIMPORTTIME="1")

    assert job.returncode == 0, job.log
    assert re.search(r"\| +onnxruntime$", job.log, re.MULTILINE)
    assert not re.search(r"\| +torch$", job.log, re.MULTILINE)
    metrics = json.loads((opt_ml.base / "output/data/metrics.json").read_text())
    previous, target = metrics["previous"], 0.001
    assert previous["alarm_rate"] > 10 * target
    assert previous["new_alarm_rate"] <= 3 * target
    assert previous["promote"] is True
    assert previous["losses"]["mse"] > 5 * previous["new_losses"]["mse"]
    assert f"Better than the model it came from? {previous['reason']}" in job.log
    report = (opt_ml.base / "output/data/report.html").read_text()
    assert "Better than the model it came from? Yes" in report
    (rate,) = re.findall(r"previous_alarm_rate: ([\d.]+)", job.log)
    assert float(rate) == pytest.approx(previous["alarm_rate"], abs=1e-6)
    old, new = (
        json.loads((folder / "model.json").read_text())
        for folder in (old_dir, opt_ml.model_dir)
    )
    assert new["parent"] == previous["model"] == old["digest"]
    assert "parent" not in old
    for name in ("network.onnx", "weights.safetensors"):
        assert (opt_ml.model_dir / name).read_bytes() == (old_dir / name).read_bytes()


def test_training_on_reaches_a_new_training_in_a_fifth_of_its_epochs(
    old_dir: Path, loaded
) -> None:
    """By the loss on the same rows, in nearly the same units, with as many new rows."""
    rows = Rows.of({"a": loaded[0]["a"][:N_ROWS]}, loaded[1])
    afresh = fit(rows, Hyperparameters.from_strings(SETTINGS))

    result = started(old_dir, rows, epochs="6")

    assert len(result.history) == 6
    assert len(afresh.history) == 30
    assert result.losses["valid"].mse <= afresh.losses["valid"].mse


@pytest.mark.parametrize("measured_on", ["normal rows", "noise", "its own end"])
def test_a_model_of_noise_does_not_take_the_place_of_the_old(
    measured_on: str, model_dir: Path, make_series: Callable[..., np.ndarray]
) -> None:
    """Though the old one alarms on all of it, and the new one on nothing."""
    noise = np.random.default_rng(0).normal(size=(1000, 2)) * [3, 7] + [0, 50]
    validation = {
        "normal rows": {"v": make_series(200, seed=1)},
        "noise": {"v": noise[800:]},
        "its own end": {},
    }[measured_on]

    result = started(model_dir, Rows.of({"a": noise[:800]}, validation), epochs="5")

    assert result.parent is not None
    promotion = judge_promotion(result, result.parent, Level.CHECK)
    assert promotion.promote is False, promotion.reason


def test_calibrating_on_the_models_own_rows_gives_the_model(
    model_dir: Path, tiny_fit: Fit, make_series: Callable[[int], np.ndarray]
) -> None:
    """With its calibration part as the training file: the same Gaussian, and so on."""
    first = tiny_fit.n_rows["train"]

    result = started(
        model_dir, Rows.of({"a": make_series(400)[first:]}), warm_start="calibrate"
    )

    found, expected = result.detector, tiny_fit.detector
    for name in ("mean", "covariance"):
        np.testing.assert_allclose(
            getattr(found.gaussian, name), getattr(expected.gaussian, name), rtol=1e-12
        )
    assert found.decision.threshold == pytest.approx(
        expected.decision.threshold, rel=1e-12
    )
    assert found.reconstructor.network.model == expected.reconstructor.network.model
    assert found.reconstructor.scaler.mean.tolist() == (
        expected.reconstructor.scaler.mean.tolist()
    )
    assert result.losses["calibration"].mse == pytest.approx(
        tiny_fit.losses["calibration"].mse, rel=1e-6
    )
    assert result.n_rows == {"train": 0, "valid": 0, "calibration": 400 - first}


def test_drift_is_told_from_the_rows_that_calibrated(
    model_dir: Path, make_series: Callable[..., np.ndarray], tmp_path: Path
) -> None:
    """Not from those of the old model, though its scaler stays: it is cured.

    The rows that it was last fitted to are saved with the model, and only with such.
    """
    series = np.array([0.4, 0.8]) + make_series(400, seed=2)

    result = started(model_dir, Rows.of({"a": series}), warm_start="calibrate")

    artifacts.save(tmp_path / "new", result)
    old, new = artifacts.load(model_dir), artifacts.load(tmp_path / "new")
    assert new.reconstructor.scaler.mean.tolist() == (
        old.reconstructor.scaler.mean.tolist()
    )
    reference = Reference.of(new, n_trained=400)
    np.testing.assert_allclose(reference.mean, series.mean(axis=0))
    np.testing.assert_allclose(reference.scale, series.std(axis=0))
    assert Reference.of(old, 320).mean.tolist() == (
        old.reconstructor.scaler.mean.tolist()
    )


def test_what_overlaps_is_calibrated_as_well(
    overlapping_fit: Fit, tmp_path: Path, make_series: Callable[..., np.ndarray]
) -> None:
    """With windows, and without rows that the LSTM was trained on."""
    artifacts.save(tmp_path, overlapping_fit)

    result = started(
        tmp_path, Rows.of({"a": make_series(300, seed=2)}), warm_start="calibrate"
    )

    scores = result.detector.score(make_series(300, seed=3)).normality_score
    assert result.detector.decision.is_anomaly(scores).mean() < 0.01
    assert result.n_rows["calibration"] == 300


def test_new_rows_may_have_gaps_that_the_old_ones_had_not(
    model_dir: Path, make_series: Callable[..., np.ndarray]
) -> None:
    """Both models are measured with what the job holds over them."""
    series = make_series(400, seed=2)
    series[100:102, 0] = np.nan
    series[200:230] = np.nan

    result = started(
        model_dir,
        Rows.of({"a": series}),
        warm_start="calibrate",
        missing_values="hold",
    )

    assert result.parent is not None
    assert result.parent.loss == result.parent.new_loss
    assert result.detector.reconstructor.max_gap > 0


def test_training_on_keeps_the_old_weights_if_none_are_better(
    model_dir: Path, tiny_fit: Fit, make_series: Callable[..., np.ndarray]
) -> None:
    """A learning rate that destroys every epoch: the model stays as it was."""
    rows = Rows.of({"a": make_series(400)}, {"v": make_series(123, seed=1)})

    result = started(model_dir, rows, lr="10")

    assert result.best_epoch == 0
    assert len(result.history) == 3
    for name, array in tiny_fit.weights.items():
        assert (result.weights[name] == array).all()


def test_columns_are_put_in_the_order_of_the_model(
    make_opt_ml, run_train, make_series: Callable[..., np.ndarray]
) -> None:
    """By their names, from the job that trained the model to the one that starts there.

    What has another column is refused.
    """
    as_text = "\n".join(",".join(map(repr, row)) for row in make_series(400).tolist())
    swapped = make_series(400, seed=2)[:, ::-1].tolist()
    other = "\n".join(",".join(map(repr, row)) for row in swapped)
    old, new, wrong = make_opt_ml(), make_opt_ml(), make_opt_ml()
    settings = {"sequence-length": "10", "hidden-size": "8", "epochs": "1"}
    old.write_config("hyperparameters", settings)
    old.add_channel("training", {"a.csv": f"p,q\n{as_text}\n".encode()})
    assert run_train(old).returncode == 0
    files = {path.name: path.read_bytes() for path in old.model_dir.iterdir()}
    for job, header in ((new, "q,p"), (wrong, "q,r")):
        job.write_config("hyperparameters", {"warm-start": "calibrate"})
        job.add_channel("training", {"a.csv": f"{header}\n{other}\n".encode()})
        job.add_channel("model", files)

    found, refused = run_train(new), run_train(wrong)

    assert found.returncode == 0, found.log
    assert "a.csv: the columns are in another order than in the model" in found.log
    assert "another level or range" not in found.log
    assert refused.failure is not None
    assert "a.csv: The header lacks the column" in refused.failure
    assert "which the model has" in refused.failure


def test_checkpoints_descend_from_the_same_model(
    model_dir: Path,
    tiny_fit: Fit,
    tmp_path: Path,
    make_series: Callable[..., np.ndarray],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A job goes on from its own, bit by bit, and not from one of another model."""
    other = tmp_path / "other"
    changed = {name: 0.5 * array for name, array in tiny_fit.weights.items()}
    artifacts.save(other, dataclasses.replace(tiny_fit, weights=changed))
    rows = Rows.of({"a": make_series(400, seed=2)}, {"v": make_series(123, seed=1)})
    whole = started(model_dir, rows, epochs="4")
    epochs = iter([False, True])
    one = Control(
        should_stop=lambda: False,
        on_epoch_end=lambda epoch: next(epochs) and pytest.fail("stop"),
        checkpoint_dir=tmp_path / "checkpoints",
    )
    with pytest.raises(pytest.fail.Exception, match="stop"):
        started(model_dir, rows, epochs="4", control=one)
    control = Control(checkpoint_dir=tmp_path / "checkpoints")

    with caplog.at_level(logging.INFO):
        resumed = started(model_dir, rows, epochs="4", control=control)

    assert "Training goes on after epoch 1." in caplog.text
    assert resumed.history == whole.history
    for name, array in whole.weights.items():
        assert (resumed.weights[name] == array).all()
    caplog.clear()
    with caplog.at_level(logging.INFO):
        started(other, rows, epochs="4", control=control)
    assert "it was written for other data, hyperparameters or versions" in caplog.text
    assert "Training goes on" not in caplog.text
