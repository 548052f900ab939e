"""What is installed is what the locks say, here and in the images."""

import json
import os
import re
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

import lock

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))


def pins_of(path: Path) -> dict[str, str]:
    """Return the versions that a lock names; any other line is an error."""
    lines = path.read_text().splitlines()[1:]
    pins = [re.fullmatch(r"([a-z0-9-]+)==([0-9][0-9a-z.]*)", line) for line in lines]
    assert None not in pins, path
    return {pin[1]: pin[2] for pin in pins if pin}


def test_what_is_installed_is_what_the_lock_says() -> None:
    """Neither another version, nor a package more or less: else remove .venv."""
    installed = {
        re.sub(r"[-_.]+", "-", found.name).lower(): found.version.partition("+")[0]
        for found in distributions(path=[p for p in sys.path if "site-packages" in p])
    }
    locked = pins_of(ROOT / "locks/dev.txt")

    ours = {n: v for n, v in installed.items() if not lock.NOT_LOCKED.match(n)}
    assert ours == locked


def test_one_version_of_a_package_is_tested_and_shipped() -> None:
    """The images and the demonstration hold nothing that the tests do not have."""
    tested = pins_of(ROOT / "locks/dev.txt").items()

    for name in ("demo", "train", "infer"):
        assert pins_of(ROOT / f"locks/{name}.txt").items() <= tested, name


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_a_lock_holds_what_is_asked_for(path: Path) -> None:
    """Every requirement is exact and in its lock: else `make locks` is due."""
    asked = lock.lines_of(ROOT / f"requirements-{path.name}")
    pins = [
        re.sub(r"\[.*\]", "", line.partition("#")[0])
        .replace("===", "==")
        .strip()
        .lower()
        for line in asked
    ]

    assert set(pins) <= {f"{n}=={version}" for n, version in pins_of(path).items()}


def test_a_package_without_its_dependencies_is_locked_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All others are resolved with theirs; builds and pip itself are not locked."""
    requirements = tmp_path / "requirements-x.txt"
    requirements.write_text(f"# Why.\na==1\nB_c==2  {lock.ALONE_MARK}\n")
    report = """{"install": [
        {"metadata": {"name": "B_c", "version": "2+cpu"}},
        {"metadata": {"name": "pip", "version": "1"}}]}"""
    asked = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        texts = [p.read_text() for p in command if isinstance(p, Path)]
        asked.append((texts, "--no-deps" in command))
        return subprocess.CompletedProcess(command, 0, stdout=report)

    monkeypatch.setattr(subprocess, "run", run)

    text = lock.lock(requirements, held=None)

    assert text.splitlines()[1:] == ["b-c==2"]
    assert asked == [(["a==1"], False), ([], True)]


def test_what_is_installed_is_compiled_by_its_first_import() -> None:
    """No pip compiles anything; a machine that forbids it would start from source."""
    started = subprocess.run(
        ["make", "--silent", "--eval", "variables:; @env", "variables"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert "PATH=" in started.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in started.stdout


@pytest.mark.parametrize("name", ["train", "infer"])
def test_an_image_installs_from_its_lock(name: str) -> None:
    """Without dependencies; with them, only what a GPU's build names, from its lock."""
    text = (ROOT / f"Dockerfile.{name}").read_text()
    installs = re.findall(r"\$pip install (.*?)(?:;| \\)?\n", text)

    assert installs[0] == f"--no-compile --no-deps -r {name}.txt"
    locks = f"--constraint {name}.txt --constraint {name}-gpu.txt"
    assert len(installs) == 2
    assert locks in installs[1]
    assert "requirements" not in text


@pytest.mark.parametrize("name", ["train", "infer"])
def test_a_gpus_lock_holds_what_the_image_has_not(name: str) -> None:
    """Only CUDA's libraries, and the package that is built for them."""
    added = pins_of(ROOT / f"locks/{name}-gpu.txt")

    others = {n for n in added if not re.match(lock.OF_GPUS, n)}
    assert others == {{"train": "torch", "infer": "onnxruntime-gpu"}[name]}
    assert any(n.startswith("nvidia-cudnn") for n in added)


@pytest.mark.parametrize("name", ["train", "infer"])
def test_the_bill_of_materials_is_that_of_the_image(name: str) -> None:
    """Every locked package with its version, and nothing else: else `make sbom`."""
    document = json.loads((ROOT / f"docs/sbom/lstm-ad-{name}.cdx.json").read_text())

    listed = {entry["name"]: entry["version"] for entry in document["components"]}
    assert document["bomFormat"] == "CycloneDX"
    assert listed == pins_of(ROOT / f"locks/{name}.txt")
