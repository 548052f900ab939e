"""Show the product at work: ``python scripts/demo.py BUILD_DIR [--write-samples]``.

data -> the real ``train`` command -> the real server -> predictions, events, a picture

Everything is written under BUILD_DIR. With ``--write-samples``, the answer to
``test_data.csv`` also becomes the two sample predictions in ``data``.
"""

import argparse
import json
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

import pictures
from laptop import ROOT, LaptopError, lay_out, serving, shown, train
from make_data import FAULTS

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

TRAIN = ROOT / "data/training/train.csv"
VALID = ROOT / "data/training/valid.csv"
TEST = ROOT / "data/inference/input/test_data.csv"
LABELS = ROOT / "data/inference/output/test_labels.csv"
SAMPLES = (
    ROOT / "data/inference/output/batch/batch_predictions.csv",
    ROOT / "data/inference/output/real-time/real_time_predictions.csv",
)
"""Two names for one answer: batch transform posts what an endpoint's caller posts."""
NAMES = ("pressure (bar)", "current (A)")


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
    except LaptopError as error:
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
        LaptopError: If a step fails; the message says which, and why.
    """
    base = build_dir / "opt-ml"
    lay_out(base, {"training": TRAIN, "validation": VALID})
    say(f"Training on {shown(TRAIN)} with the default hyperparameters ...")
    losses = re.findall(r"^(train|valid):loss (\S+)$", train(base), re.MULTILINE)
    say("  " + ", ".join(f"{part}_loss {float(loss):.4f}" for part, loss in losses))
    say(f"Serving the model and posting {shown(TEST)} ...")
    with serving(base) as endpoint:
        answer = endpoint.invoke(TEST.read_bytes())
        document = json.loads(
            endpoint.invoke(TEST.read_bytes(), accept="application/json")
        )
    predictions, events = parse(answer), document["events"]
    score, is_anomaly = predictions[:, 0], np.loadtxt(LABELS) > 0
    say(f"  {len(score)} rows, {np.isfinite(score).sum()} of them scored")
    say(f"ROC AUC of the scores, row by row: {roc_auc(score, is_anomaly):.3f}")
    say(f"Events, of scores below the threshold of {document['threshold']:.1f}:")
    say(story(events))

    written = (build_dir / "predictions.csv", *samples)
    for path in written:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(answer)
    picture = build_dir / "demo.png"
    scored = pictures.Scored(
        series=np.loadtxt(TEST, delimiter=","),
        names=NAMES,
        reconstruction=predictions[:, 1:],
        score=score,
        threshold=document["threshold"],
        events=events,
        faults=[(rows, title(fault.__name__)) for rows, fault in FAULTS],
    )
    pictures.faults(scored).savefig(picture, dpi=2 * pictures.DPI)
    say("Written:")
    for path in (*written, picture, base / "model"):
        say(f"  {shown(path)}")


def say(text: str) -> None:
    """Print at once: the steps take a while."""
    print(text, flush=True)


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


def story(events: Sequence[Mapping[str, Any]]) -> str:
    """Return events in words, and what they make of the faults.

    Args:
        events: As in the server's JSON; rows are counted from 1.
    """
    lines = []
    found = set()
    for number, event in enumerate(events, start=1):
        met = [title(fault.__name__) for rows, fault in FAULTS if _meet(event, rows)]
        found.update(met)
        name = NAMES[int(event["name"]) - 1].partition(" (")[0]
        lines.append(
            f"  {number}  rows {event['start_row']:>4} to {event['end_row']:>4}  "
            f"severity {event['anomaly_score']:.2f}  "
            f"{name} {event['direction']} its reconstruction  "
            f"{', '.join(met) or 'no fault'}"
        )
    return "\n".join([*lines, f"Faults found: {len(found)} of {len(FAULTS)}"])


def _meet(event: Mapping[str, Any], rows: slice) -> bool:
    """Return whether an event and a fault have rows in common."""
    return bool(event["start_row"] <= rows.stop and event["end_row"] > rows.start)


def title(name: str) -> str:
    """Return an identifier as words."""
    return name.replace("_", " ")


if __name__ == "__main__":
    main()
