import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save

from lstm_ad import artifacts, model_json
from lstm_ad.artifacts import DESCRIPTION, NETWORK, STATISTICS, WEIGHTS, Fit
from lstm_ad.data.schema import Clock, Column, Role, Schema, TimeForm
from lstm_ad.exceptions import ArtifactError
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model.network import StackedLSTM
from lstm_ad.scoring.detector import LSTMAD
from lstm_ad.scoring.gaussian import WIDE
from lstm_ad.threshold.decision import Decision, LabelledThreshold

FILES = [DESCRIPTION, NETWORK, STATISTICS, WEIGHTS]
LENGTHS = "context length 10, prediction length 10, stride 10"

LABELLED = LabelledThreshold(
    threshold=-12.5,
    beta=0.1,
    f_beta=0.9,
    precision=0.95,
    recall=0.4,
    n_rows=100,
    n_anomalies=7,
)


def describe(model_dir: Path, field: str, value: object) -> None:
    """Change a field of ``model.json``, as if it had been saved so; ... removes it."""
    document = json.loads((model_dir / DESCRIPTION).read_text())
    place(document, field, value)
    (model_dir / DESCRIPTION).write_bytes(model_json.text(document))


def place(document: dict[str, Any], field: str, value: object) -> None:
    """Put a value at the full name of a field."""
    *parents, last = field.split(".", 1) if "sha256" in field else field.split(".")
    inner = functools.reduce(dict.__getitem__, parents, document)
    inner[last] = value
    if value is ...:
        del inner[last]


def replace(model_dir: Path, name: str, data: bytes) -> None:
    """Put another file in its place, as if it had been saved so."""
    (model_dir / name).write_bytes(data)
    document = json.loads((model_dir / DESCRIPTION).read_text())
    digests = document["sha256"] | {name: hashlib.sha256(data).hexdigest()}
    describe(model_dir, "sha256", digests)


def check_refused(model_dir: Path, expected: str, end: str = "$") -> None:
    """Check the sentence that a model is refused with, or how it begins."""
    with pytest.raises(ArtifactError, match=f"^{re.escape(expected)}{end}"):
        artifacts.load(model_dir)


@pytest.mark.parametrize("name", ["tiny_fit", "overlapping_fit"])
def test_a_loaded_detector_scores_bit_by_bit_as_the_saved_one(
    name: str, request: pytest.FixtureRequest, tmp_path: Path, make_series
) -> None:
    """Layout, averaging and the bound of the errors come back, too."""
    saved = request.getfixturevalue(name)
    series = make_series(765, seed=4)
    series[500] = 1e6
    artifacts.save(tmp_path, saved)
    expected = saved.detector.score(series)

    loaded = artifacts.load(tmp_path)

    found = loaded.score(series)
    for attribute in ("normality_score", "reconstruction"):
        values = getattr(found, attribute)
        assert values.tobytes() == getattr(expected, attribute).tobytes()
    assert loaded.reconstructor.network.layout == saved.hyperparameters.layout
    assert loaded.scan.lengths == saved.detector.scan.lengths
    for one, other in [(loaded.seen, saved.detector.seen)]:
        assert (one is None) == (name == "tiny_fit")
        if one is not None and other is not None:
            assert (one.low.tolist(), one.high.tolist()) == (
                other.low.tolist(),
                other.high.tolist(),
            )
    assert loaded.gaussian.corner == saved.detector.gaussian.corner


def test_a_model_is_four_files_without_a_pickle(model_dir: Path) -> None:
    """ONNX, two safetensors and one JSON."""
    assert sorted(path.name for path in model_dir.iterdir()) == sorted(FILES)
    assert all(b"pickle" not in path.read_bytes() for path in model_dir.iterdir())


@pytest.mark.parametrize(("n_rows", "expected"), [({}, 320), ({"train": 0}, 80)])
def test_a_model_says_which_it_is(
    tmp_path: Path, tiny_fit: Fit, n_rows: dict[str, int], expected: int
) -> None:
    """Its digest, and of how many rows its scaler is: of those it was trained on.

    A model that was calibrated anew has only rows of the calibration.
    """
    fit = dataclasses.replace(tiny_fit, n_rows={**tiny_fit.n_rows, **n_rows})
    artifacts.save(tmp_path, fit)

    identity = artifacts.identity(tmp_path)

    document = json.loads((tmp_path / "model.json").read_text())
    assert identity.digest == document["digest"]
    assert identity.n_trained == expected


