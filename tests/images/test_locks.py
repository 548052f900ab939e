"""The images hold what their locks say."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.images

ROOT = Path(__file__).parents[2]

LIST = """\
import importlib.metadata, re, sys
for found in importlib.metadata.distributions():
    if "/opt/lstm-ad/" in str(found.locate_file("")):
        name = re.sub(r"[-_.]+", "-", found.name).lower()
        print(f"{name}=={found.version.partition('+')[0]}")
"""


@pytest.mark.parametrize("name", ["train", "infer"])
def test_an_image_holds_what_its_lock_says(
    name: str, run_container: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """Every package in its version, and no other; a CUDA build adds its own."""
    image = os.environ[f"{name.upper()}_IMAGE"]
    listed = run_container(image, "python", "-c", LIST)
    locked = (ROOT / f"locks/{name}.txt").read_text().splitlines()[1:]

    assert sorted(listed.stdout.splitlines()) == sorted(locked)
