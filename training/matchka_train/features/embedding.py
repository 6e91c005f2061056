"""Samples are read and embedded shard by shard, in this process or in several."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeAlias

import numpy as np
import torch

from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.datasets.content import read_hashed
from matchka_train.datasets.sample import Sample
from matchka_train.errors import DatasetError, DeviceError
from matchka_train.features.cache import FeatureCache
from matchka_train.features.compute import Device
from matchka_train.features.precision import is_out_of_memory, keep_front_ends_exact
from matchka_train.features.processes import map_in_processes
from matchka_train.features.stored import Clip, ClipRows
from matchka_train.modalities import open_reader
from matchka_train.modalities.augmentation import View
from matchka_train.modalities.modality import RowReader, Rows, join_rows
from matchka_train.modalities.skipped import Skipped

SHARD_SAMPLES: Final = 128  # an interruption loses at most this many clips' work in each process, a few seconds
LEAST_SHARDS: Final = 2  # for each process: starting them takes seconds
BATCH_WINDOWS: Final = 64  # larger batches were no faster on a CPU
GATHERED_WINDOWS: Final = 8 * BATCH_WINDOWS  # a process holds so many, and those of one clip more, twice when joined

Shard: TypeAlias = Sequence[tuple[Clip, Sample]]


def embed_windows(module: torch.nn.Module, windows: Rows, device: Device = Device.CPU) -> FloatArray:
    """Run a frozen network over windows in batches.

    Args:
        module: as matchka_train.backbones.backbone.Backbone.module; on the device.
        windows: rows of its input, (n, ...).
        device: cpu or cuda, where products are in half precision.

    Returns: float32, (n, embedding_dim).

    Raises: DeviceError: the memory of the GPU does not hold a single row's run.
    """
    rows = BATCH_WINDOWS
    while True:
        try:
            return _embed_in_batches(module, windows, device, rows)
        except RuntimeError as error:  # torch's own for a lack of memory, and those of CUDA's libraries
            if not is_out_of_memory(error):
                raise
            if rows == 1:
                raise DeviceError(
                    "The memory of the GPU does not hold one window's run.",
                    value=error,
                    remedy="Give fewer --workers, which share it, end what else uses it, or give --device cpu.",
                ) from error
            rows //= 2


def _embed_in_batches(module: torch.nn.Module, windows: Rows, device: Device, rows: int) -> FloatArray:
    with torch.inference_mode(), torch.autocast(device.value, torch.float16, enabled=device == Device.CUDA):
        batches = [
            module(torch.from_numpy(windows[start : start + rows]).to(device.value)).float().cpu().numpy()
            for start in range(0, len(windows), rows)
        ]
    embeddings: FloatArray = np.concatenate(batches)
    return embeddings


@dataclass(frozen=True)
class Unread:
    """A sample whose file was gone, or another one, when it was to be read; it is not kept, so it is tried again.

    Attributes: reason: for whoever reads the report.
    """

    reason: str


@dataclass(frozen=True)
class Done:
    """What came of a shard.

    Attributes:
        samples: how many it had.
        unread: those of which nothing was kept.
    """

    samples: int
    unread: Mapping[Clip, Unread]


@dataclass(frozen=True)
class Embedder:
    """Reads samples and embeds them.

    Attributes:
        module: the frozen network, on the device.
        reader: makes a sample's rows.
        device: cpu or cuda.
    """

    module: torch.nn.Module
    reader: RowReader
    device: Device

    def rows(self, shard: Shard) -> list[ClipRows | Unread]:
        """Each sample's embeddings, or why it has none.

        Windows are run in the batches in which all of the shard's would be at once, as soon as enough are gathered.
        """
        found: list[int | Skipped | Unread] = []
        gathered: list[Rows] = []
        embedded: list[FloatArray] = []
        for clip, sample in shard:
            rows = self._read(clip, sample)
            if isinstance(rows, Skipped | Unread):
                found.append(rows)
                continue
            found.append(len(rows))
            gathered.append(rows)
            if sum(map(len, gathered)) >= GATHERED_WINDOWS:
                joined = join_rows(gathered)
                whole = len(joined) - len(joined) % BATCH_WINDOWS
                embedded.append(embed_windows(self.module, joined[:whole], self.device))
                gathered = [joined[whole:].copy()]  # a view would hold all of them
        if sum(map(len, gathered)):
            embedded.append(embed_windows(self.module, join_rows(gathered), self.device))
        embeddings = np.concatenate(embedded) if embedded else np.zeros(0, np.float32)
        ends = np.cumsum([entry if isinstance(entry, int) else 0 for entry in found])
        return [
            embeddings[end - entry : end] if isinstance(entry, int) else entry
            for entry, end in zip(found, ends.tolist(), strict=True)
        ]

    def _read(self, clip: Clip, sample: Sample) -> Rows | Skipped | Unread:
        try:
            return self.reader.rows(read_hashed(sample.path, clip[0]), sample, clip[0])
        except (OSError, DatasetError) as error:
            return Unread(str(error))


@dataclass(frozen=True)
class Work:
    """What the samples of one cache are read and embedded with; each process gets a copy.

    Attributes:
        cache: takes the shards.
        backbone: the frozen network with its front end.
        limits: which samples are taken, as `data.limits` of a recipe.
        view: how each sample is changed first; None takes it as it is.
        device: cpu or cuda.
    """

    cache: FeatureCache
    backbone: Backbone
    limits: Mapping[str, object]
    view: View | None
    device: Device

    def module(self) -> torch.nn.Module:
        """The network, on the device.

        Raises: DeviceError: the GPU does not take it.
        """
        module = self.backbone.module()
        if self.device == Device.CPU:
            return module
        keep_front_ends_exact(module)
        try:
            return module.to(self.device.value)
        except RuntimeError as error:
            raise DeviceError(
                f"The GPU does not take the network {self.backbone.name}.",
                value=error,
                remedy="End what else uses its memory, see nvidia-smi, or give --device cpu.",
            ) from error

    def open(self) -> Callable[[Shard], Done]:
        """What a process does with a shard; as matchka_train.features.processes.Opener."""
        return partial(self.keep, self.embedder(self.module()))

    def embedder(self, module: torch.nn.Module) -> Embedder:
        """The network beside a reader of its samples."""
        return Embedder(module, open_reader(self.backbone, self.limits, self.view), self.device)

    def keep(self, embedder: Embedder, shard: Shard) -> Done:
        """Embed a shard, and keep of it what the bytes decide: a file that is gone may be back for the next run."""
        kept: dict[Clip, ClipRows] = {}
        unread: dict[Clip, Unread] = {}
        for (clip, _), rows in zip(shard, embedder.rows(shard), strict=True):
            if isinstance(rows, Unread):
                unread[clip] = rows
            else:
                kept[clip] = rows
        if kept:
            self.cache.keep_shard(list(kept), list(kept.values()), self.backbone.embedding_dim)
        return Done(len(shard), unread)


def embed_shards(work: Work, module: torch.nn.Module, missing: Shard, workers: int) -> Iterator[Done]:
    """Embed what is missing, shard by shard.

    What lies together in a shard is run together, so it does not depend on the number of processes.

    Args:
        work: what they are read and embedded with.
        module: its network, for this process.
        missing: clips and their samples.
        workers: most processes; a few shards are embedded by this one.
    """
    shards = [missing[start : start + SHARD_SAMPLES] for start in range(0, len(missing), SHARD_SAMPLES)]
    processes = min(workers, len(shards) // LEAST_SHARDS)
    if processes > 1:
        yield from map_in_processes(work, shards, processes, __name__)
    elif shards:
        embedder = work.embedder(module)
        yield from (work.keep(embedder, shard) for shard in shards)
