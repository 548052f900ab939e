"""Write what people and programs want to know of a training: a page, and its numbers.

``report.html`` needs nothing but a browser: no network, no script, no other file. The
keys of ``metrics.json`` are those of :func:`metrics`.
"""

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import orjson

from lstm_ad.artifacts import Fit
from lstm_ad.losses import Loss
from lstm_ad.quality.examination import NOT_EXAMINED, Examination
from lstm_ad.quality.inspection import Inspection
from lstm_ad.quality.promotion import judge_promotion
from lstm_ad.quality.reasons import Level
from lstm_ad.quality.verdict import Verdict, judge
from sagemaker_container.report import charts as figures
from sagemaker_container.report.data import data_numbers, data_table

REPORT = "report.html"
METRICS = "metrics.json"

_TEMPLATE = Path(__file__).with_name("report.html")

_WORDS = {
    Level.GOOD: ("\N{CHECK MARK}", "Nothing speaks against using this model."),
    Level.CHECK: (
        "\N{WARNING SIGN}\N{VARIATION SELECTOR-15}",
        "The model may be used once you have looked at this:",
    ),
    Level.DO_NOT_USE: (
        "\N{MULTIPLICATION X}",
        "The alarms of this model would mean little. The reasons, the worst first:",
    ),
}


@dataclasses.dataclass(frozen=True)
class Table:
    """Numbers in rows and columns."""

    title: str
    """What it is about."""
    caption: str
    """How to read it."""
    head: Sequence[str]
    """The names of the columns."""
    rows: Sequence[Sequence[str]]
    """A name and the cells of each row."""


def remove(folder: Path) -> None:
    """Remove the report of an earlier job, if there is one.

    Raises:
        OSError: If a file cannot be removed.
    """
    for name in (METRICS, REPORT):
        (folder / name).unlink(missing_ok=True)


def write(
    folder: Path,
    fit: Fit,
    inspection: Inspection,
    examination: Examination = NOT_EXAMINED,
) -> Verdict:
    """Write ``report.html`` and ``metrics.json``, and return the verdict.

    Neither is left half written.

    Args:
        folder: Where to.
        fit: What training gave.
        inspection: What can be seen of it.
        examination: What its data look like.

    Raises:
        OSError: If a file cannot be written.
    """
    verdict = judge(fit, inspection, examination.findings)
    numbers = metrics(fit, inspection, verdict)
    numbers["data"] = data_numbers(examination)
    _write(folder / METRICS, orjson.dumps(numbers, option=orjson.OPT_INDENT_2))
    _write(
        folder / REPORT,
        page(fit, inspection, verdict, examination).encode(errors="replace"),
    )
    return verdict


def metrics(fit: Fit, inspection: Inspection, verdict: Verdict) -> dict[str, Any]:
    """Return the numbers of a training; what is not finite becomes ``null`` as JSON."""
    decision = fit.detector.decision
    return {
        "verdict": str(verdict.level),
        "reasons": [dataclasses.asdict(reason) for reason in verdict.reasons],
        "rows": dict(fit.n_rows),
        "losses": {k: dataclasses.asdict(v) for k, v in fit.losses.items()},
        "repeat_last_value": dataclasses.asdict(fit.repeated),
        "best_epoch": fit.best_epoch,
        "history": [
            {"epoch": epoch.epoch}
            | {k: dataclasses.asdict(v) for k, v in epoch.losses.items()}
            for epoch in fit.history
        ],
        "threshold": {
            "value": decision.threshold,
            "source": decision.source,
            "interval": decision.interval,
            "max_alarm_rate": decision.max_alarm_rate,
            "rows": decision.n_rows,
            "rows_in_tail": decision.n_exceedances,
        },
        "looked_at": {
            "part": inspection.part,
            "rows": inspection.n_rows,
            "rows_with_score": len(inspection.normality_score),
            "alarms": inspection.n_alarms,
            "lowest_score": float(inspection.normality_score.min()),
        },
        "previous": _previous(fit, verdict),
        "hyperparameters": fit.hyperparameters.to_public(),
        "precision": fit.precision,
    }