def test_the_weights_are_those_of_the_network(
    model_dir: Path, tiny: Hyperparameters, detector: LSTMAD
) -> None:
    """What training continues from: torch loads them and reconstructs as ONNX does."""
    network = StackedLSTM(2, tiny.layout, tiny.hidden_size, 2, 0.1).eval()
    arrays = load_file(model_dir / WEIGHTS)
    network.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()})
    inputs = np.random.default_rng(0).normal(size=(5, 10, 2)).astype(np.float32)

    with torch.no_grad():
        expected = network(torch.from_numpy(inputs)).numpy()[:, 0]

    reconstruction, _ = detector.reconstructor.network.run(inputs)
    np.testing.assert_allclose(reconstruction, expected, rtol=0, atol=1e-5)


def test_the_description_is_readable_and_complete(
    tmp_path: Path, overlapping_fit: Fit
) -> None:
    """What a person wants to know of a model, and all but arrays of what it decides."""
    artifacts.save(tmp_path, overlapping_fit)
    text = (tmp_path / DESCRIPTION).read_text()
    document = json.loads(text)

    decision = overlapping_fit.detector.decision
    losses = {k: dataclasses.asdict(v) for k, v in overlapping_fit.losses.items()}
    expected = {
        "format_version": 3,
        "n_series": 2,
        "layout": {"context_length": 10, "prediction_length": 6, "stride": 2},
        "shortest_window": 1,
        "n_level_entries": 0,
        "adaptation_rows": 0,
        "huber_corner": WIDE.corner,
        "hyperparameters": overlapping_fit.hyperparameters.to_public(),
        "rows": dict(overlapping_fit.n_rows),
        "epochs": 3,
        "best_epoch": overlapping_fit.best_epoch,
        "data_digest": overlapping_fit.data_digest,
        "fingerprint": overlapping_fit.fingerprint,
        "versions": {
            name: importlib.metadata.version(name)
            for name in ("torch", "onnxruntime", "numpy")
        },
        "sha256": {
            name: hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
            for name in (NETWORK, WEIGHTS, STATISTICS)
        },
        "decision": {
            "max_alarm_rate": 0.001,
            "alarm_threshold": decision.threshold,
            "interval": list(decision.interval),
            "tail": {
                name: getattr(decision.tail, name)
                for name in ("fraction", "scale", "shape")
            },
            "n_rows": decision.n_rows,
            "n_independent": decision.n_independent,
            "n_exceedances": decision.n_exceedances,
            "labelled": None,
        },
    }
    assert {name: document[name] for name in expected} == expected
    assert losses.items() <= document["losses"].items()
    assert document["hyperparameters"]["sequence-stride"] == 2
    assert len(document["data_digest"]) == 64
    assert text.count("\n") > 20


NAMED = Schema(
    (
        Column("zeit", Role.TIMESTAMP),
        Column('p<"1",', Role.SERIES),
        Column("pumpe", Role.ID),
        Column("Größe", Role.SERIES),
    ),
    is_named=True,
    clock=Clock(TimeForm.ISO, 60 * 10**9),
    group="pumpe",
)


def test_the_columns_of_training_come_back(tmp_path: Path, tiny_fit: Fit) -> None:
    """As they were; without names, series have numbers."""
    assert tiny_fit.detector.schema == Schema.unnamed(2)
    detector = dataclasses.replace(tiny_fit.detector, schema=NAMED)
    artifacts.save(tmp_path, dataclasses.replace(tiny_fit, detector=detector))
    assert artifacts.load(tmp_path).schema == NAMED


def test_columns_that_do_not_fit_the_network_are_refused(
    tmp_path: Path, tiny_fit: Fit
) -> None:
    """A name per series."""
    detector = dataclasses.replace(tiny_fit.detector, schema=Schema.unnamed(3))
    artifacts.save(tmp_path, dataclasses.replace(tiny_fit, detector=detector))
    check_refused(
        tmp_path,
        f"{tmp_path / DESCRIPTION} is damaged: schema: it has 3 series, but n_series "
        f"is 2.",
    )


def test_the_same_model_gives_the_same_bytes(
    model_dir: Path, tmp_path: Path, tiny_fit: Fit
) -> None:
    """Saved twice, no byte differs: there is no time or path in the files."""
    artifacts.save(tmp_path / "again", tiny_fit)

    for name in FILES:
        again = (tmp_path / "again" / name).read_bytes()
        assert again == (model_dir / name).read_bytes()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, tiny_fit: Fit) -> None:
    """Here its parent is a file."""
    (tmp_path / "file").write_text("")
    folder = tmp_path / "file" / "model"
    expected = f"The model cannot be written to {folder}: Not a directory."

    with pytest.raises(ArtifactError, match=f"^{re.escape(expected)}$"):
        artifacts.save(folder, tiny_fit)


def test_a_model_half_written_is_not_loaded(model_dir: Path, tiny_fit: Fit) -> None:
    """The description goes first and comes last: without it there is no model."""
    (model_dir / STATISTICS).unlink()
    (model_dir / STATISTICS).mkdir()
    with pytest.raises(ArtifactError, match=re.escape("cannot be written")):
        artifacts.save(model_dir, tiny_fit)

    check_refused(model_dir, f"{model_dir / DESCRIPTION} cannot be read", end=": ")


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(model_dir: Path, name: str) -> None:
    """The whole path, and why it cannot be read."""
    (model_dir / name).unlink()

    check_refused(
        model_dir, f"{model_dir / name} cannot be read: No such file or directory."
    )


