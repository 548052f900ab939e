"""Examine the data of a job before anything is learnt from them."""

import dataclasses
import logging
from collections.abc import Sequence

from lstm_ad.data.partition import Partition
from lstm_ad.data.rows import File, Rows
from lstm_ad.exceptions import SeriesError
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.fences import Codes
from lstm_ad.processes import ALONE, ProcessGroup
from lstm_ad.quality.data_parts import Data, Finding, Source
from lstm_ad.quality.findings import find, reasons

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Examination:
    """What the data look like, and what is wrong with them."""

    data: Data | None
    """Those of the files that this process described; None if it described none."""
    findings: tuple[Finding, ...]
    """Of all files, the worst first."""

    @property
    def codes(self) -> Codes:
        """What certainly stands for missing readings: the same in all processes."""
        found: dict[int, set[float]] = {}
        for finding in self.findings:
            if finding.code is not None:
                (series,) = finding.series
                found.setdefault(series, set()).add(finding.code)
        return {series: sorted(found[series]) for series in sorted(found)}


NOT_EXAMINED = Examination(None, ())
"""Of data that nobody looked at."""


def examine(
    rows: Rows, hyperparameters: Hyperparameters, group: ProcessGroup = ALONE
) -> Examination:
    """Return what is wrong with the data of a job, and say so in the log.

    Each file is described by one process that can read it, together with the others
    that this process describes: where SageMaker has divided the files, those of one
    host.

    Args:
        rows: The rows of this host.
        hyperparameters: The settings of the job.
        group: The processes of the job.

    Raises:
        SeriesError: If the files cannot be used, as :meth:`Partition.of` says, or if a
            series is certainly no measurement.
    """
    partition = Partition.of(rows, hyperparameters, group, is_quiet=True)
    training, validation = (
        [part for part in parts if part.owners[0] == group.rank]
        for parts in (
            (*partition.fitting, *partition.calibration),
            partition.validation,
        )
    )
    data = None
    if training:
        files = {part.file.name: part.file for part in training}.values()
        runs = [(file, run) for file in files for run in file.on(0, file.n_timesteps)]
        # Also where the LSTM is not trained, later rows are compared with earlier.
        cuts = [
            file.row_after(_n_earlier(file.n_on, hyperparameters)) - run.start
            for file, run in runs
        ]
        data = Data.of(
            [_source(rows, file, run.start, run.stop) for file, run in runs],
            cuts,
            [_source(rows, part.file, part.start, part.stop) for part in validation],
            partition.schema,
        )
    everything = group.gather(find(data) if data else [])
    findings = tuple(
        sorted(
            (finding for some in everything for finding in some),
            key=lambda finding: -finding.importance,
        )
    )
    _refuse(findings)
    if group.rank == 0:
        for reason in reasons(findings, partition.schema.series):
            logger.warning("%s %s", reason.finding, reason.advice)
    return Examination(data, findings)


def _n_earlier(n_timesteps: int, hyperparameters: Hyperparameters) -> int:
    """Return how many rows of a training file come before its calibration part."""
    return n_timesteps - max(
        1, round(n_timesteps * hyperparameters.calibration_fraction)
    )


def _source(rows: Rows, file: File, start: int, stop: int) -> Source:
    """Return rows of a file, to be described."""
    values = rows.values(file, start, stop)
    return Source(file.name, values, file.digest, start, file.inserted)


def _refuse(findings: Sequence[Finding]) -> None:
    """Refuse data of which no model can be made.

    Raises:
        SeriesError: If there is such a finding.
    """
    for finding in findings:
        if finding.is_refused:
            raise SeriesError(f"{finding.found} {finding.advice}")