def _previous(fit: Fit, verdict: Verdict) -> dict[str, Any] | None:
    """Return how the model does beside the one it came from, if it came from one."""
    if fit.parent is None:
        return None
    return {
        "model": fit.parent.digest,
        "part": fit.parent.part,
        "losses": dataclasses.asdict(fit.parent.loss),
        "new_losses": dataclasses.asdict(fit.parent.new_loss),
        "alarm_rate": fit.parent.alarm_rate,
        "new_alarm_rate": fit.parent.new_alarm_rate,
        "rows_with_score": fit.parent.n_rows,
        **dataclasses.asdict(judge_promotion(fit, fit.parent, verdict.level)),
    }


def page(
    fit: Fit,
    inspection: Inspection,
    verdict: Verdict,
    examination: Examination = NOT_EXAMINED,
) -> str:
    """Return the report as HTML."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    symbol, summary = _WORDS[verdict.level]
    return template.render(
        verdict=verdict,
        symbol=symbol,
        summary=summary,
        figures=figures.draw(fit, inspection),
        data=data_table(examination),
        promotion=fit.parent and judge_promotion(fit, fit.parent, verdict.level),
        tables=[_numbers(fit), _threshold(fit, inspection), _settings(fit)],
    )


def _numbers(fit: Fit) -> Table:
    """Return the losses of each part of the data."""
    names = {
        "train": "training",
        "calibration": "calibration",
        "valid": "validation",
    }
    rows = [
        [name, f"{fit.n_rows[part]:,}", *_spelled(fit.losses[part])]
        for part, name in names.items()
        if part in fit.losses
    ]
    came_from = (
        f"The weights are those of epoch {fit.best_epoch} of {len(fit.history)}."
        if fit.best_epoch or not fit.parent
        else "The weights are those of the model it came from."
    )
    where = names["valid" if "valid" in fit.losses else "calibration"]
    repeating = [f"repeating the last value ({where})", "", *_spelled(fit.repeated)]
    return Table(
        "Losses",
        "The mean squared and the mean absolute error of the saved network, per "
        "element in standard deviations of the series. Repeating the mean of each "
        f"series gives a loss of about 1. {came_from}",
        ["data", "rows", "loss", "absolute error"],
        [*rows, repeating],
    )


def _threshold(fit: Fit, inspection: Inspection) -> Table:
    """Return what there is to know of the threshold."""
    decision = fit.detector.decision
    low, high = decision.interval
    n_scores = len(inspection.normality_score)
    rows = [
        ["threshold: a lower score is an alarm", f"{decision.threshold:.6g}"],
        ["chosen by", decision.source],
        ["95 % interval", f"{low:.6g} to {high:.6g}"],
        ["part of the normal rows meant to be alarms", f"{decision.max_alarm_rate:g}"],
        ["rows behind it", f"{decision.n_rows:,}"],
        ["of these in the fitted tail", f"{decision.n_exceedances:,}"],
        [
            f"alarms on the {figures.DATA[inspection.part]}",
            f"{inspection.n_alarms:,} of {n_scores:,} rows",
        ],
    ]
    seen = f"{inspection.n_rows:,} of {inspection.n_available:,}"
    return Table(
        "Threshold",
        f"Learnt from the scores of the calibration part. The alarms and the pictures "
        f"of series are of the first {seen} rows of the "
        f"{figures.DATA[inspection.part]}.",
        ["what", "value"],
        rows,
    )


def _settings(fit: Fit) -> Table:
    """Return the hyperparameters, and what became of one of them."""
    settings = fit.hyperparameters.to_public()
    return Table(
        "Hyperparameters",
        "As the job was given them, and the defaults of all others.",
        ["name", "value"],
        [
            *([name, f"{value}"] for name, value in settings.items()),
            ["precision used", fit.precision],
        ],
    )


def _spelled(loss: Loss) -> list[str]:
    """Return a loss as two cells."""
    return [f"{loss.mse:.4g}", f"{loss.mae:.4g}"]


def _write(path: Path, data: bytes) -> None:
    """Write a file, or leave none."""
    try:
        path.write_bytes(data)
    except OSError:
        with contextlib.suppress(OSError):
            path.unlink()
        raise
