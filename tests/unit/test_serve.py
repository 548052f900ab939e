"""The server's door."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from lstm_ad.scoring.detector import LSTMAD
from sagemaker_container.settings import ServerSettings
from serve import Server

ROOT = Path(__file__).parents[2]
SETTINGS = ServerSettings(Path(), 8080, 4, 1, 100, False, ("score",), n_gpus=2)


def test_connections_are_kept_for_longer_than_sagemaker_lets_them_idle() -> None:
    """Closed before the client's own 65 s, it could lose the request of that moment."""
    assert Server(SETTINGS).cfg.keepalive > 65


def test_each_worker_gets_the_gpu_that_is_used_least_and_a_slot() -> None:
    """Chosen before the fork; a new worker takes the place of the one that ended."""
    server = Server(SETTINGS)
    arbiter = SimpleNamespace(WORKERS={})

    def start(pid: int) -> tuple[int, int]:
        """Start a worker as gunicorn does; return its GPU, and where it counts."""
        worker = SimpleNamespace()
        server.cfg.pre_fork(arbiter, worker)
        arbiter.WORKERS[pid] = worker
        return server.gpu, server.slot

    at_first = [start(pid) for pid in range(4)]
    del arbiter.WORKERS[1]
    after_one_has_ended = start(5)

    assert at_first == [(0, 0), (1, 1), (0, 2), (1, 3)]
    assert after_one_has_ended == (1, 1)
    assert server.counts.n_restarts == 1


@pytest.mark.parametrize("is_batch", [False, True])
@pytest.mark.parametrize("namespace", ["", "LSTM-AD"])
def test_metrics_for_cloudwatch_are_written_if_they_are_asked_for(
    model_dir: Path, detector: LSTMAD, namespace: str, is_batch: bool
) -> None:
    """Each minute by an endpoint, after each file by a batch transform."""
    settings = dataclasses.replace(
        SETTINGS, model_dir=model_dir, is_batch=is_batch, emf_namespace=namespace
    )
    server, worker = Server(settings), SimpleNamespace()

    monitor = server._monitor(detector)
    server.cfg.post_worker_init(worker)

    assert (worker.each_second is not None) == (bool(namespace) and not is_batch)
    assert (monitor.after_file is not None) == (bool(namespace) and is_batch)


def test_no_runtime_is_imported_before_the_workers_are_forked() -> None:
    """ONNX Runtime starts a thread, which does not survive: a worker would abort."""
    code = (
        "import sys; from pathlib import Path; import serve; "
        "from sagemaker_container.settings import ServerSettings; "
        "serve.Server(ServerSettings(Path(), 8080, 4, 1, 100, False, (), 0)); "
        "print({'onnxruntime', 'flask', 'pandas'} & set(sys.modules))"
    )

    output = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout

    assert output == b"set()\n"
