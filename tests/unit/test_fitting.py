import dataclasses
import re

import numpy as np
import pytest

from lstm_ad import fitting
from lstm_ad.artifacts import Fit
from lstm_ad.data.rows import Rows
from lstm_ad.exceptions import HyperparameterError, SeriesError
from lstm_ad.fitting import fit
from lstm_ad.hyperparameters import Hyperparameters
from lstm_ad.model import runtime
from lstm_ad.model.scaling import Scaler
from lstm_ad.scoring.calibrate import Errors, Settings, calibrate
from lstm_ad.scoring.gaussian import WIDE, Gaussian
from lstm_ad.scoring.moments import Moments
from lstm_ad.threshold.calibration import decide
from lstm_ad.threshold.labelled import choose_threshold


def weights_of(result: Fit) -> dict[str, bytes]:
    """Return the weights, byte for byte."""
    return {name: value.tobytes() for name, value in result.weights.items()}


def test_a_gaussian_too_large_for_the_memory_is_refused_before_training(
    tiny: Hyperparameters, make_series, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two series it needs 320 bytes."""
    caplog.set_level("INFO")
    with pytest.raises(HyperparameterError, match=r"^The Gaussian of 2 errors"):
        fit(Rows.of({"a": make_series(400)}), tiny, memory_bytes=319)

    assert "Training the model." not in caplog.messages


def test_the_first_part_of_each_file_fits_and_the_last_calibrates(
    tiny: Hyperparameters, make_series
) -> None:
    """Every row is in one part alone, and so is every sequence.

    What is in the last fifth of a file has no say in the scaler; what is in the first
    part has none in whether the Gaussian's errors are there.
    """
    files = {"a": make_series(400), "b": make_series(205, seed=1)}

    result = fit(Rows.of(files), tiny)

    reconstructor = result.detector.reconstructor
    fitting_parts = [files["a"][:320], files["b"][:164]]
    calibration_parts = [files["a"][320:], files["b"][164:]]
    expected_scaler = Scaler.fit(fitting_parts)
    expected_gaussian = Gaussian.fit(
        [np.vstack([*reconstructor.errors(part)]) for part in calibration_parts],
        expected_scaler.scale,
    )
    assert reconstructor.scaler.mean.tolist() == expected_scaler.mean.tolist()
    assert reconstructor.scaler.scale.tolist() == expected_scaler.scale.tolist()
    assert result.detector.gaussian.mean.tolist() == expected_gaussian.mean.tolist()
    assert (
        result.detector.gaussian.covariance.tolist()
        == expected_gaussian.covariance.tolist()
    )
    assert result.n_rows == {"train": 484, "valid": 0, "calibration": 121}
    for name, parts in (("train", fitting_parts), ("calibration", calibration_parts)):
        errors = np.vstack([e for part in parts for e in reconstructor.errors(part)])
        mse = np.square(errors / expected_scaler.scale).mean()
        assert result.losses[name].mse == pytest.approx(mse, rel=1e-4)


@pytest.mark.parametrize("settings", ["tiny", "overlapping"])
def test_the_calibration_part_does_not_train_the_network(
    settings: str, make_series, request: pytest.FixtureRequest
) -> None:
    """Other rows there: the same weights, bit by bit, and another Gaussian."""
    hyperparameters = request.getfixturevalue(settings)
    series, other = make_series(400), make_series(400)
    other[320:] += 1.0
    validation = {"valid": make_series(60, seed=1)}

    first, second = (
        fit(Rows.of({"a": s}, validation), hyperparameters) for s in (series, other)
    )

    assert weights_of(first) == weights_of(second)
    assert (first.detector.gaussian.mean != second.detector.gaussian.mean).all()


def test_the_fitting_part_trains_the_network_up_to_its_last_row(
    tiny: Hyperparameters, make_series
) -> None:
    """The last row before the cut is not lost between the two parts."""
    series, other = make_series(400), make_series(400)
    other[319] += 1.0

    first, second = (fit(Rows.of({"a": s}), tiny) for s in (series, other))

    assert weights_of(first) != weights_of(second)


def test_validation_series_train_nothing(tiny: Hyperparameters, make_series) -> None:
    """They choose an epoch and give a loss; one epoch leaves no choice."""
    one_epoch = dataclasses.replace(tiny, epochs=1)
    training = {"a": make_series(400)}

    without = fit(Rows.of(training), one_epoch)
    with_them = fit(Rows.of(training, {"v": 3 * make_series(50)}), one_epoch)

    assert weights_of(without) == weights_of(with_them)
    assert set(without.losses) == {"train", "calibration"}
    assert set(with_them.losses) == {"train", "valid", "calibration"}
    assert with_them.losses["valid"] == with_them.history[0].valid


def test_no_sequence_crosses_a_file(tiny: Hyperparameters, make_series) -> None:
    """Files of two sequences per part give one pair each, whatever their order.

    A sequence across the border would mix the rows of both.
    """
    one_epoch = dataclasses.replace(tiny, epochs=1, dropout=0.0, batch_size=64)
    files = {
        name: make_series(40, seed=seed) for seed, name in enumerate(("a", "b", "c"))
    }
    settings = dataclasses.replace(one_epoch, calibration_fraction=0.5)

    result = fit(Rows.of(files), settings)

    # lr is 0.01 and there is one step: the loss of that step is the untrained one's.
    scaler = result.detector.reconstructor.scaler
    targets = [scaler.transform(series[:20])[10:] for series in files.values()]
    expected = np.mean(np.square(np.concatenate(targets), dtype=np.float64))
    assert result.history[0].train.mse == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("build", "warning"),
    [
        (lambda s: np.column_stack([s, np.full(len(s), 7.0)]), "series 3"),
        (lambda s: s[:, [0, 1, 0]], "series 1 and 3"),
        (lambda s: s * [1e30, 1e-30], None),
        (lambda s: np.full_like(s, 7.0), "series 1 and 2"),
    ],
    ids=["constant", "duplicated", "1e30 beside 1e-30", "all constant"],
)
def test_difficult_series_give_finite_scores(
    tiny: Hyperparameters,
    make_series,
    caplog: pytest.LogCaptureFixture,
    build,
    warning: str | None,
) -> None:
    """The warning names the series; a spike is still the least normal row."""
    series = build(make_series(400))

    result = fit(Rows.of({"a": series}), tiny)

    spiked = series[:60].copy()
    spiked[45] *= 5.0
    scores = result.detector.score(spiked)
    messages = [record.getMessage() for record in caplog.records]
    assert np.isfinite(scores.normality_score[10:]).all()
    assert np.isfinite(scores.reconstruction[10:]).all()
    assert np.nanargmin(scores.normality_score) == 45
    assert (warning is None) or any(warning in message for message in messages)


def test_fewer_calibration_errors_than_series_give_finite_scores(
    tiny: Hyperparameters, caplog: pytest.LogCaptureFixture
) -> None:
    """20 series, 10 errors: the Gaussian is regularised and says so."""
    series = np.random.default_rng(0).normal(size=(100, 20))

    result = fit(Rows.of({"a": series}), tiny)

    assert np.isfinite(result.detector.score(series).normality_score[10:]).all()
    assert any(
        "depend on each other linearly in the 10 rows" in record.getMessage()
        for record in caplog.records
    )


@pytest.mark.parametrize(
    ("settings", "training", "validation", "message"),
    [
        ("tiny", {}, {}, "There are no training series: at least one is needed."),
        (
            "tiny",
            {"a.csv": (400, 2), "b.csv": (400, 1)},
            {},
            "b.csv: the number of columns differs between files: 1 were found, but "
            "a.csv has 2.",
        ),
        (
            "tiny",
            {"a.csv": (400, 2)},
            {"b.csv": (400, 1)},
            "b.csv: the number of columns differs between files: 1 were found, but "
            "a.csv has 2.",
        ),
        (
            "tiny",
            {"a.csv": (400, 2), "b.csv": (90, 2)},
            {},
            "b.csv: the file is too short for a sequence-length of 10: 90 rows were "
            "found, of which 72 would fit the LSTM and 18 the Gaussian, but 20 and 20 "
            "are needed. Use files of at least 98 rows, or a sequence-length of at "
            "most 9.",
        ),
        (
            "overlapping",
            {"a.csv": (27, 2)},
            {},
            "a.csv: the file is too short for a context-length of 10 and a "
            "prediction-length of 6: 27 rows were found, of which 22 would fit the "
            "LSTM and 5 the Gaussian, but 16 and 6 are needed. Use files of at least "
            "28 rows.",
        ),
        (
            "tiny",
            {"a.csv": (400, 2)},
            {"v.csv": (10, 2)},
            "v.csv: the file is too short for a sequence-length of 10: 10 rows were "
            "found, but at least 11 are needed.",
        ),
        (
            "overlapping",
            {"a.csv": (400, 2)},
            {"v.csv": (14, 2)},
            "v.csv: the file is too short for a context-length of 10 and a "
            "prediction-length of 6: 14 rows were found, but at least 15 are needed.",
        ),
    ],
)
def test_files_that_cannot_be_used_are_refused(
    settings: str,
    training: dict[str, tuple[int, int]],
    validation: dict[str, tuple[int, int]],
    message: str,
    request: pytest.FixtureRequest,
) -> None:
    """With what was found, and with what would do."""
    rows = Rows.of(
        {name: np.zeros(shape) for name, shape in training.items()},
        {name: np.zeros(shape) for name, shape in validation.items()},
    )

    with pytest.raises(SeriesError, match=f"^{re.escape(message)}$"):
        fit(rows, request.getfixturevalue(settings))


@pytest.mark.parametrize(("settings", "n_rows"), [("tiny", 11), ("overlapping", 15)])
def test_the_shortest_validation_file_is_accepted(
    settings: str, n_rows: int, make_series, request: pytest.FixtureRequest
) -> None:
    """It gives one row with a score."""
    one_epoch = dataclasses.replace(request.getfixturevalue(settings), epochs=1)
    rows = Rows.of({"a.csv": make_series(400)}, {"v.csv": make_series(n_rows)})

    assert fit(rows, one_epoch).n_rows["valid"] == n_rows


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.37, 0.5, 0.73, 0.9])
@pytest.mark.parametrize("sequence_length", [1, 3, 10])
def test_the_ways_out_of_a_short_file_are_true(
    tiny: Hyperparameters, make_series, fraction: float, sequence_length: int
) -> None:
    """So many rows are accepted and one less is not; so is the sequence length."""
    settings = dataclasses.replace(
        tiny, calibration_fraction=fraction, sequence_length=sequence_length, epochs=1
    )
    with pytest.raises(SeriesError) as raised:
        fit(Rows.of({"a": make_series(2)}), settings)
    needed = int(re.search(r"at least (\d+) rows", str(raised.value)).group(1))

    accepted = fit(Rows.of({"a": make_series(needed)}), settings)

    assert accepted.n_rows["train"] >= 2 * sequence_length
    assert accepted.n_rows["calibration"] >= 2 * sequence_length
    with pytest.raises(SeriesError, match="too short"):
        fit(Rows.of({"a": make_series(needed - 1)}), settings)


def test_the_sequence_length_that_a_short_file_is_told_is_accepted(
    tiny: Hyperparameters, make_series
) -> None:
    """The longest one: one more is refused again."""
    with pytest.raises(SeriesError, match=r"sequence-length of at most 4\.$"):
        fit(Rows.of({"a": make_series(43)}), tiny)

    fits = dataclasses.replace(tiny, sequence_length=4, epochs=1)
    assert fit(Rows.of({"a": make_series(43)}), fits).n_rows["calibration"] == 9
    with pytest.raises(SeriesError, match="too short"):
        fit(
            Rows.of({"a": make_series(43)}),
            dataclasses.replace(fits, sequence_length=5),
        )


def test_a_context_longer_than_a_run_can_be_saved(
    tiny: Hyperparameters, make_series, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The saved network is compared where it reconstructs: after a whole context."""
    monkeypatch.setattr(runtime, "RUN_ROWS", 7)
    settings = dataclasses.replace(
        tiny, context_length=10, prediction_length=4, sequence_stride=1, epochs=1
    )

    result = fit(Rows.of({"a.csv": make_series(400)}), settings)

    assert result.detector.reconstructor.network.run_rows == 7


def test_the_default_lengths_are_the_sequence_length_spelled_out(
    tiny: Hyperparameters, make_series
) -> None:
    """The same weights, Gaussian, graph and losses, bit by bit."""
    spelled = dataclasses.replace(
        tiny, context_length=10, prediction_length=10, sequence_stride=10
    )

    first, second = (fit(Rows.of({"a": make_series(400)}), s) for s in (tiny, spelled))

    graphs = [r.detector.reconstructor.network.model for r in (first, second)]
    assert weights_of(first) == weights_of(second)
    assert graphs[0] == graphs[1]
    assert first.losses == second.losses
    assert (
        first.detector.gaussian.covariance.tobytes()
        == second.detector.gaussian.covariance.tobytes()
    )


def test_overlapping_the_parts_share_no_row_that_counts(
    overlapping: Hyperparameters, make_series
) -> None:
    """80 rows of 400 calibrate, and all 80 have an error vector.

    The 14 rows before them are read, and no more: what comes earlier has no say, but in
    the smallest standard deviations.
    """
    files = {"a": make_series(400), "b": make_series(205, seed=1)}

    result = fit(Rows.of(files), overlapping)

    reconstructor = result.detector.reconstructor
    parts = [files["a"][320 - 14 :], files["b"][164 - 14 :]]
    errors = [np.vstack([*reconstructor.errors(part)]) for part in parts]
    training = [files["a"][:320], files["b"][:164]]
    training = [np.vstack([*reconstructor.errors(part)]) for part in training]
    scale = reconstructor.scaler.scale
    moments = Moments.of(training)
    expected = Gaussian.fit(errors, scale, WIDE, moments)
    assert [len(e) for e in errors] == [80, 41]
    assert result.n_rows == {"train": 484, "valid": 0, "calibration": 121}
    assert reconstructor.scaler.mean.tolist() == (
        Scaler.fit([files["a"][:320], files["b"][:164]]).mean.tolist()
    )
    assert result.detector.gaussian.mean.tolist() == expected.mean.tolist()
    assert result.detector.gaussian.covariance.tolist() == expected.covariance.tolist()
    assert result.detector.gaussian.corner == WIDE.corner
    best = result.history[result.best_epoch - 1]
    assert result.losses["calibration"] == best.calibration


def test_no_error_vector_of_the_calibration_part_has_a_row_before_the_cut(
    overlapping: Hyperparameters, make_series
) -> None:
    """A mark one row before the cut is read, but its error fits no Gaussian.

    Beyond the bound of what is read, 1e3 and 1e6 are the same to the network. Only
    its own error vector could tell them apart.
    """
    near, far = make_series(400), make_series(400)
    near[319], far[319] = 1e3, 1e6
    hold = {"valid": make_series(60, seed=1)}
    scaler = Scaler(mean=np.zeros(2), scale=np.ones(2))
    result = fit(Rows.of({"a": make_series(400)}, hold), overlapping)
    reconstructor = dataclasses.replace(result.detector.reconstructor, scaler=scaler)

    errors = [np.vstack([*reconstructor.errors(s[320 - 14 :])]) for s in (near, far)]

    assert len(errors[0]) == 80
    assert errors[0].tolist() == errors[1].tolist()
    one_more = [
        np.vstack([*reconstructor.errors(s[319 - 14 :])])[0] for s in (near, far)
    ]
    assert one_more[0].tolist() != one_more[1].tolist()


def test_overlapping_the_selection_loss_is_of_the_calibration_part_alone(
    overlapping: Hyperparameters, make_series
) -> None:
    """No sequence that chooses an epoch starts before the cut.

    Worked out from the saved network, by a loop over segments of a context of 10 rows
    and 10 origins, 2 rows apart: the first origin is the last row before the cut.
    """
    series = make_series(400)
    one_epoch = dataclasses.replace(overlapping, epochs=1)
    result = fit(Rows.of({"a": series}), one_epoch)
    reconstructor = result.detector.reconstructor
    network, scaled = reconstructor.network, reconstructor.scaler.transform(series)

    squares = []
    for start in range(310, 390, 20):
        read = scaled[start : min(start + 28, 399)]
        sequences, _ = network.run(read, network.initial_states())
        for origin in range(9, len(read), 2):
            first = start + origin + 1
            targets = scaled[first : first + 6]
            squares += np.square(targets - sequences[origin, : len(targets)]).tolist()
    assert result.history[0].calibration.mse == pytest.approx(
        float(np.mean(squares)), rel=1e-4
    )


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.37, 0.5, 0.73, 0.9])
@pytest.mark.parametrize("lengths", [(10, 6, 2), (1, 2, 1), (3, 12, 4), (7, 3, 3)])
def test_the_rows_that_a_short_file_is_told_are_the_fewest(
    tiny: Hyperparameters,
    make_series,
    fraction: float,
    lengths: tuple[int, int, int],
) -> None:
    """By brute force over the lengths; S < P needs P rows to calibrate, else C + P."""
    context, prediction, stride = lengths
    settings = dataclasses.replace(
        tiny,
        context_length=context,
        prediction_length=prediction,
        sequence_stride=stride,
        calibration_fraction=fraction,
        epochs=1,
        hidden_size=1,
    )
    calibrating = prediction if stride < prediction else context + prediction
    fits = [
        n
        for n in range(3000)
        if round(n * fraction) >= calibrating
        and n - round(n * fraction) >= context + prediction
    ]

    with pytest.raises(SeriesError, match=f"at least {fits[0]} rows"):
        fit(Rows.of({"a": make_series(fits[0] - 1)}), settings)
    accepted = fit(Rows.of({"a": make_series(fits[0])}), settings)

    assert sum(accepted.n_rows.values()) == fits[0]


