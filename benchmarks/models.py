"""Load, score and unload many models at random on one server, and print what it cost.

    python benchmarks/models.py [--models 1000] [--seconds 600] [--series 2]

A multi-model endpoint is called as SageMaker calls it: a model that is not there is
loaded, then scored. First all models are loaded, then four callers score models chosen
at random and unload one in ten of them, and load damaged models; at the end all are
unloaded. The models have the default sizes; there are eight different ones, each
under many names, and each answer is compared with that of a server of that model alone.

The memory before is that of a worker that has answered requests. The exit code is not 0
if an answer differs, an error comes that should not, the server takes more than 2 GB
or keeps more than 20 MB of it at the end.
"""

import argparse
import collections
import dataclasses
import http.client
import json
import random
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from serving import (
    MASTERS,
    caller,
    memory_of,
    save_model,
    server,
    to_csv,
    workers,
)

N_KINDS = 8
N_DAMAGED = 10
N_CALLERS = 4
N_ROWS = 200
UNLOADED = 0.1
"""The fraction of the calls after which the model is unloaded."""
DAMAGED = 0.02
"""The fraction of the calls that load a damaged model."""

MAX_MB = 2048.0
MAX_KEPT_MB = 20.0
MAX_FIRST_SECONDS = 0.1
SETTLED_SECONDS = 11.0
"""After as many seconds a worker has given back what it has freed."""


