"""Write the locks: ``python scripts/lock.py``, or ``make locks``.

``requirements-NAME.txt`` says which packages are asked for, and ``locks/NAME.txt`` the
exact version of everything that is installed for them. pip itself resolves, so that its
own configuration counts, and nothing is installed. The locks hold versions and no
digests: one version of torch is one file on one index and another file on another.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

SHARED = ("dev", "demo", "train", "infer")
"""The tests' versions hold everywhere: what was tested is what runs."""
ALONE = ("sdk", "sbom")
"""Environments of their own, which hold other versions of the same packages."""

GPU = ("train-gpu", "infer-gpu")
"""What CUDA builds need beside the images' locks: constraints of the Dockerfiles."""

ALONE_MARK = "# without its dependencies"
"""Ends the line of a package that is installed alone."""
OF_GPUS = "nvidia-|cuda-|triton$"
NOT_LOCKED = re.compile(f"pip$|{OF_GPUS}")
"""pip comes with the environment. The others are needed by CUDA builds alone, which
have locks of their own."""

HEAD = "# Made by `make locks` from {}; not to be edited.\n"


def main() -> None:
    """Resolve all requirements again, and write the locks."""
    for name in (*SHARED, *ALONE):
        print(f"locks/{name}.txt", flush=True)
        is_held = name in SHARED[1:]
        text = lock(
            ROOT / f"requirements-{name}.txt",
            ROOT / f"locks/{SHARED[0]}.txt" if is_held else None,
        )
        (ROOT / f"locks/{name}.txt").write_text(text)
    for name in GPU:
        print(f"locks/{name}.txt", flush=True)
        held = ROOT / f"locks/{name.removesuffix('-gpu')}.txt"
        text = gpu_lock(ROOT / f"requirements-{name}.txt", held)
        (ROOT / f"locks/{name}.txt").write_text(text)


def lock(requirements: Path, held: Path | None) -> str:
    """Return the text of a lock.

    Args:
        requirements: What is asked for.
        held: A lock whose versions are kept.
    """
    asked = lines_of(requirements)
    alone = [line.split()[0] for line in asked if line.endswith(ALONE_MARK)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requirements.txt"
        path.write_text("\n".join(li for li in asked if not li.endswith(ALONE_MARK)))
        options = ["--constraint", held] if held else []
        found = resolved(["--requirement", path, *options])
    if alone:
        found |= resolved(["--no-deps", *alone])
    pins = [
        f"{name}=={version}\n"
        for name, version in sorted(found.items())
        if not NOT_LOCKED.match(name)
    ]
    return HEAD.format(requirements.name) + "".join(pins)


def gpu_lock(requirements: Path, held: Path) -> str:
    """Return the text of the lock of a CUDA build: what is in no other lock.

    Args:
        requirements: What is asked for.
        held: The lock of the image, whose versions are kept.
    """
    found = resolved(["--requirement", requirements, "--constraint", held])
    asked = {re.split(r"[=\[]", line)[0] for line in lines_of(requirements)}
    ours = {n: v for n, v in found.items() if n in asked or re.match(OF_GPUS, n)}
    pins = [f"{name}=={version}\n" for name, version in sorted(ours.items())]
    return HEAD.format(requirements.name) + "".join(pins)


def lines_of(requirements: Path) -> list[str]:
    """Return the lines that name a package, those of included files among them.

    Only the file itself can ask for a package without its dependencies.
    """
    lines = []
    for line in requirements.read_text().splitlines():
        if line.startswith("-r "):
            included = requirements.with_name(line.removeprefix("-r ").strip())
            lines += [li.removesuffix(ALONE_MARK) for li in lines_of(included)]
        elif line and not line.startswith("#"):
            lines.append(line)
    return lines


def resolved(arguments: list[str | Path]) -> dict[str, str]:
    """Return the versions that pip would install, by normalized name.

    A build's name ("+cpu") goes: it depends on where pip looks.
    """
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet"]
    options = ["--ignore-installed", "--report", "-"]
    process = subprocess.run(
        [*command, *options, *arguments], stdout=subprocess.PIPE, check=True
    )
    found = {}
    for package in json.loads(process.stdout)["install"]:
        metadata = package["metadata"]
        name = re.sub(r"[-_.]+", "-", metadata["name"]).lower()
        found[name] = metadata["version"].partition("+")[0]
    return found


if __name__ == "__main__":
    main()
