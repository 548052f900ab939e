"""What the documents promise is what the code declares."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from lstm_ad.data.rows import Rows
from lstm_ad.data.validate import check_files
from lstm_ad.exceptions import SeriesError
from lstm_ad.hyperparameters import Hyperparameters, declarations, preset_attributes
from sagemaker_container.formats.columns import CARRIED, DEFAULT_COLUMNS, OUTPUTS
from sagemaker_container.metrics import METRIC_DEFINITIONS

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TRAINING = ROOT / "docs/training.md"
SERVING = ROOT / "docs/serving.md"
ROOTS = ROOT, ROOT / "src"


def rows_like(first_cells: str, document: Path = TRAINING) -> list[list[str]]:
    """Return the rows of a document's tables whose first cells match a pattern."""
    row = re.compile(rf"\|{first_cells}\|.*\|")
    lines = filter(row.fullmatch, document.read_text().splitlines())
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_documented_hyperparameters_are_the_declared_ones() -> None:
    """Name, type, default, range and meaning, in order, none missing."""
    expected = [
        [
            f"`{d.name}`",
            d.kind.__name__,
            str(d.default),
            d.accepted.removeprefix("an integer from ").removeprefix("a number from "),
            d.meaning,
        ]
        for d in declarations()
    ]

    assert rows_like(r" *`[a-z-]+` *\| *(?:int|float|str) *") == expected


@pytest.mark.parametrize(("n_series", "column"), [(1, 1), (2, 2)])
def test_the_documented_preset_is_the_declared_one(n_series: int, column: int) -> None:
    """Every value that it sets, and no other."""
    preset = dataclasses.replace(Hyperparameters(), preset="detection")
    values = preset.for_series(n_series).to_public()
    names = {name.replace("_", "-") for name in preset_attributes()}

    rows = rows_like(r" *`[a-z-]+` *\| *[\d.]+ *")
    assert {row[0].strip("`"): float(row[column]) for row in rows} == {
        name: values[name] for name in names
    }


def test_the_documented_metrics_are_the_declared_ones() -> None:
    """Every MetricDefinition has its row, in order."""
    expected = [f"`{entry['Name']}`" for entry in METRIC_DEFINITIONS]

    rows = rows_like(r" *`(?:previous_)?(?:train|valid|calibration|alarm)_\w+` *")
    assert [row[0] for row in rows] == expected


def test_the_documented_columns_are_the_existing_ones() -> None:
    """In order, with those of a request that names none."""
    (table,) = re.findall(
        r"^\| column of the CSV .*\n.*\n((?:\|.*\n)+)",
        SERVING.read_text(),
        re.MULTILINE,
    )
    names = re.findall(
        r"`(\w+)`", "".join(line.split("|")[1] for line in table.splitlines())
    )

    (variable,) = rows_like(r" *`SAGEMAKER_INFERENCE_OUTPUT` *", SERVING)
    assert names == [*CARRIED, *OUTPUTS]
    assert variable[1] == f"`{','.join(DEFAULT_COLUMNS)}`"


def anchors_of(document: Path) -> set[str]:
    """Return what links into a document can name: its headings, as GitHub has them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings}


def test_every_link_leads_somewhere() -> None:
    """To an existing file and, where it names one, to an existing heading."""
    documents = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("*/README.md")]
    links = [
        (document, (document.parent / path if path else document).resolve(), anchor)
        for document in documents
        for path, anchor in re.findall(
            r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", document.read_text()
        )
    ]

    assert len(links) > 20
    assert [link for link in links if not link[1].exists()] == []
    assert [li for li in links if li[2] and li[2] not in anchors_of(li[1])] == []


def test_the_metric_definitions_are_within_sagemakers_limits() -> None:
    """At most 40; names of 255 and regexes of 500 characters with one group."""
    names = [entry["Name"] for entry in METRIC_DEFINITIONS]

    assert 1 <= len(METRIC_DEFINITIONS) <= 40
    assert len(set(names)) == len(names)
    for entry in METRIC_DEFINITIONS:
        assert set(entry) == {"Name", "Regex"}
        assert 1 <= len(entry["Name"]) <= 255
        assert 1 <= len(entry["Regex"]) <= 500
        assert re.compile(entry["Regex"]).groups == 1


def test_the_licence_is_apache_2() -> None:
    """The whole text of it."""
    text = (ROOT / "LICENSE").read_text()

    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_there_is_a_changelog_with_a_section_per_version() -> None:
    """For users, in the form of Keep a Changelog."""
    text = (ROOT / "CHANGELOG.md").read_text()

    assert text.startswith("# Changelog\n")
    assert re.search(r"^## \[?(Unreleased|\d+\.\d+\.\d+)", text, re.MULTILINE)


def test_the_documents_say_how_many_rows_a_file_needs() -> None:
    """By default: with one fewer a job is refused."""
    documents = README, TRAINING, ROOT / "docs/data.md"
    texts = [document.read_text() for document in documents]
    numbers = {n for text in texts for n in re.findall(r"needs\s(\d+) rows", text)}
    (least,) = map(int, numbers)

    enough, too_few = (
        Rows.of({"a.csv": np.zeros((n_rows, 1))}).files for n_rows in (least, least - 1)
    )
    check_files(enough, [], Hyperparameters())
    with pytest.raises(SeriesError, match="too short"):
        check_files(too_few, [], Hyperparameters())


def test_the_reading_path_can_be_read_in_twenty_minutes() -> None:
    """It names existing files, with as many lines as the README says, to a hundred."""
    section = README.read_text().partition("## Reading the code")[2]
    files = re.findall(r"`(src/\S+\.py)`", section.partition("\n1. ")[2])
    (stated,) = re.findall(r"about (\d) (\d00) lines", section.replace("\n", " "))

    n_lines = sum(len((ROOT / file).read_text().splitlines()) for file in files)
    assert len(files) == len(set(files)) > 8
    assert abs(n_lines - int("".join(stated))) <= 100


@pytest.mark.parametrize(
    "name", ["README.md", "CONTRIBUTING.md", "docs/architecture.md"]
)
def test_every_module_that_a_document_names_exists(name: str) -> None:
    """From the root of the repository, or of the packages."""
    paths = re.findall(
        r"`((?:src|lstm_ad|sagemaker_container|docs|tests|scripts)/[\w/.-]+)`",
        (ROOT / name).read_text(),
    )

    assert len(paths) >= 2
    assert [p for p in paths if not any((r / p).exists() for r in ROOTS)] == []
