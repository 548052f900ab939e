"""Measure how much memory a training job takes at its peak, against its bound.

CSV files of normal data are written to a temporary folder, and the real ``train``
learns from them for one epoch. Its memory is sampled while it runs: what it holds
itself (RssAnon), and pages of files that it has mapped (RssFile), which the kernel can
drop at any time. The bound is for the first of these: 600 MB and 24 bytes per row. The
exit code says whether it holds.

    python benchmarks/memory.py [--rows 2000000] [--series 8] [--files 1]
      [--setting context-length=100 ...]
"""

import argparse
import dataclasses
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))

import laptop  # the path comes first

BLOCK_ROWS = 50_000
MB = 10**6
HYPERPARAMETERS = {"epochs": "1", "num-layers": "1", "hidden-size": "16"}
SAMPLE_SECONDS = 0.05

FIXED = 600 * MB
"""Python, torch, the network, and blocks of rows that are worked on."""
BYTES_PER_ROW = 24
"""The order of an epoch, where every row starts a sequence, and scores."""


@dataclasses.dataclass(frozen=True)
class Peaks:
    """The largest amounts of memory of a process, in bytes, each at its own time."""

    resident: int = 0
    """All of it."""
    own: int = 0
    """What is in no file."""
    mapped: int = 0
    """Pages of files: data and libraries."""


def main() -> None:
    """Write the data, run the job, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000, help="of each file")
    parser.add_argument("--series", type=int, default=8)
    parser.add_argument("--files", type=int, default=1)
    parser.add_argument("--setting", nargs="*", default=[], metavar="NAME=VALUE")
    arguments = parser.parse_args()
    settings = HYPERPARAMETERS | dict(s.split("=") for s in arguments.setting)
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        channel = base / "input" / "data" / "training"
        channel.mkdir(parents=True)
        for number in range(arguments.files):
            path = channel / f"train-{number:06d}.csv"
            write_csv(path, arguments.rows, arguments.series, number)
        laptop.configure(base, ["training"], settings)
        size = sum(path.stat().st_size for path in channel.iterdir())
        began = time.monotonic()
        peaks = measured(base)
        seconds = time.monotonic() - began

    n_rows = arguments.files * arguments.rows
    bound = FIXED + BYTES_PER_ROW * n_rows
    print(
        f"CSV:    {arguments.files} x {arguments.rows} x {arguments.series}, "
        f"{size / MB:.0f} MB"
    )
    print(
        f"peaks:  {peaks.resident / MB:.0f} MB resident: {peaks.own / MB:.0f} MB its "
        f"own, {peaks.mapped / MB:.0f} MB of files; {seconds:.0f} s"
    )
    print(f"bound:  {bound / MB:.0f} MB of its own")
    sys.exit(0 if peaks.own <= bound else "The peak is over the bound.")


def measured(base: Path) -> Peaks:
    """Run ``train`` on a folder laid out like /opt/ml, and return its peaks."""
    log, peaks = base / "train.log", Peaks()
    with laptop.running(laptop.TRAIN, base, log, **laptop.TRAINING_MODULE) as job:
        while job.poll() is None:
            peaks = larger(peaks, Path(f"/proc/{job.pid}/status"))
            try:
                job.wait(SAMPLE_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    if job.returncode:
        sys.exit(log.read_text())
    return peaks


def larger(peaks: Peaks, status: Path) -> Peaks:
    """Return the peaks so far, from what the kernel says of a process now."""
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
    if "VmHWM" not in fields:  # it has just ended
        return peaks
    resident, own, mapped = (
        int(fields[name].split()[0]) * 1024 for name in ("VmHWM", "RssAnon", "RssFile")
    )
    return Peaks(
        max(peaks.resident, resident), max(peaks.own, own), max(peaks.mapped, mapped)
    )


def write_csv(path: Path, n_timesteps: int, n_series: int, seed: int = 0) -> None:
    """Write noisy sines, a bounded number of rows at a time."""
    random = np.random.default_rng(seed)
    periods = 20.0 * 1.3 ** np.arange(n_series)
    with path.open("wb") as stream:
        for first in range(0, n_timesteps, BLOCK_ROWS):
            rows = np.arange(first, min(first + BLOCK_ROWS, n_timesteps))
            clean = 10 * np.sin(2 * np.pi * rows[:, None] / periods)
            table = clean + random.normal(size=clean.shape)
            text = orjson.dumps(table, option=orjson.OPT_SERIALIZE_NUMPY)[2:-2]
            stream.write(text.replace(b"],[", b"\n") + b"\n")


if __name__ == "__main__":
    main()
