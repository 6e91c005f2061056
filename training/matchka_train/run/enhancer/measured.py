"""Measures an enhancer beside none, on people who decide nothing."""

from collections.abc import Mapping
from dataclasses import dataclass

from rich.progress import Progress

from matchka.vectors import FloatArray
from matchka_train.backbones.face.enhancer_file import ChipEnhancer
from matchka_train.evaluation.small_probes import ProbeAccuracy, full_size_threshold, judge_probes
from matchka_train.modalities.small_faces import WAYS
from matchka_train.run.enhancer.prepared import NO_ENHANCER, Embedder, Part
from matchka_train.run.enhancer.recipe import EnhancerRecipe


@dataclass(frozen=True)
class ProbeReport:
    """What was measured of one domain's people, one way of making them small, and one size.

    Attributes:
        domain: of the data set.
        way: how small samples were made.
        size_px: their native size.
        found: share of them in which the sample was found again.
        plain: dim -> without an enhancer.
        enhanced: dim -> with it.
    """

    domain: str
    way: str
    size_px: float
    found: float
    plain: Mapping[int, ProbeAccuracy]
    enhanced: Mapping[int, ProbeAccuracy]


def report_probes(
    recipe: EnhancerRecipe,
    parts: Mapping[str, Part],
    embedder: Embedder,
    enhancer: ChipEnhancer,
    progress: Progress,
    ways: tuple[str, ...] = WAYS,
) -> tuple[ProbeReport, ...]:
    """Measure an enhancer beside none, in every way and at every size, on people who decide nothing."""
    reports = []
    task = progress.add_task("measuring", total=len(parts) * len(ways) * len(recipe.sizes_px))
    for domain, part in parts.items():
        full = embedder.embed(part.full)
        for way in ways:
            for size in recipe.sizes_px:
                small = part.small(size, way)
                found = len(small.rows) / len(full)
                subjects = [part.photographs.subjects[row] for row in small.rows]
                measured = []
                for one in (NO_ENHANCER, enhancer):
                    probes = embedder.embed(one.enhance(small.chips, small.native_px))
                    measured.append(_by_dim(recipe, full[small.rows], probes, subjects))
                reports.append(ProbeReport(domain, way, size, found, *measured))
                progress.advance(task)
    return tuple(reports)


def _by_dim(
    recipe: EnhancerRecipe, full: FloatArray, probes: FloatArray, subjects: list[str]
) -> dict[int, ProbeAccuracy]:
    return {
        dim: judge_probes(full, probes, subjects, dim, full_size_threshold(full, subjects, dim)) for dim in recipe.dims
    }
