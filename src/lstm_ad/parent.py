"""The model that a job starts from, and how it does on the job's own rows."""

import dataclasses
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from lstm_ad import artifacts, model_json
from lstm_ad.axes import FloatArray, Weights
from lstm_ad.data.partition import Part
from lstm_ad.data.schema import Schema
from lstm_ad.data.validate import schema_problem
from lstm_ad.exceptions import ArtifactError, SeriesError, SettingError
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.scaling import Scaler, name_series
from lstm_ad.model_json import DESCRIPTION, WEIGHTS
from lstm_ad.parallel import Cores
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.measured import reconstruction_loss
from lstm_ad.warm_start import trained_with

logger = logging.getLogger(__name__)

MAX_COMPARED_ROWS = 2**16
"""Rows by which two standardisations are compared."""

MIN_FALL = 0.5
"""To which part the loss must fall for another standardisation than the model's."""

MAX_CHANGE = 3.0
"""By which factor the deviation of a series may change without a warning."""


@dataclasses.dataclass(frozen=True)
class Parent:
    """The model that a job starts from."""

    detector: LSTMAD
    """What scores."""
    weights: Weights
    """The LSTM's parameters by their torch names."""
    precision: str
    """The precision it was trained with."""
    digest: str
    """That of its ``model.json``, which has those of the other files."""

    @classmethod
    def load(
        cls, model_dir: Path, n_threads: int = 1, group: ProcessGroup = ALONE
    ) -> "Parent":
        """Return the model in a folder of this host.

        Args:
            model_dir: The folder.
            n_threads: How many threads compute.
            group: The processes of the job, each of which loads it.

        Raises:
            ArtifactError: If it is damaged, or if its files do not fit together.
            SettingError: If the hosts have different models.
        """
        detector = artifacts.load(model_dir, Cores(n_threads))
        path = model_dir / DESCRIPTION
        document = model_json.parse(path, path.read_bytes())
        hyperparameters = trained_with(model_dir).hyperparameters
        try:
            weights = load_arrays((model_dir / WEIGHTS).read_bytes())
        except SafetensorError as error:
            raise ArtifactError(f"{model_dir / WEIGHTS} is damaged: {error}") from error
        weights = dict(sorted(weights.items()))  # they come in any order
        found = {name: array.shape for name, array in weights.items()}
        layout = detector.reconstructor.network.layout
        is_finite = all(np.isfinite(array).all() for array in weights.values())
        n_series = detector.reconstructor.network.n_series
        if (
            found != _shapes(hyperparameters, n_series)
            or not is_finite
            or hyperparameters.layout != layout
        ):
            raise ArtifactError(
                f"{model_dir / WEIGHTS} does not fit {DESCRIPTION}: its arrays are not "
                f"the finite weights of {hyperparameters.num_layers} layers of "
                f"{hyperparameters.hidden_size} units for {n_series} series."
            )
        digest = str(document["digest"])
        if len(set(group.gather(digest))) > 1:
            raise SettingError(
                "The instances have different models in the channel model; use "
                "S3DataDistributionType FullyReplicated for it."
            )
        return cls(detector, weights, str(document["precision"]), digest)

    @property
    def scaler(self) -> Scaler:
        """The standardisation of the rows that it was trained on."""
        return self.detector.reconstructor.scaler

    def for_gaps(self, max_gap: int) -> "Parent":
        """Return the model as it scores rows with gaps of up to so many rows."""
        reconstructor = dataclasses.replace(
            self.detector.reconstructor, max_gap=max_gap
        )
        detector = dataclasses.replace(self.detector, reconstructor=reconstructor)
        return dataclasses.replace(self, detector=detector)

    def check(self, schema: Schema) -> None:
        """Refuse files with other columns or another step of time than the model's.

        Raises:
            SeriesError: If they have.
        """
        expected = self.detector.schema
        n_found, n_expected = len(schema.series), len(expected.series)
        if n_found != n_expected:
            raise SeriesError(
                f"The number of columns is wrong: {n_found} were found, but the model "
                f"in the channel model was trained on {n_expected} series, one per "
                f"column."
            )
        if problem := schema_problem(schema, expected):
            raise SeriesError(
                f"The training data do not go with the model in the channel model: "
                f"{problem} the model; use data with its columns and its step of time."
            )

    def standardisation(
        self,
        found: Scaler,
        series: Sequence[FloatArray],
        group: ProcessGroup = ALONE,
    ) -> Scaler:
        """Return how the new rows are standardised: as the old ones, if that will do.

        The LSTM was trained with the scaler of the old rows. Where another load or
        another sensor has changed the level and the range of the series, it sees what
        it knows if they are standardised by their own: that shows in its loss.

        Args:
            found: The scaler that the new rows would have by themselves.
            series: Rows that the LSTM is not trained on, each of shape ``(T, D)``:
                those that this process scores.
            group: The processes of the job.
        """
        kept, renewed = (
            reconstruction_loss(
                dataclasses.replace(self.detector.reconstructor, scaler=scaler),
                series,
                found.scale,
                group,
            ).mse
            for scaler in (self.scaler, found)
        )
        if renewed < MIN_FALL * kept:
            logger.warning(
                "The series have another level or range than when the model was "
                "trained: with the standardisation of the new rows the loss of its "
                "LSTM is %.4g, with the old one %.4g, so the new one is used.",
                renewed,
                kept,
            )
            return found
        self._warn_of_changes(found)
        return self.scaler

    def _warn_of_changes(self, found: Scaler) -> None:
        """Name the series whose deviation is not what the LSTM was trained with."""
        for factor, how in (
            (found.scale / self.scaler.scale, "more than"),
            (self.scaler.scale / found.scale, "less than a third of"),
        ):
            changed = factor > MAX_CHANGE
            if changed.any():
                times = f"{MAX_CHANGE:g} times " if how == "more than" else ""
                logger.warning(
                    "The standard deviation of %s is now %s %swhat it was when the "
                    "model was trained, and the LSTM reads it in the old unit; train "
                    "a new model if such a change lasts.",
                    name_series(changed, self.detector.schema.series),
                    how,
                    times,
                )


def shortened(parts: Sequence[Part], n_unscored: int) -> list[Part]:
    """Return the first rows of some parts: about as many as are compared.

    Args:
        parts: The parts.
        n_unscored: The rows of each that have no reconstruction.
    """
    fraction = min(1.0, MAX_COMPARED_ROWS / sum(map(len, parts)))
    lengths = (n_unscored + math.ceil(fraction * (len(p) - n_unscored)) for p in parts)
    return [
        dataclasses.replace(part, stop=part.start + length)
        for part, length in zip(parts, lengths, strict=True)
    ]


def _shapes(hyperparameters: Hyperparameters, n_series: int) -> dict[str, object]:
    """Return the shapes of the weights by their torch names."""
    n_hidden = hyperparameters.hidden_size
    shapes: dict[str, object] = {}
    for layer in range(hyperparameters.num_layers):
        n_inputs = n_hidden if layer else n_series
        shapes[f"lstm.weight_ih_l{layer}"] = (4 * n_hidden, n_inputs)
        shapes[f"lstm.weight_hh_l{layer}"] = (4 * n_hidden, n_hidden)
        shapes[f"lstm.bias_ih_l{layer}"] = (4 * n_hidden,)
        shapes[f"lstm.bias_hh_l{layer}"] = (4 * n_hidden,)
    n_outputs = hyperparameters.layout.prediction_length * n_series
    shapes["head.weight"] = (n_outputs, n_hidden)
    shapes["head.bias"] = (n_outputs,)
    return shapes
