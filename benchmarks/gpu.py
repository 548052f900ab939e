"""Measure a GPU beside the processor: learning an epoch, and scoring.

    PYTHONPATH=src python benchmarks/gpu.py

It needs a CUDA build of torch, ONNX Runtime for GPUs, or both; what is missing is
passed over. Series and weights are random: they do not change how long it takes. The
processor learns with ``OMP_NUM_THREADS`` threads; it scores with one, as a run of the
server does.
"""

import dataclasses
import time
from contextlib import ExitStack
from unittest import mock

import numpy as np
import onnxruntime
import torch

from lstm_ad.data.partition import Owned
from lstm_ad.hyperparameters import BF16, FP32, Hyperparameters
from lstm_ad.model import runtime
from lstm_ad.model.export import export
from lstm_ad.model.network import StackedLSTM
from lstm_ad.model.runtime import CPU, GPU, OnnxNetwork
from lstm_ad.model.sequences import Ranges
from lstm_ad.training.control import Control
from lstm_ad.training.loop import TrainingRows, train_network

DOCUMENT = Hyperparameters()
DETECTION = Hyperparameters.from_strings({"preset": "detection"}).for_series(38)
WIDE = {"hidden_size": 512, "num_layers": 3, "batch_size": 256}

NETWORKS = {
    "the document's, 2 series": (DOCUMENT, 2),
    "preset = detection, 38 series": (DETECTION, 38),
    "detection, 3 x 256 hidden units": (
        dataclasses.replace(DETECTION, **WIDE | {"hidden_size": 256}),
        38,
    ),
    "detection, 3 x 512 hidden units": (dataclasses.replace(DETECTION, **WIDE), 38),
    "the document's, 3 x 512 hidden units": (dataclasses.replace(DOCUMENT, **WIDE), 38),
}
"""What is measured: the settings, and the number of series."""

N_EPOCHS = 3
"""The first one, in which a GPU starts, does not count."""

SCORING_SECONDS = 0.4


def main() -> None:
    """Print both tables, as Markdown."""
    print(f"torch {torch.__version__}, ONNX Runtime {onnxruntime.__version__}")
    if torch.cuda.is_available():
        print(torch.cuda.get_device_name())
    print(f"{torch.get_num_threads()} threads of a processor")
    print("\n| learning | rows | processor: ms per epoch | GPU | GPU, bf16 |")
    print("|---|---|---|---|---|")
    for name, (settings, n_series) in NETWORKS.items():
        n_rows = 20_000
        rows = random_rows(n_rows, n_series)
        cells = [
            learning(rows, settings, *how)
            for how in ((False, FP32), (True, FP32), (True, BF16))
        ]
        print(f"| {name} | {n_rows} | {' | '.join(cells)} |", flush=True)
    print(
        "\n| scoring | sequences | processor: ms per run | GPU | largest difference |"
    )
    print("|---|---|---|---|---|")
    for name, (settings, n_series) in NETWORKS.items():
        graph = random_graph(settings, n_series)
        for n_sequences in (1, 64, 1024):
            cells = scoring(graph, n_sequences)
            print(f"| {name} | {n_sequences} | {cells} |", flush=True)


def random_rows(n_rows: int, n_series: int) -> TrainingRows:
    """Return rows to learn and, a fifth of them, to choose the best epoch with."""
    values = np.random.default_rng(0).normal(size=(n_rows, n_series))
    first = 4 * n_rows // 5
    fitting, chosen = (
        (Owned((0,), Ranges(np.array([start]), np.array([length]))),)
        for start, length in ((0, first), (first, n_rows - first))
    )
    return TrainingRows(
        values.astype(np.float32), None, fitting, {"train": fitting, "valid": chosen}
    )


def learning(
    rows: TrainingRows, settings: Hyperparameters, on_gpu: bool, precision: str
) -> str:
    """Return the milliseconds of an epoch, or a dash if that cannot be had."""
    ends: list[float] = []
    with ExitStack() as stack:
        if not on_gpu:
            for name, found in (("is_available", False), ("device_count", 0)):
                stack.enter_context(
                    mock.patch.object(torch.cuda, name, return_value=found)
                )
        elif not torch.cuda.is_available():
            return "-"
        trained = train_network(
            rows,
            dataclasses.replace(settings, epochs=N_EPOCHS, precision=precision),
            Control(on_epoch_end=lambda metrics: ends.append(time.perf_counter())),
            None,
        )
    if trained.precision != precision:
        return "-"
    return f"{1000 * np.diff(ends).min():.1f}"


def random_graph(settings: Hyperparameters, n_series: int) -> bytes:
    """Return an exported network."""
    network = StackedLSTM(
        n_series,
        settings.layout,
        settings.hidden_size,
        settings.num_layers,
        dropout=0.0,
    )
    torch.nn.init.normal_(network.head.weight, std=0.05)
    return export(network).model


def scoring(graph: bytes, n_sequences: int) -> str:
    """Return the cells of a row: milliseconds of a run, and the largest difference."""
    with mock.patch.object(onnxruntime, "get_available_providers", return_value=[CPU]):
        expected, on_processor = run(OnnxNetwork(graph), n_sequences)
    if GPU not in onnxruntime.get_available_providers():
        return f"{on_processor:.2f} | - | -"
    with mock.patch.object(runtime, "GPU_HIDDEN_SIZE", 0):
        found, on_gpu = run(OnnxNetwork(graph), n_sequences)
    return f"{on_processor:.2f} | {on_gpu:.2f} | {np.abs(found - expected).max():.1e}"


def run(network: OnnxNetwork, n_sequences: int) -> tuple[np.ndarray, float]:
    """Return what a network reconstructs, and the milliseconds that it takes."""
    length = () if network.layout.is_overlapping else (network.layout.context_length,)
    shape = (n_sequences, *length, network.n_series)
    rows = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    states = network.initial_states()
    network.run(rows, states)
    began, n_runs = time.perf_counter(), 0
    while time.perf_counter() - began < SCORING_SECONDS:
        found, _ = network.run(rows, states)
        n_runs += 1
    return found, 1000 * (time.perf_counter() - began) / n_runs


if __name__ == "__main__":
    main()
