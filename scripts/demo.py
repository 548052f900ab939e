"""Show the product at work: ``python scripts/demo.py BUILD_DIR [--write-samples]``.

data -> the real ``train`` command -> the real server -> predictions, figures, a picture

Everything is written under BUILD_DIR. With ``--write-samples``, the answer to
``test_data.csv`` also becomes the two sample predictions in ``data``.
"""

import argparse
import contextlib
import dataclasses
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import numpy.typing as npt
from make_data import FAULTS
from scipy.stats import rankdata

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

ROOT = Path(__file__).resolve().parent.parent
TRAIN = ROOT / "data/training/train.csv"
VALID = ROOT / "data/training/valid.csv"
TEST = ROOT / "data/inference/input/test_data.csv"
LABELS = ROOT / "data/inference/output/test_labels.csv"
SAMPLES = (
    ROOT / "data/inference/output/batch/batch_predictions.csv",
    ROOT / "data/inference/output/real-time/real_time_predictions.csv",
)
"""Two names for one answer: batch transform posts what an endpoint's caller posts."""

# Of Okabe and Ito's palette, which colour-blind readers can tell apart, too.
BLUE, ORANGE, BLACK, GREY = "#0072B2", "#D55E00", "#222222", "#D4D4D4"
PANELS = ("pressure (bar)", "current (A)", "score (nats)")
FONT_SIZE = 11.5

READY_SECONDS = 60
"""How long the server may take to load the model."""
ANSWER_SECONDS = 60
"""How long it may take to answer."""
STOP_SECONDS = 30
"""How long a process may take to end before it is killed."""


class DemoError(Exception):
    """Raised if the demo cannot go on; the message says why."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What scores say about labelled faults, given an alarm."""

    alarm: float
    """Scores below it are alarms."""
    n_alarmed: list[int]
    """How many rows of each fault are alarms."""
    n_false: int
    """How many rows without a label are alarms."""
    n_false_near: int
    """How many of those lie in a sequence with a fault, or in the next one."""


def main() -> None:
    """Run the demo, and end every failure in one plain sentence."""
    parser = argparse.ArgumentParser(description="Show the product at work.")
    parser.add_argument("build_dir", type=Path, help="where everything is written")
    parser.add_argument(
        "--write-samples",
        action="store_true",
        help="write the sample predictions in data, too",
    )
    arguments = parser.parse_args()
    # Told to end, the demo takes its processes along, as it does after Ctrl-C.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _interrupt)
    try:
        run(arguments.build_dir, SAMPLES if arguments.write_samples else ())
    except DemoError as error:
        sys.exit(f"The demo failed: {error}")
    except OSError as error:
        sys.exit(f"The demo failed: {error.strerror}: {error.filename}.")
    except KeyboardInterrupt:
        sys.exit("The demo was interrupted.")


def _interrupt(*_: object) -> NoReturn:
    """Do what Ctrl-C does."""
    raise KeyboardInterrupt


def run(build_dir: Path, samples: tuple[Path, ...]) -> None:
    """Train, serve, score, and tell the story.

    Args:
        build_dir: Where everything is written.
        samples: Further files that the answer is written to.

    Raises:
        DemoError: If a step fails; the message says which, and why.
    """
    base = lay_out(build_dir)
    say(f"Training on {shown(TRAIN)} with the default hyperparameters ...")
    say(f"  {train(base, build_dir / 'train.log')}")
    say(f"Serving the model and posting {shown(TEST)} ...")
    with serving(base, build_dir / "server.log") as url:
        answer = post(f"{url}/invocations", TEST)
        normal = parse(post(f"{url}/invocations", VALID))
    predictions = parse(answer)
    score, is_anomaly = predictions[:, 0], np.loadtxt(LABELS) > 0
    say(f"  {len(score)} rows, {np.isfinite(score).sum()} of them scored")
    # The alarm needs no label: no row of the normal data would have set it off.
    verdict = judge(score, is_anomaly, alarm=float(np.nanmin(normal[:, 0])))
    say(f"ROC AUC of the scores, row by row: {roc_auc(score, is_anomaly):.3f}")
    say(story(verdict))

    written = (build_dir / "predictions.csv", *samples)
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer)
    picture = build_dir / "demo.png"
    draw(picture, np.loadtxt(TEST, delimiter=","), predictions, verdict)
    say("Written:")
    for path in (*written, picture, base / "model"):
        say(f"  {shown(path)}")


