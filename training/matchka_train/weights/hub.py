"""Published weights by name: where they lie on this machine, whether they are the right ones, and whose they are.

Nothing here downloads. `matchka-train backbones pull NAME` does, once the licence has been accepted; everything else
asks `weights_of` and is told what to run where the file is not there.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import yaml

from matchka.bundles.bundle import HASH_BLOCK_BYTES
from matchka_train.errors import CatalogueError, ChecksumError, UnknownWeightsError, WeightsAbsentError
from matchka_train.weights.lock_file import HubRecords
from matchka_train.weights.packages import DEFAULT_CACHE_DIR
from matchka_train.weights.source import WeightSource

HUB_FOLDER: Final = "hub"  # inside the cache, beside the package files
CATALOGUE_NAME: Final = "catalogue.yaml"


@dataclass(frozen=True)
class HubFile:
    """One file of published weights.

    Attributes:
        name: in the cache; of weights that are several files, as the loading library expects it.
        url: where its makers publish it, at a fixed revision where they have one.
        sha256: published checksum, or None.
        git_blob: git's name of its bytes at that revision, or None.
        size_bytes: published size, or None.
    """

    name: str
    url: str
    sha256: str | None = None
    git_blob: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True)
class HubWeights:
    """Published weights.

    Attributes:
        name: as a recipe gives it.
        kind: kind of backbone in a recipe that takes them.
        title: what they are, for people.
        files: the one with the parameters first.
        source: where they come from.
        version: revision or release.
        licence: SPDX expression of what holds for the weights.
        terms: what has to be known before they are used, or "".
        parameters: how many numbers, as published, or None.
        backbone: further keys of a recipe's `backbone` that these weights need.
    """

    name: str
    kind: str
    title: str
    files: tuple[HubFile, ...]
    source: str
    version: str
    licence: str
    terms: str = ""
    parameters: int | None = None
    backbone: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def size_bytes(self) -> int | None:
        """Of all files together, where it is published."""
        sizes = [file.size_bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def recipe(self) -> dict[str, Any]:
        """The `backbone` of a recipe that takes these weights."""
        return {"kind": self.kind, "weights": self.name, **self.backbone}


@dataclass(frozen=True)
class Checksums:
    """Of one file, in one pass.

    Attributes:
        sha256: 64 hexadecimal digits.
        git_blob: the name git gives these bytes, 40 hexadecimal digits.
        size_bytes: of the file.
    """

    sha256: str
    git_blob: str
    size_bytes: int


@cache
def catalogue() -> tuple[HubWeights, ...]:
    """All published weights that are known by name: catalogue.yaml beside this file."""
    return _entries(resources.files("matchka_train.weights").joinpath(CATALOGUE_NAME).read_text(encoding="utf-8"))


def known_weights(cache_dir: Path) -> tuple[HubWeights, ...]:
    """The catalogue behind the entries of the user's own catalogue.yaml in the cache, which may name mirrors.

    Raises: CatalogueError: that file is none.
    """
    path = cache_dir / CATALOGUE_NAME
    if not path.is_file():
        return catalogue()
    try:
        own = _entries(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, TypeError, KeyError) as error:
        raise CatalogueError(
            f"The catalogue {path} cannot be read.",
            value=error,
            remedy="Write it as training/matchka_train/weights/catalogue.yaml is written, or remove it.",
        ) from error
    names = {weights.name for weights in own}
    return own + tuple(weights for weights in catalogue() if weights.name not in names)


def named(name: str, cache_dir: Path = DEFAULT_CACHE_DIR) -> HubWeights:
    """The entry of a name.

    Args:
        name: as `matchka-train backbones list` shows it.
        cache_dir: the folder given to `backbones pull`, which may hold a catalogue of the user's own.

    Raises: UnknownWeightsError: there is none of this name. CatalogueError: the user's own catalogue is none.

    >>> named("redimnet-b2-vox2-ft_lm").licence
    'MIT'
    """
    for weights in known_weights(cache_dir):
        if weights.name == name:
            return weights
    raise UnknownWeightsError(
        "No weights of this name are known.", value=name, remedy="`matchka-train backbones list` shows every name."
    )


def _entries(text: str) -> tuple[HubWeights, ...]:
    return tuple(
        HubWeights(**{**entry, "files": tuple(HubFile(**file) for file in entry["files"])})
        for entry in yaml.safe_load(text)
    )


def weights_of(name: str, cache_dir: Path = DEFAULT_CACHE_DIR) -> tuple[Path, WeightSource]:
    """Where published weights lie, checked, and what the bundle says of them.

    Args:
        name: as `matchka-train backbones list` shows it.
        cache_dir: the folder given to `backbones pull`.

    Returns: the file, or the folder where the weights are several files; and their source and licence.

    Raises:
        UnknownWeightsError: no weights of this name are known.
        WeightsAbsentError: they were not pulled; the remedy is the command, or where to put the files by hand.
        ChecksumError: a file is not the one that was published, or not the one that was first pulled.
    """
    return checked_weights(named(name, cache_dir), cache_dir)


def checked_weights(weights: HubWeights, cache_dir: Path) -> tuple[Path, WeightSource]:
    """Where the weights of a catalogue entry lie, checked, and what the bundle says of them.

    Raises: WeightsAbsentError: they were not pulled. ChecksumError: a file is not the one published or pulled first.
    """
    records = HubRecords(cache_dir / HUB_FOLDER)
    found = {}
    for file in weights.files:
        path = path_of(weights, file, cache_dir)
        record = records.of(weights.name, file.name)
        if not path.is_file() or record is None:
            raise _absent(weights, cache_dir)
        found[file.name] = checksums(path)
        require_same(path, file, found[file.name], record.sha256)
    return place_of(weights, cache_dir), source_of(weights, found[weights.files[0].name].sha256)


def place_of(weights: HubWeights, cache_dir: Path) -> Path:
    """The file, or the folder where the weights are several files; it need not be there."""
    folder = cache_dir / HUB_FOLDER / weights.name
    return folder / weights.files[0].name if len(weights.files) == 1 else folder


def path_of(weights: HubWeights, file: HubFile, cache_dir: Path) -> Path:
    """Where one of the files belongs."""
    return cache_dir / HUB_FOLDER / weights.name / file.name


def source_of(weights: HubWeights, sha256: str) -> WeightSource:
    """What the bundle says of these weights.

    Args: sha256: of the first file, which is the one with the parameters.
    """
    return WeightSource(weights.title, weights.source, weights.version, sha256, weights.licence)


def checksums(path: Path) -> Checksums:
    """Both names of a file's bytes."""
    size = path.stat().st_size
    sha256 = hashlib.sha256()
    # git's own name of a file: the only checksum that a repository publishes of a file that is not in LFS
    blob = hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as opened:
        while block := opened.read(HASH_BLOCK_BYTES):
            sha256.update(block)
            blob.update(block)
    return Checksums(sha256.hexdigest(), blob.hexdigest(), size)


