"""A checkpoint -> the pair of files a package ships: the projection, and what was measured of it."""

import shutil
import tempfile
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from export.checkpoint import Checkpoint, read_checkpoint
from export.evidence import Evidence, write_evidence
from export.measure import Measured, export_and_measure
from export.write import library_versions
from service.bundle import GRAPH_NAME, sha256_of
from service.media.audio import AudioLimits
from training.__main__ import open_backbone
from training.backbones.backbone import Backbone
from training.tables import accuracy_table


def measure_and_ship(folder: Path, data: Path | None, out: Path, console: Console) -> Evidence:
    """Measure a checkpoint's graph and write `out/NAME.safetensors` and `out/NAME.json`.

    Args:
        folder: the checkpoint.
        data: where the manifests of the recipe's data sets lie now; None where the recipe says.
        out: the folder that is written to, once everything is measured.
        console: where progress and the table go.

    Raises: MatchkaError: no checkpoint, no data, no parity; nothing is written.
    """
    checkpoint = read_checkpoint(folder, data)
    backbone = open_backbone(checkpoint.recipe.backbone)
    measured = measure_checkpoint(checkpoint, backbone, console)
    evidence = as_evidence(checkpoint, backbone, measured, folder)
    name = checkpoint.recipe.name
    out.mkdir(parents=True, exist_ok=True)
    partial = out / f".{name}.safetensors.partial"
    shutil.copyfile(checkpoint.projection_path, partial)
    partial.replace(out / f"{name}.safetensors")
    write_evidence(out / f"{name}.json", evidence)
    return evidence


def measure_checkpoint(checkpoint: Checkpoint, backbone: Backbone, console: Console) -> Measured:
    """Export into a temporary folder, measure there, and show the accuracy."""
    recipe = checkpoint.recipe
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        tempfile.TemporaryDirectory(prefix="matchka-export-") as scratch,
        Progress(*columns, console=console) as progress,
    ):
        measured = export_and_measure(
            backbone,
            checkpoint.projection,
            checkpoint.validation,
            checkpoint.info.dims,
            AudioLimits(recipe.data.max_duration_s, recipe.data.min_speech_s),
            recipe.data.cache_dir,
            Path(scratch) / GRAPH_NAME,
            recipe.seed,
            progress,
        )
    console.print(accuracy_table(measured.projected, measured.raw))
    return measured


def as_evidence(checkpoint: Checkpoint, backbone: Backbone, measured: Measured, folder: Path) -> Evidence:
    """Measurements tied to the files they are of."""
    return Evidence(
        backbone_sha256=backbone.source.sha256,
        projection_sha256=sha256_of(checkpoint.projection_path),
        family=checkpoint.info.family,
        full_dim=checkpoint.info.dims[-1],
        dims=checkpoint.info.dims,
        per_dim=measured.per_dim,
        datasets=checkpoint.datasets,
        commands=(f"matchka-export measure {folder.as_posix()}",),
        libraries=library_versions(),
    )