def say(text: str) -> None:
    """Print at once: the steps take a while."""
    print(text, flush=True)


def shown(path: Path) -> str:
    """Return a path as a reader in the project's folder would type it."""
    path = path.resolve()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def lay_out(build_dir: Path) -> Path:
    """Return a fresh folder with a job's input, laid out as in ``/opt/ml``.

    Raises:
        DemoError: If the sample data are missing.
    """
    base = build_dir.resolve() / "opt-ml"
    # An earlier demo's model or checkpoints must not pass for this one's.
    shutil.rmtree(base, ignore_errors=True)
    for channel, path in (("training", TRAIN), ("validation", VALID)):
        if not path.exists():
            raise DemoError(f"{shown(path)} is missing; `make data` writes it.")
        folder = base / "input/data" / channel
        folder.mkdir(parents=True)
        shutil.copy(path, folder)
    mode = {"TrainingInputMode": "File"}
    config: dict[str, object] = {
        "hyperparameters": {},
        "inputdataconfig": {"training": mode, "validation": mode},
        "resourceconfig": {"current_host": "localhost", "hosts": ["localhost"]},
    }
    (base / "input/config").mkdir()
    for name, document in config.items():
        (base / f"input/config/{name}.json").write_text(json.dumps(document))
    return base


def train(base: Path, log: Path) -> str:
    """Return the metrics of the model that sagemaker-training's own command fits.

    Raises:
        DemoError: If the job fails; the message is the job's failure reason.
    """
    command = [str(Path(sys.executable).with_name("train"))]
    with running(command, base, log, SAGEMAKER_TRAINING_MODULE="train:main") as job:
        return_code = job.wait()
    failure = base / "output/failure"
    if return_code:
        reason = failure.read_text() if failure.exists() else "it gave no reason."
        raise DemoError(f"training ended with {return_code}: {reason}")
    losses = re.findall(r"^(train|valid):loss (\S+)$", log.read_text(), re.MULTILINE)
    return ", ".join(f"{part}_loss {float(loss):.4f}" for part, loss in losses)


@contextlib.contextmanager
def serving(base: Path, log: Path) -> Iterator[str]:
    """Run the server while the context lasts; yield its address once it is ready.

    Raises:
        DemoError: If the server ends, or is not ready in time.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(ROOT / "src/serve.py"), "serve"]
    with running(command, base, log, SAGEMAKER_BIND_TO_PORT=str(port)) as server:
        deadline = time.monotonic() + READY_SECONDS
        while not is_ready(url):
            if server.poll() is not None or time.monotonic() > deadline:
                raise DemoError(f"the server did not start; {shown(log)} says why.")
            time.sleep(0.1)
        yield url


@contextlib.contextmanager
def running(
    command: list[str], base: Path, log: Path, **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of the product over ``base`` while the context lasts.

    At the end, whatever the reason, neither it nor a child of it is left.
    """
    environment = os.environ | variables
    environment["PYTHONPATH"] = str(ROOT / "src")
    environment["PYTHONUNBUFFERED"] = "1"
    environment["SAGEMAKER_BASE_DIR"] = str(base)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its children are known by their group
        )
        try:
            yield process
        finally:
            try:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def is_ready(url: str) -> bool:
    """Return whether the server answers a ping."""
    try:
        return len(_open(f"{url}/ping", None)) == 0
    except DemoError:
        return False


def post(url: str, path: Path) -> bytes:
    """Return the answer to a CSV file.

    Raises:
        DemoError: If there is none, or an error; the message is the server's own.
    """
    return _open(url, path.read_bytes())


