"""Which answer of a package index is about a locked version."""

import dataclasses
from typing import Any

import pytest

from audit import NewestToo

INDEX = "https://index.example/pypi"


@dataclasses.dataclass(frozen=True)
class Answer:
    """What the index answers."""

    status_code: int
    document: Any = None

    @property
    def ok(self) -> bool:
        """Whether there is a document."""
        return self.status_code == 200

    def json(self) -> Any:
        """Return the document."""
        return self.document


class Index:
    """An index in place of the network.

    Args:
        documents: The documents by their paths.
    """

    def __init__(self, documents: dict[str, Any]) -> None:
        self._documents = documents

    def get(self, url: str, timeout: int | None = None) -> Answer:
        """Return a document, or 404."""
        document = self._documents.get(url.removeprefix(INDEX))
        return Answer(404) if document is None else Answer(200, document)


NEWEST = {"info": {"version": "2.0"}, "vulnerabilities": ["of 2.0"]}
OF_1 = {"info": {"version": "1.0"}, "vulnerabilities": ["of 1.0"]}


@pytest.mark.parametrize(
    ("documents", "version", "expected"),
    [
        ({"/a/1.0/json": OF_1, "/a/json": NEWEST}, "1.0", OF_1),
        ({"/a/json": NEWEST}, "2.0", NEWEST),
        ({"/a/json": NEWEST}, "1.0", None),  # what ails 2.0 says nothing of 1.0
        ({}, "2.0", None),
    ],
)
def test_only_what_an_index_says_of_that_version_counts(
    documents: dict[str, Any], version: str, expected: Any
) -> None:
    """Of an older one than the newest nothing is guessed: it is not found."""
    answer = NewestToo(Index(documents)).get(f"{INDEX}/a/{version}/json")

    assert answer.json() == expected
    assert answer.ok == (expected is not None)
