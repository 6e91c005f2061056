"""The frozen backbone's embeddings of every window of a data set, computed once and memory-mapped ever after."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.progress import Progress

from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.content import UNREADABLE, hash_files
from matchka_train.datasets.sample import Sample
from matchka_train.errors import FeatureError, TooManyUnreadableError
from matchka_train.features.cache import SHARDS_NAME, FeatureCache, Place
from matchka_train.features.compute import ONE_PROCESS, Compute, Device
from matchka_train.features.embedding import Unread, Work, embed_shards, embed_windows
from matchka_train.features.features import Features
from matchka_train.features.lock import alone
from matchka_train.features.processes import require_main_module
from matchka_train.features.stored import Clip, StoredRows
from matchka_train.modalities import describe_reader, modality_of
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.skipped import Skipped

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
    compute: Compute = ONE_PROCESS,
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
        compute: processes and device. Processes change no number where the network's do not depend on its threads,
            and none by more than 1e-6.

    Raises:
        TooManyUnreadableError: over 1 % of the samples could not be read.
        RecipeError: limits that the backbone's kind of input does not have.
        FeatureError: the samples are arrays of features, or the backbone does not return what it declares.
        DiskFullError: no space left.
        WorkerLostError: a process was ended from outside.
        MainModuleError: a script calls it while processes that it started import the script.
        DeviceError: the memory of the GPU does not suffice.
    """
    require_main_module()
    _require_recordings(samples, backbone)
    reading = describe_reader(backbone, limits)
    known = hash_files(samples, progress) if hashes is None else hashes
    clips = [(known[sample.path], sample.part, sample.parts) for sample in samples]
    cache = FeatureCache(cache_dir, _describe(backbone, reading, view) | compute.describe())
    work = Work(cache, backbone, limits, view, compute.device)
    with alone(cache.path):
        stored = _fill(work, clips, samples, compute.workers, progress)
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


def _fill(work: Work, clips: Sequence[Clip], samples: Sequence[Sample], workers: int, progress: Progress) -> StoredRows:
    """Compute what the cache lacks, and map the whole."""
    cache = work.cache
    cache.open()
    module = work.module()
    fingerprint = _fingerprint(module, work.backbone, work.device)
    begun_with = cache.fingerprint()
    if begun_with is None or not np.allclose(begun_with, fingerprint, atol=FINGERPRINT_TOLERANCE):
        cache.clear()
        cache.open()
        cache.keep_fingerprint(fingerprint)
    unread = {clip: Unread("The file cannot be read.") for clip in clips if clip[0] == UNREADABLE}
    stored = cache.read_list([clip for clip in clips if clip not in unread])
    if stored is not None:
        return _of_samples(stored, clips, samples, unread)
    wanted = {clip: sample for clip, sample in zip(clips, samples, strict=True) if clip not in unread}
    found = cache.find(wanted.keys())
    missing = [entry for entry in wanted.items() if entry[0] not in found]
    task = progress.add_task("embedding samples", total=len(wanted), completed=len(found))
    for done in embed_shards(work, module, missing, workers):
        unread |= done.unread
        progress.advance(task, done.samples)
    found |= cache.find({clip for clip, _ in missing}, (SHARDS_NAME,))
    read = [clip for clip in clips if clip not in unread]
    stored = cache.read_list(read)
    if stored is None:
        cache.join(read, [_place(found, clip) for clip in read], fingerprint.shape[1])
        stored = cache.read_list(read)
    if stored is None:
        raise FeatureError("The features just written cannot be read.", value=cache.path, remedy="Check the disk.")
    return _of_samples(stored, clips, samples, unread)


def _place(found: Mapping[Clip, Place], clip: Clip) -> Place:
    """Where the rows of a clip lie."""
    if clip not in found:
        raise FeatureError("The features just written cannot be read.", value=clip[0], remedy="Check the disk.")
    return found[clip]


def _of_samples(
    stored: StoredRows, clips: Sequence[Clip], samples: Sequence[Sample], unread: Mapping[Clip, Unread]
) -> StoredRows:
    """A list of clips, with those that were not read in between; what has no rows is called as it is called now."""
    counts, skipped = [], []
    stored_counts, stored_skipped = iter(stored.window_counts.tolist()), iter(stored.skipped)
    for clip, sample in zip(clips, samples, strict=True):
        counts.append(0 if clip in unread else next(stored_counts))
        if not counts[-1]:
            reason = (unread.get(clip) or next(stored_skipped)).reason
            skipped.append(Skipped(str(sample.path), sample.part, reason))
    return StoredRows(stored.windows, np.array(counts, np.int64), tuple(skipped))


def _fingerprint(module: torch.nn.Module, backbone: Backbone, device: Device) -> FloatArray:
    """What the backbone makes of fixed rows; also the proof that it takes the rows it declares."""
    rows = modality_of(backbone).fixed_rows(backbone.input)
    try:
        embeddings = embed_windows(module, rows, device)
    except (RuntimeError, TypeError, ValueError) as error:  # TypeError: rows on a GPU, and a network that is not
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
