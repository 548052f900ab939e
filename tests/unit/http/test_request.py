import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from sagemaker_container.formats.columns import (
    CSV,
    DEFAULT_COLUMNS,
    FORMATS,
    JSON,
    JSON_LINES,
    OUTPUTS,
    OutputError,
    column_names,
    columns_of,
)
from sagemaker_container.formats.frame import Frame
from sagemaker_container.http.request import (
    Asked,
    NotAcceptableError,
    answer_format,
)


@pytest.mark.parametrize(
    ("expected", "accepts"),
    [
        (
            "text/csv",
            [
                "",
                "*/*",
                "text/*",
                "TEXT/CSV",
                "text/csv; charset=utf-8",
                "text/csv;q=0.5",
                "application/json;q=0.1, text/csv;q=0.5",
                "application/json;q=0.5, text/csv;q=0.5",
                "application/jsonlines;q=0.9, text/*",
                "text/html, */*;q=0.1",
                "text/csv, application/json;q=0",
            ],
        ),
        (
            "application/json",
            [
                "Application/JSON; charset=utf-8",
                "application/json, text/csv;q=0.1",
                "application/json, */*",
                "application/*",
                "text/csv;q=0, */*",
                "text/csv;q=0.1, */*",
            ],
        ),
        (
            "application/jsonlines",
            [
                "application/json;q=0.5, application/jsonlines",
                "text/csv;q=0.1, application/jsonlines;q=0.2",
                "text/html, application/jsonlines;q=0.1",
                "application/json;q=0, application/*",
            ],
        ),
    ],
)
def test_what_a_client_likes_best_it_gets(expected: str, accepts: list[str]) -> None:
    """By the weights of what it accepts; the more specific name first; else CSV."""
    found = {accept: answer_format(parse(accept)) for accept in accepts}

    assert found == dict.fromkeys(accepts, expected)


@pytest.mark.parametrize(
    "accept", ["a/b", "text/csv;q=0", "text/plain, image/*", "application/x-ndjson"]
)
def test_a_client_that_accepts_none_of_the_formats_is_refused(accept: str) -> None:
    """The sentence says what the answer can be."""
    with pytest.raises(NotAcceptableError) as refusal:
        answer_format(parse(accept))

    assert str(refusal.value) == (
        "The answer can be text/csv, application/json or application/jsonlines, but "
        f'the request accepts only "{parse(accept)}".'
    )


def parse(accept: str) -> MIMEAccept:
    """Return the header as Flask gives it to us."""
    return parse_accept_header(accept, MIMEAccept)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("output=score", Asked(columns=("score",))),
        (
            "output=upper,lower,score,is_anomaly",
            Asked(columns=("upper", "lower", "score", "is_anomaly")),
        ),
        ("header=true", Asked(columns=("severity",), has_header=True)),
        ("header=false", Asked(columns=("severity",), has_header=False)),
        ("keep=batch", Asked(columns=("severity",), keep=("batch",))),
        (
            'keep=batch, "shift, plant" ;output=id,score',
            Asked(columns=("id", "score"), keep=("batch", "shift, plant")),
        ),
        ("return=last:100", Asked(columns=("severity",), n_last=100)),
        ("return=last:007", Asked(columns=("severity",), n_last=7)),
        (
            " return = last:1 ; header = true; output = score , severity ",
            Asked(columns=("score", "severity"), has_header=True, n_last=1),
        ),
        ("max-alarm-rate=.01", Asked(columns=("severity",), max_alarm_rate=0.01)),
        ("max-alarm-rate=1E-3", Asked(columns=("severity",), max_alarm_rate=0.001)),
        ("output=is_event;min-rows=5", Asked(columns=("is_event",), min_rows=5)),
    ],
)
def test_attributes_say_which_columns_and_rows(
    attributes: str, expected: Asked
) -> None:
    """In any order, with spaces; what is not given is as configured."""
    assert Asked.of(attributes, CSV, ("severity",)) == expected


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        "c000b4f9-df62-4c85-a0bf-7c525f9104a4",
        "Trace ID: 42",
        "trace=42;user=7",
        "accept_eula=true",
        '{"output": "score", "header": true}',
        "output",
        "the output;header;return of it all",
        "outputs=1;my-header=2;returns=3",
        "Root=1-67891233-abcdef012345678912345678;Sampled=1",
        "=;=;=",
        ";;;",
        "a=output=score",
    ],
)
def test_attributes_of_somebody_else_are_ignored(attributes: str) -> None:
    """Ids and the like: what gives none of our names a value is not for us."""
    assert Asked.of(attributes, CSV, DEFAULT_COLUMNS) == Asked()
    assert Asked.of(attributes, JSON, DEFAULT_COLUMNS) == Asked(JSON)


def test_attributes_say_what_json_holds() -> None:
    """Which events, and whose diagnostics."""
    expected = Asked(JSON, max_alarm_rate=0.5, min_rows=2, n_top=3)

    attributes = "top=3;min-rows=2;max-alarm-rate=0.5"
    assert Asked.of(attributes, JSON, DEFAULT_COLUMNS) == expected


