"""Files that hold the same recording or picture as another, after another encoding, level, size or cut."""

import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from rich.progress import Progress

from matchka.errors import MatchkaError
from matchka_train.datasets.content import UNREADABLE, read_hashed, shown_pairs
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import flat
from matchka_train.errors import DuplicateSampleError, IdentityOverlapError
from matchka_train.features.lock import alone
from matchka_train.features.stored import atomic_feature_file
from matchka_train.modalities.copies import Copy, CopyFinder, Fingerprint

IsConfirmed = Callable[[Path, Path], bool]


def require_no_near_copies(
    train: Sequence[Sequence[Sample]],
    validation: Sequence[Sequence[Sample]],
    find: Callable[[Mapping[str, Path]], list[Copy]],
    hashes: Mapping[Path, str],
    is_confirmed: IsConfirmed,
) -> None:
    """Refuse data sets in which one recording or picture counts as two, though the bytes of the files differ.

    Copies of one identity may be trained on; they may not be validated on, nor in two roles, nor under two identities.

    Args:
        train: data sets that are trained on.
        validation: data sets that judge.
        find: content (a sha256) -> a file that has it; returns the pairs of contents that are copies.
        hashes: of all files, by hash_files; no content under two identities or in two roles.
        is_confirmed: whether somebody made sure that a pair may be used.

    Raises:
        IdentityOverlapError: a recording is both trained on and validated on.
        DuplicateSampleError: it belongs to two identities, or is validated on twice.
    """
    judged = {hashes[sample.path]: sample for sample in flat(validation)}
    samples = {hashes[sample.path]: sample for sample in flat(train)} | judged
    copies = find({sha256: sample.path for sha256, sample in samples.items() if sha256 != UNREADABLE})
    overlapping, doubled = [], []
    for copy in copies:
        pair = samples[copy.first], samples[copy.second]
        if is_confirmed(pair[0].path, pair[1].path):
            continue
        if (copy.first in judged) != (copy.second in judged):
            overlapping.append(pair)
        elif copy.first in judged or pair[0].subject != pair[1].subject:
            doubled.append(pair)
    for kind, pairs, what in (
        (IdentityOverlapError, overlapping, "are both trained on and validated on, in files of other bytes"),
        (DuplicateSampleError, doubled, "count as two samples, in files of other bytes"),
    ):
        if pairs:
            raise kind(
                f"{len(pairs)} recordings or pictures {what}: {shown_pairs(pairs)}.",
                value=len(pairs),
                remedy="Leave files out (leave_out of the data set), or confirm that a pair may be used "
                "(data.confirmed_copies: first, second, reason).",
            )


def find_near_copies(
    files: Mapping[str, Path], finder: CopyFinder | None, cache_dir: Path | None, progress: Progress
) -> list[Copy]:
    """The pairs of files that are copies of each other; two commands with one cache come one after the other.

    Args:
        files: sha256 of a file's bytes -> the file.
        finder: how copies of this kind are found; None finds none.
        cache_dir: the folder of all caches, which keeps fingerprints; None takes them anew.
        progress: shows how far it is.

    Returns: pairs of keys of `files`.

    Raises: DiskFullError: no space left.
    """
    if finder is None:
        return []
    folder = None if cache_dir is None else cache_dir / "fingerprints" / finder.version
    found = {}
    with nullcontext() if folder is None else alone(folder):
        for sha256 in progress.track(sorted(files), description="looking for copies"):
            fingerprint = _fingerprint(files[sha256], sha256, finder, folder)
            if fingerprint is not None:
                found[sha256] = fingerprint
    return finder.find(found)


def _fingerprint(path: Path, sha256: str, finder: CopyFinder, folder: Path | None) -> Fingerprint | None:
    """None where the file cannot be read, or is another one by now; whoever extracts features counts those."""
    kept = None if folder is None else folder / sha256[:2] / f"{sha256}.npy"
    if kept is not None and kept.is_file():
        stored: Fingerprint = np.load(kept)
        return stored
    try:
        fingerprint = finder.fingerprint(read_hashed(path, sha256))
    except (MatchkaError, OSError):
        return None
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        np.save(content, fingerprint)
        with atomic_feature_file(kept) as partial:
            partial.write_bytes(content.getvalue())
    return fingerprint
