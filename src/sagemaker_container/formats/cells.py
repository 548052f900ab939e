"""Say what is wrong with a cell that is no number, so that the advice mends it.

The reader of a message changes what it names and sends the data again. A general "not a
number" would send them looking; each kind of cell that is often sent has a name here.
"""

import re
import unicodedata

from sagemaker_container.formats.messages import counted, shown

MAX_MAGNITUDE = 1e100
"""Beyond this, squares of values are no finite numbers any more."""

_MISSING = re.compile(
    r"n/?an?|n\.a\.|#n/?a|<na>|#(value|ref)!|#div/0!|null|none|nil|nat|--?|\?|missing|"
    r"bad|no (data|value)|bad input|pt created|i/o timeout|not available"
)
"""Words for "no value", of pandas, of spreadsheets and of plant historians."""
_INFINITE = re.compile(r"[-+]?(inf|infinity|∞)")
_TRUTH = frozenset(("true", "false", "yes", "no", "on", "off"))
_PLAIN = r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?"
_DECIMAL = re.compile(_PLAIN, re.ASCII)
_FORMS = (
    (rf"{_PLAIN}(\s+{_PLAIN})+", "holds spaces between numbers; use commas"),
    (rf"{_PLAIN}(\s*\|\s*{_PLAIN})+", "holds pipes between numbers; use commas"),
    (r"[-+]?\d{1,3}(['_\u2019]\d{3})+(\.\d*)?", "groups its digits; leave them joined"),
    (rf"{_PLAIN}\s*[%\u2030]", "is a percentage; leave out the sign"),
    (
        r"\d{4}[-/.]\d\d?[-/.]\d\d?([T ].*)?|\d\d?[-/.]\d\d?[-/.]\d{4}( .*)?|"
        r"\d\d?:\d\d(:\d\d.*)?",
        "is a date or time; leave out that column, or train with timestamp-column",
    ),
    (r"[-+]?0[xX][0-9a-fA-F]+", "is hexadecimal; use a decimal number"),
    (r"[-+]?\d+\s*/\s*\d+", "is a fraction; use a decimal number"),
)
_KINDS = [(re.compile(form, re.ASCII), kind) for form, kind in _FORMS]
_QUOTES = "\"'\u201c\u201d\u2018\u2019"


def number_problem(cell: bytes, number: re.Pattern[bytes]) -> str | None:
    """Return what is wrong with a cell, in the rest of a sentence, or None.

    Args:
        cell: The text between two separators.
        number: How the format spells a number.
    """
    if not cell.strip():
        return "the value is missing; each cell needs a finite number."
    if not number.fullmatch(cell):
        kind = kind_of(cell)
        if kind:
            return f"{shown(cell)} {kind}."
        return f"{shown(cell)} is not a number; use a finite decimal number."
    if abs(float(cell)) > MAX_MAGNITUDE:
        return (
            f"{shown(cell)} is too large; numbers must be at most "
            f"{MAX_MAGNITUDE:.0e} in magnitude."
        )
    return None


def kind_of(cell: bytes) -> str | None:
    """Return what a cell is that is no number, with its remedy; None if unknown."""
    text = cell.decode("utf-8", errors="replace")
    if named := _odd_character(text):
        return named
    word = text.strip().lower()
    if word and {word[0], word[-1]} & {*_QUOTES} and _is_quoted_value(word):
        return "is in quotes; write numbers without quotes"
    if _MISSING.fullmatch(word):
        return "stands for a missing value; each cell needs a finite number"
    if _INFINITE.fullmatch(word):
        return "is infinite; each cell needs a finite number"
    if word in _TRUTH:
        return "is a word for true or false; use 1 and 0"
    for form, kind in _KINDS:
        if form.fullmatch(text.strip()):
            return kind
    if any(unicodedata.category(c) == "Sc" for c in word) and re.search(r"\d", word):
        return "is an amount of money; leave out the currency"
    return None


def row_length_problem(
    place: str, n_cells: int, n_columns: int, ends_with_comma: bool = False
) -> str | None:
    """Return what is wrong with the number of cells in a row, or None.

    Args:
        place: The words for the row.
        n_cells: How many it has.
        n_columns: How many it needs.
        ends_with_comma: Whether the last of them is empty.
    """
    if n_cells == n_columns:
        return None
    trailing = ", and the row ends with a comma" if ends_with_comma else ""
    return (
        f"{place} has {counted(n_cells, 'cell')}{trailing}, but the rows before "
        f"have {n_columns}; all rows need the same number."
    )


def _is_quoted_value(word: str) -> bool:
    """Return whether a number, a part of one or a word for a value is in quotes."""
    inner = word.strip(_QUOTES).strip()
    return bool(
        _DECIMAL.fullmatch(inner) or not inner or kind_of(inner.encode()) is not None
    )


def _odd_character(text: str) -> str | None:
    """Return the name of a character that is not seen, or taken for another."""
    outside = [c for c in text if ord(c) > 127]
    rest = "".join(c for c in text if ord(c) <= 127).strip()
    for character in outside:
        category = unicodedata.category(character)
        is_unseen = category in ("Cf", "Zs", "Zl", "Zp", "Cc")
        is_digit = character.isdigit() or category == "Nd"
        is_sign = category in ("Pd", "Sm", "Po") and re.search(r"\d", rest)
        if is_unseen or is_digit or (is_sign and character not in "∞\u2030\u2019"):
            name = unicodedata.name(character, "unnamed")
            return (
                f"holds the character U+{ord(character):04X} ({name}); use ASCII "
                f"digits, signs and spaces"
            )
    return None
