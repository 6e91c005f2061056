"""What the files of data sets hold, whatever they are called: nothing counts twice, for two people, or in two roles."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from rich.progress import Progress

from matchka_train.datasets.file_bytes import read_file
from matchka_train.datasets.sample import Parts, Sample
from matchka_train.datasets.splits import flat
from matchka_train.errors import DuplicateSampleError, FileChangedError, IdentityOverlapError

UNREADABLE: Final = "0" * 64  # in place of a hash; when the file becomes readable, what depends on the hash changes
MOST_SHOWN: Final = 5


def hash_files(samples: Iterable[Sample], progress: Progress) -> dict[Path, str]:
    """The sha256 of every file's bytes, each read once; modification times can lie, bytes cannot.

    Args:
        samples: of any number of data sets.
        progress: shows how far it is.

    Returns: path -> 64 hexadecimal digits; UNREADABLE where a file cannot be read.
    """
    paths = sorted({sample.path for sample in samples})
    return {path: _sha256_or_unreadable(path) for path in progress.track(paths, description="hashing files")}


def read_hashed(path: Path, sha256: str) -> bytes:
    """The bytes of a file, which are still those that were hashed; what is kept under the hash is made of these.

    Args:
        path: the file, as of matchka_train.datasets.file_bytes.read_file.
        sha256: of hash_files.

    Raises:
        OSError: there is none.
        DatasetError: its archive is cut short, or none.
        FileChangedError: the bytes are others by now.
    """
    data = read_file(path)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise FileChangedError(
            "The file changed after it was hashed.", value=found, remedy=f"Run again; {path} must rest meanwhile."
        )
    return data


def require_distinct_content(
    train: Sequence[Sequence[Sample]], validation: Sequence[Sequence[Sample]], hashes: Mapping[Path, str]
) -> None:
    """Refuse data sets in which one content counts as several samples, people or roles; names of files do not matter.

    Training sets may share files of one identity, cut in different ways; nothing else may be there twice.

    Args:
        train: data sets that are trained on.
        validation: data sets that judge.
        hashes: of hash_files, of all of them.

    Raises:
        IdentityOverlapError: the content of a file is both trained on and validated on.
        DuplicateSampleError: one content belongs to two identities, or is listed twice in a data set.
    """
    trained, judged = ({hashes[one.path]: one for one in flat(sets)} for sets in (train, validation))
    if shared := sorted((trained.keys() & judged.keys()) - {UNREADABLE}):
        pairs = [(trained[sha256], judged[sha256]) for sha256 in shared]
        raise IdentityOverlapError(
            f"{len(shared)} files are both trained on and validated on, under other names: {shown_pairs(pairs)}.",
            value=len(shared),
            remedy="Take them out of one of the two, or give both parts one corpus and disjoint identities.",
        )
    _require_one_identity_each([*train, *validation], hashes)
    for samples in [*train, *validation]:
        _require_each_once(samples, hashes)


def _require_one_identity_each(sets: Sequence[Sequence[Sample]], hashes: Mapping[Path, str]) -> None:
    first: dict[str, Sample] = {}
    pairs = []
    for sample in flat(sets):
        known = first.setdefault(hashes[sample.path], sample)
        if known.subject != sample.subject and hashes[sample.path] != UNREADABLE:
            pairs.append((known, sample))
    if pairs:
        raise DuplicateSampleError(
            f"{len(pairs)} samples have the content of another identity's: {shown_pairs(pairs)}.",
            value=len(pairs),
            remedy="One of the two labels is wrong, or both are one person: correct it, or leave the file out.",
        )


def _require_each_once(samples: Sequence[Sample], hashes: Mapping[Path, str]) -> None:
    first: dict[tuple[str, int, Parts], Sample] = {}
    pairs = []
    for sample in samples:
        known = first.setdefault((hashes[sample.path], sample.part, sample.parts), sample)
        if known is not sample and hashes[sample.path] != UNREADABLE:
            pairs.append((known, sample))
    if pairs:
        raise DuplicateSampleError(
            f"{len(pairs)} samples of one data set are listed twice: {shown_pairs(pairs)}.",
            value=len(pairs),
            remedy="Keep one of each; a sample beside itself is a pair that any model tells right.",
        )


def _sha256_or_unreadable(path: Path) -> str:
    try:
        return hashlib.sha256(read_file(path)).hexdigest()
    except OSError:
        return UNREADABLE


def shown_pairs(pairs: Sequence[tuple[Sample, Sample]]) -> str:
    """The first few pairs with their identities, for a message."""
    lines = [f"{one.path} ({one.subject}) = {other.path} ({other.subject})" for one, other in pairs[:MOST_SHOWN]]
    return "; ".join(lines) + ("; ..." if len(pairs) > MOST_SHOWN else "")
