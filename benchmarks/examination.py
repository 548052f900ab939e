"""Measure what it costs to examine training data, beside reading them.

    python benchmarks/examination.py [--values 2000000] [--rounds 7]

CPU seconds of this process, medians: a CSV file of noise, with 8 and with 38 series, is
read into the store of a job, and then examined, in turn. The ratio is that of both to
reading alone.
"""

import os

# As a job does; and threads that wait for others would count as work.
os.environ.update(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPOSITORY / "src")]

from lstm_ad.data.rows import TRAINING, Block, Source, store  # noqa: E402
from lstm_ad.hyperparameters import Hyperparameters  # noqa: E402
from lstm_ad.quality.examination import examine  # noqa: E402
from sagemaker_container.formats.csv_file import read_blocks  # noqa: E402

N_BLOCKS = 10


def main() -> None:
    """Print a table with a row for each number of series."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=2_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    print("| series | reading | examining | ratio |")
    for n_series in (8, 38):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "train.csv"
            write(path, options.values // n_series, n_series)
            measured = [cost(path, Path(folder)) for _ in range(options.rounds)]
        reading, examining = map(statistics.median, zip(*measured, strict=True))
        ratio = 1 + examining / reading
        print(f"| {n_series} | {reading:.3f} s | {examining:.3f} s | {ratio:.3f} |")


def write(path: Path, n_rows: int, n_series: int) -> None:
    """Write noise of six digits as CSV."""
    generator = np.random.default_rng(0)
    with path.open("w") as stream:
        for _ in range(N_BLOCKS):
            rows = generator.normal(size=(n_rows // N_BLOCKS, n_series))
            np.savetxt(stream, rows, fmt="%.6g", delimiter=",")


def cost(path: Path, folder: Path) -> tuple[float, float]:
    """Return the CPU seconds of reading a file, and of examining it."""
    began = time.process_time()
    blocks = map(Block, read_blocks(path, path.name))
    rows = store(folder, iter([Source(TRAINING, path.name, blocks)]))
    between = time.process_time()
    examine(rows, Hyperparameters())
    return between - began, time.process_time() - between


if __name__ == "__main__":
    main()
