"""What a request asks for: the format of the answer, its columns and its rows.

SageMaker hands a request's custom attributes through as they are. Four of them are
read here, separated by semicolons, in any order and each at most once::

    output=score,is_anomaly;header=true;return=last:100

==========  =========================================================================
attribute   meaning
==========  =========================================================================
output      the columns of the CSV, in this order; else those of the environment
            variable ``SAGEMAKER_INFERENCE_OUTPUT``, else ``score,reconstruction``
header      ``true`` or ``false``: whether the CSV begins with a row of names; else
            whether the request does
keep        names of further columns of the request that are carried through
return      ``last:N``: only the last N rows, or all if there are no more
==========  =========================================================================

The attributes may as well be a text of the caller's own, such as a trace id: where none
of the four is given, all of it is ignored. Where one is, all of it has to be right.
"""

import csv
import dataclasses
import re

from werkzeug.datastructures import MIMEAccept

from sagemaker_container.formats.columns import (
    CSV,
    DEFAULT_COLUMNS,
    FORMATS,
    ID,
    TIMESTAMP,
    OutputError,
    columns_of,
)
from sagemaker_container.formats.messages import listed, shown
from sagemaker_container.http.body import SHOWN_CHARACTERS

_ATTRIBUTES = ("output", "header", "keep", "return")
_LAST = re.compile(r"last:0*([1-9][0-9]{0,17})")


class NotAcceptableError(Exception):
    """Raised if a client accepts none of the formats of an answer."""


def answer_format(accepted: MIMEAccept) -> str:
    """Return the format of the answer: the one that the client prefers.

    Args:
        accepted: The value of the header ``Accept``.

    Raises:
        NotAcceptableError: If it names none of ``FORMATS``.
    """
    if not accepted.provided:
        return CSV
    # A charset makes no difference to who is answered.
    types = MIMEAccept([(name.split(";")[0].strip(), q) for name, q in accepted])
    best = types.best_match(FORMATS)
    if best is None:
        raise NotAcceptableError(
            f"The answer can be {listed(FORMATS, 'or')}, but the request accepts only "
            f'"{str(accepted)[:SHOWN_CHARACTERS]}".'
        )
    return best


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    content_type: str = CSV
    """One of ``FORMATS``."""
    columns: tuple[str, ...] = DEFAULT_COLUMNS
    """Of the CSV, in order."""
    has_header: bool | None = None
    """Whether the CSV begins with a row of names; None means, if the request does."""
    n_last: int | None = None
    """How many rows are returned, from the last one back; None means all."""
    keep: tuple[str, ...] = ()
    """Further columns of the request that are carried through."""

    @property
    def has_contributions(self) -> bool:
        """Whether the answer says which series a score comes from."""
        return self.content_type != CSV or "contribution" in self.columns

    @classmethod
    def of(
        cls, attributes: str, content_type: str, columns: tuple[str, ...]
    ) -> "Asked":
        """Return what the custom attributes of a request ask for.

        Args:
            attributes: The value of the header; empty if there is none.
            content_type: The format of the answer.
            columns: Those of the CSV where the attributes name none.

        Raises:
            OutputError: If an attribute cannot be met, is unknown or comes twice.
        """
        given = _given(attributes)
        if content_type != CSV:
            for name in ("output", "header"):
                if name in given:
                    raise OutputError(
                        f"The custom attribute {name} applies to CSV only, but the "
                        f"answer is {content_type}; leave it out, or accept {CSV}."
                    )
        if "output" in given:
            columns = columns_of(given["output"], "The custom attribute output")
        asked = cls(
            content_type=content_type,
            columns=columns,
            has_header=_has_header(given["header"]) if "header" in given else None,
            n_last=_n_last(given["return"]) if "return" in given else None,
            keep=_keep(given["keep"]) if "keep" in given else (),
        )
        if asked.keep and TIMESTAMP in columns and ID not in columns:
            raise OutputError(
                f"The custom attribute keep carries columns through as {ID}, but the "
                f"columns of the answer include {TIMESTAMP} and not {ID}; add it to "
                f"output."
            )
        return asked


def _given(attributes: str) -> dict[str, str]:
    """Return the custom attributes by their names; none if none of ours is there."""
    parts = [part.partition("=") for part in attributes.split(";")]
    pairs = [(name.strip(), equals + value.strip()) for name, equals, value in parts]
    if not any(name.lower() in _ATTRIBUTES and value for name, value in pairs):
        return {}
    given: dict[str, str] = {}
    for name, value in pairs:
        if name not in _ATTRIBUTES:
            raise OutputError(
                f"The custom attribute {shown(name)} is unknown; use only "
                f"{listed(_ATTRIBUTES)}, each as name=value, separated by semicolons."
            )
        if name in given:
            raise OutputError(
                f"The custom attribute {name} is given twice; give it once."
            )
        given[name] = value.removeprefix("=")
    return given


def _has_header(text: str) -> bool:
    """Return whether a header row is asked for."""
    if text not in ("true", "false"):
        raise OutputError(
            f"The custom attribute header is {shown(text)}; use true or false."
        )
    return text == "true"


def _keep(text: str) -> tuple[str, ...]:
    """Return the names of the columns that are carried through."""
    try:
        (cells,) = csv.reader([text], strict=True, skipinitialspace=True)
    except csv.Error:
        cells = []
    names = [name.strip() for name in cells]
    if not names or not all(names) or len(set(names)) < len(names):
        raise OutputError(
            f"The custom attribute keep is {shown(text)}; use names of columns of the "
            f"request, separated by commas, each once."
        )
    return tuple(names)


def _n_last(text: str) -> int:
    """Return how many rows are asked for."""
    match = _LAST.fullmatch(text)
    if match is None:
        raise OutputError(
            f"The custom attribute return is {shown(text)}; use last:N with a positive "
            f"integer N, such as last:100."
        )
    return int(match[1])
