"""Fit detectors as one process of a group: what test_distributed.py runs.

    RANK=0 WORLD_SIZE=2 ... python team_member.py FOLDER CASE ...

``FOLDER/cases.json`` has the cases, ``FOLDER/CHANNEL`` the files. What each case gives
is written to ``FOLDER/result-WORLD_SIZE/CASE.npz`` by the first process. Each process
is a host of its own, with a store of its own.
"""

import contextlib
import dataclasses
import json
import os
import sys
from pathlib import Path

import numpy as np

from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import scratch_folder
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.parent import Parent
from lstm_ad.processes import ALONE
from lstm_ad.quality.examination import Examination, examine
from lstm_ad.quality.inspection import Inspection, inspect
from lstm_ad.training.processes import joined
from sagemaker_container.channels import read
from sagemaker_container.job import CHANNELS, Cluster, TrainingEnvironment


def environment_of(folder: Path, case: dict, rank: int, size: int):
    """Return what a process knows of a case: if it is divided by key, not all files."""
    channels = {
        channel: {
            name: folder / channel / name
            for number, name in enumerate(case.get(channel, ()))
            if not case["is_sharded"] or number % size == rank
        }
        for channel in CHANNELS
    }
    return TrainingEnvironment(
        hyperparameters=Hyperparameters.from_strings(case["hyperparameters"]),
        channels=channels,
        model_dir=folder / "model",
        output_data_dir=folder / "output",
        checkpoint_dir=None,
        cluster=Cluster(("localhost",), "localhost", True, size, 0),
    )


def results_of(
    result: Fit, report: Inspection, examination: Examination
) -> dict[str, np.ndarray]:
    """Return all numbers of a fit."""
    detector, decision = result.detector, result.detector.decision
    scaler, gaussian = detector.reconstructor.scaler, detector.gaussian
    history = [
        dataclasses.astuple(loss) for e in result.history for loss in e.losses.values()
    ]
    return {
        **{f"weights {name}": value for name, value in result.weights.items()},
        "scaler": np.stack([scaler.mean, scaler.scale]),
        "mean": gaussian.mean,
        "covariance": gaussian.covariance,
        "threshold": np.array([decision.threshold, *decision.interval]),
        "calibration scores": result.calibration_scores,
        "calibration errors": result.calibration_errors,
        "history": np.array(history),
        "losses": np.array([dataclasses.astuple(x) for x in result.losses.values()]),
        "repeated": np.array(dataclasses.astuple(result.repeated)),
        "rows": np.array(list(result.n_rows.values())),
        "best epoch": np.array(result.best_epoch),
        "report numbers": np.array(
            [report.n_rows, report.n_available, report.stretch.first_row]
        ),
        "report scores": report.normality_score,
        "report by position": report.error_by_position,
        "report repeated": report.repeated_by_position,
        "report by series": report.error_by_series,
        "report stretch": report.stretch.normality_score,
        "rival": np.array(
            []
            if result.parent is None
            else [
                *dataclasses.astuple(result.parent.loss),
                *dataclasses.astuple(result.parent.new_loss),
                result.parent.alarm_rate,
                result.parent.new_alarm_rate,
                result.parent.n_rows,
                result.parent.spread,
            ]
        ),
        "findings": np.array([len(examination.findings)]),
        "digest": np.frombuffer(result.data_digest.encode(), dtype=np.uint8),
    }


def main() -> None:
    """Run every case, and write what it gives."""
    folder = Path(sys.argv[1])
    cases = json.loads((folder / "cases.json").read_text())
    size = int(os.environ["WORLD_SIZE"])
    target = folder / f"result-{size}"
    target.mkdir(exist_ok=True)
    rank = int(os.environ["RANK"])
    processes = joined(host=rank) if size > 1 else contextlib.nullcontext(ALONE)
    with processes as group:
        for name in sys.argv[2:]:
            case = cases[name]
            environment = environment_of(folder, case, rank, size)
            with scratch_folder() as scratch:
                parent = None
                if case["parent"]:
                    environment = environment.started_from(folder / "parent")
                    parent = Parent.load(folder / "parent", group=group)
                rows = read(environment, scratch)
                settings = environment.hyperparameters
                result = fit(rows, settings, group=group, parent=parent)
                report = inspect(result, rows, group)
                examination = examine(rows, environment.hyperparameters, group)
            if rank == 0:
                results = results_of(result, report, examination)
                np.savez(target / f"{name}.npz", **results)


if __name__ == "__main__":
    main()
