"""A default bundle: weights out of pinned packages + the shipped projection + the shipped measurements."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import torch
from rich.console import Console

from matchka.bundles.bundle import Bundle, read_bundle, sha256_of
from matchka.bundles.manifest import GRAPH_NAME, REPORT_NAME
from matchka_export.bundle import seal, staged_bundle
from matchka_export.enhancer.ship import datasets_of_enhancer, enhanced_backbone
from matchka_export.errors import EvidenceError
from matchka_export.gate.auxiliary import write_auxiliary
from matchka_export.gate.evidence import Evidence, read_evidence, require_belongs, require_measured_pass
from matchka_export.gate.parity import deal_batches, made_rows, real_rows, require_parity
from matchka_export.graph.build import build_graph
from matchka_export.quantised.evidence import read_quantised, require_quantised_of
from matchka_export.quantised.files import INT8_NAME, QUANTISED_NAME, quantised_path
from matchka_export.quantised.write import GraphForm, write_variant
from matchka_export.run import bundle_facts, shipped_name
from matchka_train.backbones.backbone import Backbone, heads_of
from matchka_train.backbones.served_graph import serve_graph
from matchka_train.datasets.sample import Sample
from matchka_train.modalities import open_reader
from matchka_train.modalities.modality import Rows, join_rows
from matchka_train.progress import show_progress
from matchka_train.projections.storage import ProjectionInfo, load_projection

STEPS: Final = 5
NOTES: Final = (".txt", ".md")
COMPARED_ROWS: Final = 64  # of the 8-bit graph beside the other one


def assemble(
    target: Path,
    backbone: Backbone,
    projection_path: Path,
    evidence_path: Path,
    downloads: Path,
    samples_dir: Path,
    console: Console,
) -> Bundle:
    """Build the bundle and put it in its place; nothing is left behind if a step fails.

    Args:
        target: the bundle's folder; its name is the model's name.
        backbone: the frozen network.
        projection_path: the fitted projection.
        evidence_path: what was measured of it; the files of its scorer lie beside it.
        downloads: the folder that keeps package files.
        samples_dir: real recordings or pictures for the parity check, used where they are present.
        console: where progress goes.

    Raises:
        DownloadError, ChecksumError: no weights.
        EvidenceError: the measurements belong to other files.
        GateError: they show a projection that is worse than its frozen backbone.
        ParityError: the graph does not compute what torch computes.
    """
    projection, info = load_projection(projection_path)
    evidence = read_evidence(evidence_path)
    backbone = enhanced_backbone(backbone, evidence, evidence_path)
    require_belongs(evidence, backbone.source.sha256, sha256_of(projection_path))
    _require_same_dims(evidence, info)
    require_measured_pass(evidence)
    scorer_files = _scorer_files(evidence, evidence_path)
    with show_progress(console) as progress, staged_bundle(target) as folder:
        task = progress.add_task(f"Building {target.name}: exporting the graph", total=STEPS)
        model = build_graph(backbone, projection, folder / GRAPH_NAME, evidence.float16)
        auxiliary = write_auxiliary(backbone, folder, downloads)
        progress.update(task, advance=1, description=f"Building {target.name}: comparing the graph with torch")
        rows = _require_parity(model, folder / GRAPH_NAME, backbone, evidence.full_dim, samples_dir)
        progress.update(task, advance=1, description=f"Building {target.name}: the 8-bit graph")
        variants = _write_variant(folder, backbone, evidence, quantised_path(evidence_path), rows, console)
        progress.update(task, advance=1, description=f"Building {target.name}: writing")
        shutil.copyfile(evidence_path, folder / REPORT_NAME)
        for name, path in scorer_files.items():
            shutil.copyfile(path, folder / name)
        facts = bundle_facts(target.name, backbone, evidence, auxiliary, accepted_worse=None)
        seal(folder, replace(facts, datasets=(*facts.datasets, *datasets_of_enhancer(backbone)), **variants))
        progress.update(task, advance=STEPS - 3, description=f"Building {target.name}: done")
    return read_bundle(target)


def _require_parity(model: torch.nn.Module, graph: Path, backbone: Backbone, full_dim: int, samples_dir: Path) -> Rows:
    """On made samples everywhere, and on real ones where they have been fetched. Returns: the rows of all of them."""
    served = serve_graph(graph, backbone.input, full_dim, heads_of(backbone))
    reader = open_reader(served, limits={}, view=None)
    files = sorted(path for path in samples_dir.rglob("*") if path.is_file() and path.suffix not in NOTES)
    real = real_rows(reader, [Sample(path, "", "") for path in files])
    rows = join_rows([made_rows(backbone.input), *real])
    require_parity(model, served.session, deal_batches(rows))
    return rows


def _write_variant(
    folder: Path, backbone: Backbone, evidence: Evidence, shipped: Path, rows: Rows, console: Console
) -> dict[str, Any]:
    """The 8-bit graph of a model that ships its numbers. Returns: what the manifest says of it."""
    if not shipped.is_file():
        return {}
    quantised = read_quantised(shipped)
    require_quantised_of(quantised, evidence.backbone_sha256, evidence.projection_sha256)
    form = GraphForm(backbone.input, evidence.full_dim, heads_of(backbone))
    written = write_variant(folder, folder / GRAPH_NAME, form, quantised, rows[:COMPARED_ROWS])
    shutil.copyfile(shipped, folder / QUANTISED_NAME)
    if written.refusal is not None:
        console.print(f"[yellow]note:[/] no 8-bit graph beside the one in 32 bits: {written.refusal}", highlight=False)
        return {"left_out": {INT8_NAME: written.refusal}}
    console.print(f"The 8-bit graph of {folder.name} is {written.beside}.", highlight=False)
    return {"variants": {INT8_NAME: written.variant}}


def _scorer_files(evidence: Evidence, evidence_path: Path) -> dict[str, Path]:
    """By the names that the bundle gives them: each lies beside the measurements with their name in front."""
    found = {}
    for name, measured in evidence.scorer_sha256.items():
        path = evidence_path.with_name(shipped_name(evidence_path.stem, name))
        sha256 = sha256_of(path) if path.is_file() else None
        if sha256 != measured:
            raise EvidenceError(
                f"The measurements are of the scorer with sha256 {measured}, which {path} is not.",
                value=sha256,
                remedy="Measure again with `matchka-export measure CHECKPOINT`.",
            )
        found[name] = path
    return found


def _require_same_dims(evidence: Evidence, info: ProjectionInfo) -> None:
    if evidence.dims != info.dims:
        raise EvidenceError(
            f"The projection was fitted for the dims {info.dims}; others were measured.",
            value=evidence.dims,
            remedy="Measure again with `matchka-export measure CHECKPOINT`.",
        )
