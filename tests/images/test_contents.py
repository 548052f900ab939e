"""What both images hold, and how large they are."""

import json
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


SUPERFLUOUS = """\
import importlib.util, pathlib, shutil, sys
print([name for name in sys.argv[1:] if importlib.util.find_spec(name)])
print([name for name in ("gcc", "cc", "g++", "make") if shutil.which(name)])
root = pathlib.Path("/opt/lstm-ad")
print([p for p in root.rglob("*") if p.name in ("test", "tests") and p.is_dir()])
print([p for p in pathlib.Path("/root").rglob("*") if ".cache" in p.parts])
"""
"""List the packages, compilers, tests and caches that an image does not need."""


@pytest.mark.parametrize(
    ("name", "absent", "max_bytes"),
    [
        (
            "train",
            "flask gunicorn sagemaker_inference matplotlib pytest pip",
            1_300_000_000,  # a training job's pull is billed
        ),
        (
            "infer",
            "torch scipy boto3 botocore matplotlib sagemaker_training onnx pytest pip",
            500_000_000,  # fits a serverless endpoint
        ),
    ],
)
def test_an_image_holds_what_it_needs_and_is_small(
    name: str,
    absent: str,
    max_bytes: int,
    engine: str,
    run_container: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    """No compiler, test or cache, and no package of the other; its size is unpacked."""
    image = os.environ[f"{name.upper()}_IMAGE"]
    found = run_container(image, "python", "-c", SUPERFLUOUS, *absent.split())
    (known,) = json.loads(subprocess.check_output([engine, "image", "inspect", image]))

    assert found.stdout == "[]\n[]\n[]\n[]\n"
    assert known["Size"] <= max_bytes
