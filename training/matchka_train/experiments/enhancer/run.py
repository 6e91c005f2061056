"""The arms of the experiment, each measured in the same way on people who decide nothing."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.progress import Progress

from matchka.modalities.face.pyramid import PixelArray
from matchka.vectors import FloatArray
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.enhancer_file import ChipEnhancer, enhance_all, open_enhancer
from matchka_train.evaluation.small_probes import full_size_threshold, judge_probes
from matchka_train.experiments.enhancer.projections import fit_ridge
from matchka_train.experiments.enhancer.recipe import LowResolutionRecipe
from matchka_train.fitting.enhancer.recipe import EnhancerLossRecipe
from matchka_train.modalities import modality_of
from matchka_train.modalities.small_faces import WHOLE, SmallFaces
from matchka_train.run.checkpoint import CheckpointFolder
from matchka_train.run.data import read_data
from matchka_train.run.enhancer.prepared import NO_ENHANCER, Embedder, Part, PreparedFaces, prepare_faces
from matchka_train.run.enhancer.recipe import EnhancerRecipe
from matchka_train.run.enhancer.run import open_embedder, train_by

NOTHING: Final = "bicubic"
SHIPPED: Final = "enhancer"
ONE_LOSS: Final[Mapping[str, dict[str, float]]] = {
    "enhancer, ArcFace only": {"paired": 0, "contrastive": 0, "pixels": 0, "classification": 1},
    "enhancer, pixels only": {"paired": 0, "contrastive": 0, "pixels": 1, "classification": 0},
}


@dataclass(frozen=True)
class ArmAtSize:
    """One arm at one size, at full dim; fractions, not per cent.

    Attributes:
        arm: its name.
        size_px: of the probes.
        paired: mean cosine to the sample that a probe was made of.
        fixed: balanced accuracy at a cosine of .35.
        eer: against a gallery of full size, other samples.
        tar: true accept rate at an FMR of 1e-3.
        fmr_at_full: false match rate at the threshold that full size has for 1e-3.
    """

    arm: str
    size_px: float
    paired: float
    fixed: float
    eer: float
    tar: float
    fmr_at_full: float


@dataclass(frozen=True)
class LowResolution:
    """What was found.

    Attributes:
        arms: of every size.
        frequencies: cycles in a chip.
        spectra: name -> mean logarithm of the amplitude, at each frequency.
        people: who judged.
        samples: of theirs.
        trained_on: people.
        dim: compared.
        steps: of the enhancers with one loss.
    """

    arms: tuple[ArmAtSize, ...]
    frequencies: tuple[float, ...]
    spectra: dict[str, tuple[float, ...]]
    people: int
    samples: int
    trained_on: int
    dim: int
    steps: int


def run_low_resolution(
    base: EnhancerRecipe, wanted: LowResolutionRecipe, out: Path, progress: Progress
) -> LowResolution:
    """Train the warnings, fit the projections, and measure all beside the enhancer.

    Args:
        base: whose data, backbone and training are taken.
        wanted: the arms.
        out: folder of interrupted trainings.
        progress: shows how far it is.

    Raises: MatchkaError: a data set, the backbone or the enhancer is not what the recipe says.
    """
    backbone = base.backbone.open()
    data = read_data(base.data, modality_of(backbone).copies, base.data.cache_dir, progress)
    prepared = prepare_faces(base.data, backbone, data, progress)
    embedder = open_embedder(base, backbone)
    (judges,) = prepared.reported.values()
    bench = _Bench(base, prepared.train, judges, embedder)
    enhancers: dict[str, ChipEnhancer] = {NOTHING: NO_ENHANCER, SHIPPED: open_enhancer(wanted.enhancer)}
    for name, weights in ONE_LOSS.items():
        enhancers[name] = _trained(base, wanted.steps, weights, backbone, prepared, embedder, out / name, progress)
    arms = []
    task = progress.add_task("measuring arms", total=len(base.sizes_px) * (len(enhancers) + 2 * len(wanted.ridges)))
    for size in base.sizes_px:
        small = judges.small(size, WHOLE)
        for name, enhancer in enhancers.items():
            arms.append(bench.arm(name, size, small, bench.embedded(small, enhancer)))
            progress.advance(task)
        for name in (NOTHING, SHIPPED):
            pairs = prepared.train.small(size, WHOLE)
            given, probes = bench.embedded(pairs, enhancers[name]), bench.embedded(small, enhancers[name])
            for strength in wanted.ridges:
                fitted = fit_ridge(given, bench.train_full[pairs.rows], strength)
                arms.append(bench.arm(f"{name} + projection, {strength:g}", size, small, fitted.apply(probes)))
                progress.advance(task)
    small = judges.small(wanted.spectrum_px, WHOLE)
    chips = {"full size": judges.full} | {
        name: enhancers[name].enhance(small.chips, small.native_px) for name in (NOTHING, SHIPPED)
    }
    spectra = {name: spectrum(levels) for name, levels in chips.items()}
    return LowResolution(
        arms=tuple(arms),
        frequencies=tuple(float(cycles) for cycles in range(1, judges.full.shape[1] // 2)),
        spectra=spectra,
        people=len(set(judges.photographs.subjects)),
        samples=len(judges.photographs.read),
        trained_on=len(set(prepared.train.photographs.subjects)),
        dim=base.dims[-1],
        steps=wanted.steps,
    )


def spectrum(chips: PixelArray) -> tuple[float, ...]:
    """Logarithm of the mean amplitude of chips, (n, side, side, 3), at 1, 2, ... cycles, below half their side."""
    side = chips.shape[1]
    window = np.outer(np.hanning(side), np.hanning(side))
    cycles = np.hypot(*np.meshgrid(np.fft.fftfreq(side, 1 / side), np.fft.fftfreq(side, 1 / side)))
    ring = np.rint(cycles).astype(np.int64).ravel()
    kept = ring < side // 2
    total = np.zeros(side // 2)
    for chip in chips:
        amplitudes = np.abs(np.fft.fft2((chip.mean(axis=2) - chip.mean()) * window)).ravel()
        total += np.bincount(ring[kept], amplitudes[kept]) / np.bincount(ring[kept])
    return tuple(float(value) for value in np.log10(total[1:] / len(chips)))


class _Bench:
    """What all arms are measured with."""

    def __init__(self, base: EnhancerRecipe, train: Part, judges: Part, embedder: Embedder) -> None:
        self._embedder, self._judges, self._dim = embedder, judges, base.dims[-1]
        self._full = embedder.embed(judges.full)
        self.train_full = embedder.embed(train.full)
        self._threshold = full_size_threshold(self._full, judges.photographs.subjects, self._dim)

    def embedded(self, small: SmallFaces, enhancer: ChipEnhancer) -> FloatArray:
        """Small samples after an enhancer: (n, full_dim)."""
        return self._embedder.embed(enhancer.enhance(small.chips, small.native_px))

    def arm(self, name: str, size_px: float, small: SmallFaces, probes: FloatArray) -> ArmAtSize:
        """Measure one arm at one size."""
        subjects = [self._judges.photographs.subjects[row] for row in small.rows]
        found = judge_probes(self._full[small.rows], probes, subjects, self._dim, self._threshold)
        return ArmAtSize(
            name,
            size_px,
            found.paired,
            found.fixed,
            found.accuracy.eer,
            found.accuracy.tar_at_fmr["0.001"],
            found.fmr_at_full,
        )


@dataclass(frozen=True)
class _Network:
    """A network that was trained here and is not kept as a file."""

    enhancing: Callable[[PixelArray, FloatArray], PixelArray]

    def enhance(self, chips: PixelArray, native_px: FloatArray) -> PixelArray:
        return self.enhancing(chips, native_px)


def _trained(
    base: EnhancerRecipe,
    steps: int,
    weights: Mapping[str, float],
    backbone: Backbone,
    prepared: PreparedFaces,
    embedder: Embedder,
    folder: Path,
    progress: Progress,
) -> ChipEnhancer:
    """An enhancer with other losses, trained for fewer steps; its last weights, chosen by nobody."""
    optimisation = base.optimisation.model_copy(update={"steps": steps, "judged_every": steps})
    loss = EnhancerLossRecipe.model_validate(base.loss.model_dump() | dict(weights))
    recipe = base.model_copy(update={"optimisation": optimisation, "loss": loss, "choosing_px": base.choosing_px[:1]})
    place = CheckpointFolder(folder, recipe.model_dump_json())
    place.prepare()
    network = copy.deepcopy(train_by(recipe, backbone, prepared, embedder, place, progress))
    return _Network(lambda chips, native_px: enhance_all(network, chips, native_px))
