import dataclasses
import re

import pytest

from lstm_ad.exceptions import HyperparameterError
from lstm_ad.hyperparameters import Declaration, Hyperparameters, declarations
from lstm_ad.model.layout import Layout

BY_NAME = {declaration.name: declaration for declaration in declarations()}
NUMBERS = {name: d for name, d in BY_NAME.items() if d.kind is not str}


def test_names_and_defaults_are_the_documented_ones() -> None:
    """The original's seven keep their names and defaults; the others are ours."""
    assert Hyperparameters().to_public() == {
        "num-layers": 2,
        "sequence-length": 50,
        "context-length": 0,
        "prediction-length": 0,
        "sequence-stride": 0,
        "hidden-size": 128,
        "dropout": 0.1,
        "lr": 0.001,
        "batch-size": 64,
        "epochs": 100,
        "calibration-fraction": 0.2,
        "early-stopping-patience": 0,
        "max-anomaly-length": 1,
        "adaptation-rows": 0,
        "max-alarm-rate": 0.001,
        "missing-values": "refuse",
        "max-gap": 0,
        "missing-codes": "",
        "timestamp-column": "",
        "id-columns": "",
        "group-column": "",
        "sampling-interval": "",
        "off-when": "",
        "precision": "fp32",
        "seed": 0,
        "preset": "document",
    }


def test_no_strings_give_the_defaults() -> None:
    """A job without hyperparameters runs with the defaults."""
    assert Hyperparameters.from_strings({}) == Hyperparameters()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.001", 0.001),
        ('"0.001"', 0.001),
        ("1e-3", 0.001),
        ('"1E-3"', 0.001),
        (" 0.001 ", 0.001),
        ('" 0.001 "', 0.001),
        (".001", 0.001),
        ("+1", 1.0),
        ("1.", 1.0),
    ],
)
def test_a_number_is_read_bare_or_quoted(text: str, value: float) -> None:
    """Tuning jobs and boto3 send bare strings, the Estimator quotes them as JSON."""
    assert Hyperparameters.from_strings({"lr": text}).lr == value


@pytest.mark.parametrize("text", ["5", '"5"', "5.0", "5.", "05", "+5", "5e0", "0.5e1"])
def test_an_integer_is_read_in_every_spelling_of_its_value(text: str) -> None:
    """A tuner may spell an integer with a decimal point; it stays an integer."""
    num_layers = Hyperparameters.from_strings({"num-layers": text}).num_layers

    assert num_layers == 5
    assert isinstance(num_layers, int)


@pytest.mark.parametrize(
    "text",
    [
        *("12.5", "abc", "", '""', '"', '"5', "nan", "inf", "-inf", "0x10", "1_0"),
        *("true", "null", "[5]", "5 5", "5,0", "1e400"),
    ],
)
def test_what_spells_no_integer_is_refused(text: str) -> None:
    """The message has the name, what was given and what is accepted."""
    expected = "sequence-length must be an integer from 1 to 100000, but "

    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}"):
        Hyperparameters.from_strings({"sequence-length": text})


def test_the_message_shows_the_text_that_was_given() -> None:
    """A value of the wrong type is quoted as the user wrote it, quotes removed."""
    expected = (
        'lr must be a number from 1e-09 to 10.0, but "fast" was given. '
        'epochs must be an integer from 1 to 1000000, but "12.5" was given.'
    )

    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}$"):
        Hyperparameters.from_strings({"lr": '"fast"', "epochs": "12.5"})


@pytest.mark.parametrize("declaration", NUMBERS.values(), ids=NUMBERS)
def test_the_bounds_belong_to_the_accepted_values(declaration: Declaration) -> None:
    """Both ends of a range are accepted, from strings as from Python."""
    for bound in (declaration.minimum, declaration.maximum):
        read = Hyperparameters.from_strings(
            {"prediction-length": "100000", declaration.name: str(bound)}
        )

        assert read.to_public()[declaration.name] == bound