def test_the_row_of_a_value_too_far_off_is_that_of_its_file(
    overlapping: Hyperparameters, make_series
) -> None:
    """Borrowed rows do not shift the count."""
    series = make_series(400)
    series[350:360, 1] = 1e30

    with pytest.raises(SeriesError, match=r"^a\.csv: row 351, column 2: 1e\+30 is too"):
        fit(Rows.of({"a.csv": series}), overlapping)


@pytest.mark.parametrize(
    ("build", "warning"),
    [
        (lambda s: np.column_stack([s, np.full(len(s), 7.0)]), "series 3"),
        (lambda s: s[:, [0, 1, 0]], None),
        (lambda s: s * [1e30, 1e-30], None),
    ],
    ids=["constant", "duplicated", "1e30 beside 1e-30"],
)
def test_overlapping_difficult_series_give_finite_scores(
    overlapping: Hyperparameters,
    make_series,
    caplog: pytest.LogCaptureFixture,
    build,
    warning: str | None,
) -> None:
    """The warning names the series by its column; a spike still scores low."""
    result = fit(Rows.of({"a": build(make_series(400))}), overlapping)

    spiked = build(make_series(400))[:60]
    spiked[45] *= 5.0
    scores = result.detector.score(spiked)
    named = {
        name
        for message in caplog.messages
        for name in re.findall(r"series \d+(?:(?:, \d+)* and \d+)?", message)
    }
    assert np.isfinite(scores.normality_score[14:]).all()
    assert np.nanargmin(scores.normality_score) == 45
    assert named == ({warning} if warning else set())


