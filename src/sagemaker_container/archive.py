"""Take a model out of the channel ``model``: an archive of the platform, or its files.

An archive comes from outside, so nothing in it is trusted: of its members only the
four files of a model are written, under their own names, into one folder. Whether they
are what training saved is for their SHA-256 to say: see :mod:`lstm_ad.artifacts`.
"""

import gzip
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from lstm_ad.exceptions import ArtifactError, SettingError
from lstm_ad.model_json import FILES

MEDIA_TYPE = "application/x-sagemaker-model"
"""The content type by which SageMaker knows the channel."""

ARCHIVE = "model.tar.gz"
"""What SageMaker calls a model."""

MAX_BYTES = 8 * 2**30
"""Of all members together: an ONNX graph has at most 2 GiB, and so have its weights."""

MAX_MEMBERS = 100
"""Files and folders of an archive, with those that are hidden."""

_MAX_READ = 2**20
"""Bytes that tarfile reads at a time; it reads extended headers at once, as long as
they say they are."""

_DAMAGES = (tarfile.TarError, zlib.error, EOFError, OSError, ValueError)


def model_folder(files: Mapping[str, Path], scratch: Path) -> Path:
    """Return a folder that holds the four files of the model in a channel.

    Args:
        files: The files of the channel, by their names within it.
        scratch: The folder that an archive is unpacked into; it is made.

    Raises:
        ArtifactError: If the archive cannot be unpacked.
        SettingError: If the channel holds anything else.
    """
    folders = {path.parent for path in files.values()}
    if len(folders) == 1 and {path.name for path in files.values()} == set(FILES):
        return folders.pop()
    # Where a job has left it, there may be more: its output.tar.gz, for one.
    archives = {name: p for name, p in files.items() if p.name == ARCHIVE}
    if len(archives) == 1:
        files = archives
    if len(files) != 1:
        raise SettingError(
            f"The model channel holds {_listed(files)}; use one model.tar.gz, or "
            f"{_listed(FILES)} in one folder."
        )
    ((name, path),) = files.items()
    scratch.mkdir()
    try:
        with _Bounded(path) as stream:
            _unpack(name, stream, scratch)
    except _DAMAGES as error:
        raise ArtifactError(
            f"model/{name} cannot be unpacked: {error}; use a model.tar.gz as a "
            f"training job leaves it."
        ) from error
    return scratch


def _unpack(name: str, stream: gzip.GzipFile, folder: Path) -> None:
    """Write the files of a model in a tar stream to a folder.

    Raises:
        ArtifactError: If it holds anything else, or not all of them.
    """
    found: dict[str, PurePosixPath] = {}
    with tarfile.open(fileobj=stream, mode="r:") as archive:
        for member in _members(name, archive):
            path = PurePosixPath(member.name)
            is_outside = path.is_absolute() or ".." in path.parts
            if member.isdir() and not is_outside:
                continue
            is_file = member.isreg() and path.name in FILES and not is_outside
            if not is_file or path.name in found:
                raise ArtifactError(
                    f"model/{name} holds {member.name!r}, which is no file of a model "
                    f"or comes twice; use an archive of {_listed(FILES)} alone."
                )
            found[path.name] = path.parent
            source = archive.extractfile(member)
            assert source is not None
            with source, (folder / path.name).open("xb") as target:
                shutil.copyfileobj(source, target, _MAX_READ)
    if set(found) != set(FILES) or len(set(found.values())) > 1:
        raise ArtifactError(
            f"model/{name} holds {_listed(found) or 'nothing'}; a model is "
            f"{_listed(FILES)} in one folder."
        )


def _members(name: str, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield what is not hidden, as long as it is not too much.

    Raises:
        ArtifactError: If it is too much.
    """
    n_bytes = 0
    for number, member in enumerate(archive):
        n_bytes += member.size
        if number >= MAX_MEMBERS or n_bytes > MAX_BYTES or member.size < 0:
            raise ArtifactError(
                f"model/{name} is no archive of a model: it has more than "
                f"{MAX_MEMBERS} members, more than {MAX_BYTES / 2**30:g} GiB, or a "
                f"member of a negative size."
            )
        parts = PurePosixPath(member.name).parts
        if not any(part.startswith(".") and part != ".." for part in parts):
            yield member


class _Bounded(gzip.GzipFile):
    """A stream of which nobody reads much at a time: headers may claim any length."""

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes.

        Raises:
            ReadError: If they are too many.
        """
        if size is None or not 0 <= size <= _MAX_READ:
            raise tarfile.ReadError("a header is too long")
        return super().read(size)


def _listed(names: Mapping[str, object] | tuple[str, ...]) -> str:
    """Return some names in words."""
    *first, last = sorted(names)[:10] or [""]
    return f"{', '.join(first)} and {last}" if first else last