@pytest.mark.parametrize("declaration", NUMBERS.values(), ids=NUMBERS)
@pytest.mark.parametrize("side", ["below", "above"])
def test_a_value_out_of_its_bounds_is_refused(
    declaration: Declaration, side: str
) -> None:
    """The message has the name, the range and the value; parsed or not."""
    bound = declaration.minimum if side == "below" else declaration.maximum
    step = 1 if declaration.kind is int else 0.5 * max(bound, 1e-12)
    value = declaration.kind(bound - step if side == "below" else bound + step)
    expected = (
        f'{declaration.name} must be {declaration.accepted}, but "{value}" was given.'
    )

    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}$"):
        Hyperparameters.from_strings({declaration.name: str(value)})
    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}$"):
        Hyperparameters(**{declaration.name.replace("-", "_"): value})


@pytest.mark.parametrize("text", ["bf16", '"bf16"', " bf16 "])
def test_a_word_is_read_bare_or_quoted(text: str) -> None:
    """As numbers are."""
    assert Hyperparameters.from_strings({"precision": text}).precision == "bf16"


@pytest.mark.parametrize("text", ["fp16", "BF16", "", "1"])
def test_another_word_is_refused(text: str) -> None:
    """The message names the accepted ones; parsed or not."""
    expected = f'precision must be fp32 or bf16, but "{text}" was given.'

    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}$"):
        Hyperparameters.from_strings({"precision": text})
    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}$"):
        Hyperparameters(precision=text)


def test_every_fault_is_in_one_message() -> None:
    """Unknown names, wrong types and bounds: nobody starts a job per fault."""
    strings = {"sequence_length": "5", "lr": "abc", "dropout": "1", "frobnicate": "1"}

    with pytest.raises(HyperparameterError) as raised:
        Hyperparameters.from_strings(strings)

    names = ", ".join(BY_NAME)
    assert str(raised.value) == (
        "sequence_length is not a hyperparameter (did you mean sequence-length?); "
        f"choose from {names}. "
        'lr must be a number from 1e-09 to 10.0, but "abc" was given. '
        'dropout must be a number from 0.0 to 0.99, but "1.0" was given. '
        f"frobnicate is not a hyperparameter; choose from {names}."
    )


def test_a_stride_that_divides_nothing_is_named_beside_other_faults() -> None:
    """It takes two values to be wrong, and is reported with the rest all the same."""
    strings = {"frobnicate": "1", "prediction-length": "10", "sequence-stride": "3"}

    with pytest.raises(HyperparameterError) as raised:
        Hyperparameters.from_strings(strings)

    assert str(raised.value).startswith("frobnicate is not a hyperparameter")
    assert str(raised.value).endswith(
        'sequence-stride must be a divisor of prediction-length, which is 10, but "3" '
        "was given."
    )


@pytest.mark.parametrize("length", ["sequence-length", "prediction-length"])
@pytest.mark.parametrize("text", ["abc", "-1"])
def test_a_fault_that_follows_from_another_is_not_reported(
    length: str, text: str
) -> None:
    """Nothing is known of a stride without the length; of its own bounds it is."""
    given = {length: text, "sequence-stride": "7", "seed": "-1"}
    fault = rf'{length} must be an integer from \d to 100000, but "{text}" was given\.'

    with pytest.raises(HyperparameterError, match=rf"^{fault} seed must be [^.]+\.$"):
        Hyperparameters.from_strings(given)
    with pytest.raises(HyperparameterError, match=rf"^{fault} sequence-stride must be"):
        Hyperparameters.from_strings(given | {"sequence-stride": "x"})


def test_every_fault_of_values_is_in_one_message() -> None:
    """Built from Python, too, all values out of bounds are named together."""
    expected = (
        'num-layers must be an integer from 1 to 16, but "0" was given. '
        'seed must be an integer from 0 to 4294967295, but "-1" was given.'
    )

    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}$"):
        Hyperparameters(num_layers=0, seed=-1)