def require_same(path: Path, file: HubFile, found: Checksums, recorded: str | None) -> None:
    """Refuse a file that is not the one that was published, or not the one that was pulled first.

    Args:
        path: of the file.
        file: what is published of it.
        found: what it is.
        recorded: sha256 of the first pull; None before it.

    Raises: ChecksumError.
    """
    expected = recorded or file.sha256
    if expected is not None and found.sha256 != expected:
        raise ChecksumError(
            f"{path} must have sha256 {expected}.",
            value=found.sha256,
            remedy=f"Delete {path} and pull again; if its makers published it anew, give `pull --sha256` theirs.",
        )
    if recorded is None and file.git_blob is not None and found.git_blob != file.git_blob:
        raise ChecksumError(
            f"{path} must be git's blob {file.git_blob}.",
            value=found.git_blob,
            remedy=f"Delete {path} and pull again; if its makers published it anew, give `pull --sha256` theirs.",
        )


def by_hand(weights: HubWeights, cache_dir: Path) -> str:
    """Where to put which files, for a machine that reaches no hub."""
    files = "; ".join(f"{file.url} as {path_of(weights, file, cache_dir).absolute()}" for file in weights.files)
    return f"without a network, put {files}, and run the same command, which then only checks and records them"


def _absent(weights: HubWeights, cache_dir: Path) -> WeightsAbsentError:
    folder = "" if cache_dir == DEFAULT_CACHE_DIR else f" --downloads-dir {cache_dir}"
    return WeightsAbsentError(
        f"The weights {weights.name} ({weights.licence}) were not pulled into {cache_dir}.",
        value=weights.name,
        remedy=f"Run `matchka-train backbones pull {weights.name}{folder}`; {by_hand(weights, cache_dir)}.",
    )