def main() -> None:
    """Make the models, hold the load, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--series", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        body = to_csv(np.random.default_rng(0).normal(size=(N_ROWS, options.series)))
        kinds = [base / f"kind-{number}" for number in range(N_KINDS)]
        for number, kind in enumerate(kinds):
            save_model(kind, options.series, number)
        damaged = [damage(base / f"damaged-{n}", kinds[0], n) for n in range(N_DAMAGED)]
        with server(base, SAGEMAKER_MULTI_MODEL="true") as port:
            load = Load(port, body, kinds, [answer_of(kind, body) for kind in kinds])
            failed = report(load, options.models, options.seconds, damaged)
    sys.exit("; ".join(failed) or None)


def report(
    load: "Load", n_models: int, seconds: float, damaged: list[Path]
) -> list[str]:
    """Do everything, print it, and return what is not as it should be."""
    # Requests leave something in any worker: what threads keep for the next ones.
    few = [f"few-{number}" for number in range(N_KINDS)]
    load.hold(few, damaged, SETTLED_SECONDS)
    load.unload_all(load.listed())
    time.sleep(SETTLED_SECONDS)
    load.take()
    before = load.megabytes()
    names = [f"model-{number}" for number in range(n_models)]
    for number, name in enumerate(names):
        load.call(name, number)
    loaded = load.megabytes()
    firsts = load.take()
    load.hold(names, damaged, seconds)
    most = load.megabytes("VmHWM")
    load.unload_all(load.listed())
    time.sleep(SETTLED_SECONDS)
    after = load.megabytes()
    print(
        f"{n_models} models: {before:.0f} MB without one, {loaded:.0f} MB with all "
        f"({(loaded - before) / n_models:.2f} MB each), at most {most:.0f} MB, "
        f"{after:.0f} MB after all are unloaded"
    )
    print(
        f"the first score of a model that is not loaded: {firsts.line('first')}\n"
        f"under load: {load.seen.line('first')}; of a loaded model: "
        f"{load.seen.line('score')}; unload: {load.seen.line('unload')}\n"
        f"{load.seen.outcomes}"
    )
    return [
        reason
        for is_so, reason in (
            (set(load.seen.outcomes) - {"right", "damaged"}, "wrong answers"),
            (most > MAX_MB, "too much memory"),
            (after - before > MAX_KEPT_MB, "memory is not given back"),
            (firsts.p99("first") > MAX_FIRST_SECONDS, "a first score is late"),
        )
        if is_so
    ]


@dataclasses.dataclass
class Seen:
    """What the callers saw."""

    outcomes: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    seconds: dict[str, list[float]] = dataclasses.field(
        default_factory=lambda: collections.defaultdict(list)
    )

    def p99(self, kind: str) -> float:
        """Return the seconds that one call of a kind in a hundred exceeds."""
        return float(np.percentile(self.seconds[kind] or [0.0], 99))

    def line(self, kind: str) -> str:
        """Return the latencies of a kind of call."""
        found = self.seconds[kind] or [0.0]
        return (
            f"{len(found)}, p50 {1e3 * np.median(found):.1f} ms, p99 "
            f"{1e3 * self.p99(kind):.1f} ms, at most {1e3 * max(found):.1f} ms"
        )


class Load:
    """The calls to a multi-model endpoint.

    Args:
        port: The server's.
        body: What is scored.
        kinds: The folders of the different models.
        answers: What each of them answers.
    """

    def __init__(
        self, port: int, body: bytes, kinds: list[Path], answers: list[bytes]
    ) -> None:
        self._port, self._body = port, body
        self._kinds, self._answers = kinds, answers
        self._local = threading.local()
        self.seen = Seen()

    def take(self) -> Seen:
        """Return what was seen so far, and forget it."""
        seen, self.seen = self.seen, Seen(self.seen.outcomes)
        return seen

    def call(self, name: str, kind: int) -> None:
        """Score with a model, which is loaded first if it is not there."""
        kind %= len(self._kinds)
        began = time.perf_counter()
        status, answer = self._request("POST", f"/models/{name}/invoke", self._body)
        is_first = status == 404
        while status == 404:  # another caller may unload it again
            asked = {"model_name": name, "url": str(self._kinds[kind] / "model")}
            status, answer = self._request(
                "POST", "/models", json.dumps(asked).encode()
            )
            if status in (200, 409):
                status, answer = self._request(
                    "POST", f"/models/{name}/invoke", self._body
                )
        kept = self.seen.seconds["first" if is_first else "score"]
        kept.append(time.perf_counter() - began)
        is_right = status == 200 and answer == self._answers[kind]
        self.seen.outcomes["right" if is_right else f"{status} {answer[:80]!r}"] += 1

    def unload(self, name: str) -> None:
        """Unload a model; another caller may have."""
        began = time.perf_counter()
        status, _ = self._request("DELETE", f"/models/{name}", b"")
        self.seen.seconds["unload"].append(time.perf_counter() - began)
        if status not in (200, 404):
            self.seen.outcomes[f"unload {status}"] += 1

    def unload_all(self, names: list[str]) -> None:
        """Unload models."""
        for name in names:
            self.unload(name)

    def listed(self) -> list[str]:
        """Return the names of the loaded models."""
        names, query = [], ""
        while True:
            _, answer = self._request("GET", f"/models{query}", b"")
            page = json.loads(answer)
            names += [model["modelName"] for model in page["models"]]
            if "nextPageToken" not in page:
                return names
            query = f"?next_page_token={page['nextPageToken']}"

    def load_damaged(self, folder: Path) -> None:
        """Load a model that cannot be loaded."""
        asked = {"model_name": folder.name, "url": str(folder)}
        status, answer = self._request("POST", "/models", json.dumps(asked).encode())
        is_right = status == 400 and answer.count(b"\n") == 1
        self.seen.outcomes["damaged" if is_right else f"loaded: {status}"] += 1

    def hold(self, names: list[str], damaged: list[Path], seconds: float) -> None:
        """Call models at random for some time."""
        end = time.monotonic() + seconds

        def work(seed: int) -> None:
            choose = random.Random(seed)
            while time.monotonic() < end:
                number = choose.randrange(len(names))
                self.call(names[number], number)
                if choose.random() < UNLOADED:
                    self.unload(names[number])
                if choose.random() < DAMAGED:
                    self.load_damaged(choose.choice(damaged))

        threads = [threading.Thread(target=work, args=[s]) for s in range(N_CALLERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._local = threading.local()  # an idle connection has been closed

    def megabytes(self, field: str = "VmRSS") -> float:
        """Return the memory of the server, its master included."""
        processes = [MASTERS[self._port], *workers(self._port)]
        return sum(memory_of(process, field) for process in processes)

    def _request(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return the status and the body of an answer; a connection per thread."""
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=120
            )
        connection = self._local.connection
        connection.request(method, path, body, {"Content-Type": "text/csv"})
        response = connection.getresponse()
        return response.status, response.read()


def damage(folder: Path, kind: Path, number: int) -> Path:
    """Return a copy of a model, damaged in a way of its own."""
    shutil.copytree(kind / "model", folder)
    files = sorted(folder.iterdir())
    path = files[number % len(files)]
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * number // N_DAMAGED])
    return folder


def answer_of(kind: Path, body: bytes) -> bytes:
    """Return what a server of one model answers."""
    with server(kind) as port, caller(port) as post:
        return post(body)


if __name__ == "__main__":
    main()
