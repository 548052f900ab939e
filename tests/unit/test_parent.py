"""The model that a job starts from."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lstm_ad import artifacts
from lstm_ad.artifacts import Fit
from lstm_ad.data.partition import Part
from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import ArtifactError, SeriesError, SettingError
from lstm_ad.model.scaling import Scaler
from lstm_ad.parent import MAX_COMPARED_ROWS, Parent, shortened
from lstm_ad.processes import ProcessGroup

Series = Callable[..., np.ndarray]


def test_a_model_is_what_was_saved(model_dir: Path, tiny_fit: Fit) -> None:
    """Its weights, its precision, and a digest that is its own."""
    parent = Parent.load(model_dir)

    assert {name: array.tolist() for name, array in parent.weights.items()} == {
        name: array.tolist() for name, array in tiny_fit.weights.items()
    }
    assert parent.precision == tiny_fit.precision
    assert f'"digest": "{parent.digest}"' in (model_dir / "model.json").read_text()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda weights: {k: v for k, v in weights.items() if k != "head.bias"},
        lambda weights: {**weights, "head.bias": weights["head.bias"][:-1]},
        lambda weights: {**weights, "head.bias": np.nan * weights["head.bias"]},
    ],
    ids=["one is missing", "one is short", "one is not finite"],
)
def test_weights_of_another_network_are_refused(
    spoil: Callable[[dict], dict], tiny_fit: Fit, tmp_path: Path
) -> None:
    """An archive may have been made by hand, with digests that are right."""
    weights = spoil(dict(tiny_fit.weights))
    artifacts.save(tmp_path, dataclasses.replace(tiny_fit, weights=weights))

    expected = (
        "does not fit model.json: its arrays are not the finite weights of 2 layers of "
        "8 units for 2 series"
    )
    with pytest.raises(ArtifactError, match=expected):
        Parent.load(tmp_path)


def test_instances_with_different_models_are_refused(model_dir: Path) -> None:
    """Each reads its own copy; nobody trains on from two models."""

    class Others:
        """Another process that has another model."""

        def gather(self, item: str) -> list[str]:
            return [item, "another"]

    group = ProcessGroup(rank=0, size=2, collectives=Others())  # type: ignore[arg-type]

    with pytest.raises(SettingError, match="different models in the channel model"):
        Parent.load(model_dir, group=group)


def test_the_old_standardisation_stays_where_it_will_do(
    model_dir: Path, make_series: Series, caplog: pytest.LogCaptureFixture
) -> None:
    """Bit by bit, and series whose deviation has changed are named."""
    parent = Parent.load(model_dir)
    found = Scaler(parent.scaler.mean, parent.scaler.scale * [4, 0.25])

    assert parent.standardisation(found, [make_series(200)]) is parent.scaler
    assert [record.message for record in caplog.records] == [
        "The standard deviation of series 1 is now more than 3 times what it was when "
        "the model was trained, and the LSTM reads it in the old unit; train a new "
        "model if such a change lasts.",
        "The standard deviation of series 2 is now less than a third of what it was "
        "when the model was trained, and the LSTM reads it in the old unit; train a "
        "new model if such a change lasts.",
    ]


def test_another_gain_and_offset_give_another_standardisation(
    model_dir: Path, make_series: Series, caplog: pytest.LogCaptureFixture
) -> None:
    """The LSTM then sees what it knows."""
    parent = Parent.load(model_dir)
    series = 1.5 * make_series(200) + 10
    found = Scaler(1.5 * parent.scaler.mean + 10, 1.5 * parent.scaler.scale)

    assert parent.standardisation(found, [series]) is found
    assert "have another level or range than when the model was trained" in caplog.text


def test_standardisations_are_compared_by_a_bounded_number_of_rows() -> None:
    """By the first rows of every part, each as much shorter as the others."""
    file = object()
    parts = [Part(file, 5, 5 + n, owners=(0,)) for n in (50_000, 200_000, 20)]

    found = shortened(parts, n_unscored=10)

    assert [part.start for part in found] == [5, 5, 5]
    assert sum(map(len, found)) == pytest.approx(MAX_COMPARED_ROWS, rel=1e-3)
    assert len(found[1]) == pytest.approx(4 * len(found[0]), rel=1e-2)
    assert len(found[2]) > 10
    assert shortened(parts[:1], n_unscored=10) == parts[:1]


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (Schema.unnamed(3), "3 were found, but the model in the channel model was "),
        (
            dataclasses.replace(Schema.unnamed(2), is_named=True),
            "it has a header, unlike the model; use data with its columns and its step",
        ),
    ],
)
def test_files_with_other_columns_are_refused(
    schema: Schema, problem: str, model_dir: Path
) -> None:
    """Whether they are more, or have names that the model has not."""
    with pytest.raises(SeriesError, match=problem):
        Parent.load(model_dir).check(schema)