def test_repeating_the_last_value_is_judged_on_the_same_sequences(
    overlapping: Hyperparameters, make_series
) -> None:
    """Every sequence of the validation series, as far as it goes, by a loop."""
    validation = make_series(41, seed=1)
    one_epoch = dataclasses.replace(overlapping, epochs=1)

    result = fit(Rows.of({"a": make_series(400)}, {"v": validation}), one_epoch)

    scaled = result.detector.reconstructor.scaler.transform(validation)
    errors = [
        scaled[origin + 1 + place] - scaled[origin]
        for origin in range(9, 40, 2)
        for place in range(min(6, 40 - origin))
    ]
    assert result.repeated.mse == pytest.approx(float(np.mean(np.square(errors))))
    assert result.repeated.mae == pytest.approx(float(np.mean(np.abs(errors))))


def test_the_decision_is_learnt_from_held_out_scores_of_the_calibration_part(
    overlapping_fit: Fit, make_series
) -> None:
    """By the windows that the detector scans, from its last 80 of 400 rows."""
    detector, series = overlapping_fit.detector, make_series(400)
    errors, training = (
        np.vstack([*detector.reconstructor.errors(rows)])
        for rows in (series[320 - 14 :], series[:320])
    )

    found = calibrate(
        Errors.alone([errors]),
        Errors.alone([training]),
        detector.reconstructor.scaler.scale,
        Settings.of(overlapping_fit.hyperparameters, n_series=2),
    )

    (scores,) = found.scores
    assert detector.scan.levels.tolist() == found.scan.levels.tolist()
    assert overlapping_fit.calibration_scores.tolist() == scores.tolist()
    assert overlapping_fit.calibration_errors.tolist() == errors.tolist()
    expected = decide(scores, errors.reshape(80, 3, 2).mean(axis=1), 0.001)
    assert detector.decision.threshold == expected.threshold
    assert detector.decision.interval == expected.interval
    assert detector.decision.error_range.tolist() == expected.error_range.tolist()


