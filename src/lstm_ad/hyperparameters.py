"""Declare the hyperparameters once: name, type, default, bounds and meaning.

Everything else that lists hyperparameters (the parser of a job's strings, the table of
``docs/training.md``, the algorithm specification) reads this declaration or is tested
against it.
"""

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from lstm_ad.exceptions import HyperparameterError
from lstm_ad.model import off
from lstm_ad.model.layout import Layout

FP32, BF16 = "fp32", "bf16"
"""Single precision, and products of numbers with 8 bits of mantissa."""

REFUSE, HOLD = "refuse", "hold"
"""What is done with missing values: nothing, or the last value is held."""

DOCUMENT, DETECTION = "document", "detection"
"""The document's defaults, and what finds the most anomalies."""

Value = int | float | str

_DETECTION: Mapping[str, tuple[Value, Value]] = {
    "context_length": (100, 100),
    "prediction_length": (5, 5),
    "sequence_stride": (1, 1),
    "hidden_size": (64, 64),
    "dropout": (0.0, 0.0),
    "lr": (0.005, 0.005),
    "batch_size": (32, 32),
    "epochs": (300, 200),
    "early_stopping_patience": (0, 20),
    "max_anomaly_length": (100, 64),
}
"""What the preset sets for one series, and for several: chosen on whole families of
labelled series, see ``benchmarks/README.md``."""

MOST_CHARACTERS = 2000
"""Characters of a hyperparameter that is a text; SageMaker passes on 2500."""

CONTINUE, CALIBRATE = "continue", "calibrate"
"""What is done with the model that a job starts from: it is trained on, or only what
scores errors is learnt anew."""

N_LENGTHS_OF_ONE = 3
"""Lengths of windows for a single series."""

_RETIRED = {
    "score-smoothing": "max-anomaly-length, the longest anomaly to look for in rows, "
    "replaces it; preset=detection sets that"
}
"""Hyperparameters of earlier versions, and what replaces them."""

_DURATION = re.compile(
    r"P(?:(\d{1,9})D)?(?:T(?=\d)(?:(\d{1,9})H)?(?:(\d{1,9})M)?"
    r"(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?"
)
_LONGEST_INTERVAL = 366 * 24 * 60 * 60
_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?")


@dataclasses.dataclass(frozen=True)
class Declaration:
    """What is public about one hyperparameter."""

    name: str
    """The public name, with hyphens."""
    kind: type[int] | type[float] | type[str]
    """The type of the value."""
    default: Value
    """The value that is used if the job gives none."""
    meaning: str
    """One sentence for the documents and the algorithm specification."""
    minimum: int | float = -math.inf
    """The smallest number that is accepted."""
    maximum: int | float = math.inf
    """The largest number that is accepted."""
    choices: tuple[str, ...] = ()
    """The words that are accepted; without any, every text is."""
    needs_model: bool = False
    """Whether only a job that starts from a model may have it."""

    @property
    def is_text(self) -> bool:
        """Whether every text is accepted, and not some words alone."""
        return self.kind is str and not self.choices

    @property
    def accepted(self) -> str:
        """The values that are accepted, in words."""
        if self.is_text:
            return f"a text of at most {MOST_CHARACTERS} printable characters"
        if self.kind is str:
            return " or ".join(self.choices)
        noun = "an integer" if self.kind is int else "a number"
        return f"{noun} from {self.minimum} to {self.maximum}"

    def problem(self, value: Value) -> str | None:
        """Return what is wrong with ``value`` in one sentence, or None."""
        if isinstance(value, str):
            is_accepted = value in self.choices or (
                self.is_text and len(value) <= MOST_CHARACTERS and value.isprintable()
            )
        else:
            is_accepted = self.minimum <= value <= self.maximum
        if is_accepted:
            return None
        return f'{self.name} must be {self.accepted}, but "{value}" was given.'

    def parse(self, text: str) -> Value:
        """Return the value that ``text`` spells.

        Raises:
            HyperparameterError: If ``text`` does not spell a value that is accepted.
        """
        value: Value = text
        if self.kind is not str:
            number = float(text) if _NUMBER.fullmatch(text) else math.nan
            if math.isfinite(number) and (self.kind is float or number.is_integer()):
                value = self.kind(number)
        if problem := self.problem(value):
            raise HyperparameterError(problem)
        return value


def _declare(
    default: int | float, minimum: int | float, maximum: int | float, meaning: str
) -> Any:
    """Return a dataclass field that carries its public declaration."""
    public = {"minimum": minimum, "maximum": maximum, "meaning": meaning}
    return dataclasses.field(default=default, metadata=public)


