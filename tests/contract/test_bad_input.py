"""The catalogue of bad input: each works as documented, or ends in one sentence.

What the sentence says: the file, the row, the column, what was found, what is accepted.
Above all, no row is shifted or dropped and no text becomes a number.
"""

import contextlib
import functools
import gzip
import os
import re
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lstm_ad import artifacts
from lstm_ad.data.rows import Rows
from lstm_ad.exceptions import LSTMADError, SeriesError
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from sagemaker_container.formats.csv_file import read_blocks

PLAIN = b"1.5,-2\n3,4e-3\n5,6\n"


def test_a_flipped_bit_in_a_gzip_file_is_found(tmp_path: Path) -> None:
    """By its checksum, if by nothing else: no other numbers come out."""
    path = tmp_path / "train.csv"
    whole = gzip.compress(PLAIN * 20, mtime=0)
    tables = []
    for position in range(10, len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 1
        path.write_bytes(flipped)
        with contextlib.suppress(SeriesError):
            tables.append(np.vstack([*read_blocks(path, "train.csv")]).tolist())

    assert all(table == [[1.5, -2.0], [3.0, 4e-3], [5.0, 6.0]] * 20 for table in tables)
    assert len(tables) < 5


def test_a_row_without_an_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    """A gzip file of 100 KB could hold a row that fills the memory."""
    path = tmp_path / "train.csv"
    path.write_bytes(gzip.compress(b"1," * (50 * 2**20), 1))

    with pytest.raises(SeriesError, match=r"^train\.csv: A row is longer than 64 MB"):
        np.vstack([*read_blocks(path, "train.csv")])


def exchanged(table: np.ndarray) -> np.ndarray:
    """Return one series as a row: what some clients make of it."""
    return table[:, :1].T


def indexed(table: np.ndarray, first: int = 0) -> np.ndarray:
    """Return a table behind a column that counts its rows."""
    return np.column_stack([np.arange(first, first + len(table)), table])


def far(table: np.ndarray) -> np.ndarray:
    """Return a table whose last values have, once standardised, no finite square."""
    table = table * 1e-30
    table[470:, 1] = 1e30
    return table


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda table: table[:1, :1],
            "the file is too short for a sequence-length of 1: 1 rows were found, of "
            "which 1 would fit the LSTM and 0 the Gaussian, but 2 and 2 are needed. "
            "Use files of at least 8 rows.",
        ),
        (
            exchanged,
            "the file is too short for a sequence-length of 1: 1 rows of 500 columns "
            "were found, but one row is one time step and one column one time series. "
            "Are rows and columns exchanged?",
        ),
        *(
            (
                functools.partial(indexed, first=first),
                f"column 1 counts the rows, from {first} to {first + 499}: leave that "
                f"column out, or name it in timestamp-column or id-columns.",
            )
            for first in (0, 1)
        ),
        (
            far,
            "row 471, column 2: 1e+30 is too far from the rows that fit the LSTM; use "
            "numbers from -",
        ),
    ],
)
def test_a_table_that_is_no_series_is_refused(
    make_series, change: Callable[[np.ndarray], np.ndarray], sentence: str
) -> None:
    """With what seems to be wrong, and what would do."""
    files = {"a.csv": change(make_series(500))}

    with pytest.raises(LSTMADError, match=f"^a.csv: {re.escape(sentence)}"):
        fit(Rows.of(files), Hyperparameters(sequence_length=1))


def hard_tables(make_series) -> dict[str, np.ndarray]:
    """Return tables that are correct, and hard to compute with."""
    series = make_series(400)
    noise = np.random.default_rng(5).normal(size=400)
    spiky = series.copy()
    spiky[100, 0] = 1e30
    return {
        "1e30 beside 1e-30": np.column_stack([series[:, 0] * 1e30, noise * 1e-30]),
        "a spike of 1e30 in the fitting part": spiky,
        "a constant series": np.column_stack([series, np.full(400, 7.0)]),
        "nothing but a constant": np.full((400, 1), -3.0),
        "nothing but zeros": np.zeros((400, 2)),
        "a duplicated series": np.column_stack([series, series[:, 0]]),
        "a collinear series": np.column_stack([series, series @ [1.0, -2.0]]),
        "the largest that is accepted": series / np.abs(series).max() * 1e100,
        "the smallest": series * 1e-300,
        "more series than rows that calibrate": np.random.default_rng(6).normal(
            size=(400, 100)
        ),
    }


