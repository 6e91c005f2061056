"""Gives a default model an enhancer: measured before its graph, and kept beside it for `defaults` to ship."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from matchka.bundles.bundle import sha256_of
from matchka.bundles.manifest import GRAPH_NAME, DatasetUse
from matchka.bundles.outputs.measurements import BandReport, DimReport
from matchka.modalities.face.spec import ENHANCER_GRAPH_NAME
from matchka.runtime.atomic_file import atomic_file
from matchka_export.enhancer.evidence import EnhancerEvidence
from matchka_export.enhancer.measure import EnhancerTrials, MeasuredSize, measure_sizes, milliseconds_of, shipped_ranges
from matchka_export.errors import EvidenceError, GateError
from matchka_export.gate.auxiliary import write_auxiliary
from matchka_export.gate.evidence import Evidence, read_evidence, require_belongs, write_evidence
from matchka_export.graph.build import build_graph
from matchka_train.backbones.backbone import Backbone
from matchka_train.backbones.face.enhanced import EnhancedFace
from matchka_train.backbones.face.enhancer_file import GRAPH_SUFFIX, GraphEnhancer, TrainedEnhancer
from matchka_train.backbones.served_graph import serve_graph
from matchka_train.datasets.splits import flat
from matchka_train.features.extraction import require_readable
from matchka_train.modalities import modality_of
from matchka_train.modalities.photographs import read_photographs
from matchka_train.modalities.small_faces import FaceShrinker
from matchka_train.progress import show_progress
from matchka_train.projections.storage import load_projection
from matchka_train.run.data import read_data
from matchka_train.run.enhancer.prepared import Embedder, Part
from matchka_train.run.enhancer.recipe import EnhancerRecipe

ENHANCER_ENDING: Final = "enhancer"  # NAME.enhancer.safetensors or NAME.enhancer.onnx
COLUMNS: Final = ("px", "small by", "found %", "EER %", "enhanced", "bound", "TAR", "paired*", "at .35*", "verdict")
SUFFIXES: Final = (".safetensors", GRAPH_SUFFIX)


@dataclass(frozen=True)
class ShippedModel:
    """A default model that gets an enhancer.

    Attributes:
        projection: its projection.
        evidence: what was measured of it; the enhancer's lies beside it.
    """

    projection: Path
    evidence: Path

    def enhancer(self, suffix: str) -> Path:
        """Where its enhancer is shipped."""
        return self.evidence.with_name(f"{self.evidence.stem}.{ENHANCER_ENDING}{suffix}")


def ship_enhancer(
    enhancer: Path, recipe: EnhancerRecipe, model: ShippedModel, downloads: Path, console: Console
) -> Evidence:
    """Measure an enhancer, put it beside the model, and the operating points of each size into the measurements.

    Args:
        enhancer: its file; a graph of somebody's own takes the same gate.
        recipe: names the backbone, and the people who judge.
        model: what it is put before.
        downloads: the folder that keeps package files.
        console: where progress and the table go.

    Raises:
        WeightsError, EvidenceError: the enhancer, or the measurements, belong to another backbone.
        ParityError: its graph does not compute what torch computes.
        GateError: it helps at no size; nothing is written.
    """
    evidence = read_evidence(model.evidence)
    backbone = recipe.backbone.open()
    require_belongs(evidence, backbone.source.sha256, sha256_of(model.projection))
    enhanced, projection = EnhancedFace.of(backbone, enhancer, ()), load_projection(model.projection)[0]
    with show_progress(console) as progress, tempfile.TemporaryDirectory(prefix="matchka-enhancer-") as scratch:
        part = _judges(recipe, backbone, progress)
        folder = Path(scratch)
        build_graph(backbone, projection, folder / GRAPH_NAME, evidence.float16)
        write_auxiliary(enhanced, folder, downloads)
        served = serve_graph(folder / GRAPH_NAME, backbone.input, evidence.full_dim)
        graph = GraphEnhancer(folder / ENHANCER_GRAPH_NAME, sha256_of(folder / ENHANCER_GRAPH_NAME))
        embedder = Embedder(served.module(), torch.nn.Identity())
        trials = EnhancerTrials(part, embedder, graph, evidence.dims, recipe.seed, recipe.data.validation[0].domain)
        measured = measure_sizes(trials, progress)
        milliseconds = milliseconds_of(graph, part)
    verdicts = tuple(one.verdict for one in measured)
    sizes = shipped_ranges(verdicts)
    console.print(size_table(measured))
    if not sizes:
        raise GateError("The enhancer helps at no size.", value=enhancer, remedy="Nothing was written. Train another.")
    command = f"matchka-export enhancer {enhancer.as_posix()}"
    found = EnhancerEvidence(
        sha256=sha256_of(enhancer), sizes=sizes, verdicts=verdicts, command=command, milliseconds=milliseconds
    )
    target = model.enhancer(enhancer.suffix)
    with atomic_file(target) as partial:
        shutil.copyfile(enhancer, partial)
    per_dim = {
        dim: report.model_copy(update={"bands": (*(one.bands[int(dim)] for one in measured), _full_size(report))})
        for dim, report in evidence.per_dim.items()
    }
    updated = evidence.model_copy(update={"per_dim": per_dim, "condition": enhanced.condition, "enhancer": found})
    write_evidence(model.evidence, updated)
    return updated


def enhanced_backbone(backbone: Backbone, evidence: Evidence, evidence_path: Path) -> Backbone:
    """A backbone with the enhancer that lies beside its measurements; itself where these name none.

    Raises: EvidenceError: the enhancer is not there, or another one.
    """
    measured = evidence.enhancer
    if measured is None:
        return backbone
    model = ShippedModel(evidence_path, evidence_path)
    for path in (model.enhancer(suffix) for suffix in SUFFIXES):
        if path.is_file() and sha256_of(path) == measured.sha256:
            return EnhancedFace.of(backbone, path, measured.sizes)
    raise EvidenceError(
        "The measurements are of an enhancer that does not lie beside them.",
        value=measured.sha256,
        remedy="Measure again with `matchka-export enhancer FILE`.",
    )


def datasets_of_enhancer(backbone: Backbone) -> tuple[DatasetUse, ...]:
    """What a backbone's enhancer was trained on, as its file says; a graph of somebody's own says nothing."""
    enhancer = backbone.part.enhancer if isinstance(backbone, EnhancedFace) else None
    described = enhancer.description.datasets if isinstance(enhancer, TrainedEnhancer) else ()
    return tuple(DatasetUse(**dataset) for dataset in described)


def size_table(measured: Sequence[MeasuredSize]) -> Table:
    """What the gate found, for people: rates in per cent, at full dim."""
    table = Table(
        title="Gate of the enhancer: the difference of EER from the chip as it was cut is at most `bound`,\n"
        "and must lie below 0; columns with * say nothing of identities"
    )
    for column in COLUMNS:
        table.add_column(column)
    for one in measured:
        verdict = one.verdict
        for way, found in verdict.ways.items():
            plain, enhanced = ([*part.metrics.values()][-1] for part in (found.plain, found.enhanced))
            table.add_row(
                f"{verdict.size_px:g}",
                way,
                f"{100 * found.found:.1f}",
                f"{100 * plain.eer:.2f}",
                f"{100 * enhanced.eer:.2f}",
                f"{100 * found.upper:+.2f}",
                f"{plain.tar_at_fmr['0.001']:.3f} -> {enhanced.tar_at_fmr['0.001']:.3f}",
                f"{found.plain.paired:.3f} -> {found.enhanced.paired:.3f}",
                f"{found.plain.fixed:.3f} -> {found.enhanced.fixed:.3f}",
                verdict.verdict if way in verdict.decided_by else "reported",
            )
        table.add_section()
    return table


def _judges(recipe: EnhancerRecipe, backbone: Backbone, progress: Progress) -> Part:
    """People who chose nothing of the enhancer: those of the recipe's validation data."""
    data = read_data(recipe.data, modality_of(backbone).copies, recipe.data.cache_dir, progress)
    samples = flat(data.validation)
    found = read_photographs(samples, backbone, recipe.data.cache_dir, data.hashes, progress)
    require_readable(found.skipped, len(samples))
    return Part(found, FaceShrinker.of(backbone))


def _full_size(report: DimReport) -> BandReport:
    """Samples of full size are what everything else in the report was measured on."""
    return BandReport(
        calibration=report.calibration,
        operating_points=report.operating_points,
        identification=report.identification,
    )