def _declare_choice(
    choices: tuple[str, ...], meaning: str, needs_model: bool = False
) -> Any:
    """Return such a field for a word; the first choice is the default."""
    public = {"choices": choices, "meaning": meaning, "needs_model": needs_model}
    return dataclasses.field(default=choices[0], metadata=public)


def _declare_text(meaning: str) -> Any:
    """Return such a field for a text, which is empty if it is not given."""
    return dataclasses.field(default="", metadata={"meaning": meaning})


@dataclasses.dataclass(frozen=True)
class Hyperparameters:
    """The settings of one training job.

    The first seven have the names and defaults of the original product.

    Raises:
        HyperparameterError: If a value is out of its bounds; all faults at once.
    """

    num_layers: int = _declare(2, 1, 16, "The number of LSTM layers.")
    sequence_length: int = _declare(
        50, 1, 100_000, "The number of time steps of a sequence."
    )
    context_length: int = _declare(
        0,
        0,
        100_000,
        "The number of time steps before a sequence that it is reconstructed from, at "
        "least; 0 = sequence-length.",
    )
    prediction_length: int = _declare(
        0,
        0,
        100_000,
        "The number of time steps that are reconstructed at a time; 0 = "
        "sequence-length.",
    )
    sequence_stride: int = _declare(
        0,
        0,
        100_000,
        "The number of time steps from one sequence to the next; a divisor of "
        "prediction-length; 0 = prediction-length.",
    )
    hidden_size: int = _declare(
        128, 1, 8192, "The number of hidden units of each LSTM layer."
    )
    dropout: float = _declare(
        0.1, 0.0, 0.99, "The dropout rate applied after each LSTM layer."
    )
    lr: float = _declare(
        0.001, 1e-9, 10.0, "The learning rate: the peak of its schedule."
    )
    batch_size: int = _declare(
        64, 1, 1_000_000, "The number of sequences per training step."
    )
    epochs: int = _declare(
        100, 1, 1_000_000, "The number of passes over the training sequences."
    )
    calibration_fraction: float = _declare(
        0.2,
        0.01,
        0.9,
        "The fraction of each training file, at its end, that the LSTM is not trained "
        "on: the Gaussian is fitted to its errors there.",
    )
    early_stopping_patience: int = _declare(
        0,
        0,
        1_000_000,
        "The number of epochs without a better one after which the learning rate "
        "falls, over as many epochs as were run until then, and training ends; 0 = "
        "off.",
    )
    max_anomaly_length: int = _declare(
        1,
        1,
        1000,
        "The longest anomaly that is looked for as a whole, in time steps: scores are "
        "those of the worst window of up to this length; 1 = each time step by itself.",
    )
    adaptation_rows: int = _declare(
        0,
        0,
        1_000_000,
        "The number of time steps after which what stays unusual becomes normal; 0 = "
        "never.",
    )
    max_alarm_rate: float = _declare(
        0.001,
        1e-9,
        0.5,
        "The target rate of false alarms, as a fraction of normal time steps: it sets "
        "the threshold.",
    )
    missing_values: str = _declare_choice(
        (REFUSE, HOLD),
        "The treatment of missing values: files and requests that have some are "
        "refused, or the network reads the last value, and the score is of what is "
        "there.",
    )
    max_gap: int = _declare(
        0,
        0,
        100_000,
        "The longest run of time steps over which a missing value is held; 0 = a "
        "tenth of context-length.",
    )
    missing_codes: str = _declare_text(
        "The numbers that stand for a missing value in any series, such as "
        "-9999,999; they need missing-values=hold; empty = none.",
    )
    timestamp_column: str = _declare_text(
        "The column that holds the time of each row: its name in the header, or its "
        "number from 1; empty = none.",
    )
    id_columns: str = _declare_text(
        "The columns that are carried through as text and never learnt from: names or "
        "numbers from 1, separated by commas; empty = none.",
    )
    group_column: str = _declare_text(
        "The one of id-columns that says of what machine a row is, each a series of "
        "its own; empty = all rows are of one.",
    )
    sampling_interval: str = _declare_text(
        "The length of the intervals of time whose rows are averaged into one, an ISO "
        "8601 duration such as PT1M; empty = rows are taken as they are.",
    )
    off_when: str = _declare_text(
        "The condition under which the machine is off, such as current < 1: these time "
        "steps are neither learnt from nor scored; empty = never.",
    )
    precision: str = _declare_choice(
        (FP32, BF16),
        "The numbers that the network is trained with: bf16 is faster, but rounds "
        "more, and where the hardware has none training goes on in fp32.",
    )
    seed: int = _declare(
        0, 0, 2**32 - 1, "The seed of everything that is random in training."
    )
    preset: str = _declare_choice(
        (DOCUMENT, DETECTION),
        "The defaults of what is not given: the document's, or those that find the "
        "most anomalies in one series or in several.",
    )
    warm_start: str = _declare_choice(
        (CONTINUE, CALIBRATE),
        "The use of the model in the channel model: its training goes on with the new "
        "data, or its LSTM stays and only the Gaussian and the threshold are learnt "
        "from them.",
        needs_model=True,
    )
    given: frozenset[str] = dataclasses.field(default=frozenset(), compare=False)
    """The attributes that a job has given: no preset changes them."""

    def __post_init__(self) -> None:
        values = dataclasses.asdict(self)
        problems = [
            problem
            for declaration in declarations()
            if (problem := declaration.problem(values[_attribute(declaration.name)]))
        ]
        layout = self.layout
        if not problems and layout.prediction_length % layout.stride:
            problems.append(
                f"sequence-stride must be a divisor of prediction-length, which is "
                f'{layout.prediction_length}, but "{layout.stride}" was given.'
            )
        if self.sampling_interval and not self.sampling_step:
            problems.append(
                f"sampling-interval must be an ISO 8601 duration in days, hours, "
                f"minutes and seconds, such as PT1M or PT0.5S, of at most 366 days, "
                f'but "{self.sampling_interval}" was given.'
            )
        elif self.sampling_interval and not self.timestamp_column:
            problems.append(
                "sampling-interval needs the times of rows: name their column in "
                "timestamp-column, or leave it out."
            )
        codes = [code.strip() for code in self.missing_codes.split(",")]
        if self.missing_codes and not all(
            _NUMBER.fullmatch(code) and math.isfinite(float(code)) for code in codes
        ):
            problems.append(
                f"missing-codes must be numbers separated by commas, such as "
                f'-9999,999.99, but "{self.missing_codes}" was given.'
            )
        elif self.missing_codes and self.missing_values == REFUSE:
            problems.append(
                "missing-codes needs missing-values=hold: give both, or leave it out."
            )
        if off.parse(self.off_when) is None:
            problems.append(
                f'off-when must be {off.ACCEPTED}, but "{self.off_when}" was given.'
            )
        if self.group_column and self.group_column not in self.ids:
            problems.append(
                f"group-column must be one of id-columns, which are "
                f'"{self.id_columns}", but "{self.group_column}" was given.'
            )
        if problems:
            raise HyperparameterError(" ".join(problems))

    @property
    def ids(self) -> tuple[str, ...]:
        """The names or numbers of the id columns."""
        names = (name.strip() for name in self.id_columns.split(","))
        return tuple(name for name in names if name)

    @property
    def codes(self) -> tuple[float, ...]:
        """The numbers that stand for a missing value."""
        return tuple(map(float, filter(None, self.missing_codes.split(","))))

    @property
    def sampling_step(self) -> int:
        """The sampling interval in nanoseconds; 0 if there is none."""
        match = _DURATION.fullmatch(self.sampling_interval)
        if match is None:
            return 0
        days, hours, minutes, seconds = (Decimal(part or 0) for part in match.groups())
        found = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        return int(found * 10**9) if found <= _LONGEST_INTERVAL else 0

    @property
    def layout(self) -> Layout:
        """How a series is divided into sequences."""
        prediction_length = self.prediction_length or self.sequence_length
        return Layout(
            context_length=self.context_length or self.sequence_length,
            prediction_length=prediction_length,
            stride=self.sequence_stride or prediction_length,
        )

    @property
    def longest_gap(self) -> int:
        """Over how many rows a missing value is held; 0 if none may be missing."""
        if self.missing_values == REFUSE:
            return 0
        return self.max_gap or max(1, self.layout.context_length // 10)

    def window_lengths(self, n_series: int) -> tuple[int, ...]:
        """Return the lengths of the windows that are scored, in rows, rising.

        Several series are scanned from single rows on; a single one, whose errors
        depend on each other for longer, with ``max-anomaly-length`` and its halves.

        Args:
            n_series: ``D``.
        """
        longest = self.max_anomaly_length
        first = 1 if n_series > 1 else max(1, longest // 2 ** (N_LENGTHS_OF_ONE - 1))
        n_doublings = (longest // first).bit_length() - 1
        return tuple(first * 2**doubling for doubling in range(n_doublings + 1))

    def scores_levels(self, n_series: int) -> bool:
        """Return whether changes of a series' level are scored beside its errors.

        See :meth:`lstm_ad.scoring.reconstruction.Reconstructor.error_vectors`.
        """
        return (
            self.layout.is_overlapping and n_series == 1 and self.max_anomaly_length > 1
        )

    def n_unscored(self, n_series: int) -> int:
        """Return how many rows at the start of a series have no score, at most."""
        return self.layout.n_unscored + self.window_lengths(n_series)[0] - 1

    def for_series(self, n_series: int) -> "Hyperparameters":
        """Return the hyperparameters for data of ``D`` series, as the preset has them.

        Args:
            n_series: ``D``.
        """
        if self.preset != DETECTION:
            return self
        return dataclasses.replace(self, **_preset(n_series, self.given))

    def n_fitting(self, n_timesteps: int) -> int:
        """Return how many of a training file's first rows fit the LSTM."""
        if self.warm_start == CALIBRATE:
            return 0
        return n_timesteps - round(n_timesteps * self.calibration_fraction)

    @classmethod
    def from_strings(cls, strings: Mapping[str, str]) -> "Hyperparameters":
        """Return the hyperparameters that a job's strings spell.

        A value may be bare (``0.001``, as boto3 and tuning jobs send it) or quoted
        once more as JSON (``"0.001"``, as SageMaker's Estimator sends it). An
        integer may be spelled ``5.0``.

        Args:
            strings: Public names, with hyphens, and their values.

        Raises:
            HyperparameterError: If a name is unknown, a value is not of its type or
                out of its bounds. One message names every fault.
        """
        known = {declaration.name: declaration for declaration in declarations()}
        values: dict[str, Value] = {}
        problems, unknown_length = [], False
        for name, text in strings.items():
            if name not in known:
                problems.append(_unknown(name, list(known)))
                continue
            try:
                values[_attribute(name)] = known[name].parse(_unquoted(text))
            except HyperparameterError as error:
                problems.append(str(error))
                if name in ("sequence-length", "prediction-length"):
                    unknown_length = True
        given = frozenset(values)
        if (
            values.get("preset") == DETECTION
        ):  # the number of series comes with the data
            values = {**_preset(2, given), **values}
        if unknown_length:  # then nothing can be said of what must divide it
            values.pop("sequence_stride", None)
        try:
            result = cls(**values, given=given)  # type: ignore[arg-type]  # parsed
        except HyperparameterError as error:
            problems.append(str(error))
        if problems:
            raise HyperparameterError(" ".join(problems))
        return result

    def to_public(self) -> dict[str, Value]:
        """Return all values under their public names.

        What only a job that starts from a model may have is left out if not given.
        """
        values = dataclasses.asdict(self)
        return {
            d.name: values[_attribute(d.name)]
            for d in declarations()
            if not d.needs_model or _attribute(d.name) in self.given
        }


def declarations() -> Iterator[Declaration]:
    """Yield the declaration of each hyperparameter, in the order of the document."""
    for field in dataclasses.fields(Hyperparameters):
        if not field.metadata:
            continue
        name = field.name.replace("_", "-")
        yield Declaration(
            name,
            type(field.default),  # type: ignore[arg-type]  # each has one of its type
            field.default,  # type: ignore[arg-type]
            **field.metadata,
        )


def preset_attributes() -> frozenset[str]:
    """Return the attributes whose defaults a preset sets."""
    return frozenset(_DETECTION)


def _preset(n_series: int, given: frozenset[str]) -> dict[str, Any]:
    """Return the values of the preset for some series, but for those that are given."""
    kind = 0 if n_series == 1 else 1
    return {
        name: values[kind] for name, values in _DETECTION.items() if name not in given
    }


def _attribute(name: str) -> str:
    """Return the attribute of :class:`Hyperparameters` behind a public name."""
    return name.replace("-", "_")


def _unquoted(text: str) -> str:
    """Return ``text`` without the JSON quotes that SageMaker's Estimator adds."""
    text = text.strip()
    if text.startswith('"'):
        try:
            return str(json.loads(text)).strip()
        except ValueError:
            return text
    return text


def _unknown(name: str, known: list[str]) -> str:
    """Return the sentence about a name that is no hyperparameter."""
    if name.replace("_", "-") in _RETIRED:
        return f"{name} is no hyperparameter any more: {_RETIRED[name]}."
    close = difflib.get_close_matches(name.replace("_", "-"), known, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"{name} is not a hyperparameter{hint}; choose from {', '.join(known)}."
