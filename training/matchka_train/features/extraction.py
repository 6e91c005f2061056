"""The frozen backbone's embeddings of every window of a data set, computed once and memory-mapped ever after."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from filelock import FileLock
from rich.progress import Progress

from matchka.bundles.bundle import sha256_of
from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError, TooManyUnreadableError
from matchka_train.features.cache import FeatureFolder, Shard
from matchka_train.features.features import Features
from matchka_train.modalities import describe_reader, modality_of, open_reader
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.modality import RowReader, Rows, join_rows
from matchka_train.modalities.skipped import Skipped

SHARD_SAMPLES: Final = 128  # an interruption loses at most this many clips' work, a few seconds
BATCH_WINDOWS: Final = 64  # larger batches were no faster on a CPU
MOST_SKIPPED_SHARE: Final = 0.01
FINGERPRINT_TOLERANCE: Final = (
    1e-3  # another thread count or library build moves an embedding by 1e-6, a change by 1e-1
)


def extract_features(
    samples: Sequence[Sample],
    backbone: Backbone,
    cache_dir: Path,
    progress: Progress,
    limits: Mapping[str, object],
    view: View | None = None,
) -> Features:
    """Run the frozen backbone over every window of every sample, or map what an earlier run computed.

    The cache is keyed by the bytes of every file, the parts cut from it, the window rule, the limits, the backbone's
    weights and the view; what the backbone makes of fixed windows is compared as well, so that a change of its code is
    noticed. An interrupted run continues where it stopped.

    Args:
        samples: the files, or parts of them.
        backbone: the frozen network with its front end.
        cache_dir: the folder of all caches.
        progress: shows how far it is.
        limits: which samples are taken, as `data.limits` of a recipe; others are skipped.
        view: how each sample is changed first; None takes it as it is.

    Raises:
        TooManyUnreadableError: over 1 % of the samples could not be read.
        RecipeError: limits that the backbone's kind of input does not have.
        FeatureError: the samples are arrays of features, or the backbone does not return what it declares.
        DiskFullError: no space left.
    """
    _require_recordings(samples, backbone)
    reading = describe_reader(backbone, limits)
    hashes = _hash_files(samples, progress)
    folder = FeatureFolder(cache_dir, _describe(samples, hashes, backbone, reading, view))
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(cache_dir / f"{folder.path.name}.lock"):
        stored = _fill(folder, samples, hashes, backbone, lambda: open_reader(backbone, limits, view), progress)
    _require_readable(stored, len(samples))
    kept = [sample for sample, count in zip(samples, stored.window_counts, strict=True) if count]
    return Features(
        stored.windows,
        stored.window_counts[stored.window_counts > 0],
        tuple(sample.subject for sample in kept),
        tuple(sample.domain for sample in kept),
        tuple(str(sample.path) for sample in kept),
        np.array([[sample.part / sample.parts, (sample.part + 1) / sample.parts] for sample in kept], np.float32),
        stored.skipped,
    )


def embed_windows(module: torch.nn.Module, windows: Rows) -> FloatArray:
    """Run a frozen network over windows in batches.

    Args:
        module: as matchka_train.backbones.backbone.Backbone.module.
        windows: rows of its input, (n, ...).

    Returns: float32, (n, embedding_dim).
    """
    with torch.inference_mode():
        batches = [
            module(torch.from_numpy(windows[start : start + BATCH_WINDOWS])).numpy()
            for start in range(0, len(windows), BATCH_WINDOWS)
        ]
    embeddings: FloatArray = np.concatenate(batches)
    return embeddings


def _fill(
    folder: FeatureFolder,
    samples: Sequence[Sample],
    hashes: list[str],
    backbone: Backbone,
    open_samples: Callable[[], RowReader],
    progress: Progress,
) -> Shard:
    """Compute what the folder lacks, and map the whole."""
    folder.open()
    module = backbone.module()
    fingerprint = _fingerprint(module, backbone)
    known = folder.fingerprint()
    if known is None or not np.allclose(known, fingerprint, atol=FINGERPRINT_TOLERANCE):
        folder.clear()
        folder.open()
        folder.keep_fingerprint(fingerprint)
    stored = folder.read()
    if stored is not None:
        return stored
    reader = open_samples()
    starts = range(0, len(samples), SHARD_SAMPLES)
    task = progress.add_task("embedding samples", total=len(samples))
    for number, start in enumerate(starts):
        some = slice(start, start + SHARD_SAMPLES)
        if folder.shard(number) is None:
            folder.keep_shard(number, _embed_shard(samples[some], hashes[some], module, backbone, reader))
        progress.update(task, completed=min(start + SHARD_SAMPLES, len(samples)))
    folder.finish(len(starts), backbone.embedding_dim)
    complete = folder.read()
    if complete is None:
        raise FeatureError("The features just written cannot be read.", value=folder.path, remedy="Check the disk.")
    return complete


def _embed_shard(
    samples: Sequence[Sample], hashes: list[str], module: torch.nn.Module, backbone: Backbone, reader: RowReader
) -> Shard:
    read = [reader.rows(sample, sha256) for sample, sha256 in zip(samples, hashes, strict=True)]
    skipped = tuple(entry for entry in read if isinstance(entry, Skipped))
    windows: list[Rows] = [entry for entry in read if not isinstance(entry, Skipped)]
    counts = np.asarray([0 if isinstance(entry, Skipped) else len(entry) for entry in read], np.int64)
    if not windows:
        return Shard(np.zeros((0, backbone.embedding_dim), np.float32), counts, skipped)
    return Shard(embed_windows(module, join_rows(windows)), counts, skipped)


def _fingerprint(module: torch.nn.Module, backbone: Backbone) -> FloatArray:
    """What the backbone makes of fixed rows; also the proof that it takes the rows it declares."""
    rows = modality_of(backbone).fixed_rows(backbone.input)
    try:
        embeddings = embed_windows(module, rows)
    except (RuntimeError, ValueError) as error:
        raise FeatureError(
            f"The backbone {backbone.name} does not take the rows it declares, {rows.shape[1:]} of {rows.dtype}.",
            value=error,
            remedy="Use a backbone whose graph takes them, with its front end inside.",
        ) from error
    if embeddings.shape != (len(rows), backbone.embedding_dim) or not np.all(np.isfinite(embeddings)):
        raise FeatureError(
            f"The backbone {backbone.name} does not return finite embeddings of {backbone.embedding_dim} components.",
            value=embeddings.shape,
            remedy="Declare the width its graph returns.",
        )
    return embeddings


def _describe(
    samples: Sequence[Sample], hashes: list[str], backbone: Backbone, reading: dict[str, object], view: View | None
) -> dict[str, object]:
    clips = [[sha256, sample.part, sample.parts] for sha256, sample in zip(hashes, samples, strict=True)]
    return {
        "clips": hashlib.sha256(json.dumps(clips).encode()).hexdigest(),
        "backbone": [backbone.name, backbone.source.sha256, backbone.embedding_dim],
        **reading,
        "view": None if view is None else view.describe(),
    }


def _hash_files(samples: Sequence[Sample], progress: Progress) -> list[str]:
    """The sha256 of every file's bytes; modification times can lie, bytes cannot."""
    known: dict[Path, str] = {}
    for sample in progress.track(samples, description="hashing files"):
        if sample.path not in known:
            try:
                known[sample.path] = sha256_of(sample.path)
            except OSError:
                known[sample.path] = "0" * 64  # unreadable now; when it becomes readable the key changes
    return [known[sample.path] for sample in samples]


def _require_recordings(samples: Sequence[Sample], backbone: Backbone) -> None:
    if not samples:
        raise FeatureError("There are no samples.", remedy="Check the data set's path and filters.")
    suffixes = modality_of(backbone).array_suffixes
    arrays = sorted({str(sample.path) for sample in samples if sample.path.suffix in suffixes})
    if arrays:
        raise FeatureError(
            "This backbone takes recordings; these files hold arrays (a mel matrix, perhaps).",
            value=arrays[0],
            remedy="Give the recordings; the front end is inside the backbone.",
        )


def _require_readable(stored: Shard, samples: int) -> None:
    if len(stored.skipped) > MOST_SKIPPED_SHARE * samples:
        shown = "; ".join(f"{entry.path}: {entry.reason}" for entry in stored.skipped[:10])
        raise TooManyUnreadableError(
            f"{len(stored.skipped)} of {samples} samples could not be read, over {MOST_SKIPPED_SHARE:.0%}: {shown}",
            remedy="Repair or remove them.",
        )