def test_the_rate_of_alarms_is_the_one_that_is_set(
    tiny: Hyperparameters, make_series
) -> None:
    """The more alarms are allowed, the higher the threshold, on the same network."""
    often = dataclasses.replace(tiny, max_alarm_rate=0.1)

    rare, frequent = (
        fit(Rows.of({"a": make_series(400)}), settings).detector.decision
        for settings in (tiny, often)
    )

    assert frequent.max_alarm_rate == 0.1
    assert frequent.threshold > rare.threshold


def test_error_vectors_are_kept_for_a_report_up_to_a_number(
    tiny: Hyperparameters, make_series, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At equal distances, beyond it; the scores are all kept."""
    monkeypatch.setattr(fitting, "MAX_KEPT_ERRORS", 20)

    result = fit(Rows.of({"a": make_series(400)}), tiny)

    errors = np.vstack([*result.detector.reconstructor.errors(make_series(400)[320:])])
    assert result.calibration_errors.tolist() == errors[::4].tolist()
    assert result.calibration_scores.shape == (70,)


def test_labelled_anomalies_choose_the_threshold_and_validate_nothing(
    tiny: Hyperparameters, make_series
) -> None:
    """The network is that of the normal stretches, given as series of their own."""
    training = {"a": make_series(400)}
    series = make_series(120, seed=1)
    normal = {"v0": series[:60].copy(), "v1": series[63:].copy()}
    series[60:63] = 1e6
    labels = np.zeros((120, 1))
    labels[60:63] = 1

    result = fit(Rows.of(training, {"v": series}, labels={"v": labels}), tiny)

    expected = fit(Rows.of(training, normal), tiny)
    assert result.history == expected.history
    assert result.losses["valid"] == expected.losses["valid"]
    assert result.n_rows["valid"] == 117
    decision = result.detector.decision
    scores = result.detector.score(series).normality_score
    assert decision.labelled == choose_threshold(
        scores, labels[:, 0] == 1, decision.alarm_threshold
    )
    assert decision.source == "labels"
    assert decision.alarm_threshold == expected.detector.decision.threshold


def test_labels_that_do_not_fit_are_refused_before_training(
    tiny: Hyperparameters, make_series
) -> None:
    """Also where there is nothing that they could be of."""
    with pytest.raises(SeriesError, match=r"^labels/v has no series"):
        fit(Rows.of({"a": make_series(400)}, {}, labels={"v": np.zeros((9, 1))}), tiny)


def test_other_labels_are_other_data(tiny: Hyperparameters, make_series) -> None:
    """So no checkpoint of one fits the other."""
    validation = {"v": make_series(120, seed=1)}
    labels = [np.zeros((120, 1)), np.zeros((120, 1))]
    labels[0][60] = labels[1][61] = 1

    found = [
        fit(Rows.of({"a": make_series(400)}, validation, labels=given), tiny)
        for given in (None, {"v": labels[0]}, {"v": labels[1]})
    ]

    assert len({result.data_digest for result in found}) == 3
    assert len({result.fingerprint for result in found}) == 3
