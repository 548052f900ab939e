"""What a job that starts from a model takes from it."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import ArtifactError, HyperparameterError
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.warm_start import Origin, inherited, trained_with

PARENT = {
    "sequence-length": "20",
    "hidden-size": "16",
    "lr": "0.01",
    "max-alarm-rate": "0.01",
}


def settled(**own: str) -> Hyperparameters:
    """Return the hyperparameters of a job that is given some, with hyphens."""
    given = {name.replace("_", "-"): value for name, value in own.items()}
    parent = Hyperparameters.from_strings(PARENT)
    origin = Origin(parent, Schema.unnamed(2))
    return inherited(Hyperparameters.from_strings(given), origin)


@pytest.mark.parametrize(
    ("own", "changed"),
    [
        ({}, {}),
        ({"epochs": "5", "lr": "0.1"}, {"epochs": 5, "lr": 0.1}),
        # What spells the same architecture is accepted.
        ({"sequence_length": "20", "num_layers": "2"}, {}),
        ({"context_length": "20"}, {"context-length": 20}),
        (
            {"warm_start": "calibrate", "max_alarm_rate": "0.1"},
            {"warm-start": "calibrate", "max-alarm-rate": 0.1},
        ),
    ],
)
def test_what_is_not_given_is_as_the_model_was_trained(
    own: dict[str, str], changed: dict[str, object]
) -> None:
    """All of it, and the job's own settings instead where it has some."""
    expected = Hyperparameters.from_strings(PARENT).to_public()

    found = settled(**own).to_public()

    assert found == expected | {"warm-start": "continue"} | changed


@pytest.mark.parametrize(
    ("own", "problem"),
    [
        (
            {"hidden_size": "8", "sequence_length": "50", "prediction_length": "20"},
            "A job that starts from a model keeps its LSTM, so leave out or repeat "
            "what that was made with: hidden-size is 8, but the model has 16; "
            "context-length is 50, but the model has 20.",
        ),
        (
            {"preset": "detection"},
            "A job that starts from a model keeps its LSTM, so leave out or repeat "
            "what that was made with: hidden-size is 64, but the model has 16; "
            "context-length is 100, but the model has 20; prediction-length is 5, but "
            "the model has 20; sequence-stride is 1, but the model has 20.",
        ),
        (
            {"timestamp_column": "time"},
            "A job that starts from a model keeps its LSTM, so leave out or repeat "
            "what that was made with: timestamp-column is time, but the model has "
            "none.",
        ),
        (
            {"warm_start": "calibrate", "lr": "0.1", "epochs": "7"},
            "With warm-start=calibrate the LSTM is not trained, so leave out epochs, "
            "lr.",
        ),
    ],
)
def test_what_cannot_be_changed_is_refused(own: dict[str, str], problem: str) -> None:
    """Every difference in one message, and nothing is ignored."""
    with pytest.raises(HyperparameterError, match=f"^{re.escape(problem)}$"):
        settled(**own)


def test_the_settings_of_a_model_are_those_it_was_trained_with(
    model_dir: Path, tiny: Hyperparameters
) -> None:
    """As ``model.json`` has them."""
    assert trained_with(model_dir) == Origin(tiny, Schema.unnamed(2))


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda document: document.pop("hyperparameters"), "'hyperparameters'"),
        (lambda document: document.update(hyperparameters=[]), "no attribute 'items'"),
        (lambda document: document.update(schema=[]), "Expected `object`"),
        (
            lambda document: document["hyperparameters"].update(layers=2),
            "layers is not a hyperparameter",
        ),
    ],
)
def test_a_model_that_does_not_say_them_is_refused(
    spoil: Callable[[dict], None], problem: str, model_dir: Path
) -> None:
    """By a sentence that names the file."""
    path = model_dir / "model.json"
    document = json.loads(path.read_text())
    spoil(document)
    path.write_text(json.dumps(document))

    expected = f"{path} does not say what the model was trained with: "
    with pytest.raises(ArtifactError, match=f"^{re.escape(expected)}.*{problem}"):
        trained_with(model_dir)
