"""Measure what the ``train`` command costs, beside its bare passes or older versions.

    python benchmarks/training.py FOLDER
    python benchmarks/training.py FOLDER --original FOLDER --against COMMIT ...

The second form trains the defaults' and the recommended jobs with each version in turn,
by default on one core and on two.

FOLDER is that of ``accuracy.py``; two of its series are trained with ``preset``
= detection, on one thread: by the real ``train``, and by nothing but the forward and
backward passes that it makes, over segments of the same number and shape. Start-up is
what it takes to import what ``train`` imports. The ratio leaves it out.
"""

import os

# One thread: set before anything that computes is loaded.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import gzip
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT / "scripts")]

import laptop  # noqa: E402  # the path comes first
from versions import DETECTION, Job, compare, cpu_of_children  # noqa: E402

SERIES = ("ucr/124_ECG4", "tsbad_m/063_SMD_id_7_Facility_tr_5923_1st_6506")
"""Folders: of one series, and of several."""

START = """
import sagemaker_training.cli.train, train, lstm_ad.artifacts, lstm_ad.fitting
"""
"""What ``train`` imports before it trains."""


def main() -> None:
    """Print the table that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="of labelled series")
    parser.add_argument("--against", nargs="+", help="commits to compare with")
    parser.add_argument("--original", type=Path, help="the original's sample")
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    if options.against:
        jobs = list(jobs_of(options.folder, options.original))
        compare(jobs, options.against, options.cores, options.rounds)
    else:
        beside_passes(options.folder)


def jobs_of(folder: Path, original: Path | None) -> Iterator[Job]:
    """Yield the default job of the samples, and the recommended one of some series."""
    samples = {"data/": ROOT / "data/training"}
    if original:
        samples["original"] = original
    for name, sample in samples.items():
        files = [sample / "train.csv", sample / "valid.csv"]
        yield Job(f"defaults, {name}", *(file.read_bytes() for file in files))
    for name, epochs in zip(SERIES, (300, 200), strict=True):
        yield Job(f"detection, {name}", rows_of(folder / name), epochs_of_preset=epochs)


def rows_of(series: Path) -> bytes:
    """Return the training rows of a labelled series, as CSV."""
    return gzip.decompress((series / "train.csv.gz").read_bytes())


def beside_passes(folder: Path) -> None:
    """Print what ``train`` costs beside its bare passes, a row per series."""
    start_up = seconds_of(
        lambda: subprocess.run(
            [sys.executable, "-c", START], cwd=ROOT / "src", check=True
        )
    )
    print("| CPU seconds | rows x series | train | start-up | passes | ratio |")
    print("|---|---|---|---|---|---|")
    for name in SERIES:
        data = rows_of(folder / name)
        series = np.loadtxt(data.decode().splitlines(), delimiter=",", ndmin=2)
        with tempfile.TemporaryDirectory() as base:
            laptop.lay_out(Path(base), {"training": data}, DETECTION)
            whole = seconds_of(lambda: laptop.train(Path(base)))
        bare = seconds_of_passes(*series.shape, DETECTION)
        cells = [whole, start_up, bare, (whole - start_up) / bare]
        shape = " x ".join(map(str, series.shape))
        print(f"| {name} | {shape} | " + " | ".join(f"{v:.2f}" for v in cells) + " |")


def seconds_of(run) -> float:
    """Return the CPU seconds of the processes that a call starts and waits for."""
    before = cpu_of_children()
    run()
    return cpu_of_children() - before


def seconds_of_passes(
    n_timesteps: int, n_series: int, setting: dict[str, str]
) -> float:
    """Return the CPU seconds of all passes of a training, forward and backward.

    Args:
        n_timesteps: The rows of the training series.
        n_series: Its columns.
        setting: The hyperparameters.
    """
    from sagemaker_container.memory import keep_freed_memory

    keep_freed_memory()  # as ``train`` does
    import torch

    from lstm_ad.hyperparameters import Hyperparameters
    from lstm_ad.model.network import StackedLSTM
    from lstm_ad.model.sequences import Ranges, Segments

    hyperparameters = Hyperparameters.from_strings(setting).for_series(n_series)
    layout = hyperparameters.layout
    n_fitting = hyperparameters.n_fitting(n_timesteps)
    first = np.zeros(1, dtype=np.int64)
    fitting = Ranges(first, first + n_fitting)
    n_selecting = layout.context_length + n_timesteps - n_fitting
    selection = Ranges(first, first + n_selecting)
    segments = Segments.of(layout, fitting.n_timesteps)
    network = StackedLSTM(
        n_series,
        layout,
        hyperparameters.hidden_size,
        hyperparameters.num_layers,
        hyperparameters.dropout,
    )
    random = np.random.default_rng(0)

    def batches(n_segments: int) -> list[torch.Tensor]:
        """Return what the network reads, batch by batch."""
        rows = torch.randn(n_segments, segments.n_read, n_series)
        return list(torch.tensor_split(rows, -(-n_segments // size)))

    size = hyperparameters.batch_size
    learnt = batches(len(fitting.training_starts(segments, random)))
    evaluated = batches(len(selection.scored_starts(segments)[0]))
    began = time.process_time()
    for _ in range(hyperparameters.epochs):
        for batch in learnt:
            network.zero_grad(set_to_none=True)
            network.train()(batch).square().mean().backward()
        with torch.no_grad():
            for batch in evaluated:
                network.eval()(batch)
    return time.process_time() - began


if __name__ == "__main__":
    main()