def test_public_values_read_back_as_they_were() -> None:
    """What a model's JSON lists reproduces the job."""
    hyperparameters = Hyperparameters(lr=0.1 + 0.2, seed=2**32 - 1, dropout=1 / 3)
    strings = {name: str(v) for name, v in hyperparameters.to_public().items()}

    assert Hyperparameters.from_strings(strings) == hyperparameters


def test_every_hyperparameter_is_declared_once() -> None:
    """The public names are the attributes, hyphens for underscores."""
    fields = dataclasses.fields(Hyperparameters)
    attributes = [field.name for field in fields if field.name != "given"]

    assert [name.replace("-", "_") for name in BY_NAME] == attributes


@pytest.mark.parametrize("declaration", BY_NAME.values(), ids=BY_NAME)
def test_every_hyperparameter_has_a_meaning_in_one_sentence(
    declaration: Declaration,
) -> None:
    """The sentence goes into the README and the algorithm specification."""
    assert re.fullmatch(r"The [^.]+\.", declaration.meaning)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, Layout(50, 50, 50)),
        ({"sequence_length": 7}, Layout(7, 7, 7)),
        ({"context_length": 100}, Layout(100, 50, 50)),
        ({"prediction_length": 10}, Layout(50, 10, 10)),
        ({"sequence_stride": 5}, Layout(50, 50, 5)),
        (
            {"context_length": 100, "prediction_length": 10, "sequence_stride": 1},
            Layout(100, 10, 1),
        ),
    ],
)
def test_lengths_that_are_not_given_follow_the_sequence_length(
    given: dict[str, int], expected: Layout
) -> None:
    """The stride follows the prediction length; 0 spells the same as nothing."""
    zeros = {"context_length": 0, "prediction_length": 0, "sequence_stride": 0}

    assert Hyperparameters(**given).layout == expected
    assert Hyperparameters(**(zeros | given)).layout == expected


@pytest.mark.parametrize(
    ("given", "length", "stride"),
    [
        ({"sequence-stride": "7"}, 50, 7),
        ({"prediction-length": "10", "sequence-stride": "4"}, 10, 4),
        ({"prediction-length": "10", "sequence-stride": "20"}, 10, 20),
    ],
)
def test_a_stride_that_does_not_divide_the_prediction_length_is_refused(
    given: dict[str, str], length: int, stride: int
) -> None:
    """The rows would not all have as many reconstructions."""
    expected = (
        f"sequence-stride must be a divisor of prediction-length, which is {length}, "
        f'but "{stride}" was given.'
    )

    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}$"):
        Hyperparameters.from_strings(given)


def test_the_preset_sets_what_is_not_given() -> None:
    """For one series or several, which is known when the data are read."""
    strings = {"preset": "detection", "epochs": "7", "lr": "0.005"}
    asked = Hyperparameters.from_strings(strings)

    one, several = asked.for_series(1), asked.for_series(8)

    assert (one.epochs, several.epochs) == (7, 7)
    assert (one.max_anomaly_length, several.max_anomaly_length) == (100, 64)
    assert one.layout == several.layout == Layout(100, 5, 1)
    assert Hyperparameters().for_series(1) == Hyperparameters()


@pytest.mark.parametrize(
    ("longest", "n_series", "expected"),
    [
        (1, 1, (1,)),
        (1, 8, (1,)),
        (64, 8, (1, 2, 4, 8, 16, 32, 64)),
        (100, 8, (1, 2, 4, 8, 16, 32, 64)),
        (100, 1, (25, 50, 100)),
        (3, 1, (1, 2)),
        (6, 1, (1, 2, 4)),
    ],
)
def test_windows_double_up_to_the_longest_anomaly(
    longest: int, n_series: int, expected: tuple[int, ...]
) -> None:
    """From single rows for several series; the last three for a single one."""
    settings = Hyperparameters(max_anomaly_length=longest)

    assert settings.window_lengths(n_series) == expected
    assert settings.n_unscored(n_series) == 50 + expected[0] - 1


