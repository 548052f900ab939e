import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from sagemaker_container.http.request import Asked

ALL = (
    "score, reconstruction, is_anomaly, severity, threshold, contribution, lower and "
    "upper"
)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ("output=score", Asked(columns=("score",))),
        (
            "output=upper,lower,score,is_anomaly",
            Asked(columns=("upper", "lower", "score", "is_anomaly")),
        ),
        ("header=true", Asked(columns=("severity",), has_header=True)),
        ("header=false", Asked(columns=("severity",))),
        ("return=last:100", Asked(columns=("severity",), n_last=100)),
        ("return=last:007", Asked(columns=("severity",), n_last=7)),
        (
            " return = last:1 ; header = true; output = score , severity ",
            Asked(columns=("score", "severity"), has_header=True, n_last=1),
        ),
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
    """Ids and the like: what gives none of the three names a value is not for us."""
    assert Asked.of(attributes, CSV, DEFAULT_COLUMNS) == Asked()
    assert Asked.of(attributes, JSON, DEFAULT_COLUMNS) == Asked(JSON)


UNKNOWN = (
    "beside one of them, accepted are only output, header and return, each as "
    "name=value, separated by semicolons."
)


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            "output=scores",
            'The custom attribute output names "scores", which there is not: accepted '
            f"are {ALL}, separated by commas.",
        ),
        (
            "output=score,,severity",
            'The custom attribute output names "", which there is not: accepted are '
            f"{ALL}, separated by commas.",
        ),
        (
            "output=Score",
            'The custom attribute output names "Score", which there is not: accepted '
            f"are {ALL}, separated by commas.",
        ),
        (
            "output=score,header=true",
            'The custom attribute output names "header=true", which there is not: '
            f"accepted are {ALL}, separated by commas.",
        ),
        (
            "output=score,lower,score",
            "The custom attribute output names score twice: accepted is each one once.",
        ),
        (
            "output=score;output=score",
            "The custom attribute output is given twice: accepted is each once.",
        ),
        ("output=score;trace=42", f'There is no custom attribute "trace": {UNKNOWN}'),
        ("abc;return=last:5", f'There is no custom attribute "abc": {UNKNOWN}'),
        ("header=true;", f'There is no custom attribute "": {UNKNOWN}'),
        ("Header=true", f'There is no custom attribute "Header": {UNKNOWN}'),
        (
            "header=yes",
            'The custom attribute header is "yes": accepted are true and false.',
        ),
        (
            "output=score;header",
            'The custom attribute header is "": accepted are true and false.',
        ),
        *(
            (
                f"return={value}",
                f'The custom attribute return is "{value}": accepted is last:N, N a '
                f"positive integer, such as last:100.",
            )
            for value in (
                "",
                "100",
                "first:5",
                "last:",
                "last:0",
                "last:00",
                "last:-5",
                "last:5.0",
                "last:1e3",
                "last:1,5",
                "last: 5",
                "last:١",  # noqa: RUF001  # a digit, but not one of ours
                "last:" + "9" * 19,
            )
        ),
    ],
)
def test_attributes_for_us_have_to_be_right(attributes: str, expected: str) -> None:
    """One sentence: what is wrong, what was found, what is accepted."""
    with pytest.raises(OutputError) as refusal:
        Asked.of(attributes, CSV, DEFAULT_COLUMNS)

    assert str(refusal.value) == expected


@pytest.mark.parametrize("content_type", [JSON, JSON_LINES])
@pytest.mark.parametrize("attribute", ["output=score", "header=true", "header=false"])
def test_columns_of_an_answer_that_has_none_are_refused(
    attribute: str, content_type: str
) -> None:
    """They contradict what the client accepts: neither is chosen for it."""
    with pytest.raises(OutputError) as refusal:
        Asked.of(f"return=last:5;{attribute}", content_type, DEFAULT_COLUMNS)

    name = attribute.partition("=")[0]
    assert str(refusal.value) == (
        f"The custom attribute {name} is about CSV, but the answer is {content_type}: "
        f"leave it out, or accept text/csv."
    )


@pytest.mark.parametrize("content_type", [JSON, JSON_LINES])
def test_the_last_rows_can_be_asked_for_in_any_format(content_type: str) -> None:
    """Only columns and their names are a matter of CSV."""
    asked = Asked.of("return=last:5", content_type, DEFAULT_COLUMNS)

    assert (asked.content_type, asked.n_last) == (content_type, 5)


def test_contributions_are_asked_for_by_json_and_by_their_column() -> None:
    """By nothing else: they cost time."""
    assert Asked(JSON).has_contributions
    assert Asked(JSON_LINES).has_contributions
    assert Asked(columns=("score", "contribution")).has_contributions
    others = tuple(name for name in OUTPUTS if name != "contribution")
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
    assert column_names(("lower", "score", "reconstruction"), n_series=2) == [
        "lower_1",
        "lower_2",
        "score",
        "reconstruction_1",
        "reconstruction_2",
    ]
