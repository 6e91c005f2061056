"""Photographs in three parts, their embeddings at full size, and small samples drawn from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from rich.progress import Progress

from matchka.modalities.face.pyramid import PixelArray
from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.enhancer_file import ChipEnhancer
from matchka_train.datasets.sample import Sample
from matchka_train.datasets.splits import flat
from matchka_train.features.embedding import embed_windows
from matchka_train.features.extraction import require_readable
from matchka_train.fitting.enhancer.loop import SmallBatch
from matchka_train.fitting.enhancer.losses import Bank
from matchka_train.fitting.enhancer.recipe import EnhancerOptimisation, ProbeRecipe
from matchka_train.metrics.pairs import number_subjects
from matchka_train.modalities.photographs import Photographs, read_photographs
from matchka_train.modalities.reduction import FILTERS, Reduction, reduced_chip, small_chip
from matchka_train.modalities.small_faces import FaceShrinker, SmallFaces
from matchka_train.run.data import DataSets, by_domain, hold_out
from matchka_train.run.enhancer.recipe import EnhancerDataRecipe

ALONE = 0.5  # weight of who has one photograph: there is no other one to be told by


@dataclass(frozen=True)
class Embedder:
    """Backbone and projection, as probes and references are embedded.

    Attributes:
        backbone: frozen.
        projection: behind it.
    """

    backbone: torch.nn.Module
    projection: torch.nn.Module

    def embed(self, chips: PixelArray) -> FloatArray:
        """Uint8 chips -> float32, (n, full_dim)."""
        return embed_windows(torch.nn.Sequential(self.backbone, self.projection), chips)


@dataclass(frozen=True)
class Part:
    """Photographs of some people.

    Attributes:
        photographs: of them.
        shrinker: makes them small.
    """

    photographs: Photographs
    shrinker: FaceShrinker

    @cached_property
    def full(self) -> PixelArray:
        """Chips at full size."""
        return self.shrinker.full(self.photographs.read)

    def small(self, native_px: float, way: str) -> SmallFaces:
        """All at one size."""
        return self.shrinker.small(self.photographs, native_px, way)


@dataclass(frozen=True)
class PreparedFaces:
    """Everything an enhancer is trained and judged on. Attributes: train, held_out, reported: parts of the data."""

    train: Part
    held_out: Part
    reported: dict[str, Part]


def prepare_faces(recipe: EnhancerDataRecipe, backbone: Backbone, data: DataSets, progress: Progress) -> PreparedFaces:
    """Find the faces of every picture.

    Raises: RecipeError, FeatureError, TooManyUnreadableError: as reading the samples.
    """
    shrinker = FaceShrinker.of(backbone)
    fitted, held_out = hold_out(flat(data.train), recipe.held_out)
    domains = by_domain(flat(data.validation))

    def part(samples: Sequence[Sample]) -> Part:
        found = read_photographs(samples, backbone, recipe.cache_dir, data.hashes, progress)
        require_readable(found.skipped, len(samples))
        return Part(found, shrinker)

    return PreparedFaces(part(fitted), part(held_out), {name: part(samples) for name, samples in domains.items()})


def bank_of(part: Part, backbone: Backbone) -> Bank:
    """What the backbone makes of every photograph at full size, and of its mirror image."""
    numbers, _ = number_subjects(part.photographs.subjects)
    views = (part.full, np.ascontiguousarray(part.full[:, :, ::-1]))
    embeddings = np.stack([embed_windows(backbone.module(), chips) for chips in views])
    return Bank(torch.from_numpy(embeddings), torch.from_numpy(numbers.astype(np.int64)))


@dataclass(frozen=True)
class SmallBatches:
    """Draws batches of small samples.

    Attributes:
        part: of whom.
        recipe: how they are made.
        weights: (n,), how often each photograph is drawn; they make 1.
    """

    part: Part
    recipe: ProbeRecipe
    weights: FloatArray

    @classmethod
    def of(cls, part: Part, recipe: ProbeRecipe, optimisation: EnhancerOptimisation) -> "SmallBatches":
        """People are drawn by the number of their photographs up to a limit."""
        numbers, count = number_subjects(part.photographs.subjects)
        counts = np.bincount(numbers, minlength=count)
        of_person = np.minimum(counts, optimisation.photographs_counted) * np.where(counts > 1, 1.0, ALONE) / counts
        weights = of_person[numbers]
        return cls(part, recipe, (weights / weights.sum()).astype(np.float64))

    def draw(self, batch: int, generator: np.random.Generator) -> SmallBatch:
        """So many different photographs, each made small anew; half of them mirrored."""
        rows = generator.choice(len(self.weights), batch, replace=False, p=self.weights)
        chips, sizes, full, mirrored = [], [], [], []
        for row in rows:
            chip, size = self._small(int(row), generator)
            mirrored.append(generator.random() < 0.5)
            step = -1 if mirrored[-1] else 1
            chips.append(chip[:, ::step])
            full.append(self.part.full[row][:, ::step])
            sizes.append(size)
        return SmallBatch(
            rows.astype(np.int64),
            np.array(mirrored, np.bool_),
            np.stack(chips),
            np.stack(full),
            np.array(sizes, np.float32),
        )

    def _small(self, row: int, generator: np.random.Generator) -> tuple[PixelArray, float]:
        recipe, spec = self.recipe, self.part.shrinker.spec
        low, high = np.log(recipe.sizes_px)
        size = float(np.exp(generator.uniform(low, high)))
        if generator.random() < recipe.aligned:
            return reduced_chip(self.part.full[row], round(size)), float(round(size))
        reduction = Reduction(
            size,
            FILTERS[generator.integers(len(FILTERS))],
            blur_px=generator.uniform(*recipe.blur_px) if generator.random() < recipe.blur else 0.0,
            jpeg_quality=int(generator.integers(*recipe.jpeg_quality)) if generator.random() < recipe.jpeg else None,
            jitter_px=recipe.jitter_px if generator.random() < recipe.jitter else 0.0,
        )
        return small_chip(self.part.photographs.read[row], spec, reduction, generator)


@dataclass(frozen=True)
class Bicubic:
    """No enhancer: chips stay as they were cut."""

    def enhance(self, chips: PixelArray, _native_px: FloatArray) -> PixelArray:
        """The chips."""
        return chips


NO_ENHANCER: ChipEnhancer = Bicubic()