def _open(url: str, body: bytes | None) -> bytes:
    """Return the body of an answer; a POST if there is a body to send."""
    request = urllib.request.Request(url, body, {"Content-Type": "text/csv"})
    # A proxy that the environment names cannot reach this machine's own ports.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=ANSWER_SECONDS) as response:
            return bytes(response.read())
    except urllib.error.HTTPError as error:
        sentence = error.read().decode(errors="replace").strip()
        raise DemoError(f"the server answered {error.code}: {sentence}") from error
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"the server gave no answer: {error}.") from error


def parse(answer: bytes) -> FloatArray:
    """Return scores and reconstructions, of shape ``(T, 1 + D)``; NaN where empty."""
    lines = answer.decode().splitlines()
    return np.array([[float(cell or "nan") for cell in li.split(",")] for li in lines])


def roc_auc(normality_score: FloatArray, is_anomaly: BoolArray) -> float:
    """Return the area under the ROC curve, rows without a score left out.

    It is the probability that a row with a fault scores lower than one without, ties
    counted half: the rank-sum statistic of Mann and Whitney over its maximum.

    Args:
        normality_score: Of shape ``(T,)``; low = anomalous; NaN = no score.
        is_anomaly: The labels, of shape ``(T,)``.
    """
    is_scored = ~np.isnan(normality_score)
    ranks = rankdata(-normality_score[is_scored])  # the most anomalous row ranks last
    labels = is_anomaly[is_scored]
    n_faulty, n_normal = int(labels.sum()), int((~labels).sum())
    rank_sum = ranks[labels].sum() - n_faulty * (n_faulty + 1) / 2
    return float(rank_sum / (n_faulty * n_normal))


def judge(normality_score: FloatArray, is_anomaly: BoolArray, alarm: float) -> Verdict:
    """Return what an alarm makes of the faults.

    Args:
        normality_score: Of shape ``(T,)``; NaN for the first sequence.
        is_anomaly: The labels, of shape ``(T,)``.
        alarm: Scores below it are alarms.
    """
    length = int(np.isnan(normality_score).sum())  # of a sequence
    is_alarm = normality_score < alarm
    is_near = np.zeros_like(is_anomaly)
    for rows, _ in FAULTS:
        first, last = rows.start // length, (rows.stop - 1) // length
        is_near[first * length : (last + 2) * length] = True
    is_false = is_alarm & ~is_anomaly
    return Verdict(
        alarm=alarm,
        n_alarmed=[int(is_alarm[rows].sum()) for rows, _ in FAULTS],
        n_false=int(is_false.sum()),
        n_false_near=int((is_false & is_near).sum()),
    )


def story(verdict: Verdict) -> str:
    """Return a verdict in words; rows are counted from 1."""
    lines = [
        f"With an alarm at {verdict.alarm:.1f}, the lowest score of {shown(VALID)}:"
    ]
    for number, (rows, fault) in enumerate(FAULTS, start=1):
        n_alarmed = verdict.n_alarmed[number - 1]
        lines.append(
            f"  {number} {title(fault.__name__):<16} rows {rows.start + 1:>4} to "
            f"{rows.stop:>4}  {'found' if n_alarmed else 'missed':<6}  "
            f"{n_alarmed:>2} of {rows.stop - rows.start:>2} rows"
        )
    lines.append(
        f"False alarms: {verdict.n_false} rows, {verdict.n_false_near} of them in the "
        f"sequence of a fault or in the next one,\n"
        f"which is reconstructed from it"
    )
    return "\n".join(lines)


def title(name: str) -> str:
    """Return an identifier as words."""
    return name.replace("_", " ")


def _draw_series(axes: "Axes", values: FloatArray, reconstruction: FloatArray) -> None:
    """Draw one series, its reconstruction, and the labelled rows."""
    axes.plot(_rows(values), values, color=BLUE, linewidth=1.3, label="series")
    axes.plot(
        _rows(values),
        reconstruction,
        color=ORANGE,
        linewidth=1.3,
        label="reconstruction",
    )
    margin = 0.05 * (values.max() - values.min())
    axes.set_ylim(values.min() - margin, values.max() + margin)
    _shade(axes)


