"""The frozen backbone's embeddings of every window of a data set, computed once and memory-mapped ever after."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from filelock import FileLock
from rich.progress import Progress

from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.content import UNREADABLE, hash_files
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError, TooManyUnreadableError
from matchka_train.features.cache import Clip, ClipRows, FeatureCache, Shard, shard_of
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
    hashes: Mapping[Path, str] | None = None,
) -> Features:
    """Run the frozen backbone over every window of every sample, or map what an earlier run computed.

    The cache is keyed by the bytes of every file, the parts cut from it, the window rule, the limits, the backbone's
    weights and the view; what the backbone makes of fixed windows is compared as well, so that a change of its code is
    noticed. Clips that another list holds are not embedded again; stored rows are used where their hash is the one
    that was kept with them. An interrupted run continues where it stopped.

    Args:
        samples: the files, or parts of them.
        backbone: the frozen network with its front end.
        cache_dir: the folder of all caches.
        progress: shows how far it is.
        limits: which samples are taken, as `data.limits` of a recipe; others are skipped.
        view: how each sample is changed first; None takes it as it is.
        hashes: of the files, by hash_files; None computes them.

    Raises:
        TooManyUnreadableError: over 1 % of the samples could not be read.
        RecipeError: limits that the backbone's kind of input does not have.
        FeatureError: the samples are arrays of features, or the backbone does not return what it declares.
        DiskFullError: no space left.
    """
    _require_recordings(samples, backbone)
    reading = describe_reader(backbone, limits)
    known = hash_files(samples, progress) if hashes is None else hashes
    clips = [(known[sample.path], sample.part, sample.parts) for sample in samples]
    cache = FeatureCache(cache_dir, _describe(backbone, reading, view))
    cache_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(cache_dir / f"{cache.path.name}.lock"):
        stored = _fill(cache, clips, samples, backbone, lambda: open_reader(backbone, limits, view), progress)
    require_readable(stored.skipped, len(samples))
    kept = [sample for sample, count in zip(samples, stored.window_counts, strict=True) if count]
    return Features(
        stored.windows,
        stored.window_counts[stored.window_counts > 0],
        tuple(sample.subject for sample in kept),
        tuple(sample.domain for sample in kept),
        tuple(str(sample.path) for sample in kept),
        np.array([sample.span for sample in kept], np.float32),
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
    cache: FeatureCache,
    clips: Sequence[Clip],
    samples: Sequence[Sample],
    backbone: Backbone,
    open_samples: Callable[[], RowReader],
    progress: Progress,
) -> Shard:
    """Compute what the cache lacks, and map the whole."""
    cache.open()
    module = backbone.module()
    fingerprint = _fingerprint(module, backbone)
    begun_with = cache.fingerprint()
    if begun_with is None or not np.allclose(begun_with, fingerprint, atol=FINGERPRINT_TOLERANCE):
        cache.clear()
        cache.open()
        cache.keep_fingerprint(fingerprint)
    folder = cache.list_of(clips)
    stored = folder.read()
    if stored is not None:
        return stored
    known = {clip: rows for clip, rows in cache.find(set(clips)).items() if clip[0] != UNREADABLE}
    reader = open_samples()
    starts = range(0, len(samples), SHARD_SAMPLES)
    task = progress.add_task("embedding samples", total=len(samples))
    for number, start in enumerate(starts):
        some = slice(start, start + SHARD_SAMPLES)
        if folder.shard(number) is None:
            folder.keep_shard(number, _embed_shard(clips[some], samples[some], known, module, backbone, reader))
        progress.update(task, completed=min(start + SHARD_SAMPLES, len(samples)))
    folder.finish(len(starts), backbone.embedding_dim)
    complete = folder.read()
    if complete is None:
        raise FeatureError("The features just written cannot be read.", value=folder.path, remedy="Check the disk.")
    return complete


def _embed_shard(
    clips: Sequence[Clip],
    samples: Sequence[Sample],
    known: Mapping[Clip, ClipRows],
    module: torch.nn.Module,
    backbone: Backbone,
    reader: RowReader,
) -> Shard:
    """The features of a few samples, of which only those that are not known are read and embedded."""
    read = [
        None if clip in known else reader.rows(sample, clip[0]) for clip, sample in zip(clips, samples, strict=True)
    ]
    windows: list[Rows] = [rows for rows in read if rows is not None and not isinstance(rows, Skipped)]
    embedded = iter(_embed_each(module, windows))
    found = [
        known[clip] if rows is None else rows if isinstance(rows, Skipped) else next(embedded)
        for clip, rows in zip(clips, read, strict=True)
    ]
    named = [
        replace(rows, path=str(sample.path), part=sample.part) if isinstance(rows, Skipped) else rows
        for sample, rows in zip(samples, found, strict=True)
    ]
    return shard_of(named, backbone.embedding_dim)


def _embed_each(module: torch.nn.Module, windows: list[Rows]) -> list[FloatArray]:
    """Embeddings of each sample's rows, all run together."""
    if not windows:
        return []
    return np.split(embed_windows(module, join_rows(windows)), np.cumsum([len(rows) for rows in windows])[:-1])


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


def _describe(backbone: Backbone, reading: dict[str, object], view: View | None) -> dict[str, object]:
    return {
        "backbone": [backbone.name, backbone.source.sha256, backbone.embedding_dim],
        **reading,
        "view": None if view is None else view.describe(),
    }


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


def require_readable(skipped: Sequence[Skipped], samples: int) -> None:
    """Refuse data of which more than a stray few samples could not be read.

    Raises: TooManyUnreadableError.
    """
    if len(skipped) > MOST_SKIPPED_SHARE * samples:
        shown = "; ".join(f"{entry.path}: {entry.reason}" for entry in skipped[:10])
        raise TooManyUnreadableError(
            f"{len(skipped)} of {samples} samples could not be read, over {MOST_SKIPPED_SHARE:.0%}: {shown}",
            remedy="Repair or remove them.",
        )