def test_a_retired_hyperparameter_says_what_replaces_it() -> None:
    """Nobody has to look for it."""
    expected = (
        "score-smoothing is no hyperparameter any more: max-anomaly-length, the "
        "longest anomaly to look for in rows, replaces it; preset=detection sets that."
    )
    with pytest.raises(HyperparameterError, match=f"^{re.escape(expected)}$"):
        Hyperparameters.from_strings({"score-smoothing": "25"})


def test_columns_are_named_in_texts() -> None:
    """Bare or quoted, and several separated by commas."""
    texts = {
        "timestamp-column": " Zeit < 1 ",
        "id-columns": '"pump, batch,, 3"',
        "group-column": "batch",
    }
    read = Hyperparameters.from_strings(texts)
    assert read.timestamp_column == "Zeit < 1"
    assert read.ids == ("pump", "batch", "3")
    assert read.group_column == "batch"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "timestamp-column",
            "x" * 2001,
            "timestamp-column must be a text of at most 2000 printable characters, "
            f'but "{"x" * 2001}" was given.',
        ),
        (
            "group-column",
            "pump",
            'group-column must be one of id-columns, which are "a, b", but "pump" was '
            "given.",
        ),
    ],
)
def test_a_text_that_cannot_name_columns_is_refused(
    name: str, text: str, message: str
) -> None:
    """Too long, or no column at all."""
    with pytest.raises(HyperparameterError, match=f"^{re.escape(message)}$"):
        Hyperparameters.from_strings({"id-columns": "a, b", name: text})


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("PT1M", 60 * 10**9),
        ("P1DT2H3M4.5S", (26 * 3600 + 184) * 10**9 + 5 * 10**8),
        ("PT0.000000001S", 1),
        ("P366D", 366 * 24 * 3600 * 10**9),
    ],
)
def test_an_interval_is_an_iso_8601_duration(text: str, nanoseconds: int) -> None:
    """In days and smaller units, which have a fixed length."""
    settings = {"sampling-interval": text, "timestamp-column": "time"}
    assert Hyperparameters.from_strings(settings).sampling_step == nanoseconds


@pytest.mark.parametrize("text", ["P", "PT", "P1DT", "PT0S", "1M", "P1M", "P367D"])
def test_another_interval_is_refused(text: str) -> None:
    """With what is accepted."""
    message = (
        f"sampling-interval must be an ISO 8601 duration in days, hours, minutes and "
        f"seconds, such as PT1M or PT0.5S, of at most 366 days, but {text!r} was given."
    ).replace("'", '"')
    with pytest.raises(HyperparameterError, match=f"^{re.escape(message)}$"):
        Hyperparameters(sampling_interval=text, timestamp_column="time")


@pytest.mark.parametrize(
    ("text", "codes"),
    [("-9999,999.99", (-9999, 999.99)), ("-1e3 , +.5", (-1000, 0.5)), ("", ())],
)
def test_codes_are_numbers(text: str, codes: tuple[float, ...]) -> None:
    """Separated by commas, with or without spaces."""
    strings = {"missing-codes": text, "missing-values": "hold"}
    assert Hyperparameters.from_strings(strings).codes == codes


@pytest.mark.parametrize(
    ("text", "held", "message"),
    [
        *(
            (
                text,
                "hold",
                f"missing-codes must be numbers separated by commas, such as "
                f'-9999,999.99, but "{text}" was given.',
            )
            for text in ("NA", "-9999,", "1;2", "nan", "1e400")
        ),
        (
            "-9999",
            "refuse",
            "missing-codes needs missing-values=hold: give both, or leave it out.",
        ),
    ],
)
def test_other_codes_are_refused(text: str, held: str, message: str) -> None:
    """With what is accepted."""
    with pytest.raises(HyperparameterError, match=f"^{re.escape(message)}$"):
        Hyperparameters(missing_codes=text, missing_values=held)


def test_an_interval_needs_times() -> None:
    """Of the rows."""
    with pytest.raises(HyperparameterError, match="needs the times of rows"):
        Hyperparameters(sampling_interval="PT1M")
