"""Zip archives whose manifest names the sha256 of every member."""

import contextlib
import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final, TypeAlias, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from matchka.errors import BackupError
from matchka.runtime.atomic_file import put_in_place

BLOCK_BYTES: Final = 1 << 20
PRIVATE: Final = 0o600  # templates are biometric data
GET_ANOTHER: Final = "Use another copy of the file."

Advance: TypeAlias = Callable[[int, int], None]  # bytes done, of how many
ManifestT = TypeVar("ManifestT", bound="ArchiveManifest")


class Member(BaseModel):
    """A file of an archive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(ge=0)


class ArchiveManifest(BaseModel):
    """What every archive's manifest says: its members."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: dict[str, Member]


class _Tally:
    """Running sha256 and size of a stream of bytes."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self.bytes = 0

    def add(self, block: bytes) -> None:
        self._digest.update(block)
        self.bytes += len(block)

    def member(self) -> Member:
        return Member(sha256=self._digest.hexdigest(), bytes=self.bytes)


class ArchiveWriter:
    """Writes members one after the other, and the manifest last."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self.members: dict[str, Member] = {}

    @contextmanager
    def member(self, name: str) -> Iterator[Callable[[bytes], None]]:
        """Write a member: yields what appends bytes to it."""
        tally = _Tally()
        with self._archive.open(name, "w", force_zip64=True) as file:

            def append(block: bytes) -> None:
                tally.add(block)
                file.write(block)

            yield append
        self.members[name] = tally.member()

    def add_file(self, name: str, path: Path, advance: Advance) -> None:
        """Copy a file in."""
        size, done = path.stat().st_size, 0
        with path.open("rb") as file, self.member(name) as append:
            while block := file.read(BLOCK_BYTES):
                append(block)
                done += len(block)
                advance(done, size)

    def finish(self, name: str, manifest: ArchiveManifest) -> None:
        """Write the manifest."""
        self._archive.writestr(name, manifest.model_dump_json(indent=1))


@contextmanager
def new_archive(target: Path) -> Iterator[tuple[ArchiveWriter, Path]]:
    """Write an archive atomically.

    Yields: the writer, and a private folder on the same disk for what is needed on the way.

    Raises: BackupError: the name is taken, or the disk refuses.
    """
    if target.exists():
        raise BackupError("There is a file of this name.", value=target, remedy="Choose another name.")
    try:
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise BackupError(
            "The file cannot be written.", value=error, remedy="Check that its folder is there, and its rights."
        ) from error
    try:
        partial = staging / "partial"
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            yield ArchiveWriter(archive), staging
        partial.chmod(PRIVATE)
        put_in_place(partial, target)
    except OSError as error:
        raise BackupError("The file cannot be written.", value=error, remedy="Check the disk's space.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def opened_archive(
    path: Path, manifest_name: str, kind: type[ManifestT]
) -> Iterator[tuple[zipfile.ZipFile, ManifestT]]:
    """Open an archive and read its manifest; the members are checked by copy_member().

    Raises: BackupError: it cannot be read, is of another kind, or its members are not those that it names.
    """
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            text = archive.read(manifest_name)
        except IsADirectoryError as error:
            raise BackupError("This is a folder.", value=path, remedy="Name a file in it.") from error
        except (OSError, zipfile.BadZipFile, EOFError) as error:
            raise BackupError(f"{path} cannot be read.", value=error, remedy=GET_ANOTHER) from error
        except KeyError as error:
            raise BackupError(
                f"{path} holds no {manifest_name}: it is of another kind.", remedy="Name the right file."
            ) from error
        try:
            manifest = kind.model_validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BackupError(
                f"{manifest_name} of {path} is not valid at {where}: {first['msg']}.", remedy=GET_ANOTHER
            ) from error
        held = sorted(archive.namelist())
        if held != sorted([manifest_name, *manifest.members]):
            raise BackupError(
                f"{path} does not hold the files that its manifest names.", value=held, remedy=GET_ANOTHER
            )
        yield archive, manifest


def copy_member(
    archive: zipfile.ZipFile, name: str, member: Member, target: IO[bytes] | None, advance: Advance
) -> None:
    """Read a member to its end, into a file if one is given, and check its size and sha256.

    Raises: BackupError: it is not what the manifest names, or the disk refuses.
    """
    tally = _Tally()
    try:
        with archive.open(name) as file:
            while block := file.read(BLOCK_BYTES):
                tally.add(block)
                if target is not None:
                    target.write(block)
                advance(tally.bytes, member.bytes)
    except (zipfile.BadZipFile, EOFError) as error:
        raise BackupError(f"{name} is damaged.", value=error, remedy=GET_ANOTHER) from error
    if tally.member() != member:
        raise BackupError(
            f"{name} is not the file that its manifest names.", value=tally.member().sha256, remedy=GET_ANOTHER
        )
