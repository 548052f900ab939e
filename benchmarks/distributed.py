"""Measure training: one process, two processes, and the bare network.

Default hyperparameters but for the batch, which is that of many processes; one thread
per process, the same batch for one process and for two. One process and the bare
network (forward and backward on batches that lie ready) take turns in one process; then
two processes train. The exit code says whether two are at least ``MIN_SPEEDUP`` times
as fast as one.

    python benchmarks/distributed.py [--rows 50000] [--series 2] [--batch-size 256]
        [--precision fp32]
"""

import argparse
import itertools
import math
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import laptop  # noqa: E402  # the path comes first

MIN_SPEEDUP = 1.7
N_EPOCHS = 6
"""Of each measurement: short ones, of which the fastest counts, because on a machine
that does something else besides all others are slower."""
N_ROUNDS = 2


def main() -> None:
    """Measure in processes of their own, and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--series", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--precision", default="fp32")
    arguments = parser.parse_args()
    if "RANK" in os.environ:
        measure(arguments)
        return
    alone, bare, pair = [], [], []
    for _ in range(N_ROUNDS):
        one, network = run(1)
        alone.append(one)
        bare.append(network)
        pair.append(run(2)[0])
    one, network, two = min(alone), min(bare), min(pair)
    print(
        f"{arguments.rows} x {arguments.series} rows, {arguments.precision}, at most "
        f"{arguments.batch_size} sequences per batch, one thread per process"
    )
    rows = 0.8 * arguments.rows  # the others calibrate
    for name, seconds in (
        ("bare forward and backward", network),
        ("1 process", one),
        ("2 processes", two),
    ):
        print(f"{name:26} {seconds:6.2f} s/epoch {rows / seconds:8.0f} rows/s")
    print(f"1 process over bare        {one / network:6.2f}")
    print(f"2 processes over 1         {one / two:6.2f}  (at least {MIN_SPEEDUP})")
    sys.exit(0 if one / two >= MIN_SPEEDUP else "Two processes are too slow.")


def run(size: int) -> tuple[float, float]:
    """Return the seconds per epoch of a team, and of the bare network beside it."""
    port = laptop.free_port()
    members = [
        subprocess.Popen(
            [sys.executable, *sys.argv],
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT / "src"),
                "OMP_NUM_THREADS": "1",
                "OMP_WAIT_POLICY": "PASSIVE",
                "ORT_DISABLE_TELEMETRY": "1",
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "GLOO_SOCKET_IFNAME": "lo",
            },
            stdout=subprocess.PIPE,
        )
        for rank in range(size)
    ]
    outputs = [member.communicate()[0] for member in members]
    if any(member.returncode for member in members):
        sys.exit("A process failed.")
    epoch, bare = map(float, outputs[0].split())
    return epoch, bare


def measure(arguments: argparse.Namespace) -> None:
    """Train as a member of a team; the first one prints seconds per epoch."""
    import numpy as np
    import torch

    from lstm_ad.data.partition import Owned
    from lstm_ad.hyperparameters import BF16, Hyperparameters
    from lstm_ad.model.network import StackedLSTM
    from lstm_ad.model.scaling import Scaler
    from lstm_ad.model.sequences import Ranges
    from lstm_ad.training.loop import Control, TrainingRows, train_network
    from lstm_ad.training.processes import joined

    n_timesteps, n_series = arguments.rows, arguments.series
    batch_size, precision = arguments.batch_size, arguments.precision
    hyperparameters = Hyperparameters(
        epochs=N_EPOCHS, precision=precision, batch_size=batch_size
    )
    random = np.random.default_rng(0)
    phase = (
        2 * np.pi * np.arange(n_timesteps)[:, np.newaxis] / (20 + np.arange(n_series))
    )
    series = np.sin(phase) + random.normal(scale=0.1, size=phase.shape)
    with joined(host=0) as group:
        everyone, zero = tuple(range(group.size)), np.zeros(1, dtype=np.int64)
        fitting, selection = (
            (Owned(everyone, Ranges(zero, zero + n_rows)),)
            for n_rows in (hyperparameters.n_fitting(n_timesteps), 200)
        )
        ends = [time.perf_counter()]
        train_network(
            TrainingRows(
                Scaler.fit([series]).transform(series),
                None,
                fitting,
                {"valid": selection},
            ),
            hyperparameters,
            Control(on_epoch_end=lambda _: ends.append(time.perf_counter())),
            checkpoints=None,
            group=group,
        )
        epochs = [end - start for start, end in itertools.pairwise(ends)]

        bare = 0.0
        if group.size == 1:
            network = StackedLSTM(n_series, hyperparameters.layout, 128, 2, 0.1)
            n_sequences = round(0.8 * n_timesteps / 50)
            n_batches = math.ceil(n_sequences / batch_size)
            batch = torch.randn(n_sequences // n_batches, 50, n_series)
            random = torch.Generator()
            times = []
            for _ in range(N_EPOCHS):
                began = time.perf_counter()
                for _ in range(n_batches):
                    with torch.autocast(
                        "cpu", torch.bfloat16, enabled=precision == BF16
                    ):
                        kept = network.kept_units(len(batch), 50, random)
                        loss = network(batch, kept_units=kept).square().mean()
                    network.zero_grad()
                    loss.backward()
                times.append(time.perf_counter() - began)
            bare = min(times[1:])
        if group.rank == 0:
            print(min(epochs[1:]), bare)


if __name__ == "__main__":
    main()
