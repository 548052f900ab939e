import pytest

from sagemaker_container.formats.messages import counted, listed, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" a b ", '"a b"'),
        (b" a b\n", '"a b"'),
        ("", '""'),
        ("x" * 40, f'"{"x" * 40}"'),
        ("x" * 41, f'"{"x" * 40}" ...'),
        (b"x" * 10**6, f'"{"x" * 40}" ...'),
        ("a\nb\x1b[0m", '"a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}[0m"'),
        (b"\xff1", '"\N{REPLACEMENT CHARACTER}1"'),
        ("é", '"é"'),
    ],
)
def test_text_of_a_user_is_quoted_printable_and_short(
    text: str | bytes, expected: str
) -> None:
    """Whatever it is, a message stays one line."""
    assert shown(text) == expected


def test_one_is_singular() -> None:
    """And everything else plural."""
    assert [counted(0), counted(1), counted(2, "row")] == [
        "0 numbers",
        "1 number",
        "2 rows",
    ]


def test_the_last_of_several_names_is_joined_by_a_word() -> None:
    """As a person lists them."""
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert listed(["a", "b"], "or") == "a or b"