WRONG = {
    "The custom attribute {} is unknown; use only output, header, keep, return, "
    "max-alarm-rate, min-rows and top, each as name=value, separated by semicolons.": {
        "output=score;trace=42": '"trace"',
        "abc;return=last:5": '"abc"',
        "header=true;": '""',
        "Header=true": '"Header"',
    },
    "The custom attribute {} is given twice; give it once.": {
        "output=score;output=score": "output",
        "header=true;return=last:5;header=true": "header",
    },
    "The custom attribute header is {}; use true or false.": {
        "header=yes": '"yes"',
        "output=score;header": '""',
    },
    "The custom attribute keep is {}; use names of columns of the request, separated "
    "by commas, each once.": {
        "keep=": '""',
        "keep=a,,b": '"a,,b"',
        "keep=a,b,a": '"a,b,a"',
        'keep="a': '""a"',
    },
    "The custom attribute keep carries columns through as id, but the columns of the "
    "answer include timestamp and not id; add it to output.": {
        "keep=a;output=timestamp,score": ""
    },
    "The custom attribute max-alarm-rate is {}; use a number from 1e-09 to 0.5, such "
    "as 0.01.": {
        f"max-alarm-rate={value}": f'"{value}"'
        for value in ("", "0", "1", "0.6", "-0.1", "nan", "1e-10", "0,1", "1 %", "٠.١")  # noqa: RUF001  # digits, but not ours
    },
    "The custom attribute min-rows is {}; use a positive integer, such as 5.": {
        f"min-rows={value}": f'"{value}"' for value in ("", "0", "-1", "2.0", "five")
    },
    "The custom attribute min-rows applies to events, but the answer has none; leave "
    "it out, accept application/json, or add is_event to the columns of CSV.": {
        "min-rows=5": "",
        "output=score;min-rows=5": "",
    },
    "The custom attribute top applies to JSON only, but the answer is text/csv; leave "
    "it out, or accept application/json.": {"top=3": ""},
    "The custom attribute return is {}; use last:N with a positive integer N, such as "
    "last:100.": {
        f"return={value}": f'"{value}"'
        for value in (
            *("", "100", "first:5", "last:", "last:0", "last:00", "last:-5"),
            *("last:5.0", "last:1e3", "last:1,5", "last: 5", "last:" + "9" * 19),
            "last:١",  # noqa: RUF001  # a digit, but not one of ours
        )
    },
}
"""Sentences, and what each of them is said of."""


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (attributes, sentence.format(found))
        for sentence, cases in WRONG.items()
        for attributes, found in cases.items()
    ],
)
def test_attributes_for_us_have_to_be_right(attributes: str, expected: str) -> None:
    """One sentence: what is wrong, what was found, what to use."""
    with pytest.raises(OutputError) as refusal:
        Asked.of(attributes, CSV, DEFAULT_COLUMNS)

    assert str(refusal.value) == expected


@pytest.mark.parametrize(
    "columns",
    ["scores", "score,,severity", "Score", "score,header=true", "score,score"],
)
def test_columns_have_to_be_right(columns: str) -> None:
    """The sentence is that of formats/columns.py, about the attribute."""
    with pytest.raises(OutputError, match=r"^The custom attribute output "):
        Asked.of(f"output={columns}", CSV, DEFAULT_COLUMNS)


@pytest.mark.parametrize("content_type", [JSON, JSON_LINES])
def test_only_the_rows_of_json_can_be_chosen(content_type: str) -> None:
    """It has no columns: neither the attribute nor the header Accept is preferred."""
    assert Asked.of("return=last:5", content_type, ()).n_last == 5
    for attribute in ("output=score", "header=true", "header=false"):
        with pytest.raises(OutputError) as refusal:
            Asked.of(f"return=last:5;{attribute}", content_type, DEFAULT_COLUMNS)

        name = attribute.partition("=")[0]
        assert str(refusal.value) == (
            f"The custom attribute {name} applies to CSV only, but the answer is "
            f"{content_type}; leave it out, or accept text/csv."
        )


def test_contributions_are_asked_for_by_json_and_by_their_column() -> None:
    """By nothing else: they cost time."""
    others = tuple(name for name in OUTPUTS if name != "contribution")

    assert Asked(JSON).has_contributions
    assert Asked(JSON_LINES).has_contributions
    assert Asked(columns=("score", "contribution")).has_contributions
    assert not Asked(columns=others, has_header=True, n_last=5).has_contributions


@given(
    columns=st.permutations(list(OUTPUTS)).flatmap(
        lambda names: st.integers(1, len(names)).map(lambda n: tuple(names[:n]))
    ),
    has_header=st.booleans(),
    n_last=st.one_of(st.none(), st.integers(1, 10**18 - 1)),
    order=st.permutations([0, 1, 2]),
)
def test_what_is_asked_for_is_what_was_written(
    columns: tuple[str, ...], has_header: bool, n_last: int | None, order: list[int]
) -> None:
    """Any columns in any order, and the attributes in any order."""
    parts = [
        f"output={','.join(columns)}",
        f"header={str(has_header).lower()}",
        f"return=last:{n_last}" if n_last else "",
    ]
    attributes = ";".join(parts[i] for i in order if parts[i])

    asked = Asked.of(attributes, CSV, DEFAULT_COLUMNS)

    assert asked == Asked(CSV, columns, has_header, n_last)


@given(st.text(max_size=60), st.sampled_from(FORMATS))
def test_any_text_is_understood_ignored_or_refused(
    attributes: str, content_type: str
) -> None:
    """With one sentence, and nothing but that."""
    try:
        sentence = Asked.of(attributes, content_type, DEFAULT_COLUMNS) and "."
    except OutputError as error:
        sentence = str(error)

    assert sentence.isprintable()
    assert sentence.endswith(".")
    assert len(sentence) < 300


def test_the_place_of_a_wrong_name_is_named() -> None:
    """The header or the environment variable."""
    with pytest.raises(OutputError, match=r'^SAGEMAKER_INFERENCE_OUTPUT names "x", '):
        columns_of("score,x", "SAGEMAKER_INFERENCE_OUTPUT")


def test_columns_that_are_one_per_series_are_numbered() -> None:
    """From 1, in the order that was asked for."""
    assert column_names(("lower", "score", "reconstruction"), Frame(("1", "2"))) == [
        "lower_1",
        "lower_2",
        "score",
        "reconstruction_1",
        "reconstruction_2",
    ]
