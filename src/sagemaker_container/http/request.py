"""What a request asks for: the format of the answer, its columns and its rows.

SageMaker hands a request's custom attributes through as they are. Seven of them are
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
max-alarm-  another rate of false alarms than the model's: the threshold is what the
rate        calibration scores say for it, even if labels chose that of the model
min-rows    how many rows an event has at least
top         diagnostics of as many series only, those that contribute most, these first
==========  =========================================================================

The attributes may as well be a text of the caller's own, such as a trace id: where none
of the seven is given, all of it is ignored. Where one is, all of it has to be right.
"""

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from werkzeug.datastructures import MIMEAccept

from sagemaker_container.formats.columns import (
    CSV,
    DEFAULT_COLUMNS,
    FORMATS,
    ID,
    IS_EVENT,
    JSON,
    TIMESTAMP,
    OutputError,
    columns_of,
)
from sagemaker_container.formats.messages import listed
from sagemaker_container.http.attributes import (
    count,
    given_attributes,
    has_header,
    kept,
    max_alarm_rate,
    n_last,
)
from sagemaker_container.http.body import SHOWN_CHARACTERS

_OF_CSV, _OF_JSON = ("output", "header"), ("top",)
"""The attributes that say something of these answers only."""


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
    max_alarm_rate: float | None = None
    """The fraction of normal rows that may be anomalies; None means the model's."""
    min_rows: int = 1
    """How many rows an event has at least."""
    n_top: int | None = None
    """Of how many series diagnostics are told; None means all, in their order."""

    @property
    def has_events(self) -> bool:
        """Whether the answer says which rows belong together as events."""
        return self.content_type == JSON or (
            self.content_type == CSV and IS_EVENT in self.columns
        )

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
        given = given_attributes(attributes)
        for name in _OF_CSV if content_type != CSV else _OF_JSON:
            if name in given:
                kinds, instead = ("CSV", CSV) if name in _OF_CSV else ("JSON", JSON)
                raise OutputError(
                    f"The custom attribute {name} applies to {kinds} only, but the "
                    f"answer is {content_type}; leave it out, or accept {instead}."
                )
        if "output" in given:
            columns = columns_of(given["output"], "The custom attribute output")
        values: dict[str, Any] = {
            field: read(given[name])
            for name, (field, read) in _VALUES.items()
            if name in given
        }
        asked = cls(content_type, columns, **values)
        if "min-rows" in given and not asked.has_events:
            raise OutputError(
                f"The custom attribute min-rows applies to events, but the answer has "
                f"none; leave it out, accept {JSON}, or add {IS_EVENT} to the columns "
                f"of CSV."
            )
        if asked.keep and TIMESTAMP in columns and ID not in columns:
            raise OutputError(
                f"The custom attribute keep carries columns through as {ID}, but the "
                f"columns of the answer include {TIMESTAMP} and not {ID}; add it to "
                f"output."
            )
        return asked


_VALUES: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "header": ("has_header", has_header),
    "return": ("n_last", n_last),
    "keep": ("keep", kept),
    "max-alarm-rate": ("max_alarm_rate", max_alarm_rate),
    "min-rows": ("min_rows", partial(count, "min-rows")),
    "top": ("n_top", partial(count, "top")),
}
"""The fields of what is asked for by the attributes, and how their texts are read."""