@pytest.mark.parametrize("name", [NETWORK, STATISTICS, WEIGHTS])
def test_a_truncated_file_and_a_single_changed_bit_are_noticed(
    model_dir: Path, name: str
) -> None:
    """A download that broke off, say: each file is compared with its SHA-256."""
    path = model_dir / name
    data = path.read_bytes()
    middle = len(data) // 2
    flipped = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]
    for damaged in (data[:-1], flipped):
        path.write_bytes(damaged)

        check_refused(
            model_dir,
            f"{path} is damaged: its {len(damaged)} bytes are not the ones that "
            f"{DESCRIPTION} lists.",
        )


@pytest.mark.parametrize("text", ["", "{", "no JSON", "[1", "[NaN]", "[1e400]"])
def test_a_description_that_is_no_json_is_refused(model_dir: Path, text: str) -> None:
    """The message names the file."""
    (model_dir / DESCRIPTION).write_text(text)

    check_refused(model_dir, f"{model_dir / DESCRIPTION} is no JSON document: ", end="")


@pytest.mark.parametrize(
    ("text", "version"),
    [('{"format_version": 2}', 2), ("{}", None), ("[1]", None), ("null", None)],
)
def test_another_format_version_is_refused(
    model_dir: Path, text: str, version: int | None
) -> None:
    """The message has both versions and two ways out."""
    (model_dir / DESCRIPTION).write_text(text)

    check_refused(
        model_dir,
        f"{model_dir / DESCRIPTION} has format version {version}, but this product "
        f"reads version 3: train the model again, or serve it with the image that "
        f"trained it.",
    )


INTEGERS = [
    *("n_series", "layout.context_length", "layout.prediction_length", "layout.stride"),
    *(
        "shortest_window",
        "n_level_entries",
        "adaptation_rows",
        "decision.n_rows",
        "decision.labelled.n_anomalies",
    ),
]
NUMBERS = [
    *("huber_corner", "decision.alarm_threshold", "decision.max_alarm_rate"),
    *("decision.tail.fraction", "decision.tail.scale", "decision.tail.shape"),
    *("decision.labelled.threshold", "decision.labelled.beta"),
]
NO_NUMBERS = [..., None, True, "1", "", [], [1.0], {}]
NO_OBJECTS = [..., None, True, 1, "x", [], [1.0]]
RANGES = {
    "decision.max_alarm_rate": [0.0, -0.1, 1.0],
    "decision.tail.fraction": [0.0, -0.1, 1],
    "decision.tail.scale": [0.0, -1],
    "huber_corner": [0, -1.0],
    "shortest_window": [0],
}


@pytest.fixture(scope="module")
def labelled_dir(tmp_path_factory: pytest.TempPathFactory, tiny_fit: Fit) -> Path:
    """Return the folder of a model whose threshold labels have chosen."""
    decision = dataclasses.replace(tiny_fit.detector.decision, labelled=LABELLED)
    detector = dataclasses.replace(tiny_fit.detector, decision=decision)
    folder = tmp_path_factory.mktemp("labelled")
    artifacts.save(folder, dataclasses.replace(tiny_fit, detector=detector))
    return folder


