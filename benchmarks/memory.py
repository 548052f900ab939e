"""Measure how much memory a training job takes at its peak, against its bound.

A CSV file of normal data is written to a temporary folder, and the real ``train``
learns from it for one epoch. The bound is four times the size of the data in single
precision, plus 600 MB for Python, torch and the network. The exit code says whether it
holds.

    python benchmarks/memory.py [--rows 2000000] [--series 8]
"""

import argparse
import resource
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
FIXED = 600 * MB
FACTOR = 4
HYPERPARAMETERS = {"epochs": 1, "num-layers": 1, "hidden-size": 16}


def main() -> None:
    """Write the data, run the job, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--series", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        channel = base / "input" / "data" / "training"
        channel.mkdir(parents=True)
        write_csv(channel / "train.csv", arguments.rows, arguments.series)
        laptop.configure(base, ["training"], HYPERPARAMETERS)
        size = (channel / "train.csv").stat().st_size
        began = time.monotonic()
        laptop.train(base)
        seconds = time.monotonic() - began

    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024  # bytes
    data = arguments.rows * arguments.series * 4
    bound = FACTOR * data + FIXED
    print(f"CSV:    {arguments.rows} x {arguments.series}, {size / MB:.0f} MB")
    print(f"data:   {data / MB:.0f} MB in single precision")
    print(f"peak:   {peak / MB:.0f} MB resident, one epoch in {seconds:.0f} s")
    print(f"bound:  {bound / MB:.0f} MB = {FACTOR} x data + {FIXED / MB:.0f} MB")
    sys.exit(0 if peak <= bound else "The peak is over the bound.")


def write_csv(path: Path, n_timesteps: int, n_series: int) -> None:
    """Write noisy sines, a bounded number of rows at a time."""
    random = np.random.default_rng(0)
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