def _draw_score(axes: "Axes", score: FloatArray, alarm: float) -> None:
    """Draw the score and the alarm, and shade the labelled rows.

    The scale is linear down to -10 and logarithmic beyond: what is normal and what is
    far from it are both to be seen.
    """
    axes.plot(_rows(score), score, color=BLACK, linewidth=0.9, label="score")
    axes.axhline(alarm, color=ORANGE, linewidth=1.3, linestyle="--", label="alarm")
    axes.set_yscale("symlog", linthresh=10)
    axes.set_yticks([0, -10, -100], labels=["0", "-10", "-100"])
    axes.minorticks_off()
    axes.set_ylim(1.5 * min(np.nanmin(score), -100), 4)
    _shade(axes)


def _rows(values: FloatArray) -> IntArray:
    """Return the number of each row, counted from 1 as everywhere."""
    return np.arange(1, len(values) + 1)


def _shade(axes: "Axes") -> None:
    """Shade the labelled rows."""
    for rows, _ in FAULTS:
        span = (rows.start + 0.5, rows.stop + 0.5)
        axes.axvspan(*span, color=GREY, linewidth=0, zorder=0, label="labelled fault")


def draw(
    path: Path, series: FloatArray, predictions: FloatArray, verdict: Verdict
) -> None:
    """Draw the score of all rows and, below, a closer look at each fault.

    Args:
        path: Where the picture goes.
        series: What was posted, of shape ``(T, 2)``.
        predictions: The answer, of shape ``(T, 3)``.
        verdict: What the alarm makes of it.
    """
    import matplotlib

    matplotlib.use("Agg")  # before pyplot: there may be no display
    from matplotlib import pyplot as plt
    from matplotlib.ticker import MultipleLocator

    matplotlib.rc("font", size=FONT_SIZE)
    matplotlib.rc("axes", titlesize=FONT_SIZE, edgecolor="#888888")
    matplotlib.rc("axes.spines", top=False, right=False)
    matplotlib.rc("xtick", color="#444444")
    matplotlib.rc("ytick", color="#444444")
    score, reconstruction = predictions[:, 0], predictions[:, 1:]
    figure = plt.figure(figsize=(10, 8.6), layout="constrained")
    grid = figure.add_gridspec(4, len(FAULTS), height_ratios=[1.1, 1, 1, 0.9])

    whole = figure.add_subplot(grid[0, :])
    _draw_score(whole, score, verdict.alarm)
    whole.set(xlim=(0, len(score)), ylabel="score (nats)")
    for column, (rows, fault) in enumerate(FAULTS):
        middle = (rows.start + rows.stop) // 2
        whole.text(
            middle,
            1.01,
            str(column + 1),
            transform=whole.get_xaxis_transform(),
            ha="center",
            weight="bold",
        )
        panels = [figure.add_subplot(grid[1 + i, column]) for i in range(3)]
        for i, axes in enumerate(panels[:2]):
            _draw_series(axes, series[:, i], reconstruction[:, i])
        _draw_score(panels[2], score, verdict.alarm)
        panels[0].set_title(f"{column + 1}", loc="left", weight="bold")
        panels[0].set_title(title(fault.__name__), loc="right")
        for axes in panels:
            axes.set(xlim=(middle - 70, middle + 110))
            axes.xaxis.set_major_locator(MultipleLocator(100))
            axes.tick_params(labelbottom=axes is panels[2], labelleft=column == 0)
        if column == 0:
            for axes, name in zip(panels, PANELS, strict=True):
                axes.set_ylabel(name)
    figure.align_ylabels()
    figure.supxlabel("row of test_data.csv", fontsize=FONT_SIZE)
    # One entry per name, of the many panels that draw the same things.
    legend = {
        name: handle
        for axes in (panels[0], whole)
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        legend.values(),
        legend.keys(),
        loc="outside upper center",
        ncols=len(legend),
        frameon=False,
    )
    figure.savefig(path, dpi=140)
    plt.close(figure)


if __name__ == "__main__":
    main()