@pytest.mark.parametrize(
    ("field", "values"),
    [
        *((name, [*NO_NUMBERS, 1.5, 1.0, -1]) for name in INTEGERS),
        *((name, NO_NUMBERS) for name in NUMBERS),
        *RANGES.items(),
        *(
            (name, NO_OBJECTS)
            for name in ("layout", "decision", "decision.tail", "schema")
        ),
        ("sha256", NO_OBJECTS[:2] + NO_OBJECTS[3:]),
        ("decision.labelled", NO_OBJECTS[2:]),  # there may be none
        ("decision.interval", [*NO_OBJECTS, [1.0, None], [1.0, 2.0, 3.0], {"a": 1}]),
        ("sha256.network.onnx", [None, 1, [], {}, True]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_field_that_cannot_be_used_is_named(
    labelled_dir: Path, field: str, values: list[object]
) -> None:
    """Missing, of any other type, or out of its range: in one sentence."""
    path = labelled_dir / DESCRIPTION
    saved = path.read_bytes()
    found = []
    for value in values:
        describe(labelled_dir, field, value)
        try:
            artifacts.load(labelled_dir)
        except ArtifactError as error:
            found.append(str(error))
        path.write_bytes(saved)

    name = field.replace("sha256.network.onnx", "sha256[...]")
    start = re.escape(f"{path} is damaged: {name}")
    sentence = rf"{start}(\[1\])?: (it is missing|expected .+)\."
    assert len(found) == len(values)
    assert [text for text in found if not re.fullmatch(sentence, text)] == []


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full name and the value of every field of a document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{name}.{key}" if name else key)
    else:
        yield name, value


def test_a_field_that_was_changed_by_hand_is_refused(labelled_dir: Path) -> None:
    """The threshold, and every other: answers are those of the model as trained."""
    path = labelled_dir / DESCRIPTION
    saved = path.read_bytes()
    fields = [*leaves(json.loads(saved))]
    for name, value in fields:
        document = json.loads(saved)
        is_number = isinstance(value, int | float)
        place(document, name, value * 1.5 if is_number else ["changed"])
        path.write_text(json.dumps(document))
        with pytest.raises(ArtifactError, match=f"^{re.escape(str(path))} "):
            artifacts.load(labelled_dir)
    document = json.loads(saved)
    place(document, "decision.labelled.threshold", -7.0)
    path.write_text(json.dumps(document))

    check_refused(
        labelled_dir,
        f"{path} does not match its own digest, so it was changed after training: use "
        f"it as it was saved, or train the model again.",
    )
    path.write_bytes(saved)
    assert artifacts.load(labelled_dir).decision.threshold == LABELLED.threshold
    assert len(fields) > 40


def test_a_network_that_does_not_fit_or_is_none_is_refused(model_dir: Path) -> None:
    """Network and description must be of one model; its folder is named."""
    describe(model_dir, "n_series", 3)
    check_refused(
        model_dir,
        f"{model_dir / NETWORK} does not fit {DESCRIPTION}: it was made for "
        f"2 series ({LENGTHS}), but 3 series ({LENGTHS}) are declared.",
    )

    replace(model_dir, NETWORK, b"no network")
    check_refused(
        model_dir,
        f"The model in {model_dir} is damaged: The network cannot be read as ONNX: ",
        end="",
    )


@pytest.mark.parametrize(
    "name",
    [
        *("scaler.mean", "scaler.scale", "gaussian.mean", "gaussian.covariance"),
        *("decision.tail.body", "decision.error_range"),
    ],
)
@pytest.mark.parametrize(
    ("change", "state"),
    [
        (lambda array: None, "missing"),
        (lambda array: array[:1], "finite, of shape (1,"),
        (lambda array: array * np.nan, "not finite, of shape"),
    ],
    ids=["missing", "of another shape", "not finite"],
)
def test_an_array_that_does_not_fit_is_named(
    model_dir: Path, name: str, change, state: str
) -> None:
    """The message has the file, the array, what was found and what is needed."""
    arrays = load_file(model_dir / STATISTICS)
    shape = arrays[name].shape
    changed = {**arrays, name: change(arrays[name])}
    data = save({k: v for k, v in changed.items() if v is not None})
    replace(model_dir, STATISTICS, data)
    end = f"but finite numbers of shape {shape} are needed."

    check_refused(
        model_dir,
        f"{model_dir / STATISTICS}: {name} is {state}",
        end=f".*{re.escape(end)}$",
    )


def test_an_array_of_the_gaussian_has_a_place_per_reconstruction(
    tmp_path: Path, overlapping_fit: Fit
) -> None:
    """Three reconstructions of two series: 6, and any other number is refused."""
    artifacts.save(tmp_path, overlapping_fit)
    arrays = load_file(tmp_path / STATISTICS)
    assert arrays["gaussian.covariance"].shape == (6, 6)

    replace(tmp_path, STATISTICS, save({**arrays, "gaussian.mean": np.zeros(2)}))
    check_refused(
        tmp_path,
        f"{tmp_path / STATISTICS}: gaussian.mean is finite, of shape (2,), but finite "
        f"numbers of shape (6,) are needed.",
    )


def fields(decision: Decision) -> dict[str, Any]:
    """Return all that a decision says, so that two can be compared."""
    found = dataclasses.asdict(decision)
    found["error_range"] = decision.error_range.tolist()
    found["tail"]["body"] = decision.tail.body.tolist()
    return found


@pytest.mark.parametrize("labelled", [None, LABELLED], ids=["no labels", "labels"])
def test_a_loaded_detector_decides_as_the_saved_one(
    tmp_path: Path, tiny_fit: Fit, labelled: LabelledThreshold | None
) -> None:
    """To the last bit, whatever chose the threshold."""
    decision = dataclasses.replace(tiny_fit.detector.decision, labelled=labelled)
    detector = dataclasses.replace(tiny_fit.detector, decision=decision)
    artifacts.save(tmp_path, dataclasses.replace(tiny_fit, detector=detector))

    loaded = artifacts.load(tmp_path).decision

    assert fields(loaded) == fields(decision)
    assert loaded.threshold == decision.threshold
