"""Prepare the rows of a job: check them, and standardise them."""

import dataclasses
import functools
import importlib.metadata
import itertools
import logging
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from lstm_ad.axes import FloatArray, ScaledArray
from lstm_ad.blocks import in_blocks
from lstm_ad.data.partition import Part, Partition
from lstm_ad.data.rows import File, Rows
from lstm_ad.data.validate import check_memory, check_range
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.fences import Fences
from lstm_ad.model.gaps import Holder
from lstm_ad.model.scaling import Scaler
from lstm_ad.parent import Parent, shortened
from lstm_ad.processes import ProcessGroup
from lstm_ad.training.checkpoints import fingerprint

logger = logging.getLogger(__name__)

_COMPUTING = ("torch", "numpy")


@dataclasses.dataclass(frozen=True)
class Job:
    """What all steps of a fit share."""

    rows: Rows
    partition: Partition
    hyperparameters: Hyperparameters
    """Those of the preset for as many series, if one was asked for."""
    group: ProcessGroup
    fences: Fences
    scaler: Scaler
    scaled: ScaledArray
    """All rows of the host, standardised, with plausible values in absurd cells, and
    what is held where values are missing."""
    observed: npt.NDArray[np.bool_] | None
    """Which of them are not missing; None if all are there."""
    parent: Parent | None
    """The model that the job starts from."""
    own_level: Scaler | None
    """The scaler of its own rows, where they have the parent's."""

    def values(self, parts: Sequence[Part]) -> Iterator[FloatArray]:
        """Yield the values of the parts that this process scores, repaired."""
        for part in parts:
            if part.scorer == self.group.rank:
                yield self.fences.repair(part.values(self.rows))

    def standardised(
        self, part: Part
    ) -> tuple[ScaledArray, npt.NDArray[np.bool_] | None]:
        """Return the standardised values of a part, and which are there, if not all.

        Both are of shape ``(T, D)``.
        """
        first = self.rows.first(part.file)
        rows = slice(first + part.start, first + part.stop)
        return self.scaled[rows], None if self.observed is None else self.observed[rows]

    @functools.cached_property
    def fingerprint(self) -> str:
        """A digest of the data and of all that decides how training goes."""
        # Another version may compute other bits: its checkpoints would end elsewhere.
        versions = {name: importlib.metadata.version(name) for name in _COMPUTING}
        settings = self.hyperparameters.to_public() | versions
        if self.parent:
            settings["parent"] = self.parent.digest
        return fingerprint(settings, self.partition.digest)


def prepare(
    rows: Rows,
    hyperparameters: Hyperparameters,
    group: ProcessGroup,
    memory_bytes: int | None,
    parent: Parent | None,
) -> Job:
    """Check the rows, and standardise them.

    Args:
        rows: The rows of this host.
        hyperparameters: The settings of the job.
        group: The processes that fit.
        memory_bytes: What those of this host have together; None checks nothing.
        parent: The model that the job starts from.

    Raises:
        HyperparameterError: If the errors of a row are too many for that memory.
        SeriesError: If the rows cannot be used; the message names the file.
    """
    partition = Partition.of(rows, hyperparameters, group)
    if parent:
        parent = parent.for_gaps(hyperparameters.longest_gap)
        parent.check(partition.schema)
    settings = _of_preset(hyperparameters, partition.n_series)
    n_processes = group.gather(group.host).count(group.host)
    if memory_bytes is not None:
        check_memory(partition.n_series, settings, n_processes, memory_bytes)
    learnt_from = partition.fitting or partition.calibration
    shares = [part.share(rows, group) for part in learnt_from]
    fences = Fences.of(shares, group, rows.codes)
    names = partition.schema.series
    level = Scaler.fit([fences.repair(part) for part in shares], group, names)
    scaler = level
    if parent:
        some = shortened(partition.calibration, settings.layout.n_unscored)
        own = [part.values(rows) for part in some if part.scorer == group.rank]
        scaler = parent.standardisation(scaler, [*map(fences.repair, own)], group)
    parts = (*partition.calibration, *partition.validation, *partition.labelled)
    for part in parts:
        if part.scorer == group.rank:
            values = fences.repair(part.values(rows))
            check_range(part.file, part.start, values, scaler)
    scaled, observed = _standardised(rows, fences, scaler, settings.longest_gap, group)
    return Job(
        rows,
        partition,
        settings,
        group,
        fences,
        scaler,
        scaled,
        observed,
        parent,
        None if scaler is level else level,
    )


def _of_preset(given: Hyperparameters, n_series: int) -> Hyperparameters:
    """Return the hyperparameters for ``D`` series, and log what a preset sets."""
    settings = given.for_series(n_series)
    if settings != given:
        changed = dict(settings.to_public().items() - given.to_public().items())
        logger.info(
            "For data of %d series, preset=%s sets: %s",
            n_series,
            settings.preset,
            ", ".join(f"{name}={value}" for name, value in sorted(changed.items())),
        )
    return settings


def _standardised(
    rows: Rows, fences: Fences, scaler: Scaler, max_gap: int, group: ProcessGroup
) -> tuple[ScaledArray, npt.NDArray[np.bool_] | None]:
    """Return what the network reads of all rows, and which of it is not missing."""

    def standardised(file: File) -> Iterator[ScaledArray]:
        """Yield the rows of a file as the network reads them."""
        values = rows.values(file)
        starts = [stretch.start for stretch in file.stretches(max_gap)]
        for start, stop in itertools.pairwise([0, *starts, len(values)]):
            holder = Holder(scaler.mean, max_gap)
            for block in in_blocks(values[start:stop]):
                yield scaler.transform(holder.fill(fences.repair(block)))

    def not_missing(file: File) -> Iterator[npt.NDArray[np.bool_]]:
        """Yield which values of a file are there."""
        return (~np.isnan(block) for block in in_blocks(rows.values(file)))

    n_series = len(scaler.mean)
    scaled = rows.derived("scaled", np.float32, standardised, n_series, group)
    observed = None
    if any(group.gather(any(file.n_missing.any() for file in rows.files))):
        observed = rows.derived("observed", np.bool_, not_missing, n_series, group)
    return scaled, observed
