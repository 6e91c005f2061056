"""The `voice` bundle: weights out of a pinned package + the shipped projection + the shipped measurements."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch
from rich.console import Console
from rich.progress import Progress

from export.defaults.shipped import REPORT_NAME, VOICE_BASE_VERSION, VOICE_NAME
from export.evidence import Evidence, read_evidence, require_belongs
from export.graph import WindowsToEmbeddings, export_graph
from export.measure import open_session
from export.parity import ODD_LENGTHS, cut_into_batches, require_parity, speech_like_clips
from export.write import Facts, as_source, content_version, seal, staged_bundle
from service.bundle import GRAPH_NAME, Bundle, Source, read_bundle, sha256_of
from service.errors import EvidenceError
from service.media.audio import AudioLimits, read_clip
from service.vectors import FloatArray
from training.backbones.backbone import Backbone
from training.backbones.ge2e import Ge2e
from training.projections.storage import ProjectionInfo, load_projection

TASK: Final = "speaker verification"
STEPS: Final = 4
ANY_LENGTH: Final = AudioLimits(max_duration_s=60.0, min_speech_s=0.1)


def build_voice(
    target: Path, projection_path: Path, evidence_path: Path, downloads: Path, samples_dir: Path, console: Console
) -> Bundle:
    """Build the bundle and put it in its place; nothing is left behind if a step fails.

    Args:
        target: the bundle's folder.
        projection_path: the fitted projection.
        evidence_path: what was measured of it.
        downloads: the folder that keeps package files.
        samples_dir: real recordings for the parity check, used where they are present.
        console: where progress goes.

    Raises:
        DownloadError, ChecksumError: no weights.
        EvidenceError: the measurements belong to other files.
        ParityError: the graph does not compute what torch computes.
    """
    backbone = Ge2e(downloads)
    projection, info = load_projection(projection_path)
    evidence = read_evidence(evidence_path)
    require_belongs(evidence, backbone.source.sha256, sha256_of(projection_path))
    _require_same_dims(evidence, info)
    frozen = backbone.module()
    with Progress(console=console) as progress, staged_bundle(target) as folder:
        task = progress.add_task(f"Building {target.name}: exporting the graph", total=STEPS)
        model = WindowsToEmbeddings(frozen, projection)
        export_graph(model, backbone.input.window_samples, folder / GRAPH_NAME)
        progress.update(task, advance=1, description=f"Building {target.name}: comparing the graph with torch")
        _require_parity(model, folder / GRAPH_NAME, backbone, evidence.full_dim, samples_dir)
        progress.update(task, advance=1, description=f"Building {target.name}: writing")
        shutil.copyfile(evidence_path, folder / REPORT_NAME)
        seal(folder, _facts(backbone, evidence, info))
        progress.update(task, advance=STEPS - 2, description=f"Building {target.name}: done")
    return read_bundle(target)


def voice_version(backbone: Backbone, projection_sha256: str, dims: tuple[int, ...]) -> str:
    """The version of a voice bundle: the same weights, projection and windows have the same one."""
    parts: dict[str, object] = {
        "backbone": backbone.source.sha256,
        "projection": projection_sha256,
        "input": asdict(backbone.input),
        "dims": list(dims),
    }
    return content_version(VOICE_BASE_VERSION, parts)


def _facts(backbone: Backbone, evidence: Evidence, info: ProjectionInfo) -> Facts:
    return Facts(
        name=VOICE_NAME,
        version=voice_version(backbone, evidence.projection_sha256, evidence.dims),
        task=TASK,
        input=backbone.input,
        full_dim=evidence.full_dim,
        dims=evidence.dims,
        per_dim=evidence.per_dim,
        backbone=as_source(backbone.source),
        projection=Source(
            name=f"{info.family} projection",
            source="fitted by this repository: " + "; ".join(evidence.commands),
            version=VOICE_BASE_VERSION,
            sha256=evidence.projection_sha256,
            licence="Apache-2.0",
        ),
        datasets=evidence.datasets,
    )


def _require_parity(model: torch.nn.Module, graph: Path, backbone: Backbone, full_dim: int, samples_dir: Path) -> None:
    """On made clips everywhere, and on real ones where they have been fetched."""
    clips: list[FloatArray] = speech_like_clips(ODD_LENGTHS, backbone.input.sample_rate_hz)
    recordings = sorted(samples_dir.rglob("*.wav"))
    clips += [read_clip(path.read_bytes(), backbone.input.sample_rate_hz, ANY_LENGTH) for path in recordings]
    session = open_session(graph, backbone.input, full_dim)
    require_parity(model, session, cut_into_batches(clips, backbone.input))


def _require_same_dims(evidence: Evidence, info: ProjectionInfo) -> None:
    if evidence.dims != info.dims:
        raise EvidenceError(
            f"The projection was fitted for the dims {info.dims}; others were measured.",
            value=evidence.dims,
            remedy="Measure again with `matchka-export measure CHECKPOINT`.",
        )
