"""Describe training data by their parts, and what is wrong with them as findings."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from lstm_ad.axes import FloatArray, IndexArray
from lstm_ad.data.fingerprints import Fingerprints, divisor_of
from lstm_ad.data.profile import Profile, profile
from lstm_ad.data.rows import sent_row
from lstm_ad.data.schema import Schema
from lstm_ad.model.scaling import name_series
from lstm_ad.quality.reasons import Level
from lstm_ad.quality.stretches import Stretches


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one series, or with a file."""

    name: str
    """The name of its rule, as in the table of this module."""
    level: Level
    """How much it matters."""
    series: tuple[int, ...]
    """The series, counted from 0; empty for a whole file."""
    file: str
    """The name of the file."""
    row: int | None
    """The row of the file, counted from 1, where there is one."""
    found: str
    """What was found, in a sentence that names file, series and row."""
    harm: str
    """Why it harms, in a sentence."""
    advice: str
    """What to do, in a sentence."""
    is_refused: bool = False
    """Whether no model can be made of such data."""
    code: float | None = None
    """The value of the series that certainly stands for a missing reading."""

    @property
    def importance(self) -> int:
        """How bad it is, compared with others."""
        return len(Level) * self.is_refused + list(Level).index(self.level)


@dataclasses.dataclass(frozen=True)
class Source:
    """One file to describe."""

    name: str
    """What messages call it."""
    values: FloatArray
    """Its rows, of shape ``(T, D)``."""
    digest: str
    """A digest of the whole file."""
    first_row: int = 0
    """The number of its first row here, counted from 0."""
    inserted: tuple[tuple[int, int], ...] = ()
    """The runs of rows that the file itself lacks."""


@dataclasses.dataclass(frozen=True)
class Part:
    """Rows of the files of a channel that serve one purpose."""

    name: str
    """What messages call it."""
    files: tuple[str, ...]
    """The names of the files."""
    first_rows: tuple[int, ...]
    """The number of each file's first row in this part, counted from 0."""
    profile: Profile
    """What they look like."""
    digests: tuple[str, ...] = ()
    """A digest of each whole file."""
    fingerprints: Fingerprints | None = None
    """Of stretches of the files: of whole ones, also for the training rows."""
    inserted: tuple[tuple[tuple[int, int], ...], ...] = ()
    """The runs of rows that each file itself lacks."""

    def place(self, row: int) -> tuple[str, int]:
        """Return the file and the row there, counted from 1, of a row of the part."""
        file, there = self.profile.locate(row)
        row = self.first_rows[file] + there
        return self.files[file], sent_row(row, self.inserted[file])


@dataclasses.dataclass(frozen=True)
class Data:
    """What the rules look at."""

    fitting: Part
    """The rows that the LSTM is trained on."""
    calibration: Part
    """The last rows of each training file."""
    validation: Part | None = None
    """The rows of the validation channel, if there are any."""
    schema: Schema | None = None
    """The columns of the files; None if they have no names and hold series alone."""

    @classmethod
    def of(
        cls,
        training: Sequence[Source],
        cuts: Sequence[int],
        validation: Sequence[Source] = (),
        schema: Schema | None = None,
    ) -> "Data":
        """Return the description of some files.

        Args:
            training: The training files.
            cuts: How many first rows of each the LSTM is trained on, be it less than
                none or more than all; of all files together at least one, and not all.
            validation: The validation files; may be empty.
            schema: The columns of the files.
        """
        whole = [source.values for source in (*training, *validation)]
        divisor = divisor_of(sum(map(len, whole)))
        earlier = [
            (source, source.values[:cut])
            for source, cut in zip(training, cuts, strict=True)
            if cut > 0
        ]
        later = [
            (source, max(0, cut))
            for source, cut in zip(training, cuts, strict=True)
            if cut < len(source.values)
        ]
        fitting = Part(
            "the training rows",
            tuple(source.name for source, _ in earlier),
            tuple(source.first_row for source, _ in earlier),
            profile([values for _, values in earlier]),
            tuple(source.digest for source, _ in earlier),
            Fingerprints.of([values for _, values in earlier], divisor),
            tuple(source.inserted for source, _ in earlier),
        )
        calibration = Part(
            "the calibration part",
            tuple(source.name for source, _ in later),
            tuple(source.first_row + cut for source, cut in later),
            profile([source.values[cut:] for source, cut in later]),
            inserted=tuple(source.inserted for source, _ in later),
        )
        if not validation:
            return cls(fitting, calibration, schema=schema)
        validating = Part(
            "the validation data",
            tuple(source.name for source in validation),
            tuple(source.first_row for source in validation),
            profile([source.values for source in validation]),
            tuple(source.digest for source in validation),
            Fingerprints.of([source.values for source in validation], divisor),
            tuple(source.inserted for source in validation),
        )
        return cls(fitting, calibration, validating, schema)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts that there are."""
        every = (self.fitting, self.calibration, self.validation)
        return tuple(part for part in every if part is not None)

    @property
    def n_changes(self) -> tuple[IndexArray, IndexArray]:
        """How often each series rises, and falls, in the training files."""
        one, two = self.fitting.profile, self.calibration.profile
        return one.n_rises + two.n_rises, one.n_falls + two.n_falls

    @functools.cached_property
    def stretches(self) -> Stretches:
        """Sampled rows of both training parts."""
        return Stretches.of(self.fitting.profile, self.calibration.profile)

    def stretches_of_files(self, min_rows: int, min_sampled: int) -> list[Stretches]:
        """Return the sampled rows of each training file that has enough of them.

        Args:
            min_rows: How many rows it has.
            min_sampled: How many of them are sampled.
        """
        runs: dict[str, list[range]] = {}
        first = 0
        for part in (self.fitting, self.calibration):
            for name, n_rows in zip(part.files, part.profile.n_timesteps, strict=True):
                runs.setdefault(name, []).append(range(first, first + n_rows))
                first += n_rows
        if len(runs) == 1:
            found = [self.stretches]
        else:
            found = [
                self.stretches.within(some)
                for some in runs.values()
                if sum(map(len, some)) >= min_rows
            ]
        return [one for one in found if len(one.sample) >= min_sampled]

    def place(self, row: int) -> tuple[str, int]:
        """Return the file and the row there of a row of both training parts."""
        n_fitting = self.fitting.profile.n_rows
        if row < n_fitting:
            return self.fitting.place(row)
        return self.calibration.place(row - n_fitting)

    def place_range(self, first: int, last: int) -> tuple[str, int, str]:
        """Return what :meth:`place` does of a first row, and where the last one is.

        The last one is in words, with its file where that is another.
        """
        file, row = self.place(first)
        last_file, last_row = self.place(last)
        return file, row, f"{last_row}" + f" of {last_file}" * (last_file != file)

    @property
    def names(self) -> tuple[str, ...]:
        """What the series are called, of length ``D``."""
        return (self.schema or Schema.unnamed(self.n_series)).series

    def named(self, *series: int) -> str:
        """Return series, counted from 0, in words: ``series pressure and flow``."""
        chosen = np.zeros(self.n_series, dtype=np.bool_)
        chosen[list(series)] = True
        return name_series(chosen, self.names)

    def column(self, series: int) -> str:
        """Return the column of a series, counted from 0, in words."""
        return (self.schema or Schema.unnamed(self.n_series)).column(series)

    @property
    def n_series(self) -> int:
        """``D``."""
        return len(self.fitting.profile.low)
