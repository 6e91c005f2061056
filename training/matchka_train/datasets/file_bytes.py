"""The bytes of a sample's file, which may lie inside a tar file: nothing is unpacked to the disk."""

import tarfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from matchka_train.errors import DatasetError

OPEN_INDEXES = 64  # of tar files; samples come in the order of their files


class Member(NamedTuple):
    """Where a file lies in a tar file.

    Attributes:
        start: of its bytes.
        size: how many there are.
    """

    start: int
    size: int


def read_file(path: Path) -> bytes:
    """The bytes of a file; `archive.tar/name` is the file of that name in an archive.

    Raises:
        OSError: there is none.
        DatasetError: the archive is cut short, or none.
    """
    try:
        return path.read_bytes()
    except NotADirectoryError:
        archive = next((parent for parent in path.parents if parent.is_file()), None)
        if archive is None:
            raise
        stat = archive.stat()
        member = _members(archive, stat.st_mtime_ns, stat.st_size).get(path.relative_to(archive).as_posix())
        if member is None:
            raise
        with archive.open("rb") as file:
            file.seek(member.start)
            return file.read(member.size)


def read_members(archive: Path) -> Mapping[str, Member]:
    """The plain files in a tar file that is not compressed, in its order; links and devices are none of them.

    Raises: DatasetError: it is no tar file, or cut short, or a name leads out of it or is there twice.
    """
    found: dict[str, Member] = {}
    length = archive.stat().st_size
    try:
        with tarfile.open(archive, "r:") as tar:
            for entry in tar:
                if entry.offset_data + entry.size > length:
                    raise tarfile.ReadError(f"{entry.name} ends after the archive")
                if entry.type in (tarfile.REGTYPE, tarfile.AREGTYPE) and entry.sparse is None:
                    name = _safe_name(archive, entry.name)
                    if name in found:
                        raise tarfile.ReadError(f"{name} is there twice")
                    found[name] = Member(entry.offset_data, entry.size)
            _require_end(archive, tar.offset)
    except (tarfile.TarError, EOFError) as error:
        raise DatasetError(
            f"{archive} is damaged after {len(found)} whole files: {error}.",
            value=f"{length} bytes",
            remedy="Fetch it again, or move it out of the folder to train without it.",
        ) from error
    return found


def _require_end(archive: Path, end: int) -> None:
    """The library takes a header that is cut short or damaged for the end; the end is a block of zeros."""
    with archive.open("rb") as file:
        file.seek(end)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("its end is missing")


def _safe_name(archive: Path, name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(
            f"A file in {archive} has a name that leads out of it.", value=name, remedy="Write the archive again."
        )
    return path.as_posix()


@lru_cache(maxsize=OPEN_INDEXES)
def _members(archive: Path, _changed_ns: int, _size: int) -> Mapping[str, Member]:
    return read_members(archive)
