"""The channel ``model``: the archive of the platform or its files, and nothing else."""

import gzip
import io
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from lstm_ad.exceptions import ArtifactError, SettingError
from lstm_ad.model_json import FILES
from sagemaker_container import archive
from sagemaker_container.archive import model_folder

MODEL = {name: name.encode() for name in FILES}

Members = list[tuple[tarfile.TarInfo, bytes]]


def member(name: str, content: bytes = b"", **fields: object) -> Members:
    """Return a member of an archive, a regular file unless ``type`` says else."""
    found = tarfile.TarInfo(name)
    found.size = len(content)
    for field, value in fields.items():
        setattr(found, field, value)
    return [(found, content)]


def members(files: Mapping[str, bytes]) -> Members:
    """Return regular files as members."""
    return [one for name, content in files.items() for one in member(name, content)]


def packed(members: Members) -> bytes:
    """Return the bytes of an archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as target:
        for found, content in members:
            target.addfile(found, io.BytesIO(content))
    return buffer.getvalue()


def channel(tmp_path: Path, files: Mapping[str, bytes]) -> dict[str, Path]:
    """Return the files of a channel as a job has them."""
    paths = {name: tmp_path / "channel" / name for name in files}
    for name, path in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name])
    return paths


@pytest.mark.parametrize(
    "files",
    [
        MODEL,
        {f"old/{name}": content for name, content in MODEL.items()},
        {"model.tar.gz": packed(members(MODEL)), "output.tar.gz": b"of the job"},
        {"renamed": packed(members(MODEL))},
        {
            "model.tar.gz": packed(
                [
                    *member("./", type=tarfile.DIRTYPE),
                    *members({f"./{name}": data for name, data in MODEL.items()}),
                    *member("._model.json", b"what macOS adds"),
                ]
            )
        },
        {
            "job/output/model.tar.gz": packed(
                members({f"model/{name}": data for name, data in MODEL.items()})
            )
        },
    ],
    ids=[
        "files",
        "files in a folder",
        "archive",
        "renamed",
        "archive of ./",
        "folder in archive",
    ],
)
def test_a_model_is_found_however_it_comes(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    """As training jobs leave it, as ``tar`` of a folder, or unpacked."""
    folder = model_folder(channel(tmp_path, files), tmp_path / "scratch")

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == MODEL


WHOLE = packed(members(MODEL))

BROKEN = {
    "no gzip": (b"PK\x03\x04", "Not a gzipped file"),
    "a plain tar": (gzip.decompress(WHOLE), "Not a gzipped file"),
    "no tar": (gzip.compress(b"x" * 1000), "truncated header|invalid header"),
    "cut": (WHOLE[: len(WHOLE) // 2], "Compressed file ended"),
    "changed": (WHOLE[:50] + b"\x00" * 9 + WHOLE[59:], "Error -3 while decompressing"),
    "nothing in it": (packed([]), "holds nothing; a model is model.json, network.onnx"),
    "a file missing": (
        packed(members({k: v for k, v in MODEL.items() if k != "network.onnx"})),
        "holds model.json, statistics.safetensors and weights.safetensors; a model is",
    ),
    "a file more": (
        packed(members({**MODEL, "code/inference.py": b"import os"})),
        "holds 'code/inference.py', which is no file of a model",
    ),
    "a file twice": (
        packed([*members(MODEL), *member("b/model.json")]),
        "holds 'b/model.json', which is no file of a model or comes twice",
    ),
    "two folders": (
        packed(members({f"{k[0]}/{k}": v for k, v in MODEL.items()})),
        "in one folder",
    ),
    "outside": (
        packed(member("../../model.json", b"x")),
        "holds '../../model.json', which is no file of a model",
    ),
    "absolute": (
        packed(member("/model.json", b"x")),
        "holds '/model.json', which is no file of a model",
    ),
    "an absolute link": (
        packed(member("model.json", type=tarfile.SYMTYPE, linkname="/etc/passwd")),
        "holds 'model.json', which is no file of a model",
    ),
    "a link": (
        packed(member("model.json", type=tarfile.SYMTYPE, linkname="network.onnx")),
        "holds 'model.json', which is no file of a model",
    ),
    "a hard link": (
        packed(member("model.json", type=tarfile.LNKTYPE, linkname="../../x")),
        "holds 'model.json', which is no file of a model",
    ),
    "a device": (
        packed(member("model.json", type=tarfile.CHRTYPE)),
        "holds 'model.json', which is no file of a model",
    ),
    "too large": (
        gzip.compress(
            b"".join(
                one.tobuf()
                for one, _ in member("network.onnx", size=archive.MAX_BYTES + 1)
            )
        ),
        "is no archive of a model: it has more than 100 members, more than 8 GiB, or",
    ),
    "too many": (
        packed([one for n in range(101) for one in member(f".{n}")]),
        "is no archive of a model",
    ),
    "a negative size": (
        gzip.compress(
            b"".join(
                one.tobuf(tarfile.GNU_FORMAT)
                for one, _ in member("network.onnx", size=-(2**20))
            )
        ),
        "is no archive of a model",
    ),
    "a long header": (
        gzip.compress(
            b"".join(
                one.tobuf() for one, _ in member("x", size=2**32, type=tarfile.XHDTYPE)
            )
        ),
        "a header is too long",
    ),
}


@pytest.mark.parametrize(("data", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_archive_is_refused_and_writes_nothing_elsewhere(
    data: bytes, problem: str, tmp_path: Path
) -> None:
    """One sentence that names the archive."""
    files = channel(tmp_path, {"model.tar.gz": data})
    scratch = tmp_path / "a" / "scratch"
    scratch.parent.mkdir()

    with pytest.raises(ArtifactError, match=rf"^model/model.tar.gz .*({problem})"):
        model_folder(files, scratch)
    written = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert {path.parent for path in written} <= {scratch, tmp_path / "channel"}


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (
            ["a.tar.gz", "b.tar.gz"],
            "The model channel holds a.tar.gz and b.tar.gz; use one model.tar.gz, or "
            "model.json, network.onnx, statistics.safetensors and weights.safetensors "
            "in one folder.",
        ),
        (["model.json", "a/network.onnx"], "The model channel holds a/network.onnx "),
    ],
)
def test_a_channel_that_holds_something_else_is_refused(
    names: list[str], problem: str, tmp_path: Path
) -> None:
    """By its names."""
    files = channel(tmp_path, dict.fromkeys(names, b"x"))

    with pytest.raises(SettingError, match=f"^{re.escape(problem)}"):
        model_folder(files, tmp_path / "scratch")
