"""Say what a job that starts from a model takes from it, before a runtime is loaded.

What is not given has the value that the model was trained with. What the LSTM is made
of cannot be changed; and where the LSTM stays as it is, nothing that only its training
uses is accepted.
"""

import dataclasses
from pathlib import Path

import msgspec

from lstm_ad import model_json
from lstm_ad.data.schema import Schema
from lstm_ad.exceptions import ArtifactError, HyperparameterError
from lstm_ad.hyperparameters import (
    CALIBRATE,
    Hyperparameters,
    declarations,
    preset_attributes,
)
from lstm_ad.model_json import DESCRIPTION

ARCHITECTURE = ("num_layers", "hidden_size")
COLUMNS = ("timestamp_column", "id_columns", "group_column", "sampling_interval")
LENGTHS = ("context_length", "prediction_length", "sequence_stride")

TRAINING_ONLY = (
    *("dropout", "lr", "batch_size", "epochs", "calibration_fraction"),
    *("early_stopping_patience", "precision", "seed", "preset"),
)
"""What decides nothing where the LSTM stays as it is."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """What a model was trained with."""

    hyperparameters: Hyperparameters
    """All of them, as if a job had given them."""
    schema: Schema
    """The columns of its files."""


def trained_with(model_dir: Path) -> Origin:
    """Return what a model was trained with.

    Raises:
        ArtifactError: If they cannot be read.
    """
    path = model_dir / DESCRIPTION
    try:
        document = model_json.parse(path, path.read_bytes())
        given = {name: str(v) for name, v in document["hyperparameters"].items()}
        schema = msgspec.convert(document["schema"], Schema)
        return Origin(Hyperparameters.from_strings(given), schema)
    except (OSError, LookupError, AttributeError, ValueError) as error:
        problem: Exception = error
    except HyperparameterError as error:
        problem = error

    raise ArtifactError(
        f"{path} does not say what the model was trained with: {problem}"
    ) from problem


def inherited(own: Hyperparameters, origin: Origin) -> Hyperparameters:
    """Return the hyperparameters of a job that starts from a model.

    Args:
        own: What the job was given.
        origin: What the model was trained with.

    Raises:
        HyperparameterError: If something is given that cannot be changed, or that
            would be of no use; one message names every fault.
    """
    names = {d.name.replace("-", "_"): d.name for d in declarations()}
    parent = origin.hyperparameters
    own, given = own.for_series(len(origin.schema.series)), own.given
    if own.warm_start == CALIBRATE:
        useless = sorted(names[name] for name in given.intersection(TRAINING_ONLY))
        if useless:
            raise HyperparameterError(
                f"With warm-start={CALIBRATE} the LSTM is not trained, so leave out "
                f"{', '.join(useless)}."
            )
    elif "preset" in given:  # it says what is not given
        given |= preset_attributes()
    changed = {name: getattr(own, name) for name in (*given, "warm_start")}
    merged = dataclasses.replace(parent, **changed, given=frozenset(names))
    different = [
        f"{names[name]} is {getattr(merged, name)}, but the model has "
        f"{getattr(parent, name) or 'none'}"
        for name in (*ARCHITECTURE, *COLUMNS)
        if getattr(merged, name) != getattr(parent, name)
    ]
    lengths = (dataclasses.astuple(s.layout) for s in (merged, parent))
    different += [
        f"{names[name]} is {own_length}, but the model has {length}"
        for name, own_length, length in zip(LENGTHS, *lengths, strict=True)
        if own_length != length
    ]
    if different:
        raise HyperparameterError(
            f"A job that starts from a model keeps its LSTM, so leave out or repeat "
            f"what that was made with: {'; '.join(different)}."
        )
    return merged