@pytest.mark.parametrize("name", hard_tables(lambda n: np.ones((n, 2))))
def test_hard_tables_give_a_model_with_finite_scores(
    name: str, make_series, as_csv, tiny: Hyperparameters, tmp_path: Path
) -> None:
    """From the CSV file, through training, saving and loading, to the scores."""
    path = tmp_path / "train.csv"
    path.write_bytes(as_csv(hard_tables(make_series)[name]))
    series = np.vstack([*read_blocks(path, "train.csv")])

    result = fit(Rows.of({"train.csv": series}), tiny)
    artifacts.save(tmp_path / "model", result)
    scores = artifacts.load(tmp_path / "model").score(series)

    assert all(
        np.isfinite([loss.mse, loss.mae]).all() for loss in result.losses.values()
    )
    assert np.isfinite(scores.normality_score[10:]).all()
    assert np.isfinite(scores.reconstruction[10:]).all()


def test_a_model_no_better_than_repeating_is_saved_with_a_warning(
    make_series, tiny: Hyperparameters, caplog: pytest.LogCaptureFixture
) -> None:
    """A series that hardly moves in a sequence, and a network that learnt nothing."""
    drifting = np.linspace(0.0, 1.0, 400)[:, None]

    result = fit(Rows.of({"train.csv": drifting}), tiny)

    (warning,) = [text for text in caplog.messages if "no better" in text]
    assert warning == (
        f"The model is no better than repeating the last value: its calibration_loss "
        f"is {result.losses['calibration'].mse:.6f}, that of repeating is "
        f"{result.repeated.mse:.6f}. More epochs, another lr or another "
        f"sequence-length may help."
    )
    assert result.losses["calibration"].mse > result.repeated.mse


JOBS = {
    "ragged": (
        {"train.csv": b"1,2\n3\n"},
        {},
        "train.csv: Row 2 has 1 cell, but the rows before have 2; all rows need the "
        "same number.",
    ),
    "a folder named like a file": (
        {"train.csv/part.csv": b"1,2\n3,off\n"},
        {},
        'train.csv/part.csv: Row 2, column 2: "off" is a word for true or false; use '
        "1 and 0.",
    ),
    "nothing but an empty file": (
        {"train.csv": b""},
        {},
        "The training channel is empty: {data}/training holds no file with data, but "
        "at least one CSV file is needed.",
    ),
    "hyperparameters": (
        {"train.csv": PLAIN},
        {"epochs": "0", "lr": "fast", "layers": "2", "dropout": "1"},
        'epochs must be an integer from 1 to 1000000, but "0" was given. lr must be a '
        'number from 1e-09 to 10.0, but "fast" was given. layers is not a',
    ),
}


@pytest.mark.parametrize(("files", "settings", "sentence"), JOBS.values(), ids=JOBS)
def test_a_job_with_bad_input_fails_with_the_sentence(
    opt_ml, run_train, files, settings: dict[str, str], sentence: str
) -> None:
    """Exit code 1, and the sentence alone where SageMaker reads the reason."""
    opt_ml.write_config("hyperparameters", settings)
    opt_ml.add_channel("training", files)

    ended = run_train(opt_ml)

    assert ended.returncode == 1
    assert ended.failure.startswith(sentence.format(data=opt_ml.data_dir))
    assert "Traceback" not in ended.log
    assert list(opt_ml.model_dir.iterdir()) == []


def test_a_link_that_leads_nowhere_is_refused(opt_ml, run_train) -> None:
    """Data that its owner believes to be there is not passed over."""
    opt_ml.add_channel("training", {"train.csv": PLAIN})
    (opt_ml.data_dir / "training" / "more.csv").symlink_to("nowhere.csv")

    assert run_train(opt_ml).failure == (
        "The training channel holds more.csv, which is no file; use files, "
        "links to files, and folders of them."
    )


def test_a_file_whose_name_is_no_text_is_named_as_far_as_it_goes(
    opt_ml, run_train
) -> None:
    """Names are bytes: one that cannot be written must not hide the failure."""
    name = os.fsdecode(b"tr\xffin.csv")
    opt_ml.add_channel("training", {name: b"1,2\n3\n"})

    ended = run_train(opt_ml)

    assert ended.returncode == 1, ended.log
    assert ended.failure.startswith("tr?in.csv: Row 2 has 1 cell")


def test_extremes_train_through_the_whole_job(
    opt_ml, run_train, make_series, as_csv
) -> None:
    """1e30 beside 1e-30, a constant and a duplicated series, gzip, BOM, CRLF, a link.

    No last newline, either, and a file name that is no text. The job completes, and
    the scores are finite.
    """
    series = make_series(400)
    table = np.column_stack([series * [1e30, 1e-30], np.full(400, 5.0), series])
    text = as_csv(table).replace(b"\n", b"\r\n").removesuffix(b"\r\n")
    data = gzip.compress(b"\xef\xbb\xbf" + text)
    opt_ml.write_config("hyperparameters", SMALL)
    opt_ml.add_channel("training", {os.fsdecode(b"\xff.csv"): data})
    (opt_ml.data_dir / "training" / "b.csv").symlink_to(os.fsdecode(b"\xff.csv"))

    ended = run_train(opt_ml)

    assert ended.returncode == 0, ended.log
    assert "Training on b.csv: 5 time series of length 400." in ended.log
    assert "Constant in the rows that fit the LSTM: series 3." in ended.log
    scores = artifacts.load(opt_ml.model_dir).score(table)
    assert np.isfinite(scores.normality_score[10:]).all()


SMALL = {"sequence-length": "10", "hidden-size": "8", "epochs": "2"}


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[Path, str], None]]:
    """Return the function that mounts a small disk of its own on a folder."""
    mounted: list[Path] = []

    def mount(folder: Path, options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        ended = subprocess.run(command, capture_output=True, check=False)
        if ended.returncode != 0:
            pytest.skip(f"no disk can be mounted here: {ended.stderr.decode()}")
        mounted.append(folder)

    yield mount
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


def test_a_full_disk_fails_with_its_reason(
    opt_ml, run_train, make_series, disk
) -> None:
    """The model does not fit: exit code 1, the reason, and no part of a model.

    Output and model share the disk, so what was written must make room for the reason.
    """
    disk(opt_ml.base / "disk", "size=100k")
    for name in ("model", "output"):
        (opt_ml.base / "disk" / name).mkdir()
        (opt_ml.base / name).symlink_to(opt_ml.base / "disk" / name)
    opt_ml.write_config("hyperparameters", {**SMALL, "hidden-size": "64"})
    opt_ml.add_channel("training", {"train.csv": make_series(300)})

    ended = run_train(opt_ml)

    assert ended.returncode == 1, ended.log
    assert ended.failure == (
        f"The model cannot be written to {opt_ml.model_dir}: No space left on device."
    )
    assert list(opt_ml.model_dir.iterdir()) == []


def test_files_that_cannot_grow_fail_with_their_reason(
    opt_ml, launch_train, make_series
) -> None:
    """The same where no disk can be mounted: a limit on the size of files."""
    opt_ml.write_config("hyperparameters", {**SMALL, "hidden-size": "64"})
    opt_ml.add_channel("training", {"train.csv": make_series(300)})

    ended = launch_train(opt_ml, preexec_fn=limit_files).end()

    assert ended.returncode == 1, ended.log
    assert ended.failure == (
        f"The model cannot be written to {opt_ml.model_dir}: File too large."
    )
    assert list(opt_ml.model_dir.iterdir()) == []


def limit_files() -> None:
    """Let no file of this process become larger than 20 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def test_a_read_only_model_folder_fails_before_training(
    opt_ml, run_train, make_series, disk
) -> None:
    """Better said at once than after hours."""
    disk(opt_ml.model_dir, "size=1m,ro")
    opt_ml.add_channel("training", {"train.csv": make_series(300)})

    ended = run_train(opt_ml)

    assert ended.returncode == 1, ended.log
    assert ended.failure == (
        f"The job cannot write to {opt_ml.model_dir}: Read-only file system."
    )
    assert "Training on" not in ended.log


@pytest.mark.parametrize("name", ["model", "output/data"])
def test_a_file_in_the_place_of_a_folder_fails_with_its_reason(
    opt_ml, run_train, name: str
) -> None:
    """Also where the user may write everywhere."""
    path = opt_ml.base / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("in the way")

    ended = run_train(opt_ml)

    assert ended.returncode == 1, ended.log
    assert ended.failure == f"The job cannot write to {path}: File exists."


def test_without_a_place_for_the_reason_the_job_still_fails(opt_ml, run_train) -> None:
    """sagemaker-training alone would end it as a success; the log has the reason."""
    output = opt_ml.base / "output"
    output.write_text("in the way")

    ended = run_train(opt_ml)

    assert ended.returncode == 1, ended.log
    assert f"The job cannot write to {output}: File exists." in ended.log
    assert "cannot be written to output/failure: " in ended.log


def test_a_missing_output_folder_is_made(opt_ml, run_train) -> None:
    """A bare container has none, and the reason must not be lost."""
    opt_ml.add_channel("training", {"train.csv": b"1,2\n3\n"})
    assert not (opt_ml.base / "output").exists()

    ended = run_train(opt_ml)

    assert ended.returncode == 1
    assert ended.failure.startswith("train.csv: Row 2 has 1 cell")
